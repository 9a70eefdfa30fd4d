package broker

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// One message is in flight, and of those that come meanwhile the newest follows it.
func TestSendLatestValueWins(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	topic := tencent.OperationResultTopic(dev1)
	for _, version := range []byte{3, 4, 5} {
		c, s := listening(t, b, r, dev1, version, 1)
		before := b.Stats()
		for i := range 5 {
			if err := s.Send(topic, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		first := c.expect(packets.Publish)
		if string(first.Payload) != "0" || first.FixedHeader.Qos != 1 || first.FixedHeader.Dup || first.FixedHeader.Retain {
			t.Errorf("first message %q, header %+v", first.Payload, first.FixedHeader)
		}
		c.alive() // and nothing else before the PUBACK
		c.puback(first.PacketID)
		next := c.expect(packets.Publish)
		if string(next.Payload) != "4" || next.TopicName != topic {
			t.Errorf("after the PUBACK: %q on %s, want 4", next.Payload, next.TopicName)
		}
		c.puback(next.PacketID)
		c.puback(next.PacketID) // repeated, and of a message that never was
		c.puback(999)
		c.alive()
		for _, want := range []string{"0", "4"} {
			if got := receive(t, "acknowledgement", r.acked); got != want {
				t.Errorf("acknowledged %q, want %q", got, want)
			}
		}
		if len(r.acked) > 0 {
			t.Errorf("%d more acknowledgements", len(r.acked))
		}
		after := b.Stats()
		if after.Sent-before.Sent != 2 || after.Held-before.Held != 4 || after.Replaced-before.Replaced != 3 || after.Acked-before.Acked != 2 {
			t.Errorf("v%d: counted %+v after %+v", version, after, before)
		}
		c.Close()
		receive(t, "end of the session", r.disconnected)
	}
}

// The granted QoS is that of the subscription, 1 at most, and a topic does not wait for another.
func TestSendAtTheGrantedQoS(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c := loggedIn(t, b, dev1, 4)
	s := receive(t, "session", r.connected)
	levelTopic, timeTopic := tencent.OperationResultTopic(dev1), tencent.SysResultTopic(dev1)

	if err := s.Send(levelTopic, []byte("x")); !errors.Is(err, logbridge.ErrNotFound) {
		t.Errorf("send before the subscription: %v", err)
	}
	if codes := c.subscribe(1, 2, levelTopic, timeTopic); !bytes.Equal(codes, []byte{1, 1}) {
		t.Errorf("QoS 2 was granted as %v", codes)
	}
	for _, topic := range []string{levelTopic, timeTopic} {
		if err := s.Send(topic, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	a, z := c.expect(packets.Publish), c.expect(packets.Publish)
	if a.PacketID == z.PacketID || a.PacketID == 0 || z.PacketID == 0 {
		t.Errorf("identifiers %d and %d", a.PacketID, z.PacketID)
	}
	for _, topic := range []string{
		"ABCDE12345/dev_01/data", tencent.OperationTopic(dev1), tencent.OperationResultTopic(dev2), "$thing/down/property/ABCDE12345/dev_01",
	} {
		if err := s.Send(topic, []byte("x")); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("send on %s: %v", topic, err)
		}
	}

	// Down to QoS 0: what is in flight does not hold it up.
	c.subscribe(2, 0, levelTopic)
	if err := s.Send(levelTopic, []byte("at 0")); err != nil {
		t.Fatal(err)
	}
	if pk := c.expect(packets.Publish); pk.FixedHeader.Qos != 0 || string(pk.Payload) != "at 0" {
		t.Errorf("got %q at QoS %d", pk.Payload, pk.FixedHeader.Qos)
	}

	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 3,
		Filters: packets.Subscriptions{{Filter: levelTopic}, {Filter: "never/subscribed"}}})
	c.expect(packets.Unsuback)
	if err := s.Send(levelTopic, []byte("x")); !errors.Is(err, logbridge.ErrNotFound) {
		t.Errorf("send after UNSUBSCRIBE: %v", err)
	}
}

// Services that SDKs subscribe to get their SUBACK, and nothing is ever delivered.
func TestServicesAreAcknowledged(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, version := range []byte{3, 4, 5} {
		c := loggedIn(t, b, dev1, version)
		filters := []string{
			"$thing/down/property/ABCDE12345/dev_01", "$shadow/operation/result/ABCDE12345/dev_01", "$ota/update/ABCDE12345/dev_01",
			"$broadcast/rxd/ABCDE12345/dev_01", "$rrpc/rxd/ABCDE12345/dev_01/+", "ABCDE12345/dev_01/data",
		}
		if codes := c.subscribe(9, 1, filters...); !bytes.Equal(codes, []byte{1, 1, 1, 1, 1, 1}) {
			t.Errorf("v%d: SUBACK %v", version, codes)
		}
		c.publish("ABCDE12345/dev_01/data", "own", 1, 10)
		c.expect(packets.Puback)
		c.alive()
		c.Close()
	}
}

// A rejected delivery frees its place and is no acknowledgement.
func TestPubackWithAReasonCode(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c, s := listening(t, b, r, dev1, 5, 1)
	topic := tencent.OperationResultTopic(dev1)
	if err := errors.Join(s.Send(topic, []byte("1")), s.Send(topic, []byte("2"))); err != nil {
		t.Fatal(err)
	}
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: c.expect(packets.Publish).PacketID,
		ReasonCode: packets.ErrNotAuthorized.Code})
	c.puback(c.expect(packets.Publish).PacketID)
	if got := receive(t, "acknowledgement", r.acked); got != "2" {
		t.Errorf("acknowledged %q, want 2", got)
	}
}

