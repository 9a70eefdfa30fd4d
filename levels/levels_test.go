package levels

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

func TestTheMostSpecificDecides(t *testing.T) {
	n := start(t, t.TempDir())
	r := open(t, n, newClock(), Config{})
	ctx := t.Context()
	r.want(t, id, logbridge.LevelError)
	must(t, r.SetBase(ctx, "", logbridge.LevelWarn, alice, ""))
	r.want(t, id, logbridge.LevelWarn)
	if _, own := r.ProductBase(id.Product); own {
		t.Error("the product has a base of its own")
	}
	must(t, r.SetBase(ctx, id.Product, logbridge.LevelInfo, alice, ""))
	r.want(t, id, logbridge.LevelInfo)
	r.want(t, logbridge.DeviceID{Product: "0123456789", Device: "d"}, logbridge.LevelWarn)
	s := r.set(t, id, debugFor(time.Hour))
	if s.Desired != logbridge.LevelDebug || s.Base != logbridge.LevelInfo || !s.Expires.Equal(begin.Add(time.Hour)) || s.SetBy != "alice" ||
		s.Reason != "looking into timeouts" || !s.ChangedAt.Equal(begin) || s.State != StateOffline {
		t.Errorf("state %+v", s)
	}
	r.want(t, id, logbridge.LevelDebug)
	r.want(t, other, logbridge.LevelInfo)
	if o := r.Overrides(); len(o) != 1 || o[0].Device != id || o[0].Desired != logbridge.LevelDebug || r.Stats().Overrides[logbridge.LevelDebug] != 1 {
		t.Errorf("overrides %v, stats %v", o, r.Stats())
	}
	must(t, r.Clear(ctx, id, alice, ""))
	r.want(t, id, logbridge.LevelInfo)
	wantKind(t, "clear again", r.Clear(ctx, id, alice, ""), logbridge.ErrNotFound)
	must(t, r.ClearBase(ctx, id.Product, alice, ""))
	r.want(t, id, logbridge.LevelWarn)
	wantKind(t, "clear base again", r.ClearBase(ctx, id.Product, alice, ""), logbridge.ErrNotFound)
	must(t, r.SetBase(ctx, "", logbridge.LevelOff, alice, "")) // silence can be had
	r.want(t, id, logbridge.LevelOff)
	must(t, r.ClearBase(ctx, "", alice, ""))
	r.want(t, id, logbridge.LevelError)
	if len(r.Overrides()) > 0 {
		t.Error("overrides are left")
	}
}

func TestSetIsChecked(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{Cap: 2 * time.Hour, Default: time.Hour, GlobalBase: logbridge.LevelWarn})
	const info, errorLevel = logbridge.LevelInfo, logbridge.LevelError
	for _, row := range []struct {
		name   string
		c      Change
		length time.Duration // -1: refused
	}{
		{"default length", Change{Level: info, Reason: "r"}, time.Hour},
		{"said", Change{Level: info, Reason: "r", For: time.Second}, time.Second},
		{"the cap", Change{Level: info, Reason: "r", For: 2 * time.Hour}, 2 * time.Hour},
		{"permanent", Change{Level: info, Reason: "r", Permanent: true}, 0},
		{"lower", Change{Level: errorLevel, Reason: "r"}, 0},
		{"off", Change{Level: logbridge.LevelOff, Reason: "r"}, 0},
		{"the base", Change{Level: logbridge.LevelWarn, Reason: "r"}, 0},
		{"lower for a week", Change{Level: errorLevel, Reason: "r", For: 7 * 24 * time.Hour}, 7 * 24 * time.Hour},
		{"no reason", Change{Level: info, For: time.Minute}, -1},
		{"lower without reason", Change{Level: errorLevel}, -1},
		{"blank reason", Change{Level: info, Reason: " \t", For: time.Minute}, -1},
		{"permanent without reason", Change{Level: info, Permanent: true}, -1},
		{"too short", Change{Level: info, Reason: "r", For: time.Second - 1}, -1},
		{"negative", Change{Level: info, Reason: "r", For: -time.Hour}, -1},
		{"above the cap", Change{Level: info, Reason: "r", For: 2*time.Hour + 1}, -1},
		{"lower for ever", Change{Level: errorLevel, Reason: "r", For: maxFor + 1}, -1},
		{"both", Change{Level: info, Reason: "r", For: time.Hour, Permanent: true}, -1},
		{"level", Change{Level: 5, Reason: "r"}, -1},
		{"reason of two lines", Change{Level: info, Reason: "a\nb"}, -1},
		{"long reason", Change{Level: info, Reason: strings.Repeat("x", maxReason+1)}, -1},
	} {
		row.c.By = alice
		s, err := r.Set(t.Context(), id, row.c)
		switch {
		case row.length < 0:
			wantKind(t, row.name, err, logbridge.ErrInvalid)
		case err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.length == 0 && !s.Expires.IsZero(), row.length > 0 && !s.Expires.Equal(begin.Add(row.length)):
			t.Errorf("%s: ends at %v, want after %s", row.name, s.Expires, row.length)
		}
	}
	_, err := r.Set(t.Context(), id, Change{Level: errorLevel, Reason: "r"})
	wantKind(t, "nobody", err, logbridge.ErrInvalid)
	_, err = r.Set(t.Context(), logbridge.DeviceID{Product: id.Product}, Change{Level: errorLevel, Reason: "r", By: alice})
	wantKind(t, "no device", err, logbridge.ErrInvalid)
	wantKind(t, "no product", r.SetBase(t.Context(), "x", errorLevel, alice, ""), logbridge.ErrInvalid)
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Cap: time.Millisecond}, {Default: 48 * time.Hour}, {Default: -1}, {GlobalBase: 7}} {
		_, err := cfg.withDefaults()
		wantKind(t, fmt.Sprint(cfg), err, logbridge.ErrInvalid)
	}
	if cfg, err := (Config{Cap: time.Minute}).withDefaults(); err != nil || cfg.Default != time.Minute {
		t.Errorf("%v, %v", cfg, err)
	}
}

