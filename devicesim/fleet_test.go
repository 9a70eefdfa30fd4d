package devicesim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

const testPSK = "bXktMTYtYnl0ZS1rZXkhIQ=="

func credentials(n int) []Credential {
	list := make([]Credential, n)
	for i := range list {
		list[i] = Credential{ID: logbridge.DeviceID{Product: "ABCDE12345", Device: fmt.Sprintf("dev_%02d", i+1)}, PSK: testPSK}
	}
	return list
}

// world is a broker that knows what a device may do, and an HTTP surface that checks signatures. Both remember the lines.
type world struct {
	mqtt.HookBase
	t      *testing.T
	broker *mqtt.Server
	addr   string
	web    *httptest.Server
	answer string // of the HTTP surface, instead of success

	mu      sync.Mutex
	level   logbridge.Level
	silent  bool // no answers to level questions
	lines   map[string]int
	uploads int
	changed chan struct{} // closed and replaced at each change of lines
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, level: logbridge.LevelDebug, lines: map[string]int{}, changed: make(chan struct{})}
	w.listen("127.0.0.1:0")
	t.Cleanup(func() { _ = w.broker.Close() })
	w.web = httptest.NewServer(http.HandlerFunc(w.reportlog))
	t.Cleanup(w.web.Close)
	return w
}

func (w *world) listen(addr string) {
	w.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.broker = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	for _, err := range []error{w.broker.AddHook(w, nil), w.broker.AddListener(listeners.NewNet("t", l)), w.broker.Serve()} {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) ID() string { return "world" }
func (w *world) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnPublish || b == mqtt.OnPublished
}

func (w *world) OnConnectAuthenticate(_ *mqtt.Client, p packets.Packet) bool {
	err := tencent.VerifyPassword(testPSK, string(p.Connect.Username), string(p.Connect.Password), time.Now())
	return err == nil && strings.HasPrefix(string(p.Connect.Username), p.Connect.ClientIdentifier+";")
}

func (w *world) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func (w *world) OnPublished(cl *mqtt.Client, p packets.Packet) {
	if topic, id := tencent.ParseTopic(p.TopicName); topic == tencent.TopicOperation {
		q, err := tencent.ParseLevelRequest(p.Payload)
		if err != nil {
			w.t.Errorf("level question %q: %v", p.Payload, err)
		}
		w.mu.Lock()
		level, silent := w.level, w.silent
		w.mu.Unlock()
		if !silent {
			_ = w.broker.Publish(tencent.OperationResultTopic(id), tencent.LevelReply(q.ClientToken, level, time.Now()), false, 1)
		}
	}
}

// OnPublish runs before the PUBACK.
func (w *world) OnPublish(_ *mqtt.Client, p packets.Packet) (packets.Packet, error) {
	if topic, _ := tencent.ParseTopic(p.TopicName); topic == tencent.TopicReport {
		w.keep(strings.Split(string(p.Payload), "\n"))
	}
	return p, nil
}

func (w *world) reportlog(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s := tencent.Signature{Algorithm: r.Header.Get("X-TC-Algorithm"), Timestamp: r.Header.Get("X-TC-Timestamp"),
		Nonce: r.Header.Get("X-TC-Nonce"), Signature: r.Header.Get("X-TC-Signature")}
	if err := s.Verify(tencent.Keys{Secret: testPSK}, []string{"127.0.0.1"}, r.URL.Path, body); err != nil {
		w.t.Errorf("upload: %v", err)
	}
	up, err := tencent.ParseUpload(body)
	if err != nil {
		w.t.Errorf("upload: %v", err)
	}
	if w.answer != "" {
		w.keep(nil)
		_, _ = io.WriteString(rw, w.answer)
		return
	}
	w.keep(up.Messages)
	_, _ = rw.Write(tencent.Reply("r1"))
}

