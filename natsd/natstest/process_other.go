//go:build !linux

package natstest

import "os/exec"

// dieWithParent cannot be had here: servers of a test that is killed stay.
func dieWithParent(*exec.Cmd) {}
