//go:build linux || darwin

package natsd

import (
	"math"
	"syscall"
)

// freeBytes is how much a user without privileges may still write there.
func freeBytes(dir string) uint64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return math.MaxUint64
	}
	return s.Bavail * uint64(s.Bsize)
}