func (w *world) keep(lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lines {
		w.lines[l]++
	}
	w.uploads++
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until ok holds of the lines that have come.
func (w *world) await(what string, ok func(lines map[string]int) bool) {
	w.t.Helper()
	limit := time.After(time.Minute)
	for {
		w.mu.Lock()
		done, changed := ok(w.lines), w.changed
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit:
			w.t.Fatalf("%s did not happen", what)
		}
	}
}

// start runs a fleet and returns a function that ends it.
func (w *world) start(cfg Config) (*Fleet, func()) {
	w.t.Helper()
	cfg.Broker, cfg.HTTP = w.addr, w.web.URL
	if cfg.LineRate == 0 {
		cfg.LineRate, cfg.UploadEvery = 50, 20*time.Millisecond
	}
	f, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return f, func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

func TestEveryAcknowledgedLineHasArrivedOnce(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	acked := map[string]bool{}
	f, stop := w.start(Config{Devices: credentials(6), Upload: UploadMixed, Acked: func(_ logbridge.DeviceID, lines []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			acked[l] = true
		}
	}})
	w.await("500 lines", func(lines map[string]int) bool { return len(lines) > 500 })
	stop()
	n := f.Stats()
	if n.Connects != 6 || n.Asked < 6 || n.Answered != n.Asked || n.RoundTripP50 <= 0 || n.RoundTripP99 < n.RoundTripP50 || n.Connected != 0 {
		t.Errorf("counts: %+v", n)
	}
	if n.Sent != n.Acknowledged || n.Refused+n.Dropped+n.Failed != 0 {
		t.Errorf("counts do not balance: %+v", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range acked {
		if w.lines[l] != 1 {
			t.Errorf("acknowledged %q arrived %d times", l, w.lines[l])
		}
	}
	for l := range w.lines {
		if line := tencent.ParseLine(l, time.Local); line.Time.IsZero() || line.Tag == "" {
			t.Errorf("%q is no line of Tencent's shape", l)
		}
	}
}

func TestObeysThePushedLevel(t *testing.T) {
	w := newWorld(t)
	w.level = logbridge.LevelError
	f, stop := w.start(Config{Devices: credentials(1), Upload: UploadHTTP})
	defer stop()
	w.await("an error line after the answer", func(lines map[string]int) bool { return len(lines) > 0 && f.Stats().Answered == 1 })
	w.mu.Lock()
	for l := range w.lines {
		if !strings.HasPrefix(l, "ERR|") {
			t.Errorf("at error the device wrote %q", l)
		}
	}
	w.mu.Unlock()
	push := tencent.LevelReply("", logbridge.LevelDebug, time.Now())
	if err := w.broker.Publish(tencent.OperationResultTopic(credentials(1)[0].ID), push, false, 1); err != nil {
		t.Fatal(err)
	}
	w.await("a debug line and the SDK's remark", func(lines map[string]int) bool {
		debug, remark := false, false
		for l := range lines {
			debug = debug || strings.HasPrefix(l, "DBG|")
			remark = remark || strings.HasSuffix(l, "Upload log level change to: 4")
		}
		return debug && remark
	})
	if n := f.Stats(); n.Pushed != 1 {
		t.Errorf("%d pushes counted", n.Pushed)
	}
}

func TestComesBackAfterTheBrokerWasAway(t *testing.T) {
	w := newWorld(t)
	f, stop := w.start(Config{Devices: credentials(2), Upload: UploadMQTT})
	defer stop()
	w.await("lines", func(lines map[string]int) bool { return len(lines) > 20 })
	if err := w.broker.Close(); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	before := len(w.lines)
	w.mu.Unlock()
	w.listen(w.addr)
	w.await("lines after the return", func(lines map[string]int) bool { return len(lines) > before+50 })
	if n := f.Stats(); n.Connects < 4 {
		t.Errorf("%d logins of two devices that had to log in twice each", n.Connects)
	}
}

func TestRefusedLinesAreNotSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		answer           string
		refused, untaken bool // for ever, or this time; otherwise the server may have the lines
	}{
		"refused":     {string(tencent.ReplyError("AuthFailure.SignatureFailure", "no", "r1")), true, false},
		"throttled":   {string(tencent.ReplyError("RequestLimitExceeded", "later", "r1")), false, true},
		"temporary":   {string(tencent.ReplyError("InternalError", "try again", "r1")), false, false},
		"no answer":   {`{}`, false, false},
		"not JSON":    {`<html>`, false, false},
		"no Response": {`{"Error":{}}`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := outcome(http.StatusOK, []byte(c.answer))
			if err == nil || errors.Is(err, errRefused) != c.refused || errors.Is(err, errTemporary) != c.untaken {
				t.Errorf("answer %s: %v", c.answer, err)
			}
		})
	}
	w := newWorld(t)
	w.answer = string(tencent.ReplyError("InvalidParameter", "no", "r1"))
	f, stop := w.start(Config{Devices: credentials(1), Upload: UploadHTTP})
	w.await("an upload", func(map[string]int) bool { return w.uploads > 2 })
	stop()
	if n := f.Stats(); n.Acknowledged != 0 || n.Refused != n.Sent {
		t.Errorf("counts: %+v", n)
	}
}

