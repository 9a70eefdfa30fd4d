package levels

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// pair is two nodes of one cluster, each with a connection of its own, that share a clock and a registry.
type pair struct {
	url     string
	a, b    *member
	devices *fakeDevices
}

type member struct {
	*rig
	node  *natsd.Node
	taken chan logbridge.DeviceID
	stop  func()
}

// newPair starts two nodes of a cluster.
func newPair(t *testing.T) *pair {
	t.Helper()
	url := natstest.URL(t, t.TempDir())
	c, devices := newClock(), newDevices(id, other)
	return &pair{url: url, a: join(t, url, c, devices), b: join(t, url, c, devices), devices: devices}
}

func join(t *testing.T, url string, c *fakeClock, devices *fakeDevices) *member {
	t.Helper()
	n, err := natsd.New(natsd.Config{URL: url, SyncAlways: true}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { end(n) })
	m := &member{rig: openWith(t, n, c, Config{}, devices), node: n, taken: make(chan logbridge.DeviceID, 100)}
	m.share.beat = 20 * time.Millisecond
	m.OnTaken(func(id logbridge.DeviceID) {
		select {
		case m.taken <- id:
		default: // it is told so until the session has ended
		}
	})
	m.stop = m.run(t)
	return m
}

// sees does something at one node.
func (m *member) sees(id logbridge.DeviceID, event logbridge.ObservedEvent, level logbridge.Level) {
	m.Observe(logbridge.Observation{Device: id, Event: event, Level: level, Time: m.clock.now()})
}

// eventually waits for what a node hears from another.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func (m *member) connected(id logbridge.DeviceID) func() bool {
	return func() bool { return m.State(id).Connected }
}

func (m *member) away(id logbridge.DeviceID) func() bool {
	return func() bool { return !m.State(id).Connected }
}

func (m *member) state(id logbridge.DeviceID, want string) func() bool {
	return func() bool { return m.State(id).State == want }
}

// TestNodesKnowWhatTheOtherSeesOnACluster: a level set on one node, followed by a device on the other.
func TestNodesKnowWhatTheOtherSeesOnACluster(t *testing.T) {
	p := newPair(t)
	p.a.sees(id, logbridge.DeviceConnected, 0)
	eventually(t, "connected", p.b.connected(id))
	p.b.set(t, id, debugFor(time.Hour))
	eventually(t, "the level at the other node", func() bool { return p.a.Effective(id) == logbridge.LevelDebug })
	for _, step := range []struct {
		event logbridge.ObservedEvent
		state string
	}{{logbridge.LevelSent, StateSent}, {logbridge.LevelAcked, StateAcknowledged}, {logbridge.LevelAsked, StateAsked}, {logbridge.LineSeen, StateSeen}} {
		p.a.clock.advance(time.Second)
		p.a.sees(id, step.event, logbridge.LevelDebug)
		eventually(t, step.state, p.b.state(id, step.state))
	}
	if a, b := p.a.State(id), p.b.State(id); a != b {
		t.Errorf("the nodes differ:\n%+v\n%+v", a, b)
	}
	must(t, p.b.Clear(t.Context(), id, alice, "done"))
	eventually(t, "the base level", func() bool { return p.a.Effective(id) == logbridge.LevelError })
	p.a.sees(id, logbridge.LevelSent, logbridge.LevelError)
	eventually(t, "told the base level", p.b.state(id, StateSent))
	p.a.sees(id, logbridge.DeviceDisconnected, 0)
	eventually(t, "gone", p.b.away(id))
	must(t, p.a.Forget(t.Context(), id, alice))
	eventually(t, "forgotten", func() bool { return p.b.State(id).LastSeen.IsZero() })
}

// TestDeviceMovesToAnotherNodeOnACluster: its session at the first one is ended, whichever clock is ahead, and the device counts as connected
// all the time.
func TestDeviceMovesToAnotherNodeOnACluster(t *testing.T) {
	p := newPair(t)
	from, to := p.a, p.b
	for range 4 { // there and back
		from.sees(id, logbridge.DeviceConnected, 0)
		eventually(t, "connected", to.connected(id))
		// By the clock of this node it connects an hour before it connected to the other one.
		to.Observe(logbridge.Observation{Device: id, Event: logbridge.DeviceConnected, Time: to.clock.now().Add(-time.Hour)})
		if got := recv(t, from.taken); got != id {
			t.Fatalf("%s was taken", got)
		}
		from.sees(id, logbridge.DeviceDisconnected, 0)
		eventually(t, "nothing contested", func() bool { return to.contestedCount() == 0 && from.contestedCount() == 0 })
		eventually(t, "connected, seen from the node that it has left", from.connected(id))
		if !to.State(id).Connected {
			t.Fatal("not connected where it is")
		}
		for len(from.taken) > 0 {
			<-from.taken
		}
		if len(to.taken) > 0 {
			t.Fatal("its newer session was to end")
		}
		to.sees(id, logbridge.DeviceDisconnected, 0)
		eventually(t, "gone", from.away(id))
		from, to = to, from
	}
}

