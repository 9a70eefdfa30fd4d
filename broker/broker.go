package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
	mqtt "github.com/mochi-mqtt/server/v2"
	"golang.org/x/time/rate"
)

// Credentials finds a device by its name. It is called once per login, concurrently, and must not block: it reads a
// cache. ErrNotFound says that there is no such device.
type Credentials interface {
	Device(id logbridge.DeviceID) (logbridge.Device, error)
}

// Handler is told of sessions and messages. The calls that concern one session come one after another, except that
// Acked and Handle may overlap with calls of other sessions.
type Handler interface {
	// Connected is called when the device has its CONNACK, before its first message.
	Connected(s logbridge.Session)
	// Disconnected is called once for each Connected, after the last Handle of the session has returned. A device that
	// logs in again ends its older session first, but when that one is still busy the new session may come before it.
	Disconnected(s logbridge.Session)
	// Handle runs on the goroutine that reads from the device: while it runs nothing else of this device is read. messages
	// are those that came together, in their order, and are valid during the call only; the result, nil if all is well,
	// says of each what became of it. nil: the publisher gets its PUBACK. ErrInvalid and ErrTooLarge: it gets one too (MQTT 5: with a reason code) and the
	// message is forgotten, since devices repeat what is refused for ever. Any other error is temporary: MQTT 5 gets a
	// reason code, MQTT 3 no PUBACK and the end of its connection.
	Handle(ctx context.Context, s logbridge.Session, messages []logbridge.Message) []error
	// Acked is called for the PUBACK of a payload that Session.Send delivered at QoS 1.
	Acked(s logbridge.Session, topic string, payload []byte)
	// Refused is called for a message that was not handed over: ErrForbidden when the device may not send there, or not at
	// QoS 2; ErrTooLarge, with an empty topic, when it is over MaxPacket and was not read.
	Refused(s logbridge.Session, topic string, why error)
}

// Attempts bounds how often a login may fail. Both are called concurrently and do not block.
type Attempts interface {
	// Allowed says whether a login of this device from this address is to be looked at. One that is not is refused like a
	// wrong one, whether it is or not.
	Allowed(from netip.Addr, id logbridge.DeviceID) bool
	// Failed takes note of a wrong login; known says that there is such a device.
	Failed(from netip.Addr, id logbridge.DeviceID, known bool)
}

// Config of a broker. Zero fields take the default that is named with them.
type Config struct {
	// Addr is the host:port for plain TCP. Port 0 binds a free one.
	Addr string
	// TLSAddr, when set, is a second listener that speaks TLS as TLS says. A client certificate that TLS verifies is a login
	// for the device it is registered with.
	TLSAddr string
	TLS     *tls.Config
	// Attempts bounds failed logins; nil is no bound.
	Attempts Attempts
	// MaxConnections bounds all connections, logged in or not: DefaultMaxConnections.
	MaxConnections int
	// MaxHalfOpen bounds the connections that have not sent their CONNECT yet, TLS handshakes included: DefaultMaxHalfOpen. At
	// the bound the oldest is closed, once it has used up half of ConnectTimeout; until then new ones wait to be accepted.
	MaxHalfOpen int
	// ConnectRate bounds how many connections are accepted in a second, and at once: DefaultConnectRate. Later ones wait in
	// the operating system's queue.
	ConnectRate int
	// MaxPacket bounds one MQTT packet in bytes: DefaultMaxPacket.
	MaxPacket int
	// ConnectTimeout is how long a connection may take to TLS handshake and CONNECT: DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// WriteTimeout is how long one write to a device may take at least before its connection is closed, and half as long again at most:
	// DefaultWriteTimeout.
	WriteTimeout time.Duration
}

const (
	// DefaultMaxConnections is above the 19 000 that were measured on two cores, and holds a broker to some 5 GB.
	DefaultMaxConnections = 100_000
	// DefaultMaxHalfOpen holds a storm of a whole fleet, and half-open TLS handshakes to some 300 MB.
	DefaultMaxHalfOpen = 8192
	// DefaultConnectRate is above what two cores can log in, and lets a fleet of 19 000 come back at once.
	DefaultConnectRate = 20_000
	// DefaultMaxPacket is far above what device SDKs send (2 KB buffers in C, tencent-iot.md 1) and below the
	// sink's bound for one commit. A device that has logged in can make the broker allocate twice as much.
	DefaultMaxPacket = 256 << 10
	// DefaultConnectTimeout leaves a slow modem time for a TLS handshake.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultWriteTimeout bounds what a device that does not read can cost a sender (mqtt-broker.md P7: 2 to 5 s).
	DefaultWriteTimeout = 3 * time.Second

	// drainTimeout is how long Run waits at its end for handlers that are still running. Append gives up after 5 s.
	drainTimeout = 8 * time.Second
)

// Broker is one embedded broker.
type Broker struct {
	cfg     Config
	creds   Credentials
	handler Handler
	log     *slog.Logger

	server    *mqtt.Server
	listeners []net.Listener
	table     table
	rate      *rate.Limiter
	counters  counters
	room      room

	// handling is given to Handler.Handle. It ends when Run stops waiting for handlers, not when Run is told to end:
	// what was received is to be stored and acknowledged.
	handling     context.Context
	stopHandling context.CancelFunc
}

