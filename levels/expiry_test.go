package levels

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/nats-io/nats.go/jetstream"
)

// stored reports whether the device has a rule in the bucket.
func (r *rig) stored(t *testing.T, id logbridge.DeviceID) bool {
	t.Helper()
	_, err := r.store.KV().Get(t.Context(), natsd.Key(ruleKind, id.Product, id.Device))
	if err != nil && err != jetstream.ErrKeyNotFound {
		t.Fatal(err)
	}
	return err == nil
}

func TestRaiseEndsByItself(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	r.run(t)
	r.set(t, id, debugFor(10*time.Minute))
	r.set(t, other, debugFor(time.Hour))
	recv(t, r.changes)
	recv(t, r.changes)
	r.audit.next(t)
	r.audit.next(t)
	c.advance(10*time.Minute - 1)
	r.want(t, id, logbridge.LevelDebug)
	c.advance(1)
	r.want(t, id, logbridge.LevelError) // at once, whether or not Run has come to it
	if got := recv(t, r.changes); got.Device != id.Device {
		t.Errorf("told of %v", got)
	}
	if got, want := r.audit.next(t), "device/ABCDE12345/dev:01|log level back to error: expired|action=level.expire,actor=expiry,product=ABCDE12345,device=dev:01,outcome=done,before=debug,after=error,reason=expired,expires=2026-11-21T11:05:44Z"; !strings.HasSuffix(got, want) {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	if r.stored(t, id) || !r.stored(t, other) {
		t.Error("the bucket holds something else")
	}
	r.want(t, other, logbridge.LevelDebug)
	if s := r.State(id); !s.ChangedAt.Equal(begin.Add(10*time.Minute)) || s.Desired != logbridge.LevelError || !s.Expires.IsZero() || s.Reason != "" {
		t.Errorf("state after the end: %+v", s)
	}
}

// TestEndAfterTheClockWasSet: an end is a time of day. The level is that of the new time at once, the rule goes within
// lookAgain, and set back means longer.
func TestEndAfterTheClockWasSet(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	r.run(t)
	r.set(t, id, debugFor(30*time.Minute))
	recv(t, r.changes)
	c.step(-time.Hour)
	c.advance(time.Hour)
	r.want(t, id, logbridge.LevelDebug)
	c.armed()
	c.step(time.Hour)
	r.want(t, id, logbridge.LevelError)
	c.advance(lookAgain)
	if got := recv(t, r.changes); got.Device != id.Device || r.stored(t, id) {
		t.Errorf("told of %v, still in the bucket: %v", got, r.stored(t, id))
	}
}

func TestEndSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	c := newClock()
	n := start(t, dir)
	r := open(t, n, c, Config{})
	stop := r.run(t)
	r.set(t, id, debugFor(time.Minute))
	r.set(t, other, debugFor(time.Hour))
	recv(t, r.changes)
	recv(t, r.changes)
	stop()
	end(n)

	c.advance(time.Minute) // one is due while nobody runs
	r = open(t, start(t, dir), c, Config{})
	r.want(t, id, logbridge.LevelError)
	r.want(t, other, logbridge.LevelDebug)
	if o := r.Overrides(); len(o) != 1 || o[0].Device != other {
		t.Errorf("overrides %v", o)
	}
	r.run(t)
	if got := recv(t, r.changes); got.Device != id.Device {
		t.Errorf("told of %v", got)
	}
	if got := r.audit.next(t); !strings.Contains(got, "back to error: expired") {
		t.Errorf("recorded %s", got)
	}
	c.advance(time.Hour) // the other's plan came back with the restart
	if got := recv(t, r.changes); got.Device != other.Device {
		t.Errorf("told of %v", got)
	}
	if r.stored(t, id) || r.stored(t, other) {
		t.Error("a rule is left in the bucket")
	}
}

func TestEndIsSkippedWhenReplacedOrCleared(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	r.run(t)
	r.set(t, id, debugFor(time.Minute))
	recv(t, r.changes)
	r.set(t, id, debugFor(time.Hour)) // longer
	recv(t, r.changes)
	r.set(t, other, debugFor(time.Minute))
	recv(t, r.changes)
	must(t, r.Clear(t.Context(), other, alice, ""))
	recv(t, r.changes)
	r.set(t, other, Change{Level: logbridge.LevelInfo, Permanent: true, Reason: "r"})
	recv(t, r.changes)
	for range 5 {
		r.audit.next(t)
	}
	if len(r.due.byID) != 1 {
		t.Errorf("%d ends are planned, want 1", len(r.due.byID))
	}
	c.advance(2 * time.Minute)
	r.want(t, id, logbridge.LevelDebug)
	r.want(t, other, logbridge.LevelInfo)
	c.advance(time.Hour)
	if got := recv(t, r.changes); got.Device != id.Device {
		t.Errorf("told of %v", got)
	}
	r.audit.next(t)
	r.want(t, id, logbridge.LevelError)
	r.want(t, other, logbridge.LevelInfo)
	if len(r.changes)+len(r.audit.batches) > 0 {
		t.Error("something else ended")
	}
}

