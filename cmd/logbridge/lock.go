package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockData takes the data folder for this process until release is called or the process ends in any way: a flock goes
// with its last descriptor, so nothing is left behind by a kill.
func lockData(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, fmt.Errorf("another logbridge works on the data folder %s; stop it, or choose another folder with --data", dir)
		}
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}
