package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

var (
	dev1  = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_01"}
	dev2  = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_02"}
	other = logbridge.DeviceID{Product: "ZZZZZ00000", Device: "dev_01"}
)

func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s in %v", what, patience)
		panic("unreachable")
	}
}

// fakeLevels holds levels as a test sets them; a device that has none is at error.
type fakeLevels struct {
	mu       sync.Mutex
	set      map[logbridge.DeviceID]logbridge.Level
	observed chan logbridge.Observation
}

func newLevels() *fakeLevels {
	return &fakeLevels{set: map[logbridge.DeviceID]logbridge.Level{}, observed: make(chan logbridge.Observation, 1<<16)}
}

func (l *fakeLevels) put(id logbridge.DeviceID, level logbridge.Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set[id] = level
}

func (l *fakeLevels) Effective(id logbridge.DeviceID) logbridge.Level {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level, ok := l.set[id]; ok {
		return level
	}
	return logbridge.LevelError
}

func (l *fakeLevels) Observe(list ...logbridge.Observation) {
	for _, o := range list {
		select {
		case l.observed <- o:
		default: // nobody looks
		}
	}
}

// expect checks the next observation.
func (l *fakeLevels) expect(t *testing.T, id logbridge.DeviceID, event logbridge.ObservedEvent, level logbridge.Level) {
	t.Helper()
	l.expectAll(t, id, level, event)
}

// expectAll checks the next observations, which may come in any order.
func (l *fakeLevels) expectAll(t *testing.T, id logbridge.DeviceID, level logbridge.Level, events ...logbridge.ObservedEvent) {
	t.Helper()
	for len(events) > 0 {
		o := receive(t, "observation", l.observed)
		i := slices.Index(events, o.Event)
		if i < 0 || o.Device != id || o.Level != level || time.Since(o.Time) > patience {
			t.Errorf("observed %+v, want events %d of %s at %s", o, events, id, level)
			return
		}
		events = slices.Delete(events, i, i+1)
	}
}

// fakeLog notes what is appended.
type fakeLog struct {
	append  func(context.Context, logbridge.Batch) error // nil: success
	batches chan logbridge.Batch
	mu      sync.Mutex
	seen    map[string]bool // replay keys
	calls   atomic.Int64
}

func newLog() *fakeLog {
	return &fakeLog{batches: make(chan logbridge.Batch, 1<<12), seen: map[string]bool{}}
}

func (l *fakeLog) AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome {
	l.calls.Add(1)
	outcomes := make([]logbridge.Outcome, len(batches))
	for i, b := range batches {
		outcomes[i].Receipt, outcomes[i].Err = l.one(ctx, b)
	}
	return outcomes
}

func (l *fakeLog) one(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	if l.knows(b.ReplayKey) && b.Delivery != logbridge.FirstDelivery {
		return logbridge.Receipt{Duplicate: len(b.Records)}, nil
	}
	if l.append != nil {
		if err := l.append(ctx, b); err != nil {
			return logbridge.Receipt{}, err
		}
	}
	l.mu.Lock()
	l.seen[b.ReplayKey] = true
	l.mu.Unlock()
	l.batches <- b
	return logbridge.Receipt{Stored: len(b.Records)}, nil
}

func (l *fakeLog) knows(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return key != "" && l.seen[key]
}

// fakeLedger notes what is dropped, and what is refused.
type fakeLedger struct {
	mu               sync.Mutex
	dropped, refused map[string]int
}

func (l *fakeLedger) Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.count(&l.refused, source, stream, reason, lines)
}

func (l *fakeLedger) Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.count(&l.dropped, source, stream, reason, lines)
}

func (l *fakeLedger) count(to *map[string]int, source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *to == nil {
		*to = map[string]int{}
	}
	(*to)[fmt.Sprint(source, " ", stream, " ", reason)] += lines
}

// products is the registry: one product in Shanghai, the others in UTC.
type products struct{}

func (products) Location(product string) *time.Location {
	if product == dev1.Product {
		return time.FixedZone("Asia/Shanghai", 8*60*60)
	}
	return time.UTC
}

// sent is one call of Session.Send.
type sent struct{ topic, payload string }

// fakeSession notes what is sent. send, if set, may hold up or refuse it.
type fakeSession struct {
	device logbridge.DeviceID
	send   func(sent) error
	out    chan sent
	flying atomic.Bool // a message is unacknowledged: the session listens at QoS 1 and drops PUBACKs
	resent chan string
}

func newSession(id logbridge.DeviceID) *fakeSession {
	return &fakeSession{device: id, out: make(chan sent, 1<<12), resent: make(chan string, 16)}
}

func (s *fakeSession) Resend(topic string) (bool, error) {
	if !s.flying.Load() {
		return false, nil
	}
	s.resent <- topic
	return true, nil
}

func (s *fakeSession) Device() logbridge.DeviceID { return s.device }

func (s *fakeSession) Send(topic string, payload []byte) error {
	m := sent{topic, string(bytes.Clone(payload))}
	if s.send != nil {
		if err := s.send(m); err != nil {
			return err
		}
	}
	s.out <- m
	return nil
}

// parts are a bridge and what it stands on.
type parts struct {
	*Bridge
	levels *fakeLevels
	log    *fakeLog
	ledger *fakeLedger
}

// Handle is the bridge's for one message.
func (p parts) Handle(ctx context.Context, s logbridge.Session, m logbridge.Message) error {
	return errors.Join(p.Bridge.Handle(ctx, s, []logbridge.Message{m})...)
}

// newParts makes a bridge that runs until the test ends.
func newParts(t testing.TB, cfg Config) parts {
	t.Helper()
	return newTimedParts(t, cfg, wallClock())
}

// newTimedParts is newParts with a clock of the test's own.
func newTimedParts(t testing.TB, cfg Config, c clock) parts {
	t.Helper()
	p := parts{levels: newLevels(), log: newLog(), ledger: &fakeLedger{}}
	var err error
	if p.Bridge, err = newWithClock(cfg, p.levels, p.log, products{}, p.ledger, c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	return p
}
