package bridge

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// Levels says what is wanted of a device and takes note of what it does. Both are called on the path of messages,
// concurrently, and do no I/O.
type Levels interface {
	Effective(id logbridge.DeviceID) logbridge.Level
	Observe(list ...logbridge.Observation)
}

// Log stores batches in their order. Of each, no error means that it is durable; ErrInvalid and ErrTooLarge that it never will be;
// any other error that the outcome is unknown. It returns when ctx ends at the latest.
type Log interface {
	AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome
}

// Registry knows the time zone of a product's log lines, without I/O.
type Registry interface {
	Location(product string) *time.Location
}

// Counter keeps the ledger: lines that are not stored, with a reason. Those of Drop were acknowledged; those of Refuse the
// device still has.
type Counter interface {
	Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int)
	Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int)
}

// Config of a bridge. Zero fields take the default.
type Config struct {
	// Pushers is how many pushes go out at a time: DefaultPushers. One that meets a device which does not read is busy for
	// the broker's write timeout.
	Pushers int
	// AppendTimeout bounds the wait for a report to be read and durable: DefaultAppendTimeout. The device's connection reads
	// nothing else meanwhile.
	AppendTimeout time.Duration
}

const (
	// DefaultPushers keeps some dead peers from holding up the others (mqtt-broker.md 2: 16 to 64).
	DefaultPushers = 32
	// DefaultAppendTimeout is the time that design.md 4.1 gives an Append for MQTT.
	DefaultAppendTimeout = 5 * time.Second
)

// Bridge is one bridge.
type Bridge struct {
	cfg      Config
	levels   Levels
	records  Log
	registry Registry
	counter  Counter
	log      *slog.Logger

	mu    sync.RWMutex // guards links
	links map[logbridge.DeviceID]*link

	unpacked *semaphore.Weighted // bounds the memory of packed reports

	upstreams []*Upstream // set before Run

	pushes   queue
	newest   atomic.Pointer[pushed] // the payload that was pushed last
	noted    noted
	silent   reminders // sessions that may not have asked
	unacked  reminders // pushes that may not be acknowledged
	clock    clock
	counters counters
}

// link is what is known of the newest session of a device.
type link struct {
	session logbridge.Session
	// mu is held from reading the effective level to the end of sending it, so that what is sent later is newer.
	mu     sync.Mutex
	told   logbridge.Level // the level that was sent last
	pushed time.Time       // when the last push was sent
	resent uint8           // how often it was sent again since
	// knows says whether the device was told a level. It becomes true with mu held.
	knows atomic.Bool
	// tries counts how often the device was to be told because it had not asked; for the goroutine of silent alone.
	tries uint8
	// awaited says that unacked has the link, overdue that its PUBACK has not come in time.
	awaited, overdue atomic.Bool
	// stale says that a push found mu taken: who has it queues the link again.
	stale atomic.Bool
	// queued says that the link is in the queue of pushes; its lock guards it.
	queued bool
}

// New checks cfg; nothing runs before Run.
func New(cfg Config, levels Levels, records Log, registry Registry, counter Counter, log *slog.Logger) (*Bridge, error) {
	return newWithClock(cfg, levels, records, registry, counter, wallClock(), log)
}

func newWithClock(cfg Config, levels Levels, records Log, registry Registry, counter Counter, c clock, log *slog.Logger) (*Bridge, error) {
	cfg.Pushers = cmp.Or(cfg.Pushers, DefaultPushers)
	cfg.AppendTimeout = cmp.Or(cfg.AppendTimeout, DefaultAppendTimeout)
	if cfg.Pushers < 0 || cfg.AppendTimeout < 0 {
		return nil, fmt.Errorf("%w: bridge: the number of pushers and the append timeout must be above 0", logbridge.ErrInvalid)
	}
	b := &Bridge{
		cfg: cfg, levels: levels, records: records, registry: registry, counter: counter, log: log,
		links: map[logbridge.DeviceID]*link{}, unpacked: semaphore.NewWeighted(maxUnpacked),
		clock: c, silent: newReminders(askWait), unacked: newReminders(ackWait),
	}
	b.pushes.filled.L = &b.pushes.mu
	b.noted.added = make(chan struct{}, 1)
	return b, nil
}