func TestEveryChangeIsToldOnceAndRecorded(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	stop := r.run(t)
	ctx := t.Context()
	r.set(t, id, debugFor(0))
	if c := recv(t, r.changes); c != (logbridge.LevelChange{Product: id.Product, Device: id.Device}) {
		t.Errorf("told %v", c)
	}
	if got, want := r.audit.next(t), "audit|ABCDE12345/dev:01: log level set to debug for 30m0s by alice: looking into timeouts|"+
		"action=level.set,actor=alice,address=192.0.2.7,product=ABCDE12345,device=dev:01,outcome=done,before=error,after=debug,reason=looking into timeouts,expires=2026-11-21T11:25:44Z\n"+
		"device/ABCDE12345/dev:01|log level set to debug for 30m0s by alice: looking into timeouts|"+
		"action=level.set,actor=alice,address=192.0.2.7,product=ABCDE12345,device=dev:01,outcome=done,before=error,after=debug,reason=looking into timeouts,expires=2026-11-21T11:25:44Z"; got != want {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	must(t, r.SetBase(ctx, id.Product, logbridge.LevelWarn, alice, "more"))
	must(t, r.SetBase(ctx, id.Product, logbridge.LevelWarn, alice, "more")) // changes nothing
	if c := recv(t, r.changes); c != (logbridge.LevelChange{Product: id.Product}) {
		t.Errorf("told %v", c)
	}
	if got, want := r.audit.next(t), "audit|base level of product ABCDE12345 set to warn by alice: more|"+
		"action=base.set,actor=alice,address=192.0.2.7,product=ABCDE12345,outcome=done,before=error,after=warn,reason=more"; got != want {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	must(t, r.Clear(ctx, id, alice, "found it"))
	recv(t, r.changes)
	if got := r.audit.next(t); !strings.Contains(got, "device/ABCDE12345/dev:01|log level back to warn by alice: found it|action=level.clear") {
		t.Errorf("recorded %s", got)
	}
	must(t, r.SetBase(ctx, "", logbridge.LevelInfo, alice, ""))
	if c := recv(t, r.changes); c != (logbridge.LevelChange{}) {
		t.Errorf("told %v", c)
	}
	if got := r.audit.next(t); !strings.HasPrefix(got, "audit|base level of everyone set to info by alice|") {
		t.Errorf("recorded %s", got)
	}
	stop()
	if len(r.changes)+len(r.audit.batches) > 0 {
		t.Errorf("%d more changes, %d more records", len(r.changes), len(r.audit.batches))
	}
}

// TestChangesOfOneDeviceAreToldTogether while the listener is busy, and none is lost.
func TestChangesOfOneDeviceAreToldTogether(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	var seen []logbridge.Level
	busy, free := make(chan bool), make(chan bool)
	r.OnChange(func(...logbridge.LevelChange) {
		seen = append(seen, r.Effective(id))
		busy <- true
		<-free
	})
	r.run(t)
	r.set(t, id, debugFor(0))
	recv(t, busy)
	for range 3 {
		r.set(t, id, Change{Level: logbridge.LevelWarn, Reason: "r"})
		r.set(t, id, Change{Level: logbridge.LevelInfo, Reason: "r"})
	}
	free <- true
	recv(t, busy)
	if len(seen) != 2 || seen[0] != logbridge.LevelDebug || seen[1] != logbridge.LevelInfo {
		t.Errorf("levels when told: %v", seen)
	}
	free <- true
}

func TestAuditFailureIsCountedAndUndoesNothing(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.audit.fail = logbridge.ErrUnavailable
	r.set(t, id, debugFor(0))
	r.want(t, id, logbridge.LevelDebug)
	if n := r.Stats().AuditFailures; n != 2 {
		t.Errorf("%d failures counted, want 2", n)
	}
}

func TestAuditOutlivesItsCaller(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.appendAudit(ctx, []logbridge.Record{{Source: logbridge.SourceAudit, Severity: logbridge.LevelInfo, Time: begin, ObservedTime: begin}})
	if r.Stats().AuditFailures > 0 || len(r.audit.batches) != 1 {
		t.Error("the record went with its caller")
	}
}

func TestAnotherNode(t *testing.T) {
	n := start(t, t.TempDir())
	c := newClock()
	a, b := open(t, n, c, Config{}), open(t, n, c, Config{})
	a.run(t)
	b.run(t)
	a.set(t, id, debugFor(time.Minute))
	recv(t, a.changes)
	recv(t, b.changes)
	b.want(t, id, logbridge.LevelDebug)
	if s := b.State(id); s.SetBy != "alice" || !s.Expires.Equal(begin.Add(time.Minute)) || !s.ChangedAt.Equal(begin) {
		t.Errorf("state at the other node: %+v", s)
	}
	a.audit.next(t)

	c.advance(time.Minute) // both try to end it, one records it
	recv(t, a.changes)
	recv(t, b.changes)
	var got string
	select {
	case batch := <-a.audit.batches:
		got = batch[0].Body
	case batch := <-b.audit.batches:
		got = batch[0].Body
	}
	if want := id.String() + ": log level back to error: expired"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	must(t, a.SetBase(t.Context(), "", logbridge.LevelWarn, alice, "")) // comes after whatever else there is
	recv(t, a.changes)
	recv(t, b.changes)
	a.audit.next(t)
	if len(a.audit.batches)+len(b.audit.batches) > 0 {
		t.Error("the end is recorded twice")
	}
}

func TestForget(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.set(t, id, debugFor(0))
	r.Observe(logbridge.Observation{Device: id, Event: logbridge.DeviceConnected, Time: begin})
	must(t, r.Forget(t.Context(), id, alice))
	must(t, r.Forget(t.Context(), id, alice))
	r.Observe(logbridge.Observation{Device: id, Event: logbridge.DeviceDisconnected, Time: begin})
	r.want(t, id, logbridge.LevelError)
	if s := r.State(id); s.Connected || !s.LastSeen.IsZero() || !s.ChangedAt.IsZero() || len(r.fleet.of) > 0 {
		t.Errorf("still known: %+v", s)
	}
}

// TestLateWords: what is observed of a device after it was deleted brings nothing back; one that was never seen here may have been
// told through an outside broker.
func TestLateWords(t *testing.T) {
	r := openWith(t, start(t, t.TempDir()), newClock(), Config{}, newDevices(other))
	r.Observe(
		logbridge.Observation{Device: id, Event: logbridge.LevelSent, Level: logbridge.LevelError, Time: begin},
		logbridge.Observation{Device: id, Event: logbridge.LevelAcked, Level: logbridge.LevelError, Time: begin},
		logbridge.Observation{Device: other, Event: logbridge.DeviceDisconnected, Time: begin})
	if len(r.fleet.of) > 0 {
		t.Errorf("known: %v", r.fleet.of)
	}
	r.Observe(logbridge.Observation{Device: other, Event: logbridge.LevelSent, Level: logbridge.LevelError, Time: begin})
	if s := r.State(other); s.State != StateSent {
		t.Errorf("state %s, want %s", s.State, StateSent)
	}
}

func FuzzDecodeRule(f *testing.F) {
	f.Add([]byte(`{"level":"debug","expires_at":"2026-11-21T10:55:44.123456789Z","reason":"r","set_by":"alice","address":"192.0.2.7","set_at":"2026-11-21T10:55:44Z","since":"2026-11-21T10:55:44Z"}`))
	f.Add([]byte(`{"level":4,"future":{}}`))
	f.Add([]byte(`{"level":null}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRule(id, b)
		if err != nil {
			return
		}
		if !r.Level.Valid() {
			t.Fatalf("level %d", r.Level)
		}
		again, err := encodeRule(id, r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeRule(id, again); err != nil || !back.Expires.Equal(r.Expires) || back.Level != r.Level || back.Reason != r.Reason {
			t.Errorf("%+v became %+v, %v", r, back, err)
		}
	})
}

func TestUnreadableRuleIsPassedOver(t *testing.T) {
	n := start(t, t.TempDir())
	r := open(t, n, newClock(), Config{})
	r.set(t, other, debugFor(0))
	for _, v := range []string{`{}`, `{"level":7}`, `not json`} {
		_, err := r.store.KV().PutString(t.Context(), natsd.Key(ruleKind, id.Product, id.Device), v)
		must(t, err)
		r := open(t, n, newClock(), Config{})
		r.want(t, id, logbridge.LevelError)
		r.want(t, other, logbridge.LevelDebug)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.set(t, id, debugFor(0))
	r.Observe(logbridge.Observation{Device: id, Event: logbridge.DeviceConnected, Time: begin})
	var sum logbridge.Level
	if n := testing.AllocsPerRun(100, func() {
		sum += r.Effective(id) + r.Effective(other)
		r.Observe(logbridge.Observation{Device: id, Event: logbridge.LevelAsked, Level: logbridge.LevelDebug, Time: begin})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
