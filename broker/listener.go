package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"
)

const (
	// acceptPause and acceptPauseMost are the waits after an accept error. Running out of files passes when
	// connections end, so that the listener must outlive it (P9).
	acceptPause     = 5 * time.Millisecond
	acceptPauseMost = time.Second
)

// bind opens the listeners of the configuration, the plain one first. TCP's probes are left to the sessions that need them
// (conn.probe): switching them on costs each connection four system calls.
func (b *Broker) bind() error {
	quiet := net.ListenConfig{KeepAlive: -1}
	l, err := quiet.Listen(context.Background(), "tcp", b.cfg.Addr)
	if err != nil {
		return fmt.Errorf("mqtt listener: %w", err)
	}
	b.listeners = append(b.listeners, l)
	if b.cfg.TLSAddr == "" {
		return nil
	}
	l, err = quiet.Listen(context.Background(), "tcp", b.cfg.TLSAddr)
	if err != nil {
		return fmt.Errorf("mqtts listener: %w", err)
	}
	b.listeners = append(b.listeners, tls.NewListener(l, b.cfg.TLS))
	return nil
}

func (b *Broker) closeListeners() {
	for _, l := range b.listeners {
		// It can only be closed already.
		_ = l.Close()
	}
}

// accept takes connections until l is closed.
func (b *Broker) accept(ctx context.Context, l net.Listener) {
	pause := acceptPause
	for {
		raw, err := l.Accept()
		if err == nil {
			pause = acceptPause
			b.admit(ctx, raw)
			continue
		}
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		b.counters.acceptErrors.Add(1)
		b.log.Warn("mqtt: accept", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, acceptPauseMost)
	}
}

// admit starts serving a connection, if there is room for it, when its turn has come: until then nothing more is accepted from
// its listener, and the operating system's queue holds who comes.
func (b *Broker) admit(ctx context.Context, raw net.Conn) {
	c := newConn(raw, b.cfg)
	if b.rate.Wait(ctx) != nil { // ctx has ended
		c.Close()
		return
	}
	result := b.enter(c)
	for result == crowded {
		b.counters.crowded.Add(1)
		select {
		case <-time.After(acceptPause):
			result = b.enter(c)
		case <-ctx.Done():
			result = full
		}
	}
	if result != entered {
		b.counters.refusedFull.Add(1)
		c.Close()
		return
	}
	go b.serve(c)
}

// enter takes a connection into the table and closes the one that has to make room for it.
func (b *Broker) enter(c *conn) entry {
	result, victim := b.table.add(c, time.Now())
	if victim != nil {
		b.counters.evicted.Add(1)
		victim.Close()
	}
	if result == entered {
		b.counters.accepted.Add(1)
	}
	return result
}

// Admits says whether Serve would take a connection now; the connection counts against ConnectRate if so.
func (b *Broker) Admits() bool {
	if b.table.room(time.Now()) && b.rate.Allow() {
		return true
	}
	b.counters.refusedFull.Add(1)
	return false
}

// Serve is for a connection that another listener has accepted, such as one over WebSocket: it serves it on the caller's
// goroutine and returns when it is closed. Its read deadline must end a Read, at once if it is in the past, and its write
// deadline a Write. A connection that has ConnectionState, as *tls.Conn does, may log in by certificate.
func (b *Broker) Serve(raw net.Conn) {
	c := newConn(raw, b.cfg)
	if b.enter(c) != entered {
		b.counters.refusedFull.Add(1)
		c.Close()
		return
	}
	b.serve(c)
}

// serve runs one connection to its end on its own goroutine: everything that a device sends is decoded and handled
// here, so that a panic (P1, P2) is caught here and costs this connection only.
func (b *Broker) serve(c *conn) {
	defer b.table.serving.Done()
	defer b.finish(c)
	defer func() {
		if r := recover(); r != nil {
			b.counters.panics.Add(1)
			b.log.Error("mqtt: panic in a connection, closed it", "remote", c.RemoteAddr().String(), "panic", r, "stack", string(debug.Stack()))
		}
	}()
	if err := b.greet(c); err != nil {
		b.counters.noConnect.Add(1)
		return
	}
	b.table.greeted(c)
	// Its error says why the connection ended. Mostly that is that the device went away.
	_ = b.server.EstablishConnection("mqtt", c)
	if c.session != nil {
		_ = b.settle(c.session) // what came whole before the end
	}
}

// greet brings a connection to the beginning of its CONNECT, in time (P10).
func (b *Broker) greet(c *conn) error {
	deadline := time.Now().Add(b.cfg.ConnectTimeout)
	if err := c.Conn.SetDeadline(deadline); err != nil {
		return err
	}
	if t, ok := c.Conn.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			return err
		}
	}
	return c.readHead()
}

// finish is the end of a connection, however it came.
func (b *Broker) finish(c *conn) {
	c.Close()
	if s := c.session; s != nil {
		// After a panic mochi has not forgotten its client.
		if known, ok := b.server.Clients.Get(s.client.ID); ok && known == s.client {
			b.server.Clients.Delete(s.client.ID)
		}
	}
	c.leaveRoom()
	b.table.remove(c)
	if s := c.session; s != nil && s.connected {
		b.handler.Disconnected(s)
	}
	close(c.done)
}