// A client of MQTT 5 that takes small packets only is not sent a larger one, and the topic stays usable.
func TestSendBeyondTheClientsPacketSize(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c, s := listening(t, b, r, dev1, 5, 1, func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 80 })
	topic := tencent.OperationResultTopic(dev1)
	if err := s.Send(topic, bytes.Repeat([]byte("x"), 80)); err == nil {
		t.Error("sent")
	}
	if err := s.Send(topic, []byte("short")); err != nil {
		t.Error(err)
	}
	c.expect(packets.Publish)
}

// QoS 2 is not offered (tencent-iot.md 2.1); mochi would answer it with a PUBACK.
func TestQoS2Publish(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, version := range []byte{3, 4, 5} {
		c := loggedIn(t, b, dev1, version)
		c.publish(tencent.ReportTopic(dev1), "x", 2, 1)
		if version == 5 {
			if pk := c.expect(packets.Disconnect); pk.ReasonCode != packets.ErrQosNotSupported.Code {
				t.Errorf("DISCONNECT %#x", pk.ReasonCode)
			}
		}
		c.expectClosed()
	}
	if len(r.messages) > 0 {
		t.Error("it was handled")
	}
}

// What is not acknowledged goes out again under another identifier, the newest payload in its place, a few times. The PUBACK of
// the former one is late and says nothing.
func TestResend(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	topic := tencent.OperationResultTopic(dev1)
	for _, version := range []byte{3, 4, 5} {
		c, s := listening(t, b, r, dev1, version, 1)
		resend := func(want bool, kind error) {
			t.Helper()
			if again, err := s.Resend(topic); again != want || !errors.Is(err, kind) {
				t.Errorf("v%d: resend: %v, %v", version, again, err)
			}
		}
		next := func(want string) uint16 {
			t.Helper()
			pk := c.expect(packets.Publish)
			if string(pk.Payload) != want || pk.FixedHeader.Qos != 1 || pk.FixedHeader.Dup {
				t.Errorf("v%d: got %q, header %+v, want %q", version, pk.Payload, pk.FixedHeader, want)
			}
			return pk.PacketID
		}
		resend(false, nil)
		if err := s.Send(topic, []byte("1")); err != nil {
			t.Fatal(err)
		}
		first := next("1")
		resend(true, nil)
		second := next("1")
		if err := s.Send(topic, []byte("2")); err != nil {
			t.Fatal(err)
		}
		resend(true, nil)
		third := next("2")
		if first == second || second == third || first == third {
			t.Errorf("identifiers %d, %d, %d", first, second, third)
		}
		c.puback(first)
		c.puback(third)
		if got := receive(t, "acknowledgement", r.acked); got != "2" {
			t.Errorf("acknowledged %q, want 2", got)
		}
		resend(false, nil)
		if err := s.Send(topic, []byte("3")); err != nil {
			t.Fatal(err)
		}
		next("3")
		for range maxLapsed - 1 { // the second one is not acknowledged yet
			resend(true, nil)
			next("3")
		}
		resend(false, logbridge.ErrUnavailable)
		c.puback(second)
		c.alive()
		resend(true, nil)
		next("3")
		if _, err := s.Resend("ABCDE12345/dev_01/data"); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("another topic: %v", err)
		}
		c.Close()
		receive(t, "end of the session", r.disconnected)
		resend(false, logbridge.ErrUnavailable)
	}
	if len(r.acked) > 0 {
		t.Errorf("also acknowledged: %q", <-r.acked)
	}
}

// A client of MQTT 5 that takes one message at a time is sent no second one.
func TestResendKeepsTheWindow(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c, s := listening(t, b, r, dev1, 5, 1, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 1 })
	topic := tencent.OperationResultTopic(dev1)
	if err := s.Send(topic, []byte("1")); err != nil {
		t.Fatal(err)
	}
	c.expect(packets.Publish)
	if again, err := s.Resend(topic); again || !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("resend: %v, %v", again, err)
	}
	c.alive()
}
