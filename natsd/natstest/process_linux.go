package natstest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the process end when the thread that starts it does, so also when the test's process is killed.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