func (l *Levels) contestedCount() int {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	return len(l.share.contested)
}

// TestLostMessagesOnACluster: what a node has missed it asks for, once the sums differ; and a node that comes later asks for all.
func TestLostMessagesOnACluster(t *testing.T) {
	p := newPair(t)
	p.a.fleet.mu.Lock()
	p.a.Levels.connected(id, p.a.track(id), nanos(begin)) // and nobody is told
	p.a.fleet.mu.Unlock()
	eventually(t, "connected, though no message said so", p.b.connected(id))
	p.a.fleet.mu.Lock()
	p.a.disconnected(id, p.a.track(id))
	p.a.fleet.mu.Unlock()
	p.b.fleet.mu.Lock()
	p.b.share.peers[p.a.share.id].askedLast = time.Time{} // it asks no more than now and then
	p.b.fleet.mu.Unlock()
	eventually(t, "disconnected, though no message said so", p.b.away(id))

	p.b.sees(other, logbridge.DeviceConnected, 0)
	late := join(t, p.url, p.a.clock, p.devices)
	eventually(t, "seen by a node that came later", late.connected(other))
}

// TestNodeThatDiesOnACluster: its devices do not count as connected any more; those of one that ends at once.
func TestNodeThatDiesOnACluster(t *testing.T) {
	p := newPair(t)
	third := join(t, p.url, p.a.clock, p.devices)
	p.a.sees(id, logbridge.DeviceConnected, 0)
	third.sees(other, logbridge.DeviceConnected, 0)
	eventually(t, "connected", func() bool { return p.b.connected(id)() && p.b.connected(other)() })
	p.b.fleet.mu.Lock()
	p.b.share.silent = 200 * time.Millisecond
	p.b.fleet.mu.Unlock()
	p.a.node.Conn().Close() // it says nothing any more
	eventually(t, "the devices of a silent node", p.b.away(id))
	third.stop()
	eventually(t, "the devices of a node that has ended", p.b.away(other))
}

// TestRulesEndOnceOnACluster: both nodes end them, one of them records it.
func TestRulesEndOnceOnACluster(t *testing.T) {
	p := newPair(t)
	const n = 40
	for i := range n {
		d := logbridge.DeviceID{Product: id.Product, Device: fmt.Sprintf("d%02d", i)}
		p.devices.put(d, nil)
		p.a.set(t, d, debugFor(time.Minute))
		p.a.audit.next(t)
	}
	p.a.sees(id, logbridge.DeviceConnected, 0)
	p.b.sees(other, logbridge.DeviceConnected, 0)
	eventually(t, "both connected, for both", func() bool { return p.a.connected(other)() && p.b.connected(id)() })
	_, _, err := p.b.AddRule(t.Context(), logbridge.RuleWish{Selector: logbridge.LevelSelector{Product: id.Product}, Level: logbridge.LevelDebug,
		For: time.Minute, Reason: "all of them", By: alice})
	must(t, err)
	p.b.audit.next(t)            // the rule
	markers := p.b.audit.next(t) // and its markers
	if lines := strings.Split(markers, "\n"); len(lines) != 2 {
		t.Errorf("markers of devices at both nodes:\n%s", markers)
	}
	eventually(t, "all rules at both nodes", func() bool {
		return p.a.Stats().Rules == 1 && p.b.Stats().Overrides[logbridge.LevelDebug] == n
	})
	p.a.clock.advance(2 * time.Minute)
	eventually(t, "all ended", func() bool { return p.a.rules.Len()+p.b.rules.Len()+p.a.wides.Len()+p.b.wides.Len() == 0 })
	p.a.stop()
	p.b.stop()
	ends, wide := map[string]int{}, 0
	for _, m := range []*member{p.a, p.b} {
		for len(m.audit.batches) > 0 {
			for _, r := range <-m.audit.batches {
				switch action, rule := attr(r, "action"), attr(r, "rule"); {
				case action != actionExpire:
					t.Errorf("another record: %s", r.Body)
				case rule != "":
					wide++
				case r.Stream == logbridge.AuditStream:
					ends[attr(r, "device")]++
				}
			}
		}
	}
	for d, times := range ends {
		if times != 1 {
			t.Errorf("the end of %s is recorded %d times", d, times)
		}
	}
	if len(ends) != n || wide != 3 { // the rule's end, and a marker for each connected device
		t.Errorf("%d ends are recorded of %d, and %d of the rule with its markers", len(ends), n, wide)
	}
}