// New checks cfg and binds the addresses; nothing is accepted before Run.
func New(cfg Config, creds Credentials, h Handler, log *slog.Logger) (*Broker, error) {
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, DefaultMaxConnections)
	cfg.MaxHalfOpen = cmp.Or(cfg.MaxHalfOpen, DefaultMaxHalfOpen)
	cfg.ConnectRate = cmp.Or(cfg.ConnectRate, DefaultConnectRate)
	cfg.MaxPacket = cmp.Or(cfg.MaxPacket, DefaultMaxPacket)
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, DefaultConnectTimeout)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, DefaultWriteTimeout)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, creds: creds, handler: h, log: log}
	b.table.init(cfg)
	b.rate = rate.NewLimiter(rate.Limit(cfg.ConnectRate), cfg.ConnectRate)
	b.handling, b.stopHandling = context.WithCancel(context.Background())
	b.server = mqtt.New(serverOptions(cfg))
	if err := b.server.AddHook(&guard{broker: b}, nil); err != nil {
		return nil, fmt.Errorf("mqtt guard hook: %w", err)
	}
	if err := b.bind(); err != nil {
		b.closeListeners()
		return nil, err
	}
	return b, nil
}

func (cfg *Config) validate() error {
	var errs []error
	if cfg.MaxConnections < 0 || cfg.MaxHalfOpen < 0 || cfg.ConnectRate < 0 {
		errs = append(errs, fmt.Errorf("%w: MQTT connections: the bounds must be above 0", logbridge.ErrInvalid))
	}
	if cfg.MaxPacket < minPacket || cfg.MaxPacket > maxPacket {
		errs = append(errs, fmt.Errorf("%w: MQTT packet: the bound must be %d to %d bytes", logbridge.ErrInvalid, minPacket, maxPacket))
	}
	if cfg.ConnectTimeout < 0 || cfg.WriteTimeout < 0 {
		errs = append(errs, fmt.Errorf("%w: MQTT timeouts must be above 0", logbridge.ErrInvalid))
	}
	if cfg.TLSAddr != "" && cfg.TLS == nil {
		errs = append(errs, fmt.Errorf("%w: MQTT over TLS needs a certificate", logbridge.ErrInvalid))
	}
	return errors.Join(errs...)
}

const (
	// minPacket leaves room for a CONNECT.
	minPacket = maxConnect
	// maxPacket is MQTT's own bound.
	maxPacket = 256 << 20
)

// serverOptions switches off in mochi what is not offered and makes its buffers small (mqtt-broker.md 6.5).
func serverOptions(cfg Config) *mqtt.Options {
	return &mqtt.Options{
		Capabilities: &mqtt.Capabilities{
			MaximumClients:               int64(cfg.MaxConnections),
			MaximumMessageExpiryInterval: 0,
			MaximumClientWritesPending:   1, // nothing is ever queued: sessions write directly
			MaximumSessionExpiryInterval: 0,
			MaximumPacketSize:            uint32(cfg.MaxPacket),
			ReceiveMaximum:               32,
			MaximumInflight:              64,
			TopicAliasMaximum:            0,
			SharedSubAvailable:           0,
			MinimumProtocolVersion:       3,
			MaximumQos:                   1,
			RetainAvailable:              0,
			WildcardSubAvailable:         0,
			SubIDAvailable:               0,
			// A PUBACK must not echo the publisher's properties.
			Compatibilities: mqtt.Compatibilities{NoInheritedPropertiesOnAck: true},
		},
		ClientNetWriteBufferSize: 512,
		ClientNetReadBufferSize:  512,
		// The interval is also that of a ticker that runs whether its loop does or not.
		SysTopicResendInterval: 3600,
		// mochi logs whole packets with their payloads, passwords included (P25). What matters is logged by us.
		Logger: slog.New(slog.DiscardHandler),
	}
}

// Addr is the address of the plain listener.
func (b *Broker) Addr() net.Addr { return b.listeners[0].Addr() }

// TLSAddr is the address of the TLS listener, nil without one.
func (b *Broker) TLSAddr() net.Addr {
	if len(b.listeners) < 2 {
		return nil
	}
	return b.listeners[1].Addr()
}

// Run accepts connections until ctx ends. Then it stops accepting, lets the handlers that run finish and acknowledge,
// tells MQTT 5 devices that the server is shutting down, closes every connection and returns. It is called once.
func (b *Broker) Run(ctx context.Context) error {
	var accepting sync.WaitGroup
	for _, l := range b.listeners {
		accepting.Go(func() { b.accept(ctx, l) })
	}
	<-ctx.Done()
	b.closeListeners()
	accepting.Wait()
	b.drain()
	return b.server.Close()
}

// drain ends every connection, first by letting its goroutine come to the end of what it does, then by force.
func (b *Broker) drain() {
	defer b.stopHandling()
	conns := b.table.close()
	for _, c := range conns {
		c.drain()
	}
	ended := make(chan struct{})
	go func() {
		b.table.serving.Wait()
		close(ended)
	}()
	force := time.NewTimer(drainTimeout)
	defer force.Stop()
	select {
	case <-ended:
	case <-force.C:
		b.log.Warn("mqtt: handlers still run at the end, giving up on them", "waited", drainTimeout)
		b.stopHandling()
		for _, c := range conns {
			c.Close()
		}
		<-ended
	}
}

// TakeOver ends the session of a device that has connected to another node.
func (b *Broker) TakeOver(id logbridge.DeviceID) {
	if s := b.table.session(id); s != nil {
		b.counters.takeovers.Add(1)
		s.conn.takeOver()
	}
}

// EndSession ends the session of a device that was deleted or has another secret; it may log in again with that. The
// connection of a device without a session is left alone.
func (b *Broker) EndSession(id logbridge.DeviceID) {
	if s := b.table.session(id); s != nil {
		s.conn.revoke()
	}
}
