package broker

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// reports are the packets of reports with the payloads, whose packet identifiers are from 1.
func (c *client) reports(payloads ...string) []byte {
	var all bytes.Buffer
	for i, p := range payloads {
		all.Write(c.encode(publishPacket(tencent.ReportTopic(dev1), p, 1, uint16(i+1))))
	}
	return all.Bytes()
}

// TestTogether: what one write brought is handed over at once and in order, and acknowledged so.
func TestTogether(t *testing.T) {
	r := newRecorder()
	c := loggedIn(t, start(t, Config{}, r), dev1, 4)
	all := c.reports("a", "b")
	all = append(all, c.encode(publishPacket(tencent.ReportTopic(dev1), "c", 0, 0))...)
	all = append(all, c.encode(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 9,
		Filters: packets.Subscriptions{{Filter: tencent.OperationResultTopic(dev1), Qos: 1}}})...)
	all = append(all, c.encode(publishPacket(tencent.ReportTopic(dev1), "d", 1, 3))...)
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		kind byte
		id   uint16
	}{{packets.Puback, 1}, {packets.Puback, 2}, {packets.Suback, 9}, {packets.Puback, 3}} {
		if pk := c.expect(want.kind); pk.PacketID != want.id {
			t.Errorf("packet %d acknowledged, want %d", pk.PacketID, want.id)
		}
	}
	for _, want := range []string{"a", "b", "c", "d"} {
		if got := receive(t, "message", r.messages); string(got.Payload) != want {
			t.Errorf("got %q, want %q", got.Payload, want)
		}
	}
	if n := r.together.Load(); n != 3 {
		t.Errorf("%d at once, want 3", n)
	}
}

// TestTogetherRefused: each message that came with others has its own answer.
func TestTogetherRefused(t *testing.T) {
	for version, want := range map[byte][]byte{
		4: {0, 0},
		5: {0, packets.ErrPayloadFormatInvalid.Code, packets.ErrImplementationSpecificError.Code, packets.ErrQuotaExceeded.Code, 0},
	} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			r := newRecorder()
			r.handle = func(_ logbridge.Session, m logbridge.Message) error {
				return map[string]error{"invalid": logbridge.ErrInvalid, "later": logbridge.ErrUnavailable, "large": logbridge.ErrTooLarge}[string(m.Payload)]
			}
			c := loggedIn(t, start(t, Config{}, r), dev1, version)
			if _, err := c.Write(c.reports("good", "invalid", "later", "large", "good")); err != nil {
				t.Fatal(err)
			}
			for i, code := range want {
				if pk := c.expect(packets.Puback); int(pk.PacketID) != i+1 || pk.ReasonCode != code {
					t.Errorf("packet %d: code %#x, want %d: %#x", pk.PacketID, pk.ReasonCode, i+1, code)
				}
			}
			if version < 5 { // the third may succeed later: it is not acknowledged, nor is what is behind it
				c.expectClosed()
			}
			if n := r.together.Load(); n != 5 {
				t.Errorf("%d at once, want 5", n)
			}
		})
	}
}

// TestTogetherWithGarbage: what came whole before a packet that is none is handed over.
func TestTogetherWithGarbage(t *testing.T) {
	r := newRecorder()
	c := loggedIn(t, start(t, Config{}, r), dev1, 4)
	if _, err := c.Write(append(c.reports("good"), 0x36, 2, 0, 0)); err != nil { // QoS 3
		t.Fatal(err)
	}
	if got := receive(t, "message", r.messages); string(got.Payload) != "good" {
		t.Errorf("got %q", got.Payload)
	}
	receive(t, "end", r.disconnected)
}

// TestReadAhead: a device that sends much gets room for reading ahead, and loses it when it is quiet.
func TestReadAhead(t *testing.T) {
	r := newRecorder()
	b := start(t, Config{}, r)
	c := loggedIn(t, b, dev1, 4)
	burst := func(others int32) {
		t.Helper()
		const n = 200
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(c.reports(slices.Repeat([]string{strings.Repeat("x", 1000)}, n)...))
			sent <- err
		}()
		for i := range n {
			if pk := c.expect(packets.Puback); int(pk.PacketID) != i+1 {
				t.Fatalf("packet %d acknowledged, want %d", pk.PacketID, i+1)
			}
		}
		if err := receive(t, "end of the write", sent); err != nil {
			t.Fatal(err)
		}
		c.alive()
		for b.room.taken.Load() > others { // its goroutine goes on to the next read
			runtime.Gosched()
		}
	}
	burst(0)
	if n := r.together.Load(); n < 2 || n > maxHeld {
		t.Errorf("%d at once", n)
	}
	b.room.taken.Store(maxReadAhead) // others have it all
	burst(maxReadAhead)
}

