package bridge

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// fakeClock is a time that only moves when it is told to.
type fakeClock struct {
	mu     sync.Mutex
	t      time.Time
	alarms map[chan time.Time]time.Time
}

func newClock() *fakeClock {
	return &fakeClock{t: time.Unix(1795258544, 0), alarms: map[chan time.Time]time.Time{}}
}

func (c *fakeClock) clock() clock {
	return clock{now: c.now, at: func(t time.Time) (<-chan time.Time, func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		ch := make(chan time.Time, 1)
		if !t.After(c.t) {
			ch <- c.t
			return ch, func() {}
		}
		c.alarms[ch] = t
		return ch, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.alarms, ch)
		}
	}}
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	for ch, t := range c.alarms {
		if !t.After(c.t) {
			ch <- c.t
			delete(c.alarms, ch)
		}
	}
}

// timed is newParts with a fake clock.
func timed(t *testing.T, c *fakeClock) parts {
	t.Helper()
	return newTimedParts(t, Config{Pushers: 2}, c.clock())
}

// until waits until something is so that other goroutines bring about.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !so(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("no %s in %s", what, patience)
		}
	}
}

// A device that connects and does not ask is told, and one that asks is not told again.
func TestSilentDeviceIsTold(t *testing.T) {
	c := newClock()
	p := timed(t, c)
	silent, asks, gone := newSession(dev1), newSession(dev2), newSession(other)
	p.levels.put(dev1, logbridge.LevelDebug)
	for _, s := range []*fakeSession{silent, asks, gone} {
		p.Connected(s)
	}
	p.Disconnected(gone)
	if err := handle(t, p, asks, tencent.OperationTopic(dev2), `{"type":"get_log_level","clientToken":"x"}`); err != nil {
		t.Fatal(err)
	}
	receive(t, "answer", asks.out)
	c.advance(askWait - 1)
	if len(silent.out) > 0 {
		t.Fatal("told too early")
	}
	c.advance(1)
	if f := levelIn(t, receive(t, "push", silent.out), dev1); f.Level != logbridge.LevelDebug || f.ClientToken != "" {
		t.Errorf("push %+v", f)
	}
	until(t, "end of the push", func() bool { return p.Stats().Pushed == 1 })
	late := newSession(other) // of the same second as nothing else, so that what is due is done when it is told
	p.Connected(late)
	c.advance(askWait)
	receive(t, "push", late.out)
	if len(silent.out)+len(asks.out)+len(gone.out) > 0 || p.Stats().Reminded != 2 {
		t.Errorf("told again: %d, %d, %d; %+v", len(silent.out), len(asks.out), len(gone.out), p.Stats())
	}
}

// One that has not even subscribed is looked at again, a number of times.
func TestDeviceThatSubscribesLate(t *testing.T) {
	c := newClock()
	p := timed(t, c)
	s := newSession(dev1)
	tried := make(chan bool)
	s.send = func(sent) error {
		tried <- true
		return fmt.Errorf("%w: not subscribed", logbridge.ErrNotFound)
	}
	p.Connected(s)
	for i := range maxReminders {
		c.advance(askWait)
		receive(t, "try", tried)
		until(t, "end of the try", func() bool { return p.Stats().Unheard == uint64(i+1) })
		until(t, "next look", func() bool {
			p.silent.mu.Lock()
			defer p.silent.mu.Unlock()
			return len(p.silent.list) == min(1, maxReminders-1-i)
		})
	}
	if n := p.Stats().Reminded; n != maxReminders {
		t.Errorf("%d reminders", n)
	}
}

// A push that is not acknowledged is sent again, a number of times; one that is, or needs no acknowledgement, is not.
func TestUnacknowledgedPushIsSentAgain(t *testing.T) {
	c := newClock()
	p := timed(t, c)
	lost, fine := newSession(dev1), newSession(dev2)
	lost.flying.Store(true)
	for _, s := range []*fakeSession{lost, fine} {
		p.Connected(s)
		p.levels.put(s.device, logbridge.LevelDebug)
		p.LevelChanged(logbridge.LevelChange{Product: s.device.Product, Device: s.device.Device})
		receive(t, "push", s.out)
	}
	awaited := func(want int) {
		t.Helper()
		until(t, "wait for PUBACKs", func() bool {
			p.unacked.mu.Lock()
			defer p.unacked.mu.Unlock()
			return len(p.unacked.list) == want
		})
	}
	awaited(2)
	for i := range maxResends {
		c.advance(ackWait)
		if topic := receive(t, "push again", lost.resent); topic != tencent.OperationResultTopic(dev1) {
			t.Errorf("sent again on %s", topic)
		}
		awaited(min(1, maxResends-1-i))
	}
	c.advance(ackWait)
	// The next change begins anew.
	p.levels.put(dev1, logbridge.LevelInfo)
	p.LevelChanged(logbridge.LevelChange{})
	receive(t, "push", lost.out)
	awaited(1)
	c.advance(ackWait)
	receive(t, "push again", lost.resent)
	lost.flying.Store(false)
	awaited(1)
	c.advance(ackWait)
	awaited(0)
	if len(lost.resent)+len(fine.resent) > 0 || p.Stats().Resent != maxResends+1 {
		t.Errorf("%d and %d more, %+v", len(lost.resent), len(fine.resent), p.Stats())
	}
}

// A push that follows another has as long for its PUBACK as the first had.
func TestLaterPushHasItsOwnTime(t *testing.T) {
	c := newClock()
	p := timed(t, c)
	s := newSession(dev1)
	p.Connected(s)
	push := func(level logbridge.Level) {
		t.Helper()
		p.levels.put(dev1, level)
		p.LevelChanged(logbridge.LevelChange{Product: dev1.Product, Device: dev1.Device})
		receive(t, "push", s.out)
	}
	due := func(want time.Time) {
		t.Helper()
		until(t, "wait for the PUBACK", func() bool {
			p.unacked.mu.Lock()
			defer p.unacked.mu.Unlock()
			return len(p.unacked.list) == 1 && p.unacked.list[0].at.Equal(want)
		})
	}
	begin := c.now()
	push(logbridge.LevelDebug)
	due(begin.Add(ackWait))
	c.advance(ackWait - time.Second)
	s.flying.Store(true) // the second is not acknowledged
	push(logbridge.LevelInfo)
	until(t, "end of the push", func() bool { return p.Stats().Pushed == 2 })
	c.advance(time.Second)
	due(begin.Add(2*ackWait - time.Second))
	if n := p.Stats().Resent; n != 0 || len(s.resent) > 0 {
		t.Errorf("sent again %d times within a second", n)
	}
	c.advance(ackWait - time.Second)
	receive(t, "push again", s.resent)
}
