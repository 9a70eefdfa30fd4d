package levels

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestRulesAreBounded(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	for i := range maxRules {
		must(t, r.putRule(t.Context(), newWide(logbridge.LevelRule{ID: fmt.Sprint("r", i), Selector: product, Level: logbridge.LevelDebug})))
	}
	_, _, err := r.AddRule(t.Context(), wish(product, logbridge.LevelInfo))
	wantKind(t, "one too many", err, logbridge.ErrInvalid)
	if got := r.audit.next(t); !strings.Contains(got, "refused") {
		t.Errorf("recorded %s", got)
	}
	must(t, r.ClearRule(t.Context(), "r7", alice, ""))
	r.rule(t, wish(product, logbridge.LevelInfo))
}

// TestRememberedRules compares what devices of the fleet remember with a search among all rules, while rules come, change, end
// and go, and tags change.
func TestRememberedRules(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	const n = 24
	r.fleetOf(n)
	rnd := rand.New(rand.NewPCG(3, 4))
	live := map[string]*wide{}
	selector := func() logbridge.LevelSelector {
		s := logbridge.LevelSelector{Product: id.Product}
		if rnd.IntN(3) == 0 {
			s.Product = ""
		}
		if rnd.IntN(2) == 0 || s.Product == "" {
			s.DeviceGlob = [...]string{"dev_*", "dev_00*", "dev_01?", "dev_0[01][0-4]"}[rnd.IntN(4)]
		}
		if rnd.IntN(3) == 0 {
			s.Percent = [...]float64{20, 50, 80}[rnd.IntN(3)]
		}
		if rnd.IntN(3) == 0 {
			s.Tags = map[string]string{"site": fmt.Sprint(rnd.IntN(2))}
		}
		return s
	}
	for round := range 5000 {
		var before, after *wide
		key := fmt.Sprint("r", rnd.IntN(12))
		before = live[key]
		switch rnd.IntN(6) {
		case 0, 1: // a new one
			if before != nil {
				continue
			}
			w := newWide(logbridge.LevelRule{ID: key, Selector: selector(), Priority: rnd.IntN(3), Level: logbridge.Level(rnd.IntN(5)), Created: c.now(), ChangedAt: c.now()})
			after = &w
		case 2: // another percentage or end
			if before == nil {
				continue
			}
			rule := before.LevelRule
			rule.Selector.Percent, rule.ChangedAt, rule.Expires = [...]float64{0, 30, 60}[rnd.IntN(3)], c.now(), c.now().Add(time.Duration(rnd.IntN(20))*time.Second)
			w := newWide(rule)
			after = &w
		case 3: // gone
			if before == nil {
				continue
			}
		case 4:
			i := rnd.IntN(n)
			r.devices.put(dev(i), map[string]string{"site": fmt.Sprint(rnd.IntN(3))})
			r.Retagged(dev(i))
			continue
		case 5:
			c.advance(time.Duration(rnd.IntN(3)) * time.Second)
			continue
		}
		if live[key] = after; after == nil {
			delete(live, key)
		}
		r.wideChanged(key, before, after, uint64(round))
		for i := range n {
			s := r.fleet.get(dev(i))
			remembered, searched := r.decide(dev(i), s, c.now()), r.decide(dev(i), nil, c.now())
			if remembered.wide != searched.wide || r.Effective(dev(i)) != searched.level {
				t.Fatalf("round %d, %s: remembered %+v, level %s, found %+v", round, dev(i), remembered.wide, r.Effective(dev(i)), searched.wide)
			}
		}
	}
}

func FuzzDecodeWide(f *testing.F) {
	f.Add([]byte(`{"product":"ABCDE12345","device_glob":"dev-[0-4]*","tags":{"site":"lab"},"percent":12.5,"priority":3,"level":"debug","expires_at":"2026-11-21T10:55:44.123456789Z","reason":"r","set_by":"alice","address":"192.0.2.7","created":"2026-11-21T10:55:44Z","changed_at":"2026-11-21T10:55:44Z"}`))
	f.Add([]byte(`{"percent":0.01,"level":4,"future":{}}`))
	f.Add([]byte(`{"level":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := decodeWide("x", b)
		if err != nil {
			return
		}
		if !w.Level.Valid() || w.Selector.Validate() != nil || w.slots < 0 || w.slots > logbridge.Slots {
			t.Fatalf("%+v", w)
		}
		again, err := encodeWide("x", w)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeWide("x", again); err != nil || order(&back, &w) != 0 || back.Selector.String() != w.Selector.String() || !back.Expires.Equal(w.Expires) {
			t.Errorf("%+v became %+v, %v", w, back, err)
		}
	})
}

// TestLookIsDecideInShort looks at devices with levels of every kind of origin, one of them never seen, before and after rules are over;
// nobody deletes those, since Run does not run.
func TestLookIsDecideInShort(t *testing.T) {
	c := newClock()
	l := openWith(t, start(t, t.TempDir()), c, Config{}, newDevices(id, other, dev(1), dev(2), dev(3)))
	for _, d := range []logbridge.DeviceID{id, other, dev(1), dev(2)} {
		l.Observe(logbridge.Observation{Device: d, Event: logbridge.DeviceConnected, Time: begin})
	}
	set := func(d logbridge.DeviceID, level logbridge.Level, length time.Duration) {
		_, err := l.Set(t.Context(), d, Change{Level: level, For: length, Permanent: length == 0, Reason: "r", By: alice})
		must(t, err)
	}
	rule := func(glob string, level logbridge.Level, length time.Duration) {
		_, _, err := l.AddRule(t.Context(), logbridge.RuleWish{Selector: logbridge.LevelSelector{Product: id.Product, DeviceGlob: glob}, Level: level,
			For: length, Permanent: length == 0, Reason: "r", By: alice})
		must(t, err)
	}
	set(id, logbridge.LevelDebug, 2*time.Minute)
	set(dev(1), logbridge.LevelOff, 0)
	rule("", logbridge.LevelWarn, 6*time.Minute)
	rule("dev*", logbridge.LevelInfo, 4*time.Minute)
	for minute := range 8 {
		if minute == 5 {
			rule("none*", logbridge.LevelInfo, 0) // at which all are looked at again
		}
		now := c.now()
		for d := range l.devices.Devices(id.Product) {
			s := l.fleet.get(d.ID)
			want := l.decide(d.ID, s, now)
			state := want.state(s, now)
			w, seen := l.look(d.ID, now)
			if w.level != want.level || w.own != want.own || w.wide != want.wide || !w.expires.Equal(want.expires) || seen.state != state.State || seen.connected != state.Connected {
				t.Errorf("%s after %s: %+v %+v, want %+v, %s", d.ID, now.Sub(begin), w, seen, want, state.State)
			}
		}
		c.advance(time.Minute)
	}
}
