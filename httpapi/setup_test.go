package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/levels"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/registry"
	"github.com/logbridge/logbridge/sink"
	"github.com/logbridge/logbridge/wire/recorded"
)

const (
	adminToken = "test-admin-token"
	evilPage   = "https://evil.example"
	goodPage   = "https://good.example"
	keyID      = "LTAItestkey"
	keySecret  = "secret"

	topicKeyID  = "AKIDtestkey"
	topicSecret = "topicsecret"
)

var device01 = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_01"}

// world is a server with real parts behind it, on free ports.
type world struct {
	*Server
	t    *testing.T
	reg  *registry.Registry
	sink *sink.Log
	url  string
	stop func()
}

// start runs a server; change may alter what New gets.
func start(t *testing.T, change ...func(*Config, *Deps)) *world {
	t.Helper()
	return startWith(t, func(*Server) {}, change...)
}

// startWith is start, with a server that prepare may alter before it runs.
func startWith(t *testing.T, prepare func(*Server), change ...func(*Config, *Deps)) *world {
	t.Helper()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	node, err := natsd.New(natsd.Config{Dir: t.TempDir()}, log)
	check(t, err)
	reg, err := registry.New(ctx, node, registry.SealKey{1}, log)
	check(t, err)
	reg.SetAdminToken(adminToken)
	stored, err := sink.New(ctx, sink.Config{Dir: filepath.Join(t.TempDir(), "segments")}, node, log)
	check(t, err)
	lv, err := levels.New(ctx, node, reg, stored, levels.Config{}, log)
	check(t, err)
	reg.OnTagged(lv.Retagged)
	runs := &layers{t: t}
	runs.add(node.Run)
	runs.add(stored.Run)
	runs.add(reg.Run)
	runs.add(lv.Run)
	provision(t, reg)

	cfg := Config{Addr: "127.0.0.1:0"}
	deps := Deps{
		Products: reg, Devices: reg, Projects: reg, Logstores: reg, AccessKeys: reg, TemporaryKeys: reg, Topics: reg, TopicKeys: reg, Tokens: reg,
		Levels: lv, Rules: lv, Observer: lv, MakePSK: registry.MakePSK, CheckDevice: reg.CheckDevice, DeviceCount: reg.DeviceCount, Log: patient{stored}, Counter: stored, Share: func(ctx context.Context) Share { return stored.Share(ctx) },
		Erase: stored.Erase,
		SetLevel: func(ctx context.Context, id logbridge.DeviceID, w LevelWish) (logbridge.LevelState, error) {
			return lv.Set(ctx, id, levels.Change(w))
		},
		Overrides: func() []LevelOverride {
			return views(lv.Overrides(), func(o levels.Override) LevelOverride { return LevelOverride(o) })
		},
		AddressKey:   func() (string, error) { return reg.AddressKey(ctx) },
		RotateSeal:   reg.Rotate,
		SealRotation: func() SealRotation { return SealRotation(reg.Rotation()) },
		Status: func(context.Context) (Status, error) {
			return Status{Started: time.Unix(1_800_000_000, 0), Registered: reg.DeviceCount(), Connected: 1, Sources: stored.LedgerSources(), Store: StoreStatus{Segments: 7}}, nil
		},
		Ready:   func() error { return nil },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics here\n") }),
	}
	for _, c := range change {
		c(&cfg, &deps)
	}
	s, err := New(cfg, deps, log)
	check(t, err)
	prepare(s)
	runs.add(s.Run)
	t.Cleanup(runs.stop)
	return &world{Server: s, t: t, reg: reg, sink: stored, url: "http://" + s.Addr().String(), stop: runs.stopLast}
}

func provision(t *testing.T, reg *registry.Registry) {
	t.Helper()
	ctx := t.Context()
	certificate, err := os.ReadFile("../wire/tencent/testdata/test-only-rsa-device.crt")
	check(t, err)
	check(t, reg.PutProduct(ctx, logbridge.Product{ID: device01.Product, TimeZone: "Asia/Shanghai"}))
	check(t, reg.PutDevice(ctx, logbridge.Device{ID: device01, PSK: recorded.PSK, Certificate: string(certificate), Tags: map[string]string{"site": "lab"}}))
	check(t, reg.PutSLSProject(ctx, logbridge.SLSProject{Name: "myproj", Hosts: []string{"127.0.0.1"}}))
	check(t, reg.PutLogstore(ctx, logbridge.Logstore{Project: "myproj", Name: "mystore", WebTracking: true}))
	check(t, reg.PutLogstore(ctx, logbridge.Logstore{Project: "myproj", Name: "closed"}))
	check(t, reg.PutLogstore(ctx, logbridge.Logstore{Project: "myproj", Name: "narrow", WebTracking: true, Origins: []string{goodPage}}))
	check(t, reg.PutAccessKey(ctx, logbridge.AccessKey{Project: "myproj", ID: keyID, Secret: keySecret}))
	check(t, reg.PutCLSTopic(ctx, logbridge.CLSTopic{ID: "topic-1", AnonymousWrite: true}))
	check(t, reg.PutCLSTopic(ctx, logbridge.CLSTopic{ID: "topic-closed"}))
	check(t, reg.PutTopicKey(ctx, logbridge.TopicKey{Topic: "topic-closed", ID: topicKeyID, Secret: topicSecret}))
	check(t, reg.PutCLSTopic(ctx, logbridge.CLSTopic{ID: "topic-narrow", AnonymousWrite: true, Origins: []string{goodPage}}))
}

