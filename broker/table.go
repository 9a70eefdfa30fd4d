package broker

import (
	"container/list"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// table is every connection and the newest session of each device.
type table struct {
	most, mostHalfOpen int
	patience           time.Duration // how long a half-open connection is safe from making room for another

	mu       sync.Mutex // guards all below
	closed   bool
	conns    map[*conn]struct{}
	sessions map[logbridge.DeviceID]*session
	halfOpen list.List // of waiting, oldest first: those that have not sent their CONNECT
	serving  sync.WaitGroup
}

// waiting is a connection without a CONNECT.
type waiting struct {
	conn  *conn
	since time.Time
}

func (t *table) init(cfg Config) {
	t.most, t.mostHalfOpen, t.patience = cfg.MaxConnections, cfg.MaxHalfOpen, cfg.ConnectTimeout/2
	t.conns = map[*conn]struct{}{}
	t.sessions = map[logbridge.DeviceID]*session{}
}

// entry is what came of a connection that asks to be taken in.
type entry uint8

const (
	entered entry = iota
	full          // as many connections as may be, or the table is closed
	crowded       // as many half-open ones as may be, none of them old: it may try again
)

// add takes in a connection, which counts as served until remove. victim, if there is one, has to make room for it and is to
// be closed.
func (t *table) add(c *conn, now time.Time) (e entry, victim *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.conns) >= t.most {
		return full, nil
	}
	if t.halfOpen.Len() >= t.mostHalfOpen {
		first := t.halfOpen.Front().Value.(waiting)
		if now.Sub(first.since) < t.patience {
			return crowded, nil
		}
		victim = first.conn
		t.settle(victim)
	}
	c.waiting = t.halfOpen.PushBack(waiting{c, now})
	t.conns[c] = struct{}{}
	t.serving.Add(1)
	return entered, victim
}

// room says whether a connection would be taken in now.
func (t *table) room(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.conns) >= t.most {
		return false
	}
	return t.halfOpen.Len() < t.mostHalfOpen || now.Sub(t.halfOpen.Front().Value.(waiting).since) >= t.patience
}

// greeted notes that a connection has sent its CONNECT.
func (t *table) greeted(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(c)
}

// settle takes a connection off the half-open ones. Its caller holds mu.
func (t *table) settle(c *conn) {
	if c.waiting != nil {
		t.halfOpen.Remove(c.waiting)
		c.waiting = nil
	}
}

// login makes s the session of its device and returns the one that was.
func (t *table) login(s *session) (old *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old = t.sessions[s.device]
	t.sessions[s.device] = s
	return old
}

func (t *table) session(id logbridge.DeviceID) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[id]
}

// remove forgets a connection, and its session unless the device has a newer one (P6).
func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(c)
	delete(t.conns, c)
	if s := c.session; s != nil && t.sessions[s.device] == s {
		delete(t.sessions, s.device)
	}
}

// close lets no more in and returns the connections that are.
func (t *table) close() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	conns := make([]*conn, 0, len(t.conns))
	for c := range t.conns {
		conns = append(conns, c)
	}
	return conns
}

func (t *table) len() (conns, halfOpen, sessions int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns), t.halfOpen.Len(), len(t.sessions)
}
