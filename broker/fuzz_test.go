package broker

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzConnection feeds bytes to a real broker as one connection, after a right login as version 3, 4 or 5, or from the
// first byte (version 0). Whatever they are, the connection ends when its client leaves, its session is reported as
// disconnected, and another device is served as before.
func FuzzConnection(f *testing.F) {
	r := newRecorder()
	b := start(f, Config{MaxPacket: 16 << 10, ConnectTimeout: time.Minute}, r)
	other := loggedIn(f, b, dev2, 5)
	receive(f, "session", r.connected)

	c := &client{TB: f, version: 5}
	for version := range byte(6) {
		c.version = max(version, 3)
		for _, pk := range []packets.Packet{
			connectPacket(f, dev1, c.version),
			publishPacket(tencent.OperationTopic(dev1), `{"type":"get_log_level","clientToken":"t"}`, 0, 0),
			publishPacket(tencent.ReportTopic(dev1), "INF|x", 1, 3),
			publishPacket(tencent.SysTopic(dev1), "x", 2, 3),
			{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1,
				Filters: packets.Subscriptions{{Filter: tencent.OperationResultTopic(dev1), Qos: 1}, {Filter: "$share/g/#"}}},
			{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 1, Filters: packets.Subscriptions{{Filter: "#"}}},
			{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: 1},
			{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}},
		} {
			f.Add(version, c.encode(pk))
		}
	}
	f.Add(byte(5), []byte{0x82, 7, 0, 1, 0, 0, 2, 'a', 'b'})
	f.Add(byte(0), []byte("GET / HTTP/1.1\r\n\r\n"))

	f.Fuzz(func(t *testing.T, version byte, data []byte) {
		raw := pipe(t, b, version)
		if version >= 3 && version <= 5 {
			if ack := raw.login(dev1); ack.ReasonCode != 0 {
				t.Fatalf("CONNACK %#x", ack.ReasonCode)
			}
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, raw.r)
		}()
		_, _ = raw.Write(bytes.Clone(data)) // the broker may close at any byte
		raw.Close()
		<-drained
		for len(r.connected) > 0 {
			<-r.connected
			var ended logbridge.Session
			if ended = receive(t, "end of the session", r.disconnected); ended.Device() != dev1 {
				t.Fatalf("the session of %s ended", ended.Device())
			}
		}
		for len(r.messages) > 0 {
			if m := <-r.messages; !mayPublish(dev1, m.Topic) {
				t.Fatalf("a message on %q was handled", m.Topic)
			}
		}
		_ = other.SetDeadline(time.Now().Add(patience))
		other.TB = t
		other.alive()
	})
}
