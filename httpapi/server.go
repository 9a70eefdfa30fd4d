// Package httpapi is everything that logbridge says over HTTP: log uploads of devices (device.go), of web pages in the
// dialects of Alibaba SLS (sls.go) and Tencent CLS (cls.go), of services by OTLP (otlp.go) and Loki's push (loki_push.go), the
// operator API (api*.go, logs.go), the console (console.go), the part of Loki's API that Grafana and logcli read from (loki*.go) and what operations need
// (ops.go). One file and one error table per surface.
//
// Promise: an upload is answered with success only after Log.Append has returned nil; every upload that is not stored is
// counted with a reason (refusal.go); bodies, decompressed bodies, headers, connections and waiting times are bounded by
// named constants. Secrets are never shown again and never logged. What is left to others: where things are kept (Deps), who may know what, and everything on MQTT.
package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/netutil"

	"github.com/logbridge/logbridge"
)

// The bounds of one listener.
const (
	// maxHeaderBytes: a track.gif carries 16 KB of parameters in its first line, browsers and their cookies the rest.
	maxHeaderBytes = 32 << 10
	// headerTimeout: a client that needs longer to send its header is not one of ours.
	headerTimeout = 10 * time.Second
	// idleTimeout: browsers and producers come back within seconds or not at all.
	idleTimeout = 120 * time.Second
	// writeTimeout bounds a whole answer that is not a stream; logs.go extends it write by write.
	writeTimeout = 30 * time.Second
	// defaultBodyTimeout bounds the time in which a body must have come in.
	defaultBodyTimeout = 10 * time.Second
	// defaultMaxConnections: about 40 KB each at rest, 400 MB at the worst.
	defaultMaxConnections = 10_000
	// drainTimeout: after it, what is still in flight at shutdown is cut off. Appends end long before.
	drainTimeout = 10 * time.Second
)

// appendTimeout: the C SDK waits one second for an answer (tencent-iot.md 4.5).
const appendTimeout = 800 * time.Millisecond

// DemoCredentials is the path at which the vendor's samples have a page ask its backend for credentials (web-tracking.md 3.6).
// Only Config.Demo answers there, since a backend is not ours.
const DemoCredentials = "/get_sts_token"

// Config says where to listen and how strict to be. Zero fields mean the default.
type Config struct {
	// Addr is the address of all public surfaces; port 0 takes a free one.
	Addr string
	// AdminAddr, when set and not Addr, takes the operator API, the console and metrics away from Addr.
	AdminAddr string
	// TLSAddr, when set, serves what Addr serves over TLS as well, with TLS as its configuration.
	TLSAddr string
	TLS     *tls.Config
	// MQTTOrigins are origins of pages of other hosts that may use MQTT over WebSocket: https://console.example.com, * for any.
	MQTTOrigins []string
	// MQTTPort is where the broker listens, for those who ask for a device's login; 0 is not known.
	MQTTPort int
	// DeviceHosts are host names that devices may have signed beside the Host they sent; default are Tencent's gateways.
	DeviceHosts []string
	// DeviceSkew is how far the timestamp of a device upload may be off; 0 allows any, as real devices need
	// (tencent-iot.md 4.4).
	DeviceSkew time.Duration
	// MaxConnections per listener; default 10 000.
	MaxConnections int
	// BodyTimeout bounds the time in which a request's body must have come in; default 10 s.
	BodyTimeout time.Duration
	// Console has the files of the console (console.Files); nil is a page that says how to get it.
	Console fs.FS
	// TrustedProxies are the networks of the proxies before this server, and ProxyHeader the one header in which they say who their
	// client is: HeaderXForwardedFor, which is the default, or HeaderForwarded. Without proxies the peer is the client.
	TrustedProxies []netip.Prefix
	ProxyHeader    string
	// Limits and Privacy hold for stores that say nothing.
	Limits  logbridge.WebLimits
	Privacy logbridge.WebPrivacy
	// Demo is served under /demo when set.
	Demo http.Handler
	// Version is shown in the OpenAPI document.
	Version string
}