// TestHeldBound: no more than maxHeld messages are held, however small they are.
func TestHeldBound(t *testing.T) {
	r := newRecorder()
	c := loggedIn(t, start(t, Config{}, r), dev1, 4)
	const n = 5 * maxHeld
	if _, err := c.Write(c.reports(slices.Repeat([]string{""}, n)...)); err != nil {
		t.Fatal(err)
	}
	for range n {
		c.expect(packets.Puback)
	}
	if most := r.together.Load(); most > maxHeld {
		t.Errorf("%d at once", most)
	}
}

// TestPubacks: a PUBACK is taken however it comes: alone, in pieces, with what follows it, or with another; and what only looks
// like one is none.
func TestPubacks(t *testing.T) {
	ack := []byte{0x40, 2, 0, 1}
	for _, version := range []byte{4, 5} {
		for name, writes := range map[string][][]byte{
			"alone":                {ack},
			"in pieces":            {ack[:1], ack[1:3], ack[3:]},
			"with a ping":          {append(slices.Clone(ack), 0xC0, 0)},
			"twice":                {append(slices.Clone(ack), ack...)},
			"after one of nothing": {{0x40, 2, 0, 9}, ack},
		} {
			t.Run(fmt.Sprint(name, " ", version), func(t *testing.T) {
				r := newRecorder()
				b := start(t, Config{}, r)
				c, s := listeningOnPipe(t, b, r, version)
				sent := make(chan error, 1)
				go func() { sent <- s.Send(tencent.OperationResultTopic(dev1), []byte("level")) }()
				if pk := c.expect(packets.Publish); pk.PacketID != 1 {
					t.Fatalf("packet %d, want 1", pk.PacketID)
				}
				if err := receive(t, "return of the send", sent); err != nil {
					t.Fatal(err)
				}
				for _, w := range writes { // each is read before the next is written
					if _, err := c.Write(w); err != nil {
						t.Fatal(err)
					}
				}
				if got := receive(t, "PUBACK", r.acked); got != "level" {
					t.Errorf("acknowledged %q", got)
				}
				if name == "with a ping" {
					c.expect(packets.Pingresp)
				}
				c.alive()
				if n := b.counters.acked.Load(); n != 1 {
					t.Errorf("%d acknowledged, want 1", n)
				}
			})
		}
	}
}

// TestPubackInAMessage: what is read alone and looks like a PUBACK, in the middle of a message, is the message's.
func TestPubackInAMessage(t *testing.T) {
	r := newRecorder()
	c, _ := listeningOnPipe(t, start(t, Config{}, r), r, 4)
	const payload = "@\x02\x00\x01"
	message := c.encode(publishPacket(tencent.ReportTopic(dev1), payload, 1, 7))
	for _, w := range [][]byte{message[:len(message)-len(payload)], []byte(payload)} {
		if _, err := c.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	if got := receive(t, "message", r.messages); string(got.Payload) != payload {
		t.Errorf("got %q", got.Payload)
	}
	if pk := c.expect(packets.Puback); pk.PacketID != 7 {
		t.Errorf("packet %d acknowledged, want 7", pk.PacketID)
	}
}

// listeningOnPipe is a device whose every write is read alone, and which has subscribed at QoS 1.
func listeningOnPipe(t *testing.T, b *Broker, r *recorder, version byte) (*client, logbridge.Session) {
	t.Helper()
	c := pipe(t, b, version)
	c.login(dev1)
	s := receive(t, "session", r.connected)
	c.subscribe(1, 1, tencent.OperationResultTopic(dev1))
	return c, s
}

// TestPubackKeepsAlive: a device that sends nothing but PUBACKs is there.
func TestPubackKeepsAlive(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	b := &Broker{}
	c := newConn(ours, Config{MaxPacket: 1 << 20})
	c.broker, c.session = b, &session{connected: true}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c.quiet = time.Now() // the minute is over, nearly
	before := c.quiet
	if !c.delivered([]byte{0x40, 2, 0, 1}) {
		t.Fatal("not taken")
	}
	if !c.quiet.After(before.Add(time.Minute - time.Second)) {
		t.Errorf("it may be silent until %s after", c.quiet.Sub(before))
	}
}