func attr(r logbridge.Record, key string) string {
	for _, a := range r.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// TestSameChangeAtBothNodesAtOnceOnACluster: of changes that go one over the other, the last one stands at both nodes; of those that must not, one
// is done.
func TestSameChangeAtBothNodesAtOnceOnACluster(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	both := func(do func(i int, m *member)) {
		var working sync.WaitGroup
		for i, m := range []*member{p.a, p.b} {
			working.Go(func() { do(i, m) })
		}
		working.Wait()
	}
	for round := range 20 {
		both(func(i int, m *member) {
			_, err := m.Set(ctx, id, Change{Level: logbridge.Level(1 + (i+round)%4), Permanent: true, Reason: "r", By: alice})
			if err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the same revision", func() bool {
		_, ra := p.a.rules.Get(id)
		_, rb := p.b.rules.Get(id)
		return ra == rb
	})
	if a, b := p.a.Effective(id), p.b.Effective(id); a != b {
		t.Errorf("level %s at one node, %s at the other", a, b)
	}
	cleared := make([]error, 2)
	both(func(i int, m *member) { cleared[i] = m.Clear(ctx, id, alice, "done") })
	if (cleared[0] == nil) == (cleared[1] == nil) || !errors.Is(errors.Join(cleared...), logbridge.ErrNotFound) {
		t.Errorf("cleared by one of the two: %v", cleared)
	}
	audits := len(p.a.audit.batches) + len(p.b.audit.batches)
	both(func(_ int, m *member) { must(t, m.SetBase(ctx, id.Product, logbridge.LevelInfo, alice, "")) })
	if n := len(p.a.audit.batches) + len(p.b.audit.batches) - audits; n != 1 {
		t.Errorf("the base level that both set was recorded %d times", n)
	}
	lowered := make([]bool, 2)
	both(func(i int, m *member) {
		var err error
		lowered[i], err = m.Lower(ctx, id, Change{Level: logbridge.LevelError, Reason: "quota", By: alice})
		must(t, err)
	})
	if lowered[0] == lowered[1] {
		t.Errorf("lowered by one of the two: %v", lowered)
	}
}

func FuzzDecodeShared(f *testing.F) {
	s := &sighting{sessions: 1, epoch: 5, level: logbridge.LevelDebug, since: 7, lastSeen: 9}
	s.lines[logbridge.LevelWarn] = 11
	f.Add(appendShared(nil, id, s))
	f.Add(appendShared(appendShared(nil, other, nil), id, s))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = decodeShared(b, func(id logbridge.DeviceID, where byte, s *sighting) {
			if id.Validate() != nil || where > deviceHere || s.epoch < 0 {
				t.Errorf("%v %d %+v", id, where, s)
			}
		})
	})
}

func TestSharedStateIsReadAsItWasWritten(t *testing.T) {
	s := &sighting{sessions: 1, epoch: 5, level: logbridge.LevelDebug, since: 7, lastSeen: 9, asked: mark{3, logbridge.LevelInfo}}
	b := appendShared(appendShared(nil, other, nil), id, s)
	var got []string
	err := decodeShared(b, func(id logbridge.DeviceID, where byte, s *sighting) {
		got = append(got, fmt.Sprint(id, where, s.epoch, s.level, s.since, s.lastSeen, s.asked))
	})
	must(t, err)
	want := []string{fmt.Sprint(other, deviceGone, 0, logbridge.LevelOff, 0, 0, mark{}), fmt.Sprint(id, deviceHere, 5, logbridge.LevelDebug, 7, 9, mark{3, logbridge.LevelInfo})}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	if decodeShared(b[:len(b)-1], func(logbridge.DeviceID, byte, *sighting) {}) == nil {
		t.Error("one that is cut off was read")
	}
}
