package bridge

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"github.com/logbridge/logbridge"
)

const (
	// The waits between two tries to connect.
	upstreamPause     = 500 * time.Millisecond
	upstreamPauseMost = 15 * time.Second
	// upstreamWait bounds each step of talking to the broker: the connection, its CONNACK, a SUBACK, a write.
	upstreamWait = 10 * time.Second
	// upstreamKeepAlive finds a broker that went away without a word.
	upstreamKeepAlive = 15 * time.Second
	// heardFor is how long a device counts as connected after it was heard: the outside broker does not say who is. It is told of
	// changes in any case.
	heardFor = time.Hour
	// heardLook is how often that is looked at.
	heardLook = time.Minute
)

// Devices are those that are registered; without I/O.
type Devices interface {
	// Device gives a device, or an error if there is none.
	Device(id logbridge.DeviceID) (logbridge.Device, error)
	// Devices lists the devices of a product, or with "" all of them.
	Devices(product string) iter.Seq[logbridge.Device]
}

// Lease lets one node at a time do something: *natsd.Node.
type Lease interface {
	// Hold runs do whenever this node is the one, until ctx ends. The context of do ends when it is not any more.
	Hold(ctx context.Context, name string, do func(context.Context)) error
}

// Upstream is the link to one outside broker. What devices publish there is handled as if they were connected here, and they are
// answered and told of levels through it. It promises that a QoS 1 message is acknowledged to the broker only when it was handled: a
// report is durable then. What the broker delivers again is recognized by the sink.
//
// The broker alone knows who its clients are: its access rules must let each device write to its own topics only, and nobody but
// this link to $log/operation/result and $sys/operation/result. Of devices that are not registered nothing is taken.
//
// Of several nodes one holds the link, under a lease; another follows when it dies, with the same client id, so that it gets what
// was not acknowledged.
type Upstream struct {
	cfg     UpstreamConfig
	bridge  *Bridge
	lease   Lease
	devices Devices
	log     *slog.Logger

	mu    sync.Mutex // guards heard
	heard map[logbridge.DeviceID]*outsider

	publisher publisher
	linked    atomic.Bool // subscribed
	counters  upstreamCounters
}

// upstreamCounters are what Stats reads. They only grow.
type upstreamCounters struct {
	connects, failures, received, redelivered, unknown, retried, published, unpublished atomic.Uint64
}

// UpstreamStats are the numbers of a link. Linked is of now, the others count from the start.
type UpstreamStats struct {
	Name        string // the broker's host:port
	Linked      bool   // this node reads from the broker
	Connects    uint64 // successful subscriptions
	Failures    uint64 // connections that failed or were lost
	Received    uint64 // messages
	Redelivered uint64 // of them, delivered again
	Unknown     uint64 // of them, of devices that are not registered, or of nobody
	Retried     uint64 // times that handling a message was tried again
	Published   uint64 // messages that the broker took
	Unpublished uint64 // messages that it did not take; levels are sent again
}

// AddUpstream makes a link; nothing is connected before Run. It is called before the bridge runs.
func (b *Bridge) AddUpstream(cfg UpstreamConfig, devices Devices, lease Lease, log *slog.Logger) (*Upstream, error) {
	if cfg.Address == "" || cfg.ClientID == "" {
		return nil, fmt.Errorf("%w: upstream: an address and a client id are needed", logbridge.ErrInvalid)
	}
	u := &Upstream{cfg: cfg, bridge: b, lease: lease, devices: devices, log: log.With("upstream", cfg.Address),
		heard: map[logbridge.DeviceID]*outsider{}}
	u.publisher.up = u
	u.publisher.unsent = map[logbridge.DeviceID]struct{}{}
	b.upstreams = append(b.upstreams, u)
	return u, nil
}

// Run keeps the link until ctx ends: it connects, connects again, and lets go.
func (u *Upstream) Run(ctx context.Context) error {
	var parts errgroup.Group
	parts.Go(func() error {
		if u.cfg.Share != "" {
			u.link(ctx)
			return nil
		}
		return u.lease.Hold(ctx, "upstream "+u.cfg.name(), u.link)
	})
	parts.Go(func() error {
		u.forget(ctx)
		return nil
	})
	return parts.Wait()
}

// link reads from the broker and writes to it, each over a connection of its own, until ctx ends.
func (u *Upstream) link(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { u.again(ctx, "read from", u.receive) })
	both.Go(func() { u.again(ctx, "write to", u.publisher.run) })
	both.Wait()
	u.drop(time.Now()) // another node hears them now
}

// again does something with a connection whenever it ends, until ctx ends.
func (u *Upstream) again(ctx context.Context, what string, once func(ctx context.Context) (worked bool, err error)) {
	pause := upstreamPause
	for ctx.Err() == nil {
		worked, err := once(ctx)
		if ctx.Err() != nil {
			return
		}
		u.counters.failures.Add(1)
		if worked {
			pause = upstreamPause
		}
		u.log.Warn("cannot "+what+" the outside broker, trying again", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, upstreamPauseMost)
	}
}

