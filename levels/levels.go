// Package levels holds how much each device is asked to log, and what was seen of it.
//
// What is wanted is durable: a NATS key-value bucket with all of its content in memory. There are the level of one device,
// rules for all devices that a selector means (product, name, tags, a percentage), and the base level of a product or of
// everyone. The most specific live one decides: the device's own; then rules that narrow by name, tags or percent, the
// higher priority first, of equal ones the newer; then rules for a whole product; then the product's base; then everyone's.
// A raise above the base ends by itself unless it was said to be permanent; the end survives a restart, does not come when
// the rule was changed or cleared meanwhile, and takes effect for Effective at its very moment, even if the store is
// unreachable then.
//
// What was seen is in memory and saved in batches: a crash loses what was seen in the last saveEvery. On a cluster the nodes tell
// each other what they see (share.go): each knows what all have seen and which devices are connected to any of them, and of two
// sessions of one device at two nodes the older is ended.
//
// Every change, every end and every refusal is a record in the audit stream and a marker line in the stream of the device,
// for a rule for many in those of the connected devices whose level it decides. They are appended after the change is
// durable: a crash between the two loses the record, not the change.
package levels

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"golang.org/x/sync/errgroup"
)

// bucket is the name of the key-value bucket.
const bucket = "levels"

// Defaults of Config.
const (
	defaultCap    = 24 * time.Hour
	defaultRaise  = 30 * time.Minute
	defaultGlobal = logbridge.LevelError
)

// Appender is the log that audit records and marker lines go to: *sink.Log.
type Appender interface {
	// Append stores a batch, of which it keeps nothing; when it returns nil the records survive a power cut.
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
}

// Devices are those that are registered: *registry.Registry. It reads from a cache, and is called with locks held, so it
// must not call back.
type Devices interface {
	// Device gives a device, or an error if there is none.
	Device(id logbridge.DeviceID) (logbridge.Device, error)
	// Devices lists the devices of a product by name, or with "" all of them.
	Devices(product string) iter.Seq[logbridge.Device]
}

// Config says what levels may be. The zero value is the default.
type Config struct {
	// Cap is the longest raise that is not permanent; 0 is 24 hours.
	Cap time.Duration
	// Default is how long a raise lasts when nothing is said; 0 is 30 minutes, or Cap if that is less.
	Default time.Duration
	// TellAbsent has the listeners told of devices that are not connected, too: an outside broker knows which are.
	TellAbsent bool
	// GlobalBase is the base level of everyone until SetBase says another. LevelOff, the zero value, means LevelError,
	// the level that real devices start with (tencent-iot.md 3); silence for everyone can be had by SetBase.
	GlobalBase logbridge.Level
}

func (c Config) withDefaults() (Config, error) {
	if c.Cap == 0 {
		c.Cap = defaultCap
	}
	if c.Default == 0 {
		c.Default = min(defaultRaise, c.Cap)
	}
	if c.GlobalBase == logbridge.LevelOff {
		c.GlobalBase = defaultGlobal
	}
	var faults []error
	if c.Cap < minFor {
		faults = append(faults, fmt.Errorf("%w: the longest raise is %s, at least %s is needed", logbridge.ErrInvalid, c.Cap, minFor))
	}
	if c.Default < minFor || c.Default > c.Cap {
		faults = append(faults, fmt.Errorf("%w: a raise lasts %s by default, which is not between %s and the longest, %s",
			logbridge.ErrInvalid, c.Default, minFor, c.Cap))
	}
	if !c.GlobalBase.Valid() {
		faults = append(faults, fmt.Errorf("%w: base level %d", logbridge.ErrInvalid, c.GlobalBase))
	}
	return c, errors.Join(faults...)
}

// clock is the time, so that tests can turn it.
type clock struct {
	now func() time.Time
	// at gives a channel that delivers when t has come, and a function to call when nobody waits any more.
	at func(t time.Time) (<-chan time.Time, func())
}

func wallClock() clock {
	return clock{
		now: time.Now,
		at: func(t time.Time) (<-chan time.Time, func()) {
			timer := time.NewTimer(time.Until(t))
			return timer.C, func() { timer.Stop() }
		},
	}
}

// Levels holds the rules and what was seen of the devices. All methods may be called concurrently.
type Levels struct {
	cfg     Config
	log     *slog.Logger
	clock   clock
	devices Devices
	audit   Appender
	store   *natsd.Store
	rules   *natsd.Table[scope, rule]
	wides   *natsd.Table[string, wide]
	adding  sync.Mutex // held from counting the rules for many to adding one
	saved   *saved
	share   *share // nil when there are no other nodes

	due     schedule[scope]
	wideDue schedule[string]
	notices notices
	busy    func() bool // whether devices are being told; set before Run
	fleet   fleet
	loaded  bool // the tables are complete

	auditFailures atomic.Uint64

	mu        sync.Mutex
	listeners []func(...logbridge.LevelChange)
}

// New reads all rules, and what was seen. Rules that ended while nobody ran have no effect any more; Run sees to the rest.
func New(ctx context.Context, node *natsd.Node, devices Devices, audit Appender, cfg Config, log *slog.Logger) (*Levels, error) {
	return newWithClock(ctx, node, devices, audit, cfg, wallClock(), log)
}