func TestSaysWhyNothingWorks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	_ = l.Close()
	f, err := New(Config{Broker: gone, Upload: UploadMQTT, Devices: credentials(1)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newDevice(f, credentials(1)[0], UploadMQTT).connect(t.Context()); err == nil {
		t.Fatal("a login where nobody listens")
	} else {
		f.stats.failed(err)
	}
	f.stats.failed(fmt.Errorf("dial: %w", context.Canceled))
	if n := f.Stats(); n.Failed != 2 || !strings.Contains(n.LastFailure, "connection refused") {
		t.Errorf("%d failures, the last because of %q", n.Failed, n.LastFailure)
	}
}

func TestFullBufferDropsTheOldest(t *testing.T) {
	f, err := New(Config{Broker: "127.0.0.1:1", Upload: UploadMQTT, Devices: credentials(1)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(f, credentials(1)[0], UploadMQTT)
	now := time.Now()
	for range mostPending + 10 {
		d.add(d.story.next(now))
	}
	n := f.Stats()
	if len(d.pending) != mostPending || n.Dropped != 10 || n.LinesWritten != mostPending+10 {
		t.Errorf("%d pending, %+v", len(d.pending), n)
	}
	if !strings.HasSuffix(d.pending[0], "-11") {
		t.Errorf("the oldest line is %q", d.pending[0])
	}
}

func TestConfigurationFaultsComeTogether(t *testing.T) {
	_, err := New(Config{Upload: "carrier pigeon", LineRate: -1, Devices: []Credential{{}}}, slog.New(slog.DiscardHandler))
	for _, want := range []string{"carrier pigeon", "no MQTT broker", "base URL", "negative", "product id"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestReservoir(t *testing.T) {
	var r reservoir
	if a, b := r.percentiles(); a != 0 || b != 0 {
		t.Error("an empty reservoir has percentiles")
	}
	for i := range 100 {
		r.add(time.Duration(i + 1))
	}
	if a, b := r.percentiles(); a != 50 || b != 99 {
		t.Errorf("p50 %d p99 %d of 1 to 100", a, b)
	}
	for range 10 * reservoirSize {
		r.add(time.Hour)
	}
	if len(r.sample) != reservoirSize {
		t.Errorf("%d samples kept", len(r.sample))
	}
}

func TestStoriesDifferByDeviceNotByRun(t *testing.T) {
	a, b := newStory(credentials(2)[0].ID), newStory(credentials(2)[0].ID)
	for i := range a.parts {
		if a.parts[i].file != b.parts[i].file {
			t.Error("one device has other components in another run")
		}
	}
	seen := map[string]bool{}
	for range 1000 {
		for _, s := range []*story{a, b} {
			text := tencent.FormatLine(s.next(time.Now()))
			if seen[text] {
				t.Fatalf("%q twice", text)
			}
			if strings.Contains(text, "%!") {
				t.Errorf("badly formatted: %q", text)
			}
			seen[text] = true
		}
	}
}
