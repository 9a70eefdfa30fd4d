package bridge

import (
	"slices"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// concernedAtOnce is for how many changes the links are found before the first of them is pushed to: the others are found meanwhile.
const concernedAtOnce = 1024

// LevelChanged pushes the level to the connected devices that the changes concern, and through outside brokers to all others. It
// returns at once; the level is read when it is sent, so that of several changes a device is told the outcome.
func (b *Bridge) LevelChanged(changes ...logbridge.LevelChange) {
	for some := range slices.Chunk(changes, concernedAtOnce) {
		links := b.concerned(some)
		for _, u := range b.upstreams {
			for _, c := range some {
				links = append(links, u.changed(c)...)
			}
		}
		b.pushes.add(links)
	}
}

// Pushing reports whether devices wait to be pushed to.
func (b *Bridge) Pushing() bool { return b.pushes.busy() }

// retell has a device told its level through an outside broker, whatever it was told before; one that is connected elsewhere is
// told there.
func (b *Bridge) retell(id logbridge.DeviceID, u *Upstream) {
	b.mu.RLock()
	l := b.links[id]
	b.mu.RUnlock()
	if l == nil {
		l = &link{session: &outsider{up: u, device: id}}
	} else if o, ok := l.session.(*outsider); !ok || o.up != u {
		return
	}
	l.knows.Store(false)
	b.pushes.add([]*link{l})
}

// concerned are the links of the devices that changes are about.
func (b *Bridge) concerned(changes []logbridge.LevelChange) []*link {
	links := make([]*link, 0, len(changes))
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range changes {
		if c.Device != "" {
			if l := b.links[logbridge.DeviceID(c)]; l != nil {
				links = append(links, l)
			}
			continue
		}
		for id, l := range b.links {
			if c.Product == "" || c.Product == id.Product {
				links = append(links, l)
			}
		}
	}
	return links
}

// pushAll pushes what is queued until the queue is closed.
func (b *Bridge) pushAll() {
	for {
		l, ok := b.pushes.next()
		if !ok {
			return
		}
		b.push(l)
	}
}

// push tells a device the level in force, unless it was the last thing that it was told. It does not wait for a device that
// is being sent something, or a few that do not read would hold up every pusher.
func (b *Bridge) push(l *link) {
	l.stale.Store(true)
	if !l.mu.TryLock() {
		return
	}
	defer b.release(l)
	l.stale.Store(false)
	id := l.session.Device()
	level := b.levels.Effective(id)
	current := l.knows.Load() && l.told == level
	if l.overdue.Swap(false) {
		b.late(l)
	} else if current {
		b.counters.skipped.Add(1)
	}
	if current {
		return
	}
	if err := l.tell(level, b.payloadOf(level)); err != nil {
		// It has not subscribed, or is gone: it asks when it connects or subscribes, or is reminded.
		b.counters.unheard.Add(1)
		b.log.Debug("level not pushed", "device", id.String(), "error", err)
		return
	}
	l.resent, l.pushed = 0, b.clock.now()
	b.counters.pushed.Add(1)
	b.noted.add(logbridge.Observation{Device: id, Event: logbridge.LevelSent, Level: level, Time: time.Now()})
	b.await(l, l.pushed)
}

// pushed is the payload of a push.
type pushed struct {
	level   logbridge.Level
	second  int64 // of its timestamp
	payload []byte
}

// payloadOf is the same for all devices that are told a level within a second.
func (b *Bridge) payloadOf(level logbridge.Level) []byte {
	now := time.Now()
	if p := b.newest.Load(); p != nil && p.level == level && p.second == now.Unix() {
		return p.payload
	}
	p := &pushed{level, now.Unix(), tencent.LevelReply("", level, now)}
	b.newest.Store(p)
	return p.payload
}

// release ends what was begun with l.mu, and queues the link if a push came meanwhile. The flag is looked at after the
// unlocking: a push sets it before it tries the lock, so that either it gets the lock or this sees the flag.
func (b *Bridge) release(l *link) {
	l.mu.Unlock()
	if l.stale.Load() {
		b.pushes.add([]*link{l})
	}
}

// queue holds the links that are to be pushed to, each once, so that it is bounded by the number of connected devices.
type queue struct {
	mu     sync.Mutex // guards the rest, and queued of every link
	filled sync.Cond  // something was added, or the queue closed
	links  []*link
	closed bool
}

func (q *queue) add(links []*link) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.links = slices.Grow(q.links, len(links))
	for _, l := range links {
		if !l.queued && !q.closed {
			l.queued = true
			q.links = append(q.links, l)
		}
	}
	if len(links) == 1 {
		q.filled.Signal()
		return
	}
	q.filled.Broadcast()
}

// next waits for a link and takes it out, so that a change from now on queues it again. ok is false when the queue is closed;
// what is in it then is left: those devices ask when they connect again.
func (q *queue) next() (l *link, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.links) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil, false
	}
	l = q.links[0]
	q.links[0] = nil
	q.links = q.links[1:]
	l.queued = false
	return l, true
}

func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.links) > 0
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.links = true, nil
	q.filled.Broadcast()
}
