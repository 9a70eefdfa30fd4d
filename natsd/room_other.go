//go:build !linux && !darwin

package natsd

import "math"

// freeBytes is not known on this system, so a full disk ends the program with JetStream's own error.
func freeBytes(string) uint64 { return math.MaxUint64 }