// TestSetAgainstExpiry sets a level at the very moment at which the former one ends. Whoever is first, the new level
// must be there afterwards, here and in the bucket.
func TestSetAgainstExpiry(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	r.run(t)
	for round := range 50 {
		r.set(t, id, debugFor(time.Minute))
		var wg sync.WaitGroup
		wg.Go(func() { c.advance(time.Minute) })
		wg.Go(func() {
			if _, err := r.Set(t.Context(), id, Change{Level: logbridge.LevelInfo, For: time.Hour, Reason: "r", By: alice}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		r.want(t, id, logbridge.LevelInfo)
		if !r.stored(t, id) {
			t.Fatalf("round %d: the new rule is not in the bucket", round)
		}
		for len(r.changes) > 0 {
			<-r.changes
		}
		for len(r.audit.batches) > 0 {
			<-r.audit.batches
		}
	}
	c.advance(time.Hour)
	for r.stored(t, id) { // the last rule still ends
		recv(t, r.changes)
	}
}

// TestStaleNodeDoesNotEndANewerRule lets a node that hears nothing come to the end of a rule which another replaced.
func TestStaleNodeDoesNotEndANewerRule(t *testing.T) {
	n := start(t, t.TempDir())
	c := newClock()
	a, deaf := open(t, n, c, Config{}), open(t, n, c, Config{})
	deaf.set(t, id, debugFor(time.Minute))
	deaf.audit.next(t)
	a.set(t, id, debugFor(time.Hour))
	c.advance(time.Minute)
	deaf.expire(t.Context(), deaf.due.pop(c.now(), 10))
	if !a.stored(t, id) || len(deaf.audit.batches) > 0 {
		t.Error("the newer rule was ended")
	}
}

func TestEndIsTriedAgain(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	r.set(t, id, debugFor(time.Minute))
	r.audit.next(t)
	c.advance(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // as good as a store that does not answer
	r.expire(ctx, r.due.pop(c.now(), 10))
	r.want(t, id, logbridge.LevelError)
	if next, any := r.due.next(); !any || !next.Equal(c.now().Add(retryAfter)) || len(r.audit.batches) > 0 {
		t.Fatalf("not planned again: %v %v", next, any)
	}
	r.run(t)
	c.advance(retryAfter)
	for range 2 { // the setting before Run, and the end
		if len(r.changes) == 0 && !r.stored(t, id) {
			break
		}
		recv(t, r.changes)
	}
	r.audit.next(t)
	if r.stored(t, id) {
		t.Error("the rule is left in the bucket")
	}
}

func TestManyEndAtOnce(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{})
	const n = expiryBatch + 50
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				id := logbridge.DeviceID{Product: id.Product, Device: fmt.Sprint("d", i)}
				if _, err := r.Set(t.Context(), id, Change{Level: logbridge.LevelDebug, For: time.Minute, Reason: "r", By: alice}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for len(r.audit.batches) > 0 {
		<-r.audit.batches
	}
	c.advance(time.Minute)
	r.run(t)
	records := 0
	for records < 2*n {
		batch := recv(t, r.audit.batches)
		if len(batch) > 2*expiryBatch {
			t.Errorf("a batch of %d records", len(batch))
		}
		records += len(batch)
	}
	if records != 2*n || r.rules.Len() != 0 {
		t.Errorf("%d records, %d rules left", records, r.rules.Len())
	}
}

// TestSchedule compares the heap with a map.
func TestSchedule(t *testing.T) {
	s := newSchedule[logbridge.DeviceID]()
	model := map[logbridge.DeviceID]deadline[logbridge.DeviceID]{}
	r := rand.New(rand.NewPCG(1, 2))
	now := begin
	for range 20_000 {
		id := logbridge.DeviceID{Device: fmt.Sprint(r.IntN(50))}
		d := deadline[logbridge.DeviceID]{id: id, at: now.Add(time.Duration(r.IntN(1000))), revision: r.Uint64()}
		switch r.IntN(5) {
		case 0, 1:
			s.plan(id, d.at, d.revision)
			model[id] = d
		case 2:
			s.cancel(id)
			delete(model, id)
		case 3:
			s.retry(d, d.at)
			if _, ok := model[id]; !ok {
				model[id] = d
			}
		case 4:
			now = now.Add(time.Duration(r.IntN(100)))
			last := time.Time{}
			for _, d := range s.pop(now, 1000) {
				if m := model[d.id]; m.revision != d.revision || d.at.After(now) || d.at.Before(last) {
					t.Fatalf("popped %v, want %v", d, m)
				}
				last = d.at
				delete(model, d.id)
			}
			for _, m := range model {
				if !m.at.After(now) {
					t.Fatalf("left %v", m)
				}
			}
		}
		if len(s.heap) != len(model) || len(s.byID) != len(model) {
			t.Fatalf("%d in the heap, %d by id, want %d", len(s.heap), len(s.byID), len(model))
		}
	}
}

// TestWallClock runs the real clock once.
func TestWallClock(t *testing.T) {
	l, err := New(t.Context(), start(t, t.TempDir()), newDevices(id), newLog(), Config{}, slog.New(slog.DiscardHandler))
	must(t, err)
	r := &rig{Levels: l, changes: make(chan logbridge.LevelChange, 10)}
	l.OnChange(r.noteChanges)
	r.run(t)
	r.set(t, id, debugFor(time.Second))
	recv(t, r.changes)
	recv(t, r.changes)
	r.want(t, id, logbridge.LevelError)
}
