package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"

	"github.com/logbridge/logbridge/attempts"
	"github.com/logbridge/logbridge/bridge"
	"github.com/logbridge/logbridge/broker"
	"github.com/logbridge/logbridge/httpapi"
	"github.com/logbridge/logbridge/httpapi/console"
	"github.com/logbridge/logbridge/levels"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/quota"
	"github.com/logbridge/logbridge/refusals"
	"github.com/logbridge/logbridge/registry"
	"github.com/logbridge/logbridge/sink"
)

type serveCmd struct{ Config }

func (c *serveCmd) Run(p program, ctx *kong.Context) error {
	if err := c.finish(ctx); err != nil {
		return usageError{err}
	}
	if os.Getenv("GOGC") == "" { // whoever sets it knows better
		debug.SetGCPercent(sink.GCPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS() // so that a second call in one process does not add to the first
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + sink.ExtraProcs)
	}
	return run(p.ctx, c.Config, p.log(), p.stdout)
}

// run is the server: it works until ctx ends, then drains and returns nil. out gets what the demo has to tell.
func run(ctx context.Context, cfg Config, log *slog.Logger, out io.Writer) error {
	var show *demo
	if cfg.Demo {
		var err error
		if show, err = newDemo(&cfg, out); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer show.remove()
	}
	release, err := lockData(cfg.Data)
	if err != nil {
		return err
	}
	defer release()
	s := &server{cfg: cfg, log: log, demo: show, started: time.Now()}
	if err := s.build(ctx); err != nil {
		// What was built is ended the way it would be later: Run with a context that is over only cleans up.
		over, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, runStages(over, s.stages))
	}
	return runStages(ctx, s.stages)
}

// server holds the parts. Stages are in the order of their start: what stands on a part comes later and ends earlier.
type server struct {
	cfg    Config
	log    *slog.Logger
	demo   *demo
	stages []stage
	ready  atomic.Bool
	// started is when this process began to be a server.
	started time.Time

	node     *natsd.Node
	sink     *sink.Log
	registry *registry.Registry
	levels   *levels.Levels
	quota    *quota.Gate
	bridge   *bridge.Bridge
	attempts *attempts.Limiter
	refusals *refusals.Log
	tls      *certificates // nil without --mqtts and --https
	broker   *broker.Broker
	http     *httpapi.Server
}

func (s *server) add(name string, run func(context.Context) error) {
	s.stages = append(s.stages, stage{parts: []part{{name, run}}})
}

// build makes every part and binds every address.
func (s *server) build(ctx context.Context) (err error) {
	keys, writeKeys, err := s.sealKeys()
	if err != nil {
		return err
	}
	token, err := s.adminToken()
	if err != nil {
		return err
	}
	if s.node, err = s.openNATS(ctx); err != nil {
		return err
	}
	s.add("nats", s.node.Run)
	if s.sink, err = sink.New(ctx, s.sinkConfig(), s.node, s.log); err != nil {
		return err
	}
	s.add("sink", s.sink.Run)
	s.refusals = refusals.New(s.sink, s.log)
	s.add("refusals", s.refusals.Run)
	if s.registry, err = registry.New(ctx, s.node, keys[0], s.log, keys[1:]...); err != nil {
		return err
	}
	s.registry.SetAdminToken(token)
	if s.node.Embedded() { // other nodes have files of their own
		s.registry.OnKeys(writeKeys)
	}
	if s.levels, err = levels.New(ctx, s.node, s.registry, s.refusals, s.levelsConfig(), s.log); err != nil {
		return err
	}
	s.registry.OnTagged(s.levels.Retagged)
	s.quota = quota.New(quota.Config{Default: s.cfg.quota()}, s.sink, s.registry, s.sink, lowerer{s.levels}, s.log)
	if s.bridge, err = bridge.New(bridge.Config{}, observer{s.levels, s.registry}, s.quota, s.registry, s.sink, s.log); err != nil {
		return err
	}
	s.levels.OnChange(s.bridge.LevelChanged)
	s.levels.YieldTo(s.bridge.Pushing)
	s.stages = append(s.stages, stage{
		parts: []part{{"registry", s.registry.Run}, {"levels", s.levels.Run}},
		then:  s.provision,
	})
	s.add("quota", s.quota.Run)
	s.add("bridge", s.bridge.Run)
	if err := s.link(); err != nil {
		return err
	}
	return s.listen()
}

func (s *server) openNATS(ctx context.Context) (*natsd.Node, error) {
	cfg := s.cfg.natsConfig()
	if cfg.URL != "" {
		return natsd.Connect(ctx, cfg, s.log)
	}
	return natsd.New(cfg, s.log)
}

// link makes the links to outside brokers.
func (s *server) link() error {
	configs, err := s.cfg.upstreams()
	if err != nil {
		return err
	}
	var parts []part
	for _, cfg := range configs {
		u, err := s.bridge.AddUpstream(cfg, s.registry, s.node, s.log)
		if err != nil {
			return err
		}
		parts = append(parts, part{"upstream", u.Run})
	}
	if len(parts) > 0 {
		s.stages = append(s.stages, stage{parts: parts})
	}
	return nil
}

func (s *server) sinkConfig() sink.Config {
	audit := time.Duration(s.cfg.RetentionAuditAge)
	if audit == 0 {
		audit = -1 // for ever
	}
	cfg := sink.Config{
		Dir: filepath.Join(s.cfg.Data, "segments"), MemtableBytes: s.cfg.MemtableBytes,
		RetentionAge: time.Duration(s.cfg.RetentionAge), RetentionBytes: s.cfg.RetentionBytes, AuditAge: audit,
	}
	if s.cfg.NATS != "" {
		cfg.CommitLogAge, cfg.CommitLogBytes = time.Duration(s.cfg.NATSLogAge), s.cfg.NATSLogBytes
	}
	return cfg
}

