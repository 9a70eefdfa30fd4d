package broker

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Each test is a row of mqtt-broker.md 1a: what mochi 2.7.9 does without our guard. Here are those of how connections begin, stick and end.

// The end of the old connection removes the new one from the broker.
func TestP6TakeoverKeepsTheNewConnection(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	payload := []byte("level")
	lost := 0
	ended := map[logbridge.Session]bool{}
	var old logbridge.Session
	for i := range 750 {
		c, s := listening(t, b, r, dev1, []byte{3, 4, 5}[i%3], 0)
		if err := s.Send(tencent.OperationResultTopic(dev1), payload); err != nil {
			t.Fatalf("takeover %d: %v", i, err)
		}
		if pk := c.expect(packets.Publish); !bytes.Equal(pk.Payload, payload) {
			t.Fatalf("takeover %d: got %q", i, pk.Payload)
		}
		if old != nil && !ended[old] {
			gone := receive(t, "end of the old session", r.disconnected)
			if gone == s || ended[gone] {
				t.Fatalf("takeover %d: the wrong session ended", i)
			}
			ended[gone] = true
		}
		if known, ok := b.server.Clients.Get(tencent.ClientID(dev1)); !ok || known != s.(*session).client {
			lost++
		}
		old = s
		if i%10 == 5 { // now and then it leaves politely and is back at once
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
		}
	}
	if lost > 0 {
		t.Errorf("%d of 750 new connections were forgotten", lost)
	}
	if got := b.Stats(); got.Sessions != 1 {
		t.Errorf("%d sessions, want 1", got.Sessions)
	}
}

// Many connections of one device at once: the last one stays, every session ends once.
func TestP6TakeoverStorm(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			c := dial(t, b, 4)
			if _, err := c.Write(c.encode(connectPacket(t, dev1, 4))); err == nil {
				_, _ = c.read() // some are closed before their CONNACK
			}
		})
	}
	all.Wait()
	c, s := loggedIn(t, b, dev1, 4), logbridge.Session(nil)
	for s = range r.connected {
		if s.(*session).conn.RemoteAddr().String() == c.LocalAddr().String() {
			break
		}
	}
	c.subscribe(1, 0, tencent.OperationResultTopic(dev1))
	if err := s.Send(tencent.OperationResultTopic(dev1), []byte("level")); err != nil {
		t.Error(err)
	}
	c.expect(packets.Publish)
}

// The old session may be in the middle of a message: the new one begins after it, so that a redelivery does not overtake
// the original.
func TestP6TakeoverWaitsForTheOldSession(t *testing.T) {
	r, began, release := busyRecorder()
	b := start(t, Config{}, r)
	old := loggedIn(t, b, dev1, 4)
	first := receive(t, "session", r.connected)
	old.publish(tencent.ReportTopic(dev1), "x", 1, 1)
	receive(t, "call of the handler", began)
	c := dial(t, b, 4)
	c.send(connectPacket(t, dev1, 4))
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if pk, err := c.read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("packet type %d, %v, while the old session is busy", pk.FixedHeader.Type, err)
	}
	close(release)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c.expect(packets.Connack)
	receive(t, "new session", r.connected)
	select {
	case s := <-r.disconnected:
		if s != first {
			t.Error("the wrong session ended")
		}
	default:
		t.Error("the new session began before the old one ended")
	}
}

// A client that does not read holds up whoever sends to it.
func TestP7SlowReaderDoesNotBlockForEver(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{WriteTimeout: 2 * time.Second}, r)
	for _, qos := range []byte{0, 1} {
		slow := pipe(t, b, 4)
		slow.login(dev1)
		s := receive(t, "session", r.connected)
		slow.subscribe(1, qos, tencent.OperationResultTopic(dev1))
		other, s2 := listening(t, b, r, dev2, 4, qos)

		failed := make(chan error, 1)
		go func() { failed <- s.Send(tencent.OperationResultTopic(dev1), []byte("level")) }()
		if err := s2.Send(tencent.OperationResultTopic(dev2), []byte("level")); err != nil {
			t.Error(err)
		}
		other.expect(packets.Publish)
		if err := receive(t, "end of the send", failed); !errors.Is(err, logbridge.ErrUnavailable) {
			t.Errorf("send to a client that does not read: %v", err)
		}
		if got := receive(t, "end of the session", r.disconnected); got != s {
			t.Error("another session ended")
		}
		if err := s.Send(tencent.OperationResultTopic(dev1), []byte("level")); !errors.Is(err, logbridge.ErrUnavailable) {
			t.Errorf("send to a session that is gone: %v", err)
		}
		other.Close()
		receive(t, "end of the other session", r.disconnected)
	}
}

