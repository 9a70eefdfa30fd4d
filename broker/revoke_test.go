package broker

import (
	"io"
	"testing"

	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// TestEndSession: a device whose secret is revoked loses its connection, the others keep theirs.
func TestEndSession(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, version := range []byte{3, 4, 5} {
		other, _ := listening(t, b, r, dev2, version, 0)
		c, s := listening(t, b, r, dev1, version, 0)
		b.EndSession(dev1)
		if version == 5 {
			if bye := c.expect(packets.Disconnect); bye.ReasonCode != packets.ErrNotAuthorized.Code {
				t.Errorf("DISCONNECT with reason %#x", bye.ReasonCode)
			}
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("v%d: %v, want the end", version, err)
		}
		if got := receive(t, "end of the session", r.disconnected); got != s {
			t.Errorf("v%d: another session ended", version)
		}
		b.EndSession(dev1) // without a session it does nothing
		other.alive()
		other.Close()
		receive(t, "end of the session", r.disconnected)
	}
}

// TestRefusedIsTold: the handler hears of messages that are not taken, so that they are in the ledger.
func TestRefusedIsTold(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c, _ := listening(t, b, r, dev1, 4, 0)
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: tencent.ReportTopic(dev2), PacketID: 7, Payload: []byte("x")})
	c.expect(packets.Puback)
	if got := receive(t, "refusal", r.refused); got != tencent.ReportTopic(dev2) {
		t.Errorf("refused %s", got)
	}
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 2}, TopicName: tencent.ReportTopic(dev1), PacketID: 8, Payload: []byte("x")})
	if got := receive(t, "refusal", r.refused); got != tencent.ReportTopic(dev1) {
		t.Errorf("refused %s", got)
	}
}

// TestTakeOver: a device that has connected to another node loses its connection here, and is told why where it can be.
func TestTakeOver(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	for _, version := range []byte{4, 5} {
		c, s := listening(t, b, r, dev1, version, 0)
		b.TakeOver(dev1)
		if version == 5 {
			if bye := c.expect(packets.Disconnect); bye.ReasonCode != packets.ErrSessionTakenOver.Code {
				t.Errorf("DISCONNECT with reason %#x", bye.ReasonCode)
			}
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("v%d: %v, want the end", version, err)
		}
		if got := receive(t, "end of the session", r.disconnected); got != s {
			t.Errorf("v%d: another session ended", version)
		}
		b.TakeOver(dev1) // without a session it does nothing
	}
}
