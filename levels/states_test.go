package levels

import (
	"fmt"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// step is something that a device does, after a while.
type step struct {
	after time.Duration
	event logbridge.ObservedEvent
	level logbridge.Level
	lines int
	dated time.Duration // of lines: before they arrive
	state string        // what the state is then
	since time.Duration // since the beginning of the row; -1 is now
}

// TestEachState goes through the transitions of design.md 5, for a device whose level has just changed.
func TestEachState(t *testing.T) {
	const (
		off, errorLevel, warn, info, debug = logbridge.LevelOff, logbridge.LevelError, logbridge.LevelWarn, logbridge.LevelInfo, logbridge.LevelDebug
		sent, acked, asked, line, says     = logbridge.LevelSent, logbridge.LevelAcked, logbridge.LevelAsked, logbridge.LineSeen, logbridge.LevelAnnounced
		connected, disconnected            = logbridge.DeviceConnected, logbridge.DeviceDisconnected
		s, m                               = time.Second, time.Minute
	)
	for name, row := range map[string]struct {
		level logbridge.Level // it changes to
		steps []step
	}{
		"each in turn": {debug, []step{
			{s, connected, 0, 0, 0, StateOffline, 0},
			{s, sent, debug, 0, 0, StateSent, -1},
			{s, acked, debug, 0, 0, StateAcknowledged, -1},
			{s, asked, debug, 0, 0, StateAsked, -1},
			{s, line, info, 1, 0, StateAsked, 4 * s},
			{s, line, debug, 1, 0, StateSeen, -1},
			{s, line, debug, 1, 0, StateSeen, 6 * s},
			{s, disconnected, 0, 0, 0, StateSeen, 6 * s},
		}},
		"about another level": {debug, []step{
			{s, sent, warn, 0, 0, StateOffline, 0},
			{s, acked, warn, 0, 0, StateOffline, 0},
			{s, asked, warn, 0, 0, StateOffline, 0},
			{s, says, warn, 0, 0, StateOffline, 0},
			{s, asked, debug, 0, 0, StateAsked, -1},
			{s, sent, errorLevel, 0, 0, StateAsked, 5 * s},
		}},
		"its own word": {debug, []step{
			{s, asked, debug, 0, 0, StateAsked, -1},
			{s, line, warn, 1, 0, StateAsked, 1 * s}, // the line that says it
			{0, says, debug, 0, 0, StateSeen, -1},
			{s, line, debug, 1, 0, StateSeen, 2 * s},
		}},
		"its own word at off": {off, []step{{s, says, off, 0, 0, StateSeen, -1}}},
		"lowered, and it goes on": {errorLevel, []step{
			{s, sent, errorLevel, 0, 0, StateSent, -1},
			{61 * s, line, debug, 9, 2 * s, StateSent, 1 * s}, // dated one minute after it was told
			{0, line, errorLevel, 1, 0, StateSeen, -1},
			{0, line, info, 1, 0, StateContradicted, -1},
			{s, line, debug, 1, 0, StateContradicted, 62 * s},
			{s, asked, errorLevel, 0, 0, StateSeen, 62 * s}, // now it knows
			{m, line, debug, 1, 0, StateSeen, 62 * s},
			{s, line, debug, 1, 0, StateContradicted, -1},
			{s, asked, errorLevel, 0, 0, StateContradicted, 125 * s}, // it knew before
		}},
		"lowered, never told": {errorLevel, []step{
			{m, line, debug, 1, 0, StateOffline, 0},
			{s, line, debug, 1, 0, StateContradicted, -1},
		}},
		"a backlog": {errorLevel, []step{
			{5 * m, asked, errorLevel, 0, 0, StateAsked, -1},
			{5 * m, line, debug, 2000, 9*m + 30*s, StateAsked, 5 * m},
		}},
		"errors at off": {off, []step{
			{s, asked, off, 0, 0, StateAsked, -1},
			{5 * m, line, errorLevel, 10, 0, StateAsked, 1 * s},
			{s, line, warn, 1, 0, StateContradicted, -1},
		}},
		"raised, and nothing comes of it": {debug, []step{
			{s, asked, debug, 0, 0, StateAsked, -1},
			{m, line, info, 100, 0, StateAsked, 1 * s}, // may be of before
			{s, line, info, unsupportedLines - 1, 0, StateAsked, 1 * s},
			{s, line, errorLevel, 1, 0, StateUnsupported, -1},
			{s, line, info, 1, 0, StateUnsupported, 63 * s},
			{m, line, debug, 1, 0, StateSeen, -1}, // so it can
			{m, line, info, 100, 0, StateSeen, 124 * s},
		}},
		"raised, told again in another way": {debug, []step{
			{s, sent, debug, 0, 0, StateSent, -1},
			{2 * m, line, info, unsupportedLines, 0, StateUnsupported, -1},
			{s, asked, debug, 0, 0, StateAsked, -1}, // the push may have been lost
			{m, line, info, unsupportedLines, 0, StateAsked, 122 * s},
			{s, line, info, unsupportedLines, 0, StateUnsupported, -1},
		}},
		"raised, never told": {debug, []step{{5 * m, line, info, 100, 0, StateOffline, 0}}},
		"lowered to a level that it has nothing to say at": {warn, []step{
			{s, asked, warn, 0, 0, StateAsked, -1},
			{5 * m, line, errorLevel, 100, 0, StateAsked, 1 * s}, // warn is above this product's base, which is off
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			r := open(t, start(t, t.TempDir()), c, Config{})
			if name == "lowered to a level that it has nothing to say at" {
				must(t, r.SetBase(t.Context(), id.Product, warn, alice, ""))
			}
			r.set(t, id, Change{Level: (row.level + 2) % 5, Permanent: true})
			r.observe(connected, 0)
			for l := range logbridge.LevelDebug + 1 { // what was seen of the former level says nothing about the new one
				r.observe(sent, l)
				r.observe(acked, l)
				r.observe(asked, l)
				r.observe(says, l)
				r.observe(line, l)
			}
			r.observe(disconnected, 0)
			c.advance(s)
			changed := c.now()
			r.set(t, id, Change{Level: row.level, For: 12 * time.Hour})
			for i, step := range row.steps {
				c.advance(step.after)
				r.Observe(logbridge.Observation{Device: id, Event: step.event, Level: step.level, Time: c.now(), Lines: step.lines, Dated: c.now().Add(-step.dated)})
				at := changed.Add(step.since)
				if step.since < 0 {
					at = c.now()
				}
				if got := r.State(id); got.State != step.state || !got.StateTime.Equal(at) {
					t.Errorf("step %d: %s since %s, want %s since %s", i, got.State, got.StateTime.Sub(changed), step.state, at.Sub(changed))
				}
			}
		})
	}
}

// TestWhatWasSeenSurvivesARestart, and a change that came meanwhile makes it old.
func TestWhatWasSeenSurvivesARestart(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	n := start(t, dir)
	r := open(t, n, c, Config{})
	stop := r.run(t)
	r.fleetOf(300)
	r.set(t, dev(1), debugFor(time.Minute))
	c.advance(time.Second)
	tell := func(id logbridge.DeviceID, e logbridge.ObservedEvent, l logbridge.Level) {
		r.Observe(logbridge.Observation{Device: id, Event: e, Level: l, Time: c.now(), Dated: c.now()})
	}
	tell(dev(0), logbridge.LevelAsked, logbridge.LevelError)
	tell(dev(1), logbridge.LevelAsked, logbridge.LevelDebug)
	tell(dev(1), logbridge.LineSeen, logbridge.LevelDebug)
	tell(dev(2), logbridge.LevelSent, logbridge.LevelError)
	tell(dev(3), logbridge.LevelAsked, logbridge.LevelError)
	before := map[int]logbridge.LevelState{}
	for i := range 4 {
		before[i] = r.State(dev(i))
	}
	stop()
	end(n)
	r.devices.remove(dev(3))
	n = start(t, dir)
	r = openWith(t, n, c, Config{}, r.devices)
	for i := range 3 {
		want := before[i]
		want.Connected = false
		if got := r.State(dev(i)); got != want {
			t.Errorf("device %d:\n%+v, want\n%+v", i, got, want)
		}
	}
	if s := r.State(dev(3)); !s.LastSeen.IsZero() {
		t.Errorf("a deleted device is still known: %+v", s)
	}
	stop = r.run(t)
	must(t, r.Forget(t.Context(), dev(2), alice))
	c.advance(saveEvery)
	for _, i := range []int{0, 1} {
		tell(dev(i), logbridge.LineSeen, logbridge.LevelInfo)
	}
	stop()
	end(n)
	c.advance(time.Hour)
	r = openWith(t, start(t, dir), c, Config{}, r.devices)
	if s := r.State(dev(1)); s.State != StateOffline || s.Desired != logbridge.LevelError || !s.ChangedAt.Equal(begin.Add(time.Minute)) {
		t.Errorf("after the end of its level: %+v", s)
	}
	if s := r.State(dev(0)); s.State != StateAsked || !s.LastSeen.Equal(begin.Add(time.Second+saveEvery)) {
		t.Errorf("saved again: %+v", s)
	}
	if s := r.State(dev(2)); !s.LastSeen.IsZero() {
		t.Errorf("forgotten, and there again: %+v", s)
	}
}

// TestSaveIsTriedAgain after a write that failed.
func TestSaveIsTriedAgain(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	n := start(t, dir)
	r := open(t, n, c, Config{})
	r.fleetOf(50)
	full := fmt.Errorf("%w: disk full", logbridge.ErrUnavailable)
	room := r.saved.room
	r.saved.room = func(uint64) error { return full }
	r.save(t.Context())
	r.saved.room = room
	r.save(t.Context())
	if left := r.changedShards(); len(left) > 0 {
		t.Errorf("%d shards are left to save", len(left))
	}
	r = openWith(t, n, c, Config{}, r.devices)
	for i := range 50 {
		if s := r.State(dev(i)); !s.LastSeen.Equal(begin) {
			t.Errorf("device %d was not saved: %+v", i, s)
		}
	}
}

func FuzzDecodeShard(f *testing.F) {
	s := sighting{level: 4, since: 1, lastSeen: 2, sent: mark{3, 1}, asked: mark{4, 4}}
	s.lines[3] = 1 << 60
	s.lastLine, s.skew, s.skewKnown = 5, -time.Hour, true
	value := appendSighting([]byte{savedVersion}, id, &s)
	f.Add(value)
	f.Add(appendSighting(value, other, &sighting{}))
	f.Add([]byte{savedVersion, 10, 'A'})
	f.Add([]byte{savedVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte{savedVersion}
		if decodeShard(b, func(id logbridge.DeviceID, s *sighting) { again = appendSighting(again, id, s) }) != nil {
			return
		}
		n := 0
		if err := decodeShard(again, func(id logbridge.DeviceID, _ *sighting) {
			if n++; id.Validate() != nil {
				t.Errorf("device %q", id)
			}
		}); err != nil {
			t.Errorf("%d devices: %v", n, err)
		}
	})
}