// Server answers HTTP on one or two listeners.
type Server struct {
	cfg        Config
	deps       Deps
	log        *slog.Logger
	bodies     *bodies
	sls, cls   *dialect
	otlp       *intake
	loki       *intake // of its push
	decoy      string  // stands in for the key of a device that does not exist
	fronts     []*front
	forwarding *forwarding
	rates      *rates
	patience   patience
	redactors  redactors
	bots       botCache
	// lokiReads has an element for each request of Loki's clients that is being answered.
	lokiReads chan struct{}
	sockets   sync.WaitGroup  // handlers that have taken over their connection, of which net/http knows no more
	draining  context.Context // done when streams have to end
	drain     context.CancelFunc
	// tokenCheck is how often answers that go on look at their token again.
	tokenCheck    time.Duration
	auditFailures atomic.Uint64
}

// The names of the fronts.
const (
	frontHTTP  = "http"
	frontHTTPS = "https"
	frontAdmin = "admin"
)

// front is one listener with its server.
type front struct {
	name     string
	listener net.Listener
	server   *http.Server
}

// New checks cfg and binds its addresses; nothing is accepted before Run.
func New(cfg Config, deps Deps, log *slog.Logger) (*Server, error) {
	if cfg.TLSAddr != "" && cfg.TLS == nil {
		return nil, errors.New("httpapi: TLSAddr needs TLS")
	}
	if cfg.DeviceSkew < 0 || cfg.MaxConnections < 0 || cfg.BodyTimeout < 0 {
		return nil, errors.New("httpapi: DeviceSkew, MaxConnections and BodyTimeout must not be negative")
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = defaultMaxConnections
	}
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = defaultBodyTimeout
	}
	if len(cfg.DeviceHosts) == 0 {
		cfg.DeviceHosts = tencentGateways()
	}
	cfg.Limits, cfg.Privacy = cfg.Limits.Or(defaultLimits()), defaultPrivacy(cfg.Privacy)
	behind, err := newForwarding(cfg.TrustedProxies, cfg.ProxyHeader)
	if err != nil {
		return nil, err
	}
	deps.Log = scopedLog{deps.Log}
	if deps.Audit == nil {
		deps.Audit = deps.Log
	}
	s := &Server{cfg: cfg, deps: deps, tokenCheck: tokenCheck, log: log, bodies: newBodies(), forwarding: behind, rates: newRates(), sls: slsDialect(), cls: clsDialect(), decoy: deps.MakePSK(), lokiReads: make(chan struct{}, maxLokiReads)}
	s.otlp, s.loki = otlpIntake(), lokiIntake()
	s.draining, s.drain = context.WithCancel(context.Background())
	split := cfg.AdminAddr != "" && cfg.AdminAddr != cfg.Addr
	public := s.newEcho(!split)
	s.routePublic(public)
	if !split {
		err = s.routeAdmin(public)
	}
	if err == nil {
		err = s.listen(frontHTTP, cfg.Addr, nil, public)
	}
	if err == nil && cfg.TLSAddr != "" {
		err = s.listen(frontHTTPS, cfg.TLSAddr, cfg.TLS, public)
	}
	if err == nil && split {
		admin := s.newEcho(true)
		if err = s.routeAdmin(admin); err == nil {
			err = s.listen(frontAdmin, cfg.AdminAddr, nil, admin)
		}
	}
	if err != nil {
		for _, f := range s.fronts {
			f.listener.Close()
		}
		return nil, err
	}
	return s, nil
}

// listen binds an address, with TLS unless secure is nil.
func (s *Server) listen(name, addr string, secure *tls.Config, e *echo.Echo) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", name, err)
	}
	l = netutil.LimitListener(l, s.cfg.MaxConnections)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s.fronts = append(s.fronts, &front{
		name:     name,
		listener: l,
		server: &http.Server{
			Handler:           s.entry(e),
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			WriteTimeout:      writeTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		},
	})
	return nil
}

// Addr is the bound address of the public surfaces.
func (s *Server) Addr() net.Addr { return s.front(frontHTTP).listener.Addr() }

// TLSAddr is the bound address of the public surfaces over TLS; nil without one.
func (s *Server) TLSAddr() net.Addr {
	if f := s.front(frontHTTPS); f != nil {
		return f.listener.Addr()
	}
	return nil
}

// AdminAddr is the bound address of the operator API; it equals Addr when there is one listener.
func (s *Server) AdminAddr() net.Addr {
	if f := s.front(frontAdmin); f != nil {
		return f.listener.Addr()
	}
	return s.Addr()
}

func (s *Server) front(name string) *front {
	for _, f := range s.fronts {
		if f.name == name {
			return f
		}
	}
	return nil
}