func (s *server) levelsConfig() levels.Config {
	return levels.Config{Default: time.Duration(s.cfg.LevelDefault), Cap: time.Duration(s.cfg.LevelCap), TellAbsent: len(s.cfg.UpstreamMQTT) > 0}
}

// listen makes the parts that the world talks to.
func (s *server) listen() (err error) {
	var secure *tls.Config
	if s.cfg.MQTTS != "" || s.cfg.HTTPS != "" {
		if s.tls, err = loadCertificates(s.cfg, s.log); err != nil {
			return err
		}
		secure = s.tls.config()
	}
	if err := s.bind(secure); err != nil {
		return cmp.Or(s.cfg.taken(), err)
	}
	s.stages = append(s.stages, stage{
		parts: []part{{"broker", s.broker.Run}, {"http", s.http.Run}},
		then:  s.announce,
	})
	if s.demo != nil {
		s.add("demo", func(ctx context.Context) error { return s.demo.run(ctx, s) })
	}
	return nil
}

// bind makes broker and HTTP server; when one of them cannot have its address, the other's is free again.
func (s *server) bind(secure *tls.Config) (err error) {
	s.attempts = attempts.New()
	cfg := broker.Config{
		Addr: s.cfg.MQTT, TLSAddr: s.cfg.MQTTS, TLS: secure, Attempts: s.attempts,
		MaxConnections: s.cfg.MQTTMaxConnections, ConnectRate: s.cfg.MQTTConnectRate, MaxPacket: s.cfg.MQTTMaxPacket,
	}
	if s.broker, err = broker.New(cfg, s.registry, s.bridge, s.log); err != nil {
		return err
	}
	s.registry.OnRevoked(s.broker.EndSession)
	s.levels.OnTaken(s.broker.TakeOver)
	if s.http, err = httpapi.New(s.httpConfig(secure), s.httpDeps(), s.log); err != nil {
		return errors.Join(err, s.endBroker())
	}
	return nil
}

// endBroker gives its port back.
func (s *server) endBroker() error {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	return s.broker.Run(over)
}

func (s *server) httpConfig(secure *tls.Config) httpapi.Config {
	cfg := httpapi.Config{Addr: s.cfg.HTTP, AdminAddr: s.cfg.Admin, TLSAddr: s.cfg.HTTPS, TLS: secure, MQTTOrigins: s.cfg.MQTTOrigins, Console: console.Files(), Version: version(),
		TrustedProxies: s.cfg.TrustedProxies, ProxyHeader: s.cfg.ProxyHeader, Limits: s.cfg.webLimits(), Privacy: s.cfg.webPrivacy()}
	if addr, ok := s.broker.Addr().(*net.TCPAddr); ok {
		cfg.MQTTPort = addr.Port
	}
	if s.demo != nil {
		cfg.Demo = s.demo.page(s.registry)
	}
	return cfg
}

func (s *server) httpDeps() httpapi.Deps {
	return httpapi.Deps{
		Products: s.registry, Devices: s.registry, Projects: s.registry, Logstores: s.registry,
		AccessKeys: s.registry, TemporaryKeys: s.registry, Topics: s.registry, TopicKeys: s.registry, Tokens: s.registry, MakePSK: registry.MakePSK,
		CheckDevice: s.registry.CheckDevice, DeviceCount: s.registry.DeviceCount,
		AddressKey: func() (string, error) { return s.registry.AddressKey(context.Background()) },
		Levels:     s.levels, Rules: s.levels, Observer: observer{s.levels, s.registry}, SetLevel: s.setLevel, Overrides: s.overrides,
		Log: gatedLog{s.sink, s.quota}, Audit: s.refusals, Erase: s.sink.Erase, Counter: s.sink, Share: func(ctx context.Context) httpapi.Share { return s.sink.Share(ctx) },
		Broker: s.broker, Attempts: s.attempts, Registrations: s.registry,
		RotateSeal:   s.registry.Rotate,
		SealRotation: func() httpapi.SealRotation { return httpapi.SealRotation(s.registry.Rotation()) },
		Status:       s.status,
		Ready:        s.isReady, Metrics: metricsHandler(s),
	}
}

// provision sets up what the configuration wants to exist.
func (s *server) provision(ctx context.Context) error {
	if err := s.registry.Provision(ctx, s.cfg.Provision, s.levels); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	return nil
}

// announce says where the server listens and that it is ready.
func (s *server) announce(context.Context) error {
	say := func(name string, addr net.Addr) { s.log.Info("listening", "name", name, "addr", addr.String()) }
	say("http", s.http.Addr())
	if s.http.AdminAddr().String() != s.http.Addr().String() {
		say("admin", s.http.AdminAddr())
	}
	if s.cfg.HTTPS != "" {
		say("https", s.http.TLSAddr())
	}
	say("mqtt", s.broker.Addr())
	if s.cfg.MQTTS != "" {
		say("mqtts", s.broker.TLSAddr())
	}
	s.ready.Store(true)
	s.log.Info("ready")
	return notify("READY=1")
}

var errNotReady = errors.New("still starting")

func (s *server) isReady() error {
	if !s.ready.Load() {
		return errNotReady
	}
	if err := s.node.Ready(); err != nil {
		return err
	}
	return s.sink.Ready()
}
