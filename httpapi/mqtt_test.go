package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// gate is a broker that hands its connections to the test.
type gate struct {
	full  atomic.Bool
	conns chan net.Conn
	done  chan struct{} // Serve returns when it is closed
}

func newGate() *gate { return &gate{conns: make(chan net.Conn, 8), done: make(chan struct{})} }

func (g *gate) Admits() bool { return !g.full.Load() }

func (g *gate) Serve(c net.Conn) {
	g.conns <- c
	<-g.done
	_ = c.Close()
}

// TestMQTTOverWebSocketIsAskedForRightly: P24, path, subprotocol and origin.
func TestMQTTOverWebSocketIsAskedForRightly(t *testing.T) {
	g := newGate()
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	w := start(t, func(cfg *Config, deps *Deps) {
		deps.Broker = g
		cfg.MQTTOrigins = []string{"https://console.example.com"}
		cfg.TLSAddr, cfg.TLS = "127.0.0.1:0", lender.TLS
	})
	defer close(g.done)
	plain, secure := "ws://"+w.Addr().String(), "wss://"+w.TLSAddr().String()
	for _, row := range []struct {
		name, url, protocol, origin string
		status                      int
	}{
		{"device", plain + "/mqtt", "mqtt", "", 101},
		{"device of MQTT 3.1", plain + "/mqtt", "mqttv3.1", "", 101},
		{"several subprotocols", plain + "/mqtt", "other, mqtt", "", 101},
		{"own page", plain + "/mqtt", "mqtt", "http://" + w.Addr().String(), 101},
		{"configured page", plain + "/mqtt", "mqtt", "https://console.example.com", 101},
		{"over TLS", secure + "/mqtt", "mqtt", "https://" + w.TLSAddr().String(), 101},
		{"other path", plain + "/mqtt/x", "mqtt", "", 404},
		{"no subprotocol", plain + "/mqtt", "", "", 400},
		{"other subprotocol", plain + "/mqtt", "chat", "", 400},
		{"foreign page", plain + "/mqtt", "mqtt", evilPage, 403},
		{"configured host without TLS", plain + "/mqtt", "mqtt", "http://console.example.com", 403},
		{"sandboxed page", plain + "/mqtt", "mqtt", "null", 403},
		{"page without TLS to TLS", secure + "/mqtt", "mqtt", "http://" + w.TLSAddr().String(), 403},
	} {
		header := http.Header{}
		if row.origin != "" {
			header.Set("Origin", row.origin)
		}
		ws, answer, err := websocket.Dial(t.Context(), row.url, &websocket.DialOptions{HTTPClient: lender.Client(), HTTPHeader: header,
			Subprotocols: strings.FieldsFunc(row.protocol, func(c rune) bool { return c == ',' || c == ' ' })})
		if answer == nil || answer.StatusCode != row.status {
			t.Errorf("%s: %v, %v; want %d", row.name, answer, err, row.status)
		}
		if ws != nil {
			_ = (<-g.conns).Close()
			_ = ws.CloseNow()
		}
	}
	if a := w.send("GET", "/mqtt", "", "Sec-WebSocket-Protocol", "mqtt"); a.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without an upgrade: %d", a.StatusCode)
	}
	g.full.Store(true)
	if _, answer, _ := websocket.Dial(t.Context(), plain+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}}); answer == nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("full: %v", answer)
	}
}

// open gives both ends of a WebSocket.
func (w *world) open(g *gate) (*websocket.Conn, net.Conn) {
	w.t.Helper()
	ws, _, err := websocket.Dial(w.t.Context(), "ws://"+w.Addr().String()+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	check(w.t, err)
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, <-g.conns
}

// TestWebSocketIsAStream: bytes come and go whatever the messages are; deadlines end reading and writing, not the connection;
// text, and the end, end it.
func TestWebSocketIsAStream(t *testing.T) {
	g := newGate()
	w := start(t, func(_ *Config, deps *Deps) { deps.Broker = g })
	defer close(g.done)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	ws, c := w.open(g)
	for _, m := range []string{"ab", "", "c", "defgh"} {
		check(t, ws.Write(ctx, websocket.MessageBinary, []byte(m)))
	}
	got := make([]byte, 8)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "abcdefgh" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	if _, m, err := ws.Read(ctx); err != nil || string(m) != "answer" {
		t.Errorf("%q, %v", m, err)
	}
	if c.RemoteAddr().Network() != "tcp" {
		t.Errorf("from %s", c.RemoteAddr())
	}
	check(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	if _, err := c.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	if _, err := c.Write([]byte("farewell")); err != nil {
		t.Errorf("after a read deadline: %v", err)
	}
	if _, m, err := ws.Read(ctx); err != nil || string(m) != "farewell" {
		t.Errorf("%q, %v", m, err)
	}

	ws, c = w.open(g) // one that does not read
	check(t, c.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	var err error
	for range 10_000 {
		if _, err = c.Write(bytes.Repeat([]byte("x"), 16<<10)); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write that is stuck: %v", err)
	}
	_ = ws.CloseNow()

	ws, c = w.open(g)
	check(t, ws.Write(ctx, websocket.MessageText, []byte("text")))
	if _, err := c.Read(got); !errors.Is(err, errText) {
		t.Errorf("text: %v", err)
	}
	ws, c = w.open(g)
	go func() { _ = ws.Close(websocket.StatusNormalClosure, "") }()
	if _, err := c.Read(got); err != io.EOF {
		t.Errorf("a polite end: %v", err)
	}
}
