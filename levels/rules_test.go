package levels

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func dev(i int) logbridge.DeviceID {
	return logbridge.DeviceID{Product: id.Product, Device: fmt.Sprintf("dev_%03d", i)}
}

// fleetOf registers n devices and connects them.
func (r *rig) fleetOf(n int) {
	for i := range n {
		r.devices.put(dev(i), nil)
		r.Observe(logbridge.Observation{Device: dev(i), Event: logbridge.DeviceConnected, Time: r.clock.now()})
	}
}

func wish(s logbridge.LevelSelector, level logbridge.Level) logbridge.RuleWish {
	return logbridge.RuleWish{Selector: s, Level: level, Reason: "why", By: alice}
}

func (r *rig) rule(t *testing.T, w logbridge.RuleWish) (logbridge.LevelRule, logbridge.RuleReach) {
	t.Helper()
	rule, reach, err := r.AddRule(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return rule, reach
}

// drain takes what was told and recorded so far.
func (r *rig) drain() (changes int) {
	for len(r.audit.batches) > 0 {
		<-r.audit.batches
	}
	for len(r.changes) > 0 {
		<-r.changes
		changes++
	}
	return changes
}

var product = logbridge.LevelSelector{Product: id.Product}

// TestPrecedence adds rules from the least specific to the most, for a device that was seen and for one that was not, and
// takes them away again.
func TestPrecedence(t *testing.T) {
	const errorLevel, warn, info, debug, off = logbridge.LevelError, logbridge.LevelWarn, logbridge.LevelInfo, logbridge.LevelDebug, logbridge.LevelOff
	for _, seen := range []bool{true, false} {
		t.Run(fmt.Sprint("seen ", seen), func(t *testing.T) {
			c := newClock()
			r := open(t, start(t, t.TempDir()), c, Config{})
			r.devices.put(id, map[string]string{"site": "lab"})
			if seen {
				r.Observe(logbridge.Observation{Device: id, Event: logbridge.DeviceConnected, Time: begin})
			}
			with := func(s logbridge.LevelSelector, priority int) logbridge.RuleWish {
				s.Product = id.Product
				return logbridge.RuleWish{Selector: s, Priority: priority, Reason: "r", By: alice, Permanent: true}
			}
			var ids []string
			was := []logbridge.Level{errorLevel}
			for i, row := range []struct {
				w     logbridge.RuleWish
				level logbridge.Level // of the rule
				want  logbridge.Level
			}{
				{with(product, 0), debug, debug},
				{with(product, -1), info, debug},
				{with(product, 1), warn, warn},
				{with(logbridge.LevelSelector{DeviceGlob: "dev:*"}, -5), info, info},
				{with(logbridge.LevelSelector{Percent: 100}, -5), off, off}, // of the same priority the newer
				{with(logbridge.LevelSelector{Tags: map[string]string{"site": "lab"}}, -6), debug, off},
				{with(logbridge.LevelSelector{DeviceGlob: "dev:0?"}, 3), warn, warn},
				{with(logbridge.LevelSelector{DeviceGlob: "dev:01", Tags: map[string]string{"site": "lab"}, Percent: 100}, 4), debug, debug},
				{with(logbridge.LevelSelector{DeviceGlob: "dev:02"}, 9), off, debug},
				{with(logbridge.LevelSelector{Tags: map[string]string{"site": "hall"}}, 9), off, debug},
				{with(logbridge.LevelSelector{Tags: map[string]string{"site": "lab", "floor": "1"}}, 9), off, debug},
			} {
				c.advance(time.Second)
				row.w.Level = row.level
				rule, _ := r.rule(t, row.w)
				if ids = append(ids, rule.ID); r.Effective(id) != row.want {
					t.Fatalf("after rule %d the level is %s, want %s", i, r.Effective(id), row.want)
				}
				was = append(was, row.want)
			}
			r.set(t, id, Change{Level: info, For: time.Minute})
			r.want(t, id, info)
			must(t, r.SetBase(t.Context(), id.Product, off, alice, ""))
			r.want(t, id, info)
			must(t, r.ClearBase(t.Context(), id.Product, alice, ""))
			must(t, r.Clear(t.Context(), id, alice, ""))
			for i := len(ids) - 1; i >= 0; i-- {
				r.want(t, id, was[i+1])
				must(t, r.ClearRule(t.Context(), ids[i], alice, ""))
			}
			r.want(t, id, errorLevel)
			wantKind(t, "cleared again", r.ClearRule(t.Context(), ids[0], alice, ""), logbridge.ErrNotFound)
		})
	}
}

// TestPercentGrows: those of 1 % are among those of 10 %, exactly those are told, and a rule that grows tells only the new.
func TestPercentGrows(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	const n = 200
	r.fleetOf(n)
	r.run(t)
	in := func(percent int) (out []logbridge.DeviceID) {
		for i := range n {
			if dev(i).Slot() < percent*logbridge.Slots/100 {
				out = append(out, dev(i))
			}
		}
		return out
	}
	told := func(want []logbridge.DeviceID) {
		t.Helper()
		var got []string
		for range want {
			c := recv(t, r.changes)
			got = append(got, c.Product+"/"+c.Device)
		}
		for _, id := range want {
			if !slices.Contains(got, id.String()) {
				t.Errorf("%s was not told", id)
			}
		}
	}
	s := product
	s.Percent = 1
	w := wish(s, logbridge.LevelDebug)
	w.DryRun = true
	if rule, reach := r.rule(t, w); rule.ID != "" || reach.Matched != len(in(1)) || reach.Decides != reach.Matched || len(r.Rules()) > 0 || len(r.audit.batches) > 0 {
		t.Errorf("dry run: %+v %+v", rule, reach)
	}
	w.DryRun = false
	rule, reach := r.rule(t, w)
	told(in(1))
	if reach.Matched != len(in(1)) || reach.Connected != reach.Matched || reach.Decides != reach.Matched || reach.Levels[logbridge.LevelDebug] != reach.Matched {
		t.Errorf("reach %+v", reach)
	}
	_, reach, err := r.ChangeRule(t.Context(), rule.ID, logbridge.RuleChange{Percent: 10, By: alice})
	must(t, err)
	told(slices.DeleteFunc(in(10), func(id logbridge.DeviceID) bool { return slices.Contains(in(1), id) }))
	if reach.Matched != len(in(10)) || len(in(10)) <= len(in(1)) {
		t.Errorf("of 10 %%: %+v", reach)
	}
	for i := range n {
		want := logbridge.LevelError
		if slices.Contains(in(10), dev(i)) {
			want = logbridge.LevelDebug
		}
		r.want(t, dev(i), want)
	}
	must(t, r.ClearRule(t.Context(), rule.ID, alice, ""))
	told(in(10))
	must(t, r.SetBase(t.Context(), "", logbridge.LevelWarn, alice, "")) // comes after whatever else there is
	if c := recv(t, r.changes); c != (logbridge.LevelChange{}) {
		t.Errorf("also told: %v", c)
	}
}

func TestLevelsFollowTags(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.fleetOf(1)
	s := product
	s.Tags = map[string]string{"site": "lab"}
	r.rule(t, wish(s, logbridge.LevelDebug))
	r.run(t)
	for _, row := range []struct {
		tags map[string]string
		want logbridge.Level
	}{
		{map[string]string{"site": "lab", "floor": "2"}, logbridge.LevelDebug},
		{map[string]string{"site": "hall"}, logbridge.LevelError},
		{map[string]string{"site": "lab"}, logbridge.LevelDebug},
		{nil, logbridge.LevelError},
	} {
		r.clock.advance(time.Second)
		r.devices.put(dev(0), row.tags)
		r.Retagged(dev(0))
		r.want(t, dev(0), row.want)
		if c := recv(t, r.changes); c.Device != dev(0).Device {
			t.Errorf("told %v", c)
		}
		if s := r.State(dev(0)); !s.ChangedAt.Equal(r.clock.now()) {
			t.Errorf("changed at %v", s.ChangedAt)
		}
	}
	r.devices.remove(dev(0))
	r.Retagged(dev(0))
	r.Retagged(dev(99))
	if len(r.changes) > 0 {
		t.Error("told of what changes nothing")
	}
}

// TestRuleEnds: at its very moment, for each device, over a restart, and not if it was extended or cleared.
func TestRuleEnds(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	n := start(t, dir)
	r := open(t, n, c, Config{})
	r.fleetOf(3)
	stop := r.run(t)
	short, _ := r.rule(t, wish(product, logbridge.LevelDebug))
	if !short.Expires.Equal(begin.Add(30 * time.Minute)) {
		t.Errorf("ends at %v by default", short.Expires)
	}
	w := wish(logbridge.LevelSelector{DeviceGlob: "dev_001"}, logbridge.LevelInfo)
	w.For = time.Hour
	long, _ := r.rule(t, w)
	gone, _ := r.rule(t, wish(logbridge.LevelSelector{DeviceGlob: "dev_002"}, logbridge.LevelWarn))
	must(t, r.ClearRule(t.Context(), gone.ID, alice, ""))
	short, _, err := r.ChangeRule(t.Context(), short.ID, logbridge.RuleChange{For: 40 * time.Minute, By: alice})
	must(t, err)
	if s := r.State(dev(0)); s.Rule != short.ID || !s.Expires.Equal(begin.Add(40*time.Minute)) || s.SetBy != "alice" || s.Reason != "why" || !s.ChangedAt.Equal(begin) {
		t.Errorf("state %+v", s)
	}
	stop()
	end(n)
	c.advance(40*time.Minute - 1)
	n = start(t, dir)
	r = openWith(t, n, c, Config{}, r.devices)
	r.want(t, dev(0), logbridge.LevelDebug)
	r.want(t, dev(1), logbridge.LevelInfo)
	r.fleetOf(3)
	c.advance(1)
	r.want(t, dev(0), logbridge.LevelError) // at once, whether or not Run has come to it
	r.want(t, dev(1), logbridge.LevelInfo)
	r.want(t, dev(9), logbridge.LevelError) // never seen
	if s := r.State(dev(0)); !s.ChangedAt.Equal(begin.Add(40 * time.Minute)) {
		t.Errorf("changed at %v", s.ChangedAt)
	}
	if _, _, err := r.Rule(short.ID); err == nil || len(r.Rules()) != 1 || r.Stats().Rules != 1 {
		t.Errorf("a rule that is over is shown: %v", err)
	}
	_, _, err = r.ChangeRule(t.Context(), short.ID, logbridge.RuleChange{For: time.Hour, By: alice})
	wantKind(t, "extended when it was over", err, logbridge.ErrNotFound)
	r.run(t)
	for range 2 {
		recv(t, r.changes)
	}
	if got := r.audit.next(t); !strings.HasPrefix(got, "audit|rule "+short.ID+" (debug for product=ABCDE12345) expired; 5 devices matched, 3 of them connected, 2 marked|action=level.expire,actor=expiry,product=ABCDE12345,rule=") ||
		!strings.Contains(got, ",outcome=done,before=info 1, debug 4,after=error 4, info 1,reason=expired") {
		t.Errorf("recorded %s", got)
	}
	if got := r.audit.next(t); strings.Count(got, "\n") != 1 || !strings.Contains(got, "device/ABCDE12345/dev_000|log level error: rule "+short.ID) {
		t.Errorf("marked %s", got)
	}
	c.advance(20 * time.Minute)
	recv(t, r.changes)
	r.want(t, dev(1), logbridge.LevelError)
	if len(r.Rules()) > 0 || long.ID == "" || len(r.changes) > 0 {
		t.Error("rules or changes are left")
	}
}

func TestRuleForOneIsRecorded(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.fleetOf(3)
	r.drain()
	r.rule(t, wish(logbridge.LevelSelector{Product: id.Product, DeviceGlob: dev(1).Device}, logbridge.LevelDebug))
	if got := r.audit.next(t); !strings.Contains(got, "; 1 device matched, 1 of them connected, 1 marked|") {
		t.Errorf("recorded %s", got)
	}
}

func TestRuleIsRecorded(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.fleetOf(3)
	r.devices.put(dev(77), nil) // is not connected
	r.set(t, dev(2), Change{Level: logbridge.LevelInfo, Reason: "own"})
	r.drain()
	w := wish(logbridge.LevelSelector{Product: id.Product, DeviceGlob: "dev_0*"}, logbridge.LevelDebug)
	w.Priority, w.For = 7, time.Minute
	rule, _ := r.rule(t, w)
	const attrs = "actor=alice,address=192.0.2.7,product=ABCDE12345,"
	if got, want := r.audit.next(t), "audit|rule "+rule.ID+" (debug for product=ABCDE12345 glob=dev_0*) set for 1m0s by alice: why; 5 devices matched, 3 of them connected, 2 marked|action=rule.set,"+
		attrs+"rule="+rule.ID+",selector=product=ABCDE12345 glob=dev_0*,priority=7,matched=5,connected=3,marked=2,outcome=done,before=error 4, info 1,after=info 1, debug 4,reason=why,expires=2026-11-21T10:56:44Z"; got != want {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	if got, want := r.audit.next(t), "device/ABCDE12345/dev_000|log level debug: rule "+rule.ID+" (debug for product=ABCDE12345 glob=dev_0*) set for 1m0s by alice: why|action=rule.set,actor=alice,address=192.0.2.7,product=ABCDE12345,device=dev_000,rule="+
		rule.ID+",outcome=done,before=error,after=debug,reason=why,expires=2026-11-21T10:56:44Z"; !strings.HasPrefix(got, want+"\n") || strings.Contains(got, "dev_002") {
		t.Errorf("marked\n%s\nwant\n%s", got, want)
	}
	must(t, r.ClearRule(t.Context(), rule.ID, alice, "done"))
	if got := r.audit.next(t); !strings.Contains(got, ") cleared by alice: done; 5 devices matched, 3 of them connected, 2 marked|action=rule.clear,") || !strings.Contains(got, "before=info 1, debug 4,after=error 4, info 1,") {
		t.Errorf("recorded %s", got)
	}
	if got := r.audit.next(t); !strings.Contains(got, "dev_000|log level error: rule") {
		t.Errorf("marked %s", got)
	}
}

// TestRefusalsAreRecorded, with who, what and why.
func TestRefusalsAreRecorded(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	long := strings.Repeat("x", maxReason+1)
	ctx := t.Context()
	rule, _ := r.rule(t, wish(product, logbridge.LevelDebug))
	r.drain()
	for want, err := range map[string]error{
		"audit|ABCDE12345/dev:01: log level debug refused: a change of level needs a reason|action=level.refuse,actor=alice,address=192.0.2.7,product=ABCDE12345,device=dev:01,outcome=refused\ndevice/ABCDE12345/dev:01|": func() error {
			_, err := r.Set(ctx, id, Change{Level: logbridge.LevelDebug, By: alice})
			return err
		}(),
	} {
		wantKind(t, want, err, logbridge.ErrInvalid)
		if got := r.audit.next(t); !strings.HasPrefix(got, want) {
			t.Errorf("recorded\n%s\nwant\n%s", got, want)
		}
	}
	for name, w := range map[string]logbridge.RuleWish{
		"needs a reason":               {Selector: product, Level: logbridge.LevelDebug, By: alice},
		"a selector names":             {Level: logbridge.LevelDebug, Reason: "r", By: alice},
		"a priority is between":        {Selector: product, Priority: mostPriority + 1, Level: logbridge.LevelDebug, Reason: "r", By: alice},
		"is too long, 24h0m0s is":      {Selector: product, Level: logbridge.LevelDebug, For: 25 * time.Hour, Reason: "r", By: alice},
		"permanent or for":             {Selector: product, Level: logbridge.LevelDebug, For: time.Hour, Permanent: true, Reason: "r", By: alice},
		"level 9":                      {Selector: product, Level: 9, Reason: "r", By: alice},
		"reason of 501 bytes":          {Selector: product, Level: logbridge.LevelDebug, Reason: long, By: alice},
		"percent 0.001 is not 0.01 to": {Selector: logbridge.LevelSelector{Percent: 0.001}, Level: logbridge.LevelDebug, Reason: "r", By: alice},
	} {
		_, _, err := r.AddRule(ctx, w)
		wantKind(t, name, err, logbridge.ErrInvalid)
		if got := r.audit.next(t); !strings.Contains(got, name) || !strings.Contains(got, "|action=level.refuse,actor=alice") {
			t.Errorf("%s: recorded %s", name, got)
		}
		w.DryRun = true
		_, _, err = r.AddRule(ctx, w)
		wantKind(t, name, err, logbridge.ErrInvalid)
	}
	for name, c := range map[string]logbridge.RuleChange{
		"nothing to change":   {By: alice},
		"too short":           {For: time.Millisecond, By: alice},
		"is too long":         {For: 25 * time.Hour, By: alice},
		"percent 101":         {Percent: 101, By: alice},
		"reason of 501 bytes": {For: time.Hour, Reason: long, By: alice},
	} {
		_, _, err := r.ChangeRule(ctx, rule.ID, c)
		wantKind(t, name, err, logbridge.ErrInvalid)
		if got := r.audit.next(t); !strings.Contains(got, "change of level rule "+rule.ID+" refused: ") || !strings.Contains(got, name) {
			t.Errorf("%s: recorded %s", name, got)
		}
	}
	wantKind(t, "clear", r.ClearRule(ctx, rule.ID, alice, long), logbridge.ErrInvalid)
	wantKind(t, "base", r.SetBase(ctx, "", 9, alice, ""), logbridge.ErrInvalid)
	for range 2 {
		if got := r.audit.next(t); !strings.Contains(got, "refused") {
			t.Errorf("recorded %s", got)
		}
	}
	if len(r.audit.batches) > 0 || len(r.Rules()) != 1 {
		t.Errorf("%d more records, rules %v", len(r.audit.batches), r.Rules())
	}
}

// TestRaiseAboveTheLowestBase: a rule for every product is a raise as soon as it is one for some product.
func TestRaiseAboveTheLowestBase(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{GlobalBase: logbridge.LevelInfo})
	all := logbridge.LevelSelector{Percent: 50}
	if rule, _ := r.rule(t, wish(all, logbridge.LevelInfo)); !rule.Expires.IsZero() {
		t.Errorf("no raise ends at %v", rule.Expires)
	}
	must(t, r.SetBase(t.Context(), id.Product, logbridge.LevelError, alice, ""))
	if rule, _ := r.rule(t, wish(all, logbridge.LevelInfo)); rule.Expires.IsZero() {
		t.Error("a raise has no end")
	}
	if rule, _ := r.rule(t, wish(logbridge.LevelSelector{Product: "0123456789"}, logbridge.LevelInfo)); !rule.Expires.IsZero() {
		t.Errorf("no raise ends at %v", rule.Expires)
	}
}

// TestAppendFailsOnce: when the log does not answer, the markers of a large rule do not wait for it one after the other.
func TestAppendFailsOnce(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	r.fleetOf(20)
	r.audit.fail = logbridge.ErrUnavailable
	r.rule(t, wish(product, logbridge.LevelDebug))
	if n := r.Stats().AuditFailures; n != 21 {
		t.Errorf("%d failures counted, want 21", n)
	}
}

// TestTellAbsent: where an outside broker knows who is connected, listeners are told of devices that seem to be away, too.
func TestTellAbsent(t *testing.T) {
	for _, tell := range []bool{false, true} {
		r := open(t, start(t, t.TempDir()), newClock(), Config{TellAbsent: tell})
		r.fleetOf(2)
		r.Observe(logbridge.Observation{Device: dev(0), Event: logbridge.DeviceDisconnected, Time: r.clock.now()})
		r.run(t)
		r.rule(t, wish(product, logbridge.LevelDebug))
		told := map[string]bool{recv(t, r.changes).Device: true}
		if tell {
			told[recv(t, r.changes).Device] = true
		}
		if !told[dev(1).Device] || told[dev(0).Device] != tell || len(r.changes) > 0 {
			t.Errorf("tell absent %v: told %v", tell, told)
		}
	}
}