// A device whose old connection is stuck in a write gets no CONNACK on its new one.
func TestP8ReconnectPastAStuckWrite(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{WriteTimeout: time.Hour}, r)
	for _, version := range []byte{4, 5} {
		stuck := pipe(t, b, version)
		stuck.login(dev1, func(pk *packets.Packet) { pk.Connect.Keepalive = 0 })
		s := receive(t, "session", r.connected)
		stuck.subscribe(1, 0, tencent.OperationResultTopic(dev1))
		failed := make(chan error, 1)
		began := make(chan struct{})
		go func() {
			close(began)
			failed <- s.Send(tencent.OperationResultTopic(dev1), []byte("level"))
		}()
		<-began
		if _, err := stuck.Read(make([]byte, 1)); err != nil { // the write has begun
			t.Fatal(err)
		}
		c := loggedIn(t, b, dev1, version)
		receive(t, "end of the stuck send", failed)
		receive(t, "end of the stuck session", r.disconnected)
		c.alive()
		c.Close()
		receive(t, "end of the session", r.disconnected)
		<-r.connected
	}
}

// flaky is a listener whose first accepts fail as if files had run out.
type flaky struct {
	net.Listener
	failures atomic.Int32
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errTooManyFiles)}
	}
	return l.Listener.Accept()
}

var errTooManyFiles = errors.New("too many open files")

// One accept error ends the listener.
func TestP9AcceptErrors(t *testing.T) {
	b := bound(t, Config{}, newRecorder())
	l := &flaky{Listener: b.listeners[0]}
	l.failures.Store(4)
	b.listeners[0] = l
	run(t, b)
	loggedIn(t, b, dev1, 4).alive()
	if n := b.Stats().AcceptErrors; n != 4 {
		t.Errorf("%d accept errors counted, want 4", n)
	}
}

// A connection without a CONNECT lives for ever and keeps the broker from ending.
func TestP10SilentConnection(t *testing.T) {
	t.Run("closed in time", func(t *testing.T) {
		b := start(t, Config{ConnectTimeout: 100 * time.Millisecond}, newRecorder())
		for _, said := range [][]byte{nil, {0x10}, {0x10, 40, 0, 4, 'M'}} {
			c := dial(t, b, 4)
			if _, err := c.Write(said); err != nil {
				t.Fatal(err)
			}
			c.expectClosed()
		}
	})
	t.Run("does not hold up the end", func(t *testing.T) {
		b := bound(t, Config{ConnectTimeout: time.Hour}, newRecorder())
		stop := run(t, b)
		silent := dial(t, b, 4)
		half := dial(t, b, 4)
		if _, err := half.Write([]byte{0x10, 40, 0, 4, 'M'}); err != nil {
			t.Fatal(err)
		}
		c := loggedIn(t, b, dev1, 5) // accepted after the others
		began := time.Now()
		stop()
		if took := time.Since(began); took >= drainTimeout { // what giving up on them takes
			t.Errorf("the end took %v", took)
		}
		silent.expectClosed()
		half.expectClosed()
		if pk := c.expect(packets.Disconnect); pk.ReasonCode != packets.ErrServerShuttingDown.Code {
			t.Errorf("DISCONNECT %#x", pk.ReasonCode)
		}
	})
}

// watcher sees what mochi publishes on its own.
type watcher struct {
	mqtt.HookBase
	wills atomic.Int32
}

func (w *watcher) ID() string                              { return "watcher" }
func (w *watcher) Provides(b byte) bool                    { return b == mqtt.OnWillSent }
func (w *watcher) OnWillSent(*mqtt.Client, packets.Packet) { w.wills.Add(1) }

