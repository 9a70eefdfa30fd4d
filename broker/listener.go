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

// bind opens the listeners of the configuration, the plain one first.
func (b *Broker) bind() error {
	l, err := net.Listen("tcp", b.cfg.Addr)
	if err != nil {
		return fmt.Errorf("mqtt listener: %w", err)
	}
	b.listeners = append(b.listeners, l)
	if b.cfg.TLSAddr == "" {
		return nil
	}
	l, err = net.Listen("tcp", b.cfg.TLSAddr)
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
			b.admit(raw)
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

// admit starts serving a connection if there is room for it.
func (b *Broker) admit(raw net.Conn) {
	c := newConn(raw, b.cfg.WriteTimeout)
	if !b.table.add(c) {
		b.counters.refusedFull.Add(1)
		c.Close()
		return
	}
	b.counters.accepted.Add(1)
	b.serving.Go(func() { b.serve(c) })
}

// serve runs one connection to its end on its own goroutine: everything that a device sends is decoded and handled
// here, so that a panic (P1, P2) is caught here and costs this connection only.
func (b *Broker) serve(c *conn) {
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
	// Its error says why the connection ended. Mostly that is that the device went away.
	_ = b.server.EstablishConnection("mqtt", c)
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
	b.table.remove(c)
	if s := c.session; s != nil && s.connected {
		b.handler.Disconnected(s)
	}
	close(c.done)
}
