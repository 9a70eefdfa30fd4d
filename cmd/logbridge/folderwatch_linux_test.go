package main

import (
	"encoding/binary"
	"syscall"
)

// folderEvent is something that happens to a file in a folder.
type folderEvent struct {
	name string
	mask uint32
}

var folderEvents = []folderEvent{
	{"a file's creation", syscall.IN_CREATE},
	{"a write", syscall.IN_MODIFY},
	{"a file's closing", syscall.IN_CLOSE_WRITE},
	{"a rename", syscall.IN_MOVED_TO},
	{"a removal", syscall.IN_DELETE},
}

// watchFolder calls act right after the n-th event of this kind, unless ended is closed before.
func watchFolder(dir string, event folderEvent, n int, ended <-chan struct{}, act func() error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return // the server is then killed at another moment, which is counted
	}
	defer func() { _ = syscall.Close(fd) }()
	if _, err := syscall.InotifyAddWatch(fd, dir, event.mask); err != nil {
		return
	}
	buf := make([]byte, 4096)
	for {
		select {
		case <-ended:
			return
		default:
		}
		if !readable(fd) {
			continue
		}
		got, err := syscall.Read(fd, buf)
		if err != nil {
			return
		}
		for at := 0; at+syscall.SizeofInotifyEvent <= got; {
			at += syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[at+12:])) // the name's length
			if n--; n == 0 {
				_ = act() // it may be dead already
				return
			}
		}
	}
}

// readable waits a moment for something to read.
func readable(fd int) bool {
	var set syscall.FdSet
	set.Bits[fd/64] |= 1 << (fd % 64)
	wait := syscall.NsecToTimeval(50_000_000)
	n, err := syscall.Select(fd+1, &set, nil, nil, &wait)
	return err == nil && n == 1
}
