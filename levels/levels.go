// Package levels holds how much each device is asked to log, and what was seen of it.
//
// What is wanted is durable: a NATS key-value bucket with all of its content in memory. Two kinds of rule exist: the
// level of one device, and the base level of a product or of everyone. The most specific live rule decides. A raise above
// the base ends by itself unless it was said to be permanent; the end survives a restart, does not come when the rule was
// changed or cleared meanwhile, and takes effect for Effective at its very moment, even if the store is unreachable then.
//
// What was seen is in memory only and starts anew with the process.
//
// Every change and every end is a record in the audit stream and, for a device, a marker line in its own stream. They
// are appended after the change is durable: a crash between the two loses the record, not the change.
package levels

import (
	"context"
	"errors"
	"fmt"
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
	// Append stores a batch; when it returns nil the records survive a power cut.
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
}

// Config says what levels may be. The zero value is the default.
type Config struct {
	// Cap is the longest raise that is not permanent; 0 is 24 hours.
	Cap time.Duration
	// Default is how long a raise lasts when nothing is said; 0 is 30 minutes, or Cap if that is less.
	Default time.Duration
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
	cfg   Config
	log   *slog.Logger
	clock clock
	audit Appender
	store *natsd.Store
	rules *natsd.Table[scope, rule]

	due     schedule
	notices notices
	ended   endings
	seen    sightings

	auditFailures atomic.Uint64

	mu        sync.Mutex
	listeners []func(logbridge.LevelChange)
}

// New reads all rules. Rules that ended while nobody ran have no effect any more; Run sees to the rest.
func New(ctx context.Context, node *natsd.Node, audit Appender, cfg Config, log *slog.Logger) (*Levels, error) {
	return newWithClock(ctx, node, audit, cfg, wallClock(), log)
}

func newWithClock(ctx context.Context, node *natsd.Node, audit Appender, cfg Config, c clock, log *slog.Logger) (*Levels, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	store, err := natsd.OpenStore(ctx, node, bucket, log)
	if err != nil {
		return nil, err
	}
	l := &Levels{cfg: cfg, log: log, clock: c, audit: audit, store: store,
		due: newSchedule(), notices: newNotices(), ended: newEndings(), seen: newSightings()}
	l.rules = natsd.NewTable(store, ruleKind, ruleCodec(l.changed))
	if err := store.Load(ctx); err != nil {
		return nil, err
	}
	l.notices.take() // what was there before is no change
	return l, nil
}

// Run follows what other nodes write, ends rules and tells of changes, until ctx ends.
func (l *Levels) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.store.Run(ctx) })
	g.Go(func() error { l.runExpiry(ctx); return nil })
	g.Go(func() error { l.runNotices(ctx); return nil })
	return g.Wait()
}

// OnChange registers fn to be told of changes; to be called before Run. fn is called from one goroutine, after the change
// is durable and visible in Effective, whichever node made it: once for each change, except that changes of the same
// device or product that wait while fn is busy are told once. Whoever is told asks Effective for the level.
func (l *Levels) OnChange(fn func(logbridge.LevelChange)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners = append(l.listeners, fn)
}

// Effective is the level that a device should have now: that of its own rule, else its product's base, else everyone's.
// It does not allocate and may be called for every message.
func (l *Levels) Effective(id logbridge.DeviceID) logbridge.Level {
	if r := l.own(id); r != nil {
		return r.Level
	}
	return l.Base(id.Product)
}

// own gives the live rule of a device, or nil.
func (l *Levels) own(id logbridge.DeviceID) *rule {
	r, _ := l.rules.Get(id)
	if r == nil || !r.Expires.IsZero() && !l.clock.now().Before(r.Expires) {
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
	// AuditFailures counts records about changes that could not be stored.
	AuditFailures uint64
}

// Stats counts.
func (l *Levels) Stats() Stats {
	s := Stats{AuditFailures: l.auditFailures.Load()}
	for id := range l.rules.After(scope{}) {
		if r := l.own(id); r != nil && id.Device != "" {
			s.Overrides[r.Level]++
		}
	}
	return s
}
