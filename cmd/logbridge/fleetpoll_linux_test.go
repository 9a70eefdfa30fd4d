package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"syscall"
)

// fleetPoll listens to a whole fleet with one thread and one epoll: a goroutine for each device, and Go's own poller, would take
// more of the cores than they leave to the broker.
type fleetPoll struct {
	epoll int
	fds   []int
}

// detach takes connections out of Go's poller.
func detach(conns []net.Conn) (*fleetPoll, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &fleetPoll{epoll: epoll, fds: make([]int, 0, len(conns))}
	for _, c := range conns {
		if err := p.add(c); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// add closes c for Go, which forgets it, and keeps a duplicate.
func (p *fleetPoll) add(c net.Conn) error {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(of uintptr) { fd, failed = syscall.Dup(int(of)) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("dup: %w", failed)
	}
	p.fds = append(p.fds, fd)
	_ = c.Close()
	return syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// hear waits until each device has got a message, and acknowledges it at once. It comes before the brokers on their processors, where
// it may, since devices have their own: otherwise most of the time would be that of messages which wait for this thread.
func (p *fleetPoll) hear() error {
	defer first()()
	var ready [256]syscall.EpollEvent
	var buf [1 << 10]byte
	for missing := len(p.fds); missing > 0; {
		n, err := syscall.EpollWait(p.epoll, ready[:], int(patience.Milliseconds()))
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("epoll: %w", err)
		case n == 0:
			return fmt.Errorf("%d of %d devices have heard nothing", missing, len(p.fds))
		}
		for _, e := range ready[:n] {
			if err := acknowledge(int(e.Fd), buf[:]); err != nil {
				return err
			}
			missing--
		}
	}
	return nil
}

// first lets this thread run whenever it can, until the function that it gives is called. Without the right to that, it is one of many.
func first() (again func()) {
	const ahead, usual = -20, 0
	runtime.LockOSThread()
	self := syscall.Gettid()
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, self, ahead)
	return func() {
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, self, usual)
		runtime.UnlockOSThread()
	}
}

// acknowledge reads one PUBLISH at QoS 1, which has come with one segment, and writes its PUBACK.
func acknowledge(fd int, buf []byte) error {
	n, err := syscall.Read(fd, buf)
	if err != nil {
		return err
	}
	p := buf[:n]
	if n < 2 || p[0]&0xF6 != 0x32 {
		return fmt.Errorf("no message at QoS 1: % x", p)
	}
	length, digits := binary.Uvarint(p[1:])
	body := p[1+digits:]
	if len(body) != int(length) {
		return fmt.Errorf("%d bytes of a message of %d", len(body), length)
	}
	id := body[2+binary.BigEndian.Uint16(body):]
	_, err = syscall.Write(fd, []byte{0x40, 2, id[0], id[1]})
	return err
}

// close cuts every connection, as a lost network does.
func (p *fleetPoll) close() {
	for _, fd := range p.fds {
		// No port waits for its reuse.
		_ = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		_ = syscall.Close(fd)
	}
	_ = syscall.Close(p.epoll)
}
