package levels

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/natsd/natstest"
)

var (
	id    = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev:01"}
	other = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_02"}
	alice = logbridge.Actor{Name: "alice", Address: "192.0.2.7"}
	begin = time.Date(2026, 11, 21, 10, 55, 44, 123456789, time.UTC)
)

// fakeClock is a time that only moves when it is told to.
type fakeClock struct {
	mu     sync.Mutex
	t      time.Time
	alarms map[chan time.Time]time.Time
}

func newClock() *fakeClock { return &fakeClock{t: begin, alarms: map[chan time.Time]time.Time{}} }

func (c *fakeClock) clock() clock { return clock{now: c.now, at: c.at} }

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) at(t time.Time) (<-chan time.Time, func()) {
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

// step sets the clock, as an operator or NTP does: no time passes, and an alarm waits as long as before.
func (c *fakeClock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	for ch, t := range c.alarms {
		c.alarms[ch] = t.Add(d)
	}
}

// armed waits until someone waits for an alarm.
func (c *fakeClock) armed() {
	for waiting := 0; waiting == 0; runtime.Gosched() {
		c.mu.Lock()
		waiting = len(c.alarms)
		c.mu.Unlock()
	}
}

// fakeLog keeps what is appended, and fails when told to.
type fakeLog struct {
	mu      sync.Mutex
	fail    error
	batches chan []logbridge.Record
}

func newLog() *fakeLog { return &fakeLog{batches: make(chan []logbridge.Record, 1000)} }

func (f *fakeLog) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return logbridge.Receipt{}, f.fail
	}
	if _, bounded := ctx.Deadline(); !bounded || ctx.Err() != nil {
		return logbridge.Receipt{}, errors.New("the wait is not bounded, or over already")
	}
	records := slices.Clone(b.Records) // what was given is used again
	for i := range records {
		records[i].Attributes = slices.Clone(records[i].Attributes)
	}
	f.batches <- records
	return logbridge.Receipt{Stored: len(b.Records)}, nil
}

// next gives the next batch as text, one line a record: stream, body, attributes.
func (f *fakeLog) next(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, r := range recv(t, f.batches) {
		if r.Source != logbridge.SourceAudit || r.Severity != logbridge.LevelInfo && r.Severity != logbridge.LevelWarn || r.Time.IsZero() || !r.Time.Equal(r.ObservedTime) {
			t.Errorf("not a proper audit record: %+v", r)
		}
		var attrs []string
		for _, a := range r.Attributes {
			attrs = append(attrs, a.Key+"="+a.Value)
		}
		lines = append(lines, string(r.Stream)+"|"+r.Body+"|"+strings.Join(attrs, ","))
	}
	return strings.Join(lines, "\n")
}

func recv[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-t.Context().Done():
	}
	t.Fatal("nothing came")
	panic("unreachable")
}

func TestMain(m *testing.M) { os.Exit(natstest.Run(m)) }

// start is a node: embedded, and in the second round of the tests on the cluster.
func start(t testing.TB, dir string) *natsd.Node {
	t.Helper()
	n, err := natsd.New(natsd.Config{Dir: dir, URL: natstest.URL(t, dir), SyncAlways: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(n) })
	return n
}

func end(n *natsd.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.Run(ctx)
}

// fakeDevices is a registry.
type fakeDevices struct {
	mu sync.RWMutex
	of map[logbridge.DeviceID]map[string]string
}

func newDevices(ids ...logbridge.DeviceID) *fakeDevices {
	f := &fakeDevices{of: map[logbridge.DeviceID]map[string]string{}}
	for _, id := range ids {
		f.of[id] = nil
	}
	return f
}

func (f *fakeDevices) put(id logbridge.DeviceID, tags map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[id] = tags
}

func (f *fakeDevices) remove(id logbridge.DeviceID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, id)
}

func (f *fakeDevices) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	tags, ok := f.of[id]
	if !ok {
		return logbridge.Device{}, logbridge.ErrNotFound
	}
	return logbridge.Device{ID: id, Tags: tags}, nil
}

func (f *fakeDevices) Devices(product string) iter.Seq[logbridge.Device] {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var all []logbridge.Device
	for id, tags := range f.of {
		if product == "" || id.Product == product {
			all = append(all, logbridge.Device{ID: id, Tags: tags})
		}
	}
	slices.SortFunc(all, func(a, b logbridge.Device) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return slices.Values(all)
}

// rig is Levels with a fake clock, registry and log.
type rig struct {
	*Levels
	devices *fakeDevices
	clock   *fakeClock
	audit   *fakeLog
	changes chan logbridge.LevelChange
}

func open(t testing.TB, n *natsd.Node, c *fakeClock, cfg Config) *rig {
	t.Helper()
	return openWith(t, n, c, cfg, newDevices(id, other))
}

func openWith(t testing.TB, n *natsd.Node, c *fakeClock, cfg Config, devices *fakeDevices) *rig {
	t.Helper()
	r := &rig{clock: c, devices: devices, audit: newLog(), changes: make(chan logbridge.LevelChange, 1000)}
	l, err := newWithClock(t.Context(), n, devices, r.audit, cfg, c.clock(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.Levels = l
	l.OnChange(r.noteChanges)
	return r
}

func (r *rig) noteChanges(changes ...logbridge.LevelChange) {
	for _, c := range changes {
		r.changes <- c
	}
}

// run runs it and gives a function that ends it.
func (r *rig) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (r *rig) set(t *testing.T, id logbridge.DeviceID, c Change) logbridge.LevelState {
	t.Helper()
	if c.By.Name == "" {
		c.By = alice
	}
	if c.Reason == "" {
		c.Reason = "because"
	}
	s, err := r.Set(t.Context(), id, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func debugFor(d time.Duration) Change {
	return Change{Level: logbridge.LevelDebug, For: d, Reason: "looking into timeouts"}
}

func (r *rig) want(t *testing.T, id logbridge.DeviceID, want logbridge.Level) {
	t.Helper()
	if got := r.Effective(id); got != want {
		t.Errorf("level of %s: %s, want %s", id, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}
