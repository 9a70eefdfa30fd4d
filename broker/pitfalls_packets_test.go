package broker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Each test is a row of mqtt-broker.md 1a: what mochi 2.7.9 does without our guard. Here are those of what packets say; connections are next door.

// A SUBSCRIBE of MQTT 5 that ends before its options panics in the decoder.
func TestP1TruncatedSubscribe(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	other := loggedIn(t, b, dev2, 4)
	receive(t, "session", r.connected)

	c := loggedIn(t, b, dev1, 5)
	s := receive(t, "session", r.connected)
	if _, err := c.Write([]byte{0x82, 7, 0, 1, 0, 0, 2, 'a', 'b'}); err != nil {
		t.Fatal(err)
	}
	c.expectClosed()
	if got := receive(t, "end of the session", r.disconnected); got != s {
		t.Error("another session ended")
	}
	if n := b.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	other.alive()
	// The device can come back: mochi has forgotten the client.
	loggedIn(t, b, dev1, 5).alive()
}

// A Code that is wrapped panics on its way to a v5 PUBACK.
func TestP2WrappedCode(t *testing.T) {
	r := newRecorder()
	r.handle = func(logbridge.Session, logbridge.Message) error {
		return fmt.Errorf("handler: %w", packets.ErrQuotaExceeded)
	}
	b := start(t, Config{}, r)
	c := loggedIn(t, b, dev1, 5)
	c.publish(tencent.ReportTopic(dev1), "x", 1, 7)
	if ack := c.expect(packets.Puback); ack.PacketID != 7 || ack.ReasonCode < 0x80 {
		t.Errorf("PUBACK %d with code %#x, want 7 with an error", ack.PacketID, ack.ReasonCode)
	}
	c.alive()
	if n := b.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// In mochi an error of the publish hook becomes a successful PUBACK and the message is fanned out.
func TestP3FailureIsNotSuccess(t *testing.T) {
	failure := map[string]error{
		"unavailable": fmt.Errorf("append: %w", logbridge.ErrUnavailable),
		"plain":       errors.New("disk on fire"),
	}
	invalid := map[string]struct {
		err  error
		code byte
	}{
		"invalid":   {fmt.Errorf("report: %w", logbridge.ErrInvalid), packets.ErrPayloadFormatInvalid.Code},
		"too large": {fmt.Errorf("append: %w", logbridge.ErrTooLarge), packets.ErrQuotaExceeded.Code},
	}
	r := newRecorder()
	var result atomic.Pointer[error]
	r.handle = func(logbridge.Session, logbridge.Message) error { return *result.Load() }
	b := start(t, Config{}, r)
	for name, err := range failure {
		result.Store(&err)
		for _, version := range []byte{3, 4} {
			t.Run(fmt.Sprint(name, " v", version), func(t *testing.T) {
				c := loggedIn(t, b, dev1, version)
				c.publish(tencent.ReportTopic(dev1), "x", 1, 7)
				c.expectClosed()
			})
		}
		t.Run(name+" v5", func(t *testing.T) {
			c := loggedIn(t, b, dev1, 5)
			c.publish(tencent.ReportTopic(dev1), "x", 1, 7)
			if ack := c.expect(packets.Puback); ack.ReasonCode != 0x83 {
				t.Errorf("code %#x", ack.ReasonCode)
			}
			c.publish(tencent.ReportTopic(dev1), "x", 0, 0)
			c.alive()
		})
	}
	for name, row := range invalid {
		result.Store(&row.err)
		for _, version := range []byte{3, 4, 5} {
			t.Run(fmt.Sprint(name, " v", version), func(t *testing.T) {
				c := loggedIn(t, b, dev1, version)
				c.publish(tencent.ReportTopic(dev1), "x", 1, 7)
				want := row.code
				if version < 5 {
					want = 0
				}
				if ack := c.expect(packets.Puback); ack.ReasonCode != want {
					t.Errorf("code %#x, want %#x", ack.ReasonCode, want)
				}
				c.alive()
			})
		}
	}
}

func withReceiveMaximum(n uint16) func(*packets.Packet) {
	return func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = n }
}

