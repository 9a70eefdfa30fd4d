package levels

import (
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestActivity(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	n := start(t, dir)
	r := open(t, n, c, Config{})
	if s := r.State(id); !s.LastLine.IsZero() || s.LinesPerMinute != 0 || s.SkewKnown {
		t.Errorf("before the first line: %+v", s)
	}
	c.advance(15*time.Second + 876543211) // 10:56:00
	lines := func(n int, skew time.Duration, known bool) {
		r.Observe(logbridge.Observation{Device: id, Event: logbridge.LineSeen, Level: logbridge.LevelInfo, Time: c.now(), Lines: n, Skew: skew, SkewKnown: known})
	}
	want := func(perMinute float64, skew time.Duration) {
		t.Helper()
		if s := r.State(id); s.LinesPerMinute != perMinute || s.Skew != skew || !s.SkewKnown {
			t.Errorf("%v lines a minute with a skew of %v (%v), want %v and %v", s.LinesPerMinute, s.Skew, s.SkewKnown, perMinute, skew)
		}
	}
	lines(30, time.Hour, true)
	c.advance(30 * time.Second)
	lines(30, 0, false)
	want(60, time.Hour)
	c.advance(45 * time.Second) // a quarter of the next minute
	want(45, time.Hour)
	lines(5, -2*time.Second, true)
	want(50, -2*time.Second)
	last := c.now()
	c.advance(2 * time.Minute)
	want(0, -2*time.Second)
	lines(7, -3*time.Second, true)
	want(7, -3*time.Second) // those of two minutes ago do not count
	c.advance(-time.Hour)
	lines(1, -4*time.Second, true) // a clock that was set back
	want(1, -4*time.Second)
	if s := r.State(id); !s.LastLine.Equal(last.Add(2 * time.Minute)) {
		t.Errorf("last line at %v", s.LastLine)
	}
	if n := testing.AllocsPerRun(100, func() { lines(1, time.Hour, true) }); n > 0 {
		t.Errorf("%v allocations for a line", n)
	}
	r.save(t.Context())
	r = openWith(t, n, c, Config{}, r.devices)
	if s := r.State(id); !s.LastLine.Equal(last.Add(2*time.Minute)) || s.Skew != time.Hour || !s.SkewKnown {
		t.Errorf("saved: %+v", s)
	}
}

// TestBriefs: they say what the states do.
func TestBriefs(t *testing.T) {
	c := newClock()
	r := openWith(t, start(t, t.TempDir()), c, Config{}, newDevices(dev(0), dev(1), dev(2), dev(3)))
	for i := range 3 {
		r.Observe(logbridge.Observation{Device: dev(i), Event: logbridge.DeviceConnected, Time: c.now()})
		r.Observe(logbridge.Observation{Device: dev(i), Event: logbridge.LineSeen, Level: logbridge.LevelError, Time: c.now(), Lines: i + 1, Skew: time.Duration(i) * time.Hour, SkewKnown: true})
	}
	r.Observe(logbridge.Observation{Device: dev(2), Event: logbridge.DeviceDisconnected, Time: c.now()})
	r.set(t, dev(1), debugFor(time.Minute))
	r.set(t, dev(3), debugFor(time.Hour))
	ids := []logbridge.DeviceID{dev(3), dev(0), dev(1), dev(2), {Product: "ABCDE12345", Device: "none"}}
	for range 2 {
		got := make([]logbridge.LevelBrief, len(ids))
		r.Briefs(ids, got)
		for i, id := range ids {
			s := r.State(id)
			if want := (logbridge.LevelBrief{Desired: s.Desired, State: s.State, Connected: s.Connected, LinesPerMinute: s.LinesPerMinute, Skew: s.Skew}); got[i] != want {
				t.Errorf("%s: %+v, want %+v", id, got[i], want)
			}
		}
		c.advance(time.Minute) // a level ends, which nobody has seen to yet
	}
}

// TestSavedBefore: what a version saved that did not know of the last line is read.
func TestSavedBefore(t *testing.T) {
	s := sighting{level: 1, since: 1, lastSeen: 2}
	value := appendSighting([]byte{savedVersion - 1}, id, &s)
	value = value[:len(value)-5] // the bytes of no last line, no lines and no clock
	n := 0
	if err := decodeShard(value, func(got logbridge.DeviceID, s *sighting) {
		if n++; got != id || s.lastSeen != 2 || s.lastLine != 0 {
			t.Errorf("%v %+v", got, s)
		}
	}); err != nil || n != 1 {
		t.Errorf("%d devices, %v", n, err)
	}
}