// Run serves until ctx ends, then stops accepting, ends the streams, lets the rest finish and returns. It returns an
// error only if a listener failed.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, len(s.fronts))
	var serving sync.WaitGroup
	for _, f := range s.fronts {
		serving.Go(func() {
			if err := f.server.Serve(f.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", f.name, err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for _, f := range s.fronts {
		serving.Go(func() {
			if e := f.server.Shutdown(grace); e != nil {
				s.log.Warn("requests cut off at shutdown", "listener", f.name, "error", e)
				f.server.Close()
			}
		})
	}
	serving.Wait()
	s.sockets.Wait()
	return err
}

// entry is what every request passes before it is routed. It bounds the time for the body also where a handler does not
// read one, since net/http reads the rest of it before the next request. Names in paths hold no character that needs
// escaping, so routing goes by the decoded path; and a page whose SDK was given a host with a trailing slash asks for
// //logstores or /sls/project//logstores (web-tracking.md 2.1).
func (s *Server) entry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// Cannot fail on net/http's own HTTP/1 connections.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout))
		}
		r.URL.RawPath = ""
		if strings.Contains(r.URL.Path, "//") {
			r.URL.Path = oneSlash(r.URL.Path)
		}
		s.forwarding.apply(r)
		takeWriteToken(r)
		next.ServeHTTP(w, r)
	})
}

// oneSlash leaves one of slashes that stand together: at the beginning of any path, and everywhere in those of pages.
func oneSlash(path string) string {
	path = "/" + strings.TrimLeft(path, "/")
	if !isSLSPath(path) && !isCLSPath(path) {
		return path
	}
	return "/" + strings.Join(strings.FieldsFunc(path, func(c rune) bool { return c == '/' }), "/")
}

// newEcho makes the router of a listener; admin says whether that has the console and the operator API.
func (s *Server) newEcho(admin bool) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	lost := newLost(admin)
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.fail(err, c, lost) }
	e.Use(s.recovered)
	return e
}

func (s *Server) routePublic(e *echo.Echo) {
	s.routeDevice(e)
	s.routeSLS(e)
	s.routeCLS(e)
	s.routeMQTT(e)
	s.routeOTLP(e)
	s.routeLokiPush(e)
	s.routeHealth(e)
	if s.cfg.Demo != nil {
		e.Any("/demo", echo.WrapHandler(s.cfg.Demo))
		e.Any("/demo/*", echo.WrapHandler(s.cfg.Demo))
		e.Any(DemoCredentials, echo.WrapHandler(s.cfg.Demo))
	}
}

// routeAdmin is called after routePublic when both share a listener.
func (s *Server) routeAdmin(e *echo.Echo) error {
	if s.deps.Metrics != nil {
		e.GET("/metrics", echo.WrapHandler(s.deps.Metrics))
	}
	s.routeLoki(e)
	s.routeHealth(e)
	if err := s.routeAPI(e); err != nil {
		return err
	}
	return s.routeConsole(e)
}

// errPanic stands for a handler that panicked; the stack is in the log.
var errPanic = errors.New("internal error")

// recovered turns a panic into an error, so that each surface answers in its own words.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.log.Error("handler panicked", "path", c.Request().URL.Path, "panic", p, "stack", string(debug.Stack()))
				err = errPanic
			}
		}()
		return next(c)
	}
}

// fail answers errors that no handler has answered: no such path, no such method, a panic. Which surface speaks goes by
// the path.
func (s *Server) fail(err error, c echo.Context, lost lost) {
	if c.Response().Committed {
		return
	}
	status := http.StatusInternalServerError
	if h := (*echo.HTTPError)(nil); errors.As(err, &h) {
		status = h.Code
	}
	switch path := c.Request().URL.Path; {
	case isDevicePath(path):
		s.failDevice(c, status)
	case isSLSPath(path):
		s.failWeb(c, s.sls, status)
	case isCLSPath(path):
		s.failWeb(c, s.cls, status)
	case isOTLPPath(path):
		s.failIntake(c, s.otlp, status)
	case path == lokiPushPath:
		s.failIntake(c, s.loki, status)
	case under(path, "/api"):
		writeProblem(c, lost.problem(status))
	case under(path, lokiPath):
		_ = writeLokiProblem(c, problemOf(status))
	default:
		lost.answer(c, status)
	}
}

// under reports whether path is dir or below it.
func under(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}