// layers run parts and stop them in the reverse order, each when the one above has ended.
type layers struct {
	t     *testing.T
	stops []func()
}

func (l *layers) add(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			l.t.Error(err)
		}
	})
	l.stops = append(l.stops, func() { cancel(); ended.Wait() })
}

func (l *layers) stopLast() {
	if n := len(l.stops); n > 0 {
		stop := l.stops[n-1]
		l.stops = l.stops[:n-1]
		stop()
	}
}

func (l *layers) stop() {
	for len(l.stops) > 0 {
		l.stopLast()
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answered is a response that was read.
type answered struct {
	*http.Response
	body string
}

// send sends a request with the headers given as name, value pairs; a name Host sets the host.
func (w *world) send(method, path, body string, headers ...string) answered {
	w.t.Helper()
	return w.sendTo(w.url, method, path, body, headers...)
}

func (w *world) sendTo(base, method, path, body string, headers ...string) answered {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, base+path, strings.NewReader(body))
	check(w.t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	check(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return answered{resp, string(b)}
}

// call calls the operator API as admin and decodes what it answers.
func (w *world) call(method, path, body string) (int, map[string]any) {
	w.t.Helper()
	a := w.send(method, apiPath+path, body, "Authorization", "Bearer "+adminToken, "Content-Type", "application/json")
	var v map[string]any
	if a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			w.t.Fatalf("%s %s: %d %q: %v", method, path, a.StatusCode, a.body, err)
		}
	}
	return a.StatusCode, v
}

// records gives all that q finds, in the order in which it came in.
func (w *world) records(q logbridge.Query) []logbridge.Record {
	w.t.Helper()
	q.Order = logbridge.ByPosition
	var out []logbridge.Record
	for r, err := range w.sink.Query(w.t.Context(), q) {
		check(w.t, err)
		out = append(out, r)
	}
	return out
}

// refused is the ledger's count of refusals of a stream by reason.
func (w *world) refused(stream logbridge.Stream, why reason) uint64 {
	if stream == "" {
		stream = logbridge.UnknownStream
	}
	for _, s := range w.sink.Ledger().Streams {
		if s.Stream == stream {
			return s.Refused[string(why)]
		}
	}
	return 0
}

// attr is the value of an attribute, "<none>" when there is none.
func attr(r logbridge.Record, key string) string {
	for _, a := range r.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return "<none>"
}

// raw sends bytes over a TCP connection of their own and reads until the server closes it.
func (w *world) raw(b []byte) []byte {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.Addr().String())
	check(w.t, err)
	defer conn.Close()
	check(w.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Write(b)
	check(w.t, err)
	answer, err := io.ReadAll(conn)
	check(w.t, err)
	return answer
}

// patient is a log that gives an Append a minute, since a busy machine's disk may need longer than the server allows.
type patient struct{ Log }

func (p patient) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return p.Log.Append(ctx, b)
}

func (f *faulty) allowed() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wait
}

// faulty is a log whose Append fails as long as err is set, or after the wait that its context allows.
type faulty struct {
	Log
	mu   sync.Mutex
	err  error
	hang bool
	wait time.Duration // what the last Append was allowed
}

func (f *faulty) set(err error, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.hang = err, hang
}

func (f *faulty) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	f.mu.Lock()
	err, hang := f.err, f.hang
	if deadline, ok := ctx.Deadline(); ok {
		f.wait = time.Until(deadline)
	}
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if err != nil {
		return logbridge.Receipt{}, err
	}
	return f.Log.Append(ctx, b)
}

// spy keeps what the server observed.
type spy struct {
	mu   sync.Mutex
	seen []logbridge.Observation
}

func (s *spy) Observe(list ...logbridge.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, list...)
}

func (s *spy) last() logbridge.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return logbridge.Observation{}
	}
	return s.seen[len(s.seen)-1]
}

// scripted is a log whose records are given.
type scripted struct {
	Log
	query iter.Seq2[logbridge.Record, error]
}

func (s scripted) Query(context.Context, logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return s.query
}

// writes counts the writes to each accepted connection.
type writes struct {
	net.Listener
	mu    sync.Mutex
	sizes []int
}

func (l *writes) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l}, nil
}

type countedConn struct {
	net.Conn
	of *writes
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.of.mu.Lock()
	c.of.sizes = append(c.of.sizes, len(b))
	c.of.mu.Unlock()
	return c.Conn.Write(b)
}

func headerBody(t *testing.T, raw []byte) (header, body string) {
	t.Helper()
	h, b, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("no end of header in %q", raw)
	}
	return string(h), string(b)
}
