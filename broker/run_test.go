package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What was received before the end is handled and acknowledged.
func TestRunEndsAfterTheHandlers(t *testing.T) {
	r, began, release := busyRecorder()
	b := bound(t, Config{}, r)
	stop := run(t, b)
	idle := loggedIn(t, b, dev2, 4)
	c := loggedIn(t, b, dev1, 5)
	c.publish(tencent.ReportTopic(dev1), "x", 1, 7)
	receive(t, "call of the handler", began)
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	idle.expectClosed() // the end has begun
	close(release)
	if ack := c.expect(packets.Puback); ack.PacketID != 7 || ack.ReasonCode != 0 {
		t.Errorf("PUBACK %d %#x", ack.PacketID, ack.ReasonCode)
	}
	c.expect(packets.Disconnect)
	receive(t, "end of Run", stopped)
	for range 2 {
		receive(t, "end of a session", r.disconnected)
	}
	if _, err := net.Dial("tcp", b.Addr().String()); err == nil {
		t.Error("the address still accepts")
	}
}

func TestMaxConnections(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{MaxConnections: 2}, r)
	first := loggedIn(t, b, dev1, 4)
	second := dial(t, b, 4)
	second.login(dev2)
	dial(t, b, 4).expectClosed()
	if got := b.Stats(); got.RefusedFull != 1 || got.Connections != 2 || got.Sessions != 2 || got.Accepted != 2 {
		t.Errorf("stats %+v", got)
	}
	first.alive()
	first.Close()
	receive(t, "end of the session", r.disconnected)
	// The place is free before the session is reported as disconnected.
	loggedIn(t, b, dev1, 4).alive()
}

func TestPanicInTheHandler(t *testing.T) {
	r := newRecorder()
	r.handle = func(s logbridge.Session, _ logbridge.Message) error {
		if s.Device() == dev1 {
			panic("handler")
		}
		return nil
	}
	b := start(t, Config{}, r)
	other := loggedIn(t, b, dev2, 4)
	receive(t, "session", r.connected)
	c := loggedIn(t, b, dev1, 4)
	c.publish(tencent.ReportTopic(dev1), "x", 1, 1)
	c.expectClosed()
	receive(t, "end of the session", r.disconnected)
	other.alive()
}

func TestTLS(t *testing.T) {
	b, err := New(Config{Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0", TLS: selfSigned(t), ConnectTimeout: 2 * time.Second},
		devices{}, newRecorder(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, b)
	raw, err := tls.Dial("tcp", b.TLSAddr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c := wrap(t, raw, 4)
	if ack := c.login(dev1); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	c.publish(tencent.ReportTopic(dev1), "x", 1, 1)
	c.expect(packets.Puback)

	half, err := net.Dial("tcp", b.TLSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	wrap(t, half, 4).expectClosed() // a handshake that never begins
	c.alive()
}

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestNewRefuses(t *testing.T) {
	b := start(t, Config{}, newRecorder())
	for name, cfg := range map[string]Config{
		"a bad address":         {Addr: "nowhere:-1"},
		"an address in use":     {Addr: b.Addr().String()},
		"TLS without a key":     {Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0"},
		"tiny packets":          {Addr: "127.0.0.1:0", MaxPacket: 10},
		"negative bounds":       {Addr: "127.0.0.1:0", MaxConnections: -1},
		"negative write time":   {Addr: "127.0.0.1:0", WriteTimeout: -1},
		"a bad second address":  {Addr: "127.0.0.1:0", TLSAddr: "nowhere:-1", TLS: &tls.Config{}},
		"negative connect time": {Addr: "127.0.0.1:0", ConnectTimeout: -1},
	} {
		if _, err := New(cfg, devices{}, newRecorder(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s was accepted", name)
		} else if cfg.MaxPacket == 10 && !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
