package bridge

import (
	"context"
	"sync"
	"time"

	"github.com/logbridge/logbridge/wire/tencent"
)

const (
	// askWait is how long a device that has connected may take to ask for its level before it is told unasked. SDKs ask
	// within a second of their CONNACK (tencent-iot.md 3.1); what does not ask is older firmware, or somebody's own.
	askWait = 5 * time.Second
	// maxReminders is how often a session that has not subscribed is looked at again, each time after askWait.
	maxReminders = 6
	// ackWait is how long a push may stay without its PUBACK before it is sent again: longer than a modem is away.
	ackWait = 10 * time.Second
	// maxResends is how often that is done. A device that acknowledges nothing over half a minute is told again by the next
	// change, or when it connects again.
	maxResends = 3
)

// clock is the time, so that tests can turn it.
type clock struct {
	now func() time.Time
	// at gives a channel that delivers when t has come, and a function to call when nobody waits any more.
	at func(t time.Time) (<-chan time.Time, func())
}

func wallClock() clock {
	return clock{
		now: time.Now,
		at: func(t time.Time) (<-chan time.Time, func()) {
			timer := time.NewTimer(time.Until(t))
			return timer.C, func() { timer.Stop() }
		},
	}
}

// reminders are links that are to be looked at again, all after the same wait, in the order in which they were added: one that was
// added with an earlier time comes due with the one before it at the latest. Each link is there at most once, so they are bounded by
// the sessions of one wait.
type reminders struct {
	wait  time.Duration
	mu    *sync.Mutex // guards list
	list  []reminder
	added chan struct{} // the list is not empty any more
}

type reminder struct {
	at   time.Time
	link *link
}

func newReminders(wait time.Duration) reminders {
	return reminders{wait: wait, mu: new(sync.Mutex), added: make(chan struct{}, 1)}
}

func (r *reminders) add(l *link, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, reminder{since.Add(r.wait), l})
	if len(r.list) == 1 {
		select {
		case r.added <- struct{}{}:
		default: // it is told already
		}
	}
}

// due takes out what has come due, and says when the next will, the zero time if there is none.
func (r *reminders) due(now time.Time) (links []*link, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.list) > 0 && !r.list[0].at.After(now) {
		links = append(links, r.list[0].link)
		r.list[0] = reminder{} // so that the link is free
		r.list = r.list[1:]
	}
	if len(r.list) == 0 {
		r.list = nil
		return links, next
	}
	return links, r.list[0].at
}

// runReminders looks at links when they come due, until ctx ends.
func (b *Bridge) runReminders(ctx context.Context, r *reminders, look func(*link)) {
	for {
		links, next := r.due(b.clock.now())
		for _, l := range links {
			if b.live(l) {
				look(l)
			}
		}
		alarm, stop := (<-chan time.Time)(nil), func() {}
		if !next.IsZero() {
			alarm, stop = b.clock.at(next)
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-r.added:
		case <-alarm:
		}
		stop()
	}
}

// live reports whether the link is that of the device's newest session.
func (b *Bridge) live(l *link) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.links[l.session.Device()] == l
}

// remindSilent has the level pushed to a device that has not asked. One that has not subscribed either gets another while.
func (b *Bridge) remindSilent(l *link) {
	if l.knows.Load() {
		return
	}
	b.counters.reminded.Add(1)
	b.pushes.add([]*link{l})
	if l.tries++; l.tries < maxReminders {
		b.silent.add(l, b.clock.now())
	}
}

// await looks at a push that was sent at since again when its PUBACK should have come.
func (b *Bridge) await(l *link, since time.Time) {
	if !l.awaited.Swap(true) {
		b.unacked.add(l, since)
	}
}

// remindUnacked has a pusher look at a push whose PUBACK should have come, since a device that does not read holds its sender up.
func (b *Bridge) remindUnacked(l *link) {
	l.awaited.Store(false)
	l.overdue.Store(true)
	b.pushes.add([]*link{l})
}

// late sends a push again, unless a newer one went out meanwhile: that is looked at when its own PUBACK should have come. Its caller
// holds l.mu.
func (b *Bridge) late(l *link) {
	if b.clock.now().Sub(l.pushed) < ackWait {
		b.await(l, l.pushed)
		return
	}
	b.resend(l)
}

// resend sends a push again unless it was acknowledged, or was not sent at QoS 1. Its caller holds l.mu.
func (b *Bridge) resend(l *link) {
	again, err := l.session.Resend(tencent.OperationResultTopic(l.session.Device()))
	if err != nil || !again {
		return
	}
	b.counters.resent.Add(1)
	if l.resent++; l.resent < maxResends {
		b.await(l, b.clock.now())
	}
}