// options are those of both connections. paho's own reconnecting says that what was lost has been published (mqtt-broker.md 5), so
// each connection is a new client.
func (u *Upstream) options(clientID string) (*mqtt.ClientOptions, <-chan error) {
	scheme := "tcp"
	if u.cfg.TLS != nil {
		scheme = "ssl"
	}
	lost := make(chan error, 1)
	o := mqtt.NewClientOptions().AddBroker(scheme + "://" + u.cfg.Address).SetClientID(clientID).
		SetUsername(u.cfg.User).SetPassword(u.cfg.Password).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectRetry(false).
		SetConnectTimeout(upstreamWait).SetWriteTimeout(upstreamWait).SetKeepAlive(upstreamKeepAlive).SetPingTimeout(upstreamWait).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			select {
			case lost <- err:
			default: // the first reason is told
			}
		})
	if u.cfg.TLS != nil {
		o.SetTLSConfig(u.cfg.TLS)
	}
	return o, lost
}

// wait is for a step that the broker has to answer.
func wait(what string, t mqtt.Token) error {
	if !t.WaitTimeout(upstreamWait) {
		return fmt.Errorf("%s: no answer in %s", what, upstreamWait)
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Upstreams reads the numbers of each link.
func (b *Bridge) Upstreams() []UpstreamStats {
	list := make([]UpstreamStats, len(b.upstreams))
	for i, u := range b.upstreams {
		list[i] = u.stats()
	}
	return list
}

func (u *Upstream) stats() UpstreamStats {
	c := &u.counters
	return UpstreamStats{
		Name: u.cfg.Address, Linked: u.linked.Load(),
		Connects: c.connects.Load(), Failures: c.failures.Load(), Received: c.received.Load(), Redelivered: c.redelivered.Load(),
		Unknown: c.unknown.Load(), Retried: c.retried.Load(), Published: c.published.Load(), Unpublished: c.unpublished.Load(),
	}
}

// outsider is a device that is reached through the link. It implements logbridge.Session.
type outsider struct {
	up     *Upstream
	device logbridge.DeviceID
	last   atomic.Int64 // when it was heard, in Unix nanoseconds
}

// Device is whose session it is.
func (o *outsider) Device() logbridge.DeviceID { return o.device }

// Send hands a message to the broker. nil means that it is on its way; whether the device has subscribed is not known.
func (o *outsider) Send(topic string, payload []byte) error {
	return o.up.publisher.publish(o.device, topic, payload)
}

// Resend has nothing to send again: what the broker took it delivers.
func (o *outsider) Resend(string) (bool, error) { return false, nil }

// session takes note that a device was heard, and gives its session. The first time it counts as connected.
func (u *Upstream) session(id logbridge.DeviceID) *outsider {
	u.mu.Lock()
	o := u.heard[id]
	first := o == nil
	if first {
		o = &outsider{up: u, device: id}
		u.heard[id] = o
	}
	o.last.Store(time.Now().UnixNano())
	u.mu.Unlock()
	if first {
		u.bridge.joined(o)
	}
	return o
}

// forget lets go of devices that were not heard for long, until ctx ends; then of all.
func (u *Upstream) forget(ctx context.Context) {
	look := time.NewTicker(heardLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			u.drop(time.Now())
			return
		case now := <-look.C:
			u.drop(now.Add(-heardFor))
		}
	}
}

// drop ends the sessions of devices that were last heard before a time.
func (u *Upstream) drop(before time.Time) {
	u.mu.Lock()
	var gone []*outsider
	for id, o := range u.heard {
		if o.last.Load() <= before.UnixNano() {
			gone = append(gone, o)
			delete(u.heard, id)
		}
	}
	u.mu.Unlock()
	for _, o := range gone {
		u.bridge.Disconnected(o)
	}
}

// changed are links to the devices that a change is about and that nobody holds a session of: only the broker knows whether they
// are there.
func (u *Upstream) changed(c logbridge.LevelChange) (links []*link) {
	add := func(id logbridge.DeviceID) {
		if !u.bridge.has(id) {
			links = append(links, &link{session: &outsider{up: u, device: id}})
		}
	}
	if c.Device != "" {
		id := logbridge.DeviceID{Product: c.Product, Device: c.Device}
		if _, err := u.devices.Device(id); err == nil {
			add(id)
		}
		return links
	}
	for d := range u.devices.Devices(c.Product) {
		add(d.ID)
	}
	return links
}

// group is the name of a filter within the shared subscription, if there is one.
func (c UpstreamConfig) group(filter string) string {
	if c.Share == "" {
		return filter
	}
	return "$share/" + c.Share + "/" + filter
}