// Run pushes level changes, and levels again to devices that do not ask or do not acknowledge, until ctx ends. Messages are handled whether it runs or not.
func (b *Bridge) Run(ctx context.Context) error {
	var pushers sync.WaitGroup
	for range b.cfg.Pushers {
		pushers.Go(b.pushAll)
	}
	pushers.Go(func() { b.runNoted(ctx) })
	pushers.Go(func() { b.runReminders(ctx, &b.silent, b.remindSilent) })
	pushers.Go(func() { b.runReminders(ctx, &b.unacked, b.remindUnacked) })
	<-ctx.Done()
	b.pushes.close()
	pushers.Wait()
	b.tellNoted()
	return nil
}

// Connected takes in the new session of a device, in place of an older one.
func (b *Bridge) Connected(s logbridge.Session) {
	l := &link{session: s}
	b.mu.Lock()
	b.links[s.Device()] = l
	b.mu.Unlock()
	b.observe(s.Device(), logbridge.DeviceConnected, 0)
	b.silent.add(l, b.clock.now())
}

// joined takes in the session of a device that is heard through an outside broker, unless it is connected already.
func (b *Bridge) joined(s logbridge.Session) {
	if !b.has(s.Device()) {
		b.Connected(s)
	}
}

// has reports whether somebody holds a session of the device.
func (b *Bridge) has(id logbridge.DeviceID) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.links[id] != nil
}

// Disconnected forgets a session. That of an older session which comes late says nothing about the device.
func (b *Bridge) Disconnected(s logbridge.Session) {
	b.mu.Lock()
	l := b.links[s.Device()]
	current := l != nil && l.session == s
	if current {
		delete(b.links, s.Device())
	}
	b.mu.Unlock()
	if current {
		b.observe(s.Device(), logbridge.DeviceDisconnected, 0)
	}
}

// link finds what is known of a session. An older session of the device is answered, and nothing kept of it.
func (b *Bridge) link(s logbridge.Session) *link {
	b.mu.RLock()
	l := b.links[s.Device()]
	b.mu.RUnlock()
	if l == nil || l.session != s {
		return &link{session: s}
	}
	return l
}

// Handle acts on messages of a device, in their order, and says of each whether it may be acknowledged: no error, a report is
// durable then. ErrInvalid and ErrTooLarge: it can never succeed. Any other error: it may succeed later. Topics that mean nothing to
// us are acknowledged. A nil result is no error of any.
func (b *Bridge) Handle(ctx context.Context, s logbridge.Session, messages []logbridge.Message) []error {
	h := handling{bridge: b, session: s, received: time.Now(), messages: messages}
	for i := range messages {
		m := &messages[i]
		kind, _ := tencent.ParseTopic(m.Topic)
		if kind == tencent.TopicReport {
			h.report(ctx, i)
			continue
		}
		h.store(ctx)
		switch kind {
		case tencent.TopicOperation:
			h.fail(i, b.levelAsked(s, m.Payload))
		case tencent.TopicSys:
			h.fail(i, b.timeAsked(s, m.Payload, h.received))
		default:
			b.counters.ignored.Add(1)
		}
	}
	h.store(ctx)
	return h.errs
}

// handling is messages of one device that came together.
type handling struct {
	bridge   *Bridge
	session  logbridge.Session
	received time.Time
	messages []logbridge.Message
	errs     []error // of the messages; nil without any
	reports  reports // those that are not stored yet
}

func (h *handling) fail(i int, err error) {
	if err != nil && h.errs == nil {
		h.errs = make([]error, len(h.messages))
	}
	if err != nil {
		h.errs[i] = err
	}
}

// Acked takes note of the PUBACK for a level.
func (b *Bridge) Acked(s logbridge.Session, topic string, payload []byte) {
	if kind, _ := tencent.ParseTopic(topic); kind != tencent.TopicOperationResult {
		return
	}
	if level, ok := tencent.ToldLevel(payload); ok {
		b.counters.acked.Add(1)
		b.noted.add(logbridge.Observation{Device: s.Device(), Event: logbridge.LevelAcked, Level: level, Time: time.Now()})
	}
}

func (b *Bridge) observe(id logbridge.DeviceID, event logbridge.ObservedEvent, level logbridge.Level) {
	b.levels.Observe(logbridge.Observation{Device: id, Event: event, Level: level, Time: time.Now()})
}
