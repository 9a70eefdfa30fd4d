package broker

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/attempts"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A thousand TLS handshakes that go no further do not keep a device out, nor disturb one that is there, and end in time.
func TestHalfOpenHandshakes(t *testing.T) {
	a := newAuthority(t)
	b, err := New(Config{Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0", TLS: a.server(), ConnectTimeout: DefaultConnectTimeout},
		devices{}, newRecorder(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, b)
	secure := &tls.Config{RootCAs: a.pool()}
	there := secureLogin(t, b, secure, dev1)
	hello := clientHello(t)
	var half []net.Conn
	for i := range 1000 {
		c, err := net.Dial("tcp", b.TLSAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said := [][]byte{nil, hello[:3], hello[:len(hello)-1], hello}[i%4]
		if _, err := c.Write(said); err != nil {
			t.Fatal(err)
		}
		half = append(half, c)
	}
	secureLogin(t, b, secure, dev2).alive()
	there.alive()
	if got := b.Stats(); got.HalfOpen < 500 {
		t.Errorf("%d half-open connections: the test is too slow to see anything", got.HalfOpen)
	}
	for _, c := range half {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 4096); ; {
			if _, err := c.Read(buf); err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Fatal("a half-open handshake stays open")
				}
				break
			}
		}
	}
	there.alive()
}

func secureLogin(t *testing.T, b *Broker, secure *tls.Config, id logbridge.DeviceID) *client {
	t.Helper()
	raw, err := tls.Dial("tcp", b.TLSAddr().String(), secure)
	if err != nil {
		t.Fatal(err)
	}
	c := wrap(t, raw, 4)
	if ack := c.login(id); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return c
}

// clientHello is the first message of a handshake.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() { _ = tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	buf := make([]byte, 4096)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// At the bound, the oldest half-open connection makes room once it has had half of its time; who is logged in does not count.
func TestHalfOpenBound(t *testing.T) {
	b := start(t, Config{MaxHalfOpen: 2, ConnectTimeout: 2 * time.Second}, newRecorder())
	in := loggedIn(t, b, dev1, 4)
	silent := []*client{dial(t, b, 4), dial(t, b, 4), dial(t, b, 4), dial(t, b, 4)}
	loggedIn(t, b, dev2, 4).alive() // behind four that say nothing
	in.alive()
	for _, c := range silent {
		c.expectClosed()
	}
	if got := b.Stats(); got.Evicted == 0 || got.Crowded == 0 || got.NoConnect != 4 {
		t.Errorf("stats %+v", got)
	}
}

// Those who come too fast wait for their turn, and are served.
func TestConnectRate(t *testing.T) {
	b := start(t, Config{ConnectRate: 20}, newRecorder())
	began := time.Now()
	for range 30 {
		loggedIn(t, b, dev1, 4).Close()
	}
	if took := time.Since(began); took < 450*time.Millisecond { // (30 - 20) / 20 s; it cannot be faster, however fast the machine is
		t.Errorf("30 connects at 20 a second took %v", took)
	}
	for b.Admits() {
	}
	if got := b.Stats(); got.RefusedFull != 1 || got.Accepted != 30 {
		t.Errorf("stats %+v", got)
	}
}

// Failures are counted, and then refused unseen; another device behind the same address logs in as before.
func TestFailedLoginsAreLimited(t *testing.T) {
	limiter := attempts.New()
	var out syncBuffer
	b, err := New(Config{Addr: "127.0.0.1:0", Attempts: limiter}, devices{}, newRecorder(), slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	run(t, b)
	wrong := func(pk *packets.Packet) { pk.Connect.Password = []byte(strings.Repeat("5ec2e7", 10) + ";hmacsha256") }
	for i := 0; b.Stats().Logins.Throttled == 0; i++ {
		if i == 1000 {
			t.Fatalf("1000 failures: %+v", b.Stats().Logins)
		}
		c := dial(t, b, []byte{3, 4, 5}[i%3])
		if ack := c.login(dev1, wrong); ack.ReasonCode != 5 && ack.ReasonCode != packets.ErrNotAuthorized.Code {
			t.Fatalf("CONNACK %#x", ack.ReasonCode)
		}
		c.Close()
	}
	for range 3 { // a failure is forgiven each second: the next login has a whole one
		limiter.Failed(netip.MustParseAddr("127.0.0.1"), dev1, true)
	}
	if c := dial(t, b, 4); c.login(dev1).ReasonCode != 5 {
		t.Error("a right password is looked at while failures are over their bound")
	}
	for range 100 { // a fleet behind the address
		c := loggedIn(t, b, dev2, 4)
		c.alive()
		c.Close()
	}
	if !limiter.Allowed(netip.MustParseAddr("198.51.100.7"), dev1) {
		t.Error("the device is kept out elsewhere")
	}
	if got := out.String(); strings.Contains(got, "5ec2e7") || !strings.Contains(got, "login refused") {
		t.Errorf("logged:\n%s", got)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// MQTT 5 is told that a packet is too large before the connection ends, older versions are not, and both are counted.
func TestP18OversizeIsTold(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{MaxPacket: 8 << 10}, r)
	for i, version := range []byte{3, 4, 5} {
		c := loggedIn(t, b, dev1, version)
		c.publish(tencent.ReportTopic(dev1), strings.Repeat("x", 8000), 1, 1)
		c.expect(packets.Puback)
		// The bytes behind the head never come: it is refused before anything is allocated for them.
		if _, err := c.Write([]byte{0x32, 0x81, 0x80, 0x04}); err != nil {
			t.Fatal(err)
		}
		if version == 5 {
			if pk := c.expect(packets.Disconnect); pk.ReasonCode != packets.ErrPacketTooLarge.Code {
				t.Errorf("DISCONNECT %#x", pk.ReasonCode)
			}
		}
		c.expectClosed()
		if got := receive(t, "refusal", r.refused); got != "too large" {
			t.Errorf("refused %q", got)
		}
		if n := b.Stats().Oversize; n != uint64(i)+1 {
			t.Errorf("%d counted", n)
		}
	}
}

// The framer agrees with mochi about every bound and every way to cut a stream.
func TestFramer(t *testing.T) {
	const most = 300
	stream := append([]byte{0xc0, 0}, append([]byte{0x30, 0xab, 0x02}, make([]byte, most-1)...)...) // PINGREQ, and a PUBLISH of exactly the bound
	stream = append(stream, 0xc0, 0)
	for step := 1; step <= len(stream); step++ {
		f := framer{most: most}
		for at := 0; at < len(stream); at += step {
			if head, over := f.feed(stream[at:min(at+step, len(stream))]); over {
				t.Fatalf("step %d at %d: %#x is over", step, at, head)
			}
		}
	}
	for name, tail := range map[string][]byte{"one more": {0x32, 0xac, 0x02}, "no length": {0x32, 0x80, 0x80, 0x80, 0x80, 0}} {
		f := framer{most: most}
		if head, over := f.feed(append(bytes.Clone(stream), tail...)); !over || head != 0x32 {
			t.Errorf("%s: %#x, %v", name, head, over)
		}
	}
}
