package levels

import (
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func (r *rig) observe(e logbridge.ObservedEvent, l logbridge.Level) {
	r.Observe(logbridge.Observation{Device: id, Event: e, Level: l, Time: r.clock.now()})
}

func (r *rig) wantState(t *testing.T, want string, after time.Duration) {
	t.Helper()
	if s := r.State(id); s.State != want || !s.StateTime.Equal(begin.Add(after)) {
		t.Errorf("state %s at %v, want %s at %v", s.State, s.StateTime, want, begin.Add(after))
	}
}

func TestStates(t *testing.T) {
	const debug, errorLevel = logbridge.LevelDebug, logbridge.LevelError
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	// What was seen of the former level says nothing about the new one.
	r.observe(logbridge.LevelAsked, errorLevel)
	r.observe(logbridge.LineSeen, debug)
	c.advance(time.Second)
	r.set(t, id, debugFor(time.Hour))
	r.wantState(t, StateOffline, time.Second)
	r.observe(logbridge.DeviceConnected, 0)
	r.wantState(t, StateOffline, time.Second)
	c.advance(time.Second)
	r.observe(logbridge.LevelSent, debug)
	r.wantState(t, StateSent, 2*time.Second)
	c.advance(time.Second)
	r.observe(logbridge.LevelSent, debug) // again: the first time counts
	r.wantState(t, StateSent, 2*time.Second)
	r.observe(logbridge.LevelSent, errorLevel) // a late one about another level takes nothing away
	r.wantState(t, StateSent, 2*time.Second)
	r.observe(logbridge.LevelAcked, debug)
	r.wantState(t, StateAcknowledged, 3*time.Second)
	c.advance(time.Second)
	r.observe(logbridge.LevelAsked, debug)
	r.wantState(t, StateAsked, 4*time.Second)
	r.observe(logbridge.LineSeen, logbridge.LevelInfo)
	r.wantState(t, StateAsked, 4*time.Second)
	c.advance(time.Second)
	r.observe(logbridge.LineSeen, debug)
	c.advance(time.Second)
	r.observe(logbridge.LineSeen, debug)
	r.wantState(t, StateSeen, 5*time.Second)
	if s := r.State(id); !s.LastSeen.Equal(c.now()) || !s.Connected {
		t.Errorf("%+v", s)
	}

	// Extended at the same level, it is still seen, and changed when it changed first.
	s := r.set(t, id, debugFor(2*time.Hour))
	if s.State != StateSeen || !s.ChangedAt.Equal(begin.Add(time.Second)) {
		t.Errorf("after an extension: %+v", s)
	}

	// Cleared, it starts anew.
	must(t, r.Clear(t.Context(), id, alice, ""))
	r.wantState(t, StateOffline, 6*time.Second)
	r.observe(logbridge.LevelAsked, errorLevel)
	r.wantState(t, StateAsked, 6*time.Second)

	// A base that changes is a change, unless the level stays the same.
	c.advance(time.Second)
	must(t, r.SetBase(t.Context(), id.Product, errorLevel, alice, ""))
	r.wantState(t, StateAsked, 6*time.Second)
	c.advance(time.Second)
	must(t, r.SetBase(t.Context(), id.Product, logbridge.LevelInfo, alice, "why"))
	r.wantState(t, StateOffline, 8*time.Second)
	if s := r.State(id); s.SetBy != "alice" || s.Reason != "why" {
		t.Errorf("who and why of the base: %+v", s)
	}
	r.observe(logbridge.LevelAsked, logbridge.LevelInfo)
	c.advance(time.Second)
	must(t, r.ClearBase(t.Context(), id.Product, alice, ""))
	r.wantState(t, StateOffline, 9*time.Second)

	// An answer during an earlier raise says nothing about a new one to the same level.
	r.set(t, id, debugFor(time.Hour))
	r.wantState(t, StateOffline, 9*time.Second)

	// At level off nothing arrives, so asked is the furthest.
	r.set(t, id, Change{Level: logbridge.LevelOff})
	r.observe(logbridge.LineSeen, logbridge.LevelOff)
	r.observe(logbridge.LevelAsked, logbridge.LevelOff)
	r.wantState(t, StateAsked, 9*time.Second)
}

// TestTakeover: a device that connects anew may be reported as connected before its old connection is reported as gone.
func TestTakeover(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	for _, step := range []struct {
		event     logbridge.ObservedEvent
		connected bool
	}{
		{logbridge.DeviceConnected, true}, {logbridge.DeviceConnected, true}, {logbridge.DeviceDisconnected, true},
		{logbridge.DeviceDisconnected, false}, {logbridge.DeviceDisconnected, false}, {logbridge.DeviceConnected, true},
	} {
		r.observe(step.event, 0)
		if s := r.State(id); s.Connected != step.connected {
			t.Errorf("after %d: connected %v", step.event, s.Connected)
		}
	}
	if s := r.State(other); s.Connected || !s.LastSeen.IsZero() || s.State != StateOffline {
		t.Errorf("one that was never seen: %+v", s)
	}
}