// A will is published past every check.
func TestP11Will(t *testing.T) {
	r := newRecorder()
	b := bound(t, Config{}, r)
	w := &watcher{}
	if err := b.server.AddHook(w, nil); err != nil {
		t.Fatal(err)
	}
	run(t, b)
	for _, version := range []byte{3, 4, 5} {
		for qos := range byte(3) {
			c := loggedIn(t, b, dev1, version, func(pk *packets.Packet) {
				pk.Connect.WillFlag, pk.Connect.WillQos, pk.Connect.WillRetain = true, qos, qos == 2
				pk.Connect.WillTopic, pk.Connect.WillPayload = tencent.ReportTopic(dev2), []byte("forged")
			})
			c.Close() // without a DISCONNECT
			receive(t, "end of the session", r.disconnected)
			// A second CONNECT sends the will as well.
			c = loggedIn(t, b, dev1, version)
			c.send(connectPacket(t, dev1, version))
			if pk, err := c.read(); err == nil && pk.FixedHeader.Type != packets.Disconnect {
				t.Errorf("second CONNECT: packet type %d", pk.FixedHeader.Type)
			}
			receive(t, "end of the session", r.disconnected)
		}
	}
	if n := w.wills.Load(); n > 0 {
		t.Errorf("%d wills were published", n)
	}
	if n := b.server.Topics.Retained.Len(); n > 0 {
		t.Errorf("%d messages retained", n)
	}
	if len(r.messages) > 0 {
		t.Errorf("the handler got %d messages", len(r.messages))
	}
}

// The subscriptions of an expired session stay, and the next session of the device gets their messages.
func TestP12ExpiredSessionLeavesNothing(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	topic := tencent.OperationResultTopic(dev1)
	for _, version := range []byte{4, 5} {
		c, s := listening(t, b, r, dev1, version, 1, func(pk *packets.Packet) {
			pk.Connect.Clean = false
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
		})
		if err := s.Send(topic, []byte("unacknowledged")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		receive(t, "end of the session", r.disconnected)
		if n := b.server.Clients.Len(); n != 0 {
			t.Errorf("v%d: %d clients are remembered", version, n)
		}
		if subs := b.server.Topics.Subscribers(topic); len(subs.Subscriptions)+len(subs.Shared) > 0 {
			t.Errorf("v%d: a subscription stays: %v", version, subs)
		}
		for _, clean := range []bool{true, false} {
			again := dial(t, b, version)
			if ack := again.login(dev1, func(pk *packets.Packet) { pk.Connect.Clean = clean }); ack.SessionPresent {
				t.Errorf("v%d: the CONNACK says that there is a session", version)
			}
			s = receive(t, "session", r.connected)
			if err := s.Send(topic, []byte("level")); !errors.Is(err, logbridge.ErrNotFound) {
				t.Errorf("v%d: send without a subscription: %v", version, err)
			}
			again.alive() // nothing came before the PINGRESP
			again.Close()
			receive(t, "end of the session", r.disconnected)
		}
	}
}

// A keep-alive of 43691 and more overflows and ends the connection at once.
func TestP13HugeKeepalive(t *testing.T) {
	b := start(t, Config{}, newRecorder())
	for _, keepalive := range []uint16{43690, 43691, 43700, 65535} {
		for _, version := range []byte{3, 4, 5} {
			c := dial(t, b, version)
			ack := c.login(dev1, func(pk *packets.Packet) { pk.Connect.Keepalive = keepalive })
			if version == 5 && ack.Properties.ServerKeepAlive != maxKeepalive {
				t.Errorf("server keep-alive %d, want %d", ack.Properties.ServerKeepAlive, maxKeepalive)
			}
			c.alive()
			c.Close()
		}
	}
}

// Older clients are sent a DISCONNECT, which they do not know.
func TestP23NoDisconnectForOlderClients(t *testing.T) {
	r := newRecorder()
	b := bound(t, Config{}, r)
	stop := run(t, b)
	for _, version := range []byte{3, 4} {
		old := loggedIn(t, b, dev1, version)
		loggedIn(t, b, dev1, version)
		old.expectClosed()
		// Topics of others are acknowledged and dropped.
		c := loggedIn(t, b, dev1, version)
		c.publish(tencent.ReportTopic(dev2), "x", 1, 1)
		c.expect(packets.Puback)
		c.alive()
	}
	old := loggedIn(t, b, dev2, 5)
	loggedIn(t, b, dev2, 5)
	if pk := old.expect(packets.Disconnect); pk.ReasonCode != packets.ErrSessionTakenOver.Code {
		t.Errorf("takeover: DISCONNECT %#x", pk.ReasonCode)
	}
	c := loggedIn(t, b, dev1, 4)
	stop()
	c.expectClosed()
}