func newWithClock(ctx context.Context, node *natsd.Node, devices Devices, audit Appender, cfg Config, c clock, log *slog.Logger) (*Levels, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	store, err := natsd.OpenStore(ctx, node, bucket, log)
	if err != nil {
		return nil, err
	}
	l := &Levels{cfg: cfg, log: log, clock: c, devices: devices, audit: audit, store: store,
		due: newSchedule[scope](), wideDue: newSchedule[string](), notices: newNotices(), fleet: newFleet(),
		busy: func() bool { return false }}
	l.rules = natsd.NewTable(store, ruleKind, ruleCodec(l.changed))
	l.wides = natsd.NewTable(store, wideKind, l.wideCodec())
	if err := store.Load(ctx); err != nil {
		return nil, err
	}
	if l.saved, err = openSaved(ctx, node); err != nil {
		return nil, err
	}
	if !node.Embedded() {
		l.share = newShare(node.Conn())
	}
	return l, l.begin(ctx)
}

// begin makes the fleet of what was stored: the rules, what was seen, and the devices that have a level of their own.
func (l *Levels) begin(ctx context.Context) error {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	for _, w := range l.wides.After("") {
		l.fleet.rules.add(w)
	}
	if err := l.restore(ctx); err != nil {
		return err
	}
	for id := range l.rules.After(scope{}) {
		if id.Device != "" {
			l.track(id)
		}
	}
	l.loaded = true
	return nil
}

// Run follows what other nodes write, ends rules, tells of changes and saves what was seen, until ctx ends.
func (l *Levels) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.store.Run(ctx) })
	g.Go(func() error { l.runExpiry(ctx); return nil })
	g.Go(func() error { l.runNotices(ctx); return nil })
	g.Go(func() error { l.runSaving(ctx); return nil })
	g.Go(func() error { return l.runSharing(ctx) })
	return g.Wait()
}

// OnChange registers fn to be told of changes; to be called before Run. fn is called from one goroutine, after the change
// is durable and visible in Effective, whichever node made it: once for each change, except that changes of the same
// device or product that wait while fn is busy are told once. What waits is told together. Whoever is told asks Effective for
// the level.
func (l *Levels) OnChange(fn func(...logbridge.LevelChange)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners = append(l.listeners, fn)
}

// YieldTo registers busy, which says that devices are being told of the changes that the listeners were told of; to be called before
// Run. The records about a rule for many are made when that is done, or after markerWaits of markerWait.
func (l *Levels) YieldTo(busy func() bool) { l.busy = busy }

// Effective is the level that a device should have now: what the most specific live rule says. It does not allocate and may
// be called for every message: a device that was seen before costs no search, however many rules there are.
func (l *Levels) Effective(id logbridge.DeviceID) logbridge.Level {
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	if s := l.fleet.get(id); s != nil {
		return l.brief(id, s).level
	}
	return l.decide(id, nil, l.clock.now()).level
}

// own gives the live rule of a device, or nil.
func (l *Levels) own(id logbridge.DeviceID) *rule {
	r, _ := l.rules.Get(id)
	if r == nil || !r.live(l.clock.now()) {
		return nil
	}
	return r
}

// Base is the product's own base level or everyone's; of "" everyone's.
func (l *Levels) Base(product string) logbridge.Level {
	if r := l.base(product); r != nil {
		return r.Level
	}
	return l.cfg.GlobalBase
}

// base gives the rule that says the base level of a product, or nil when nobody has set one.
func (l *Levels) base(product string) *rule {
	r, _ := l.rules.Get(scope{Product: product})
	if r == nil && product != "" {
		r, _ = l.rules.Get(scope{})
	}
	return r
}

// ProductBase is the product's own base level, and whether it has one.
func (l *Levels) ProductBase(product string) (logbridge.Level, bool) {
	r, _ := l.rules.Get(scope{Product: product})
	if r == nil || product == "" {
		return 0, false
	}
	return r.Level, true
}

// Override is a device whose level is its own.
type Override struct {
	Device logbridge.DeviceID
	logbridge.LevelState
}

// Overrides lists the devices that have a level of their own now, by product and name.
func (l *Levels) Overrides() []Override {
	var out []Override
	for id := range l.rules.After(scope{}) {
		if id.Device != "" && l.own(id) != nil {
			out = append(out, Override{id, l.State(id)})
		}
	}
	return out
}

// Stats are counts for metrics.
type Stats struct {
	// Overrides counts the devices that have a level of their own, by that level.
	Overrides [logbridge.LevelDebug + 1]int
	// Rules counts the live rules for many devices.
	Rules int
	// AuditFailures counts records about changes that could not be stored.
	AuditFailures uint64
	// Nodes is how many nodes are heard, this one included, and Elsewhere how many devices are connected to the others.
	Nodes, Elsewhere int
}

// Stats counts.
func (l *Levels) Stats() Stats {
	s := Stats{AuditFailures: l.auditFailures.Load()}
	s.Nodes, s.Elsewhere = l.Others()
	for id := range l.rules.After(scope{}) {
		if r := l.own(id); r != nil && id.Device != "" {
			s.Overrides[r.Level]++
		}
	}
	for _, w := range l.wides.After("") {
		if w.live(l.clock.now()) {
			s.Rules++
		}
	}
	return s
}