// Pushes at QoS 1 to a client with a Receive Maximum deadlock with its PUBACKs.
func TestP4PushesAndAcksDoNotDeadlock(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c, s := listening(t, b, r, dev1, 5, 1, withReceiveMaximum(10))
	topic := tencent.OperationResultTopic(dev1)
	var senders sync.WaitGroup
	for range 16 {
		senders.Go(func() {
			for range 2000 {
				if err := s.Send(topic, []byte("level")); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		})
	}
	sent := make(chan error, 1)
	go func() {
		senders.Wait()
		sent <- s.Send(topic, []byte("last"))
	}()
	for {
		pk := c.expect(packets.Publish)
		c.puback(pk.PacketID)
		if string(pk.Payload) == "last" {
			break
		}
	}
	if err := receive(t, "return of the last send", sent); err != nil {
		t.Error(err)
	}
}

// After a burst beyond the Receive Maximum nothing is delivered any more.
func TestP5BurstsDoNotStall(t *testing.T) {
	for _, limit := range []uint16{1, 4} {
		r := newRecorder()
		b := start(t, Config{}, r)
		c, s := listening(t, b, r, dev1, 5, 1, withReceiveMaximum(limit))
		c.subscribe(2, 1, tencent.SysResultTopic(dev1))
		for burst := range 12 {
			for i := range 8 {
				for _, topic := range []string{tencent.OperationResultTopic(dev1), tencent.SysResultTopic(dev1)} {
					if err := s.Send(topic, fmt.Appendf(nil, "%d.%d", burst, i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			last := fmt.Sprintf("%d.7", burst)
			for heard := map[string]bool{}; len(heard) < 2; {
				pk := c.expect(packets.Publish)
				if string(pk.Payload) == last {
					heard[pk.TopicName] = true
				}
				if limit == 1 {
					c.alive() // nothing more comes before the PUBACK
				}
				c.puback(pk.PacketID)
			}
		}
	}
}

// Filters with $share match what they should not.
func TestP14SharedFilters(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	filters := []string{
		"$share/g/#", "$share/g/+/operation/+/+", "$share/g/" + tencent.OperationResultTopic(dev1), "$SHARE/g/#",
		"$share/g/ABCDE12345/dev_01/data", "$queue/ABCDE12345/dev_01/data", "#", "+/#", "$log/#",
		"$log/operation/result/ABCDE12345/+", "$log/operation/result/+/dev_01",
		tencent.OperationResultTopic(dev2), "ABCDE12345/dev_02/data", "$thing/down/property/ABCDE12345/dev_02",
		"ABCDE12345/dev_01/#", "$SYS/#", "$SYS/broker/version",
	}
	for _, version := range []byte{3, 4, 5} {
		c := loggedIn(t, b, dev1, version)
		want := byte(0x80)
		if version == 5 {
			want = 0x87
		}
		for i, code := range c.subscribe(1, 1, filters...) {
			if code != want {
				t.Errorf("v%d: %s: SUBACK %#x, want %#x", version, filters[i], code, want)
			}
		}
		other := loggedIn(t, b, dev2, version)
		other.publish("ABCDE12345/dev_02/data", "private", 1, 1)
		other.expect(packets.Puback)
		c.alive()
		c.Close()
	}
}

// A header may announce 256 MB, which mochi allocates twice, before the login.
func TestP18OversizePackets(t *testing.T) {
	b := start(t, Config{MaxPacket: 8 << 10}, newRecorder())
	for _, head := range [][]byte{
		{0x10, 0xff, 0xff, 0xff, 0x7f},
		{0x10, 0x81, 0x20}, // 4097
		{0x10, 0xff, 0xff, 0xff, 0xff, 0x01},
		{0x30, 2, 'a', 'b'},
		{'G', 'E', 'T', ' '},
	} {
		c := dial(t, b, 4)
		if _, err := c.Write(head); err != nil {
			t.Fatal(err)
		}
		c.expectClosed()
	}
	c := loggedIn(t, b, dev1, 4)
	if _, err := c.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}); err != nil {
		t.Fatal(err)
	}
	c.expectClosed()

	c5 := dial(t, b, 5)
	if ack := c5.login(dev1); ack.Properties.MaximumPacketSize != 8<<10 {
		t.Errorf("CONNACK announces %d bytes", ack.Properties.MaximumPacketSize)
	}
	c5.publish(tencent.ReportTopic(dev1), strings.Repeat("x", 8000), 1, 1)
	c5.expect(packets.Puback)
}

// MQTT 5 learns what is not offered.
func TestP18Announcements(t *testing.T) {
	b := start(t, Config{}, newRecorder())
	p := dial(t, b, 5).login(dev1, func(pk *packets.Packet) {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 60, true
	}).Properties
	if !p.RetainAvailableFlag || p.RetainAvailable != 0 || !p.WildcardSubAvailableFlag || p.WildcardSubAvailable != 0 ||
		!p.SharedSubAvailableFlag || p.SharedSubAvailable != 0 || !p.SubIDAvailableFlag || p.SubIDAvailable != 0 ||
		!p.MaximumQosFlag || p.MaximumQos != 1 || p.TopicAliasMaximum != 0 ||
		!p.SessionExpiryIntervalFlag || p.SessionExpiryInterval != 0 {
		t.Errorf("CONNACK properties %+v", p)
	}
}

// A publish on $sys/… reaches nobody and gets no PUBACK.
func TestP28SysTopics(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, version := range []byte{3, 4, 5} {
		c := loggedIn(t, b, dev1, version)
		for qos := range byte(2) {
			c.publish(tencent.SysTopic(dev1), "time?", qos, uint16(qos)*5)
			m := receive(t, "message", r.messages)
			if m.Topic != tencent.SysTopic(dev1) || string(m.Payload) != "time?" || m.QoS != qos {
				t.Errorf("got %+v", m)
			}
			if qos == 1 {
				c.expect(packets.Puback)
			}
		}
		for _, topic := range []string{
			"$SYS/broker/version", "$SYS/operation/ABCDE12345/dev_01", "$sys/operation/ABCDE12345/dev_02", "$share", "$share/g",
			"$shadow/operation/ABCDE12345/dev_02", "$s",
		} {
			c.publish(topic, "x", 1, 6)
			if ack := c.expect(packets.Puback); version == 5 && ack.ReasonCode != packets.ErrNotAuthorized.Code {
				t.Errorf("%s: code %#x", topic, ack.ReasonCode)
			}
		}
		c.publish("$shadow/operation/ABCDE12345/dev_01", "x", 1, 6)
		c.expect(packets.Puback)
		if m := receive(t, "message", r.messages); m.Topic != "$shadow/operation/ABCDE12345/dev_01" {
			t.Errorf("got %+v", m)
		}
		c.Close()
	}
	if len(r.messages) > 0 {
		t.Errorf("the handler got %d messages that it should not", len(r.messages))
	}
}

// mochi takes the packet identifiers of the two directions for one: an own PUBLISH of the device makes it forget the
// push with the same identifier, and a SUBSCRIBE is refused because of it.
func TestPacketIdentifiersOfBothDirections(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, version := range []byte{4, 5} {
		c, s := listening(t, b, r, dev1, version, 1)
		if err := s.Send(tencent.OperationResultTopic(dev1), []byte("level")); err != nil {
			t.Fatal(err)
		}
		id := c.expect(packets.Publish).PacketID
		c.publish(tencent.ReportTopic(dev1), "x", 1, id)
		if ack := c.expect(packets.Puback); ack.PacketID != id || ack.ReasonCode != 0 {
			t.Errorf("PUBACK %d %#x", ack.PacketID, ack.ReasonCode)
		}
		if codes := c.subscribe(id, 1, tencent.SysResultTopic(dev1)); !bytes.Equal(codes, []byte{1}) {
			t.Errorf("SUBACK %v", codes)
		}
		c.puback(id)
		if got := receive(t, "acknowledgement", r.acked); got != "level" {
			t.Errorf("acknowledged %q", got)
		}
		c.Close()
	}
}
