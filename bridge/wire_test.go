package bridge

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/broker"
	"github.com/logbridge/logbridge/wire/recorded"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The MQTT packet types that the tests speak of.
const (
	connack = 2
	publish = 3
	puback  = 4
	suback  = 9
)

// everyDevice are the credentials: any device, with the secret of the recordings.
type everyDevice struct{}

func (everyDevice) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	return logbridge.Device{ID: id, PSK: recorded.PSK}, nil
}

// startBroker runs the real broker on a bridge until the test ends.
func startBroker(t testing.TB, p parts) *broker.Broker {
	t.Helper()
	b, err := broker.New(broker.Config{Addr: "127.0.0.1:0"}, everyDevice{}, p.Bridge, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := receive(t, "end of the broker", ended); err != nil {
			t.Error(err)
		}
	})
	return b
}

// wire is a device on a TCP connection: bytes out, packets in.
type wire struct {
	testing.TB
	net.Conn
	r       *bufio.Reader
	version byte
}

func dial(t testing.TB, b *broker.Broker, version byte) *wire {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{TB: t, Conn: c, r: bufio.NewReader(c), version: version}
}

func (w *wire) raw(b []byte) {
	w.Helper()
	if _, err := w.Write(b); err != nil {
		w.Fatal(err)
	}
}

// packet is what a test looks at.
type packet struct {
	kind, flags byte
	body        []byte // all behind the fixed header

	// Of a PUBLISH.
	id             uint16
	topic, payload string
}

func (w *wire) next() (packet, error) {
	first, err := w.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	n, err := binary.ReadUvarint(w.r) // the same as MQTT's length
	if err != nil {
		return packet{}, err
	}
	p := packet{kind: first >> 4, flags: first & 15, body: make([]byte, n)}
	if _, err := io.ReadFull(w.r, p.body); err != nil || p.kind != publish {
		return p, err
	}
	rest := p.body
	end := 2 + int(binary.BigEndian.Uint16(rest))
	p.topic, rest = string(rest[2:end]), rest[end:]
	if p.flags&6 != 0 {
		p.id, rest = binary.BigEndian.Uint16(rest), rest[2:]
	}
	if w.version == 5 {
		rest = rest[1+int(rest[0]):]
	}
	p.payload = string(rest)
	return p, nil
}

func (w *wire) expect(kind byte) packet {
	w.Helper()
	p, err := w.next()
	if err != nil {
		w.Fatalf("waiting for packet type %d: %v", kind, err)
	}
	if p.kind != kind {
		w.Fatalf("packet type %d (% x), want %d", p.kind, p.body, kind)
	}
	return p
}

// body puts a packet's body together: strings with their length, numbers of 16 bits, bytes as they are.
func body(fields ...any) (b []byte) {
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, f)
		case byte:
			b = append(b, f)
		case []byte:
			b = append(b, f...)
		default:
			panic(fmt.Sprintf("field %T", f))
		}
	}
	return b
}

func (w *wire) send(header byte, body []byte) {
	w.Helper()
	w.raw(append(binary.AppendUvarint([]byte{header}, uint64(len(body))), body...))
}

// properties are none, where MQTT 5 has some.
func (w *wire) properties() []byte {
	if w.version == 5 {
		return []byte{0}
	}
	return nil
}

func (w *wire) login(id logbridge.DeviceID) {
	w.Helper()
	user := tencent.UserName(id, "AbCdE", time.Time{})
	password, err := tencent.Password(recorded.PSK, user, tencent.HMACSHA1)
	if err != nil {
		w.Fatal(err)
	}
	name := "MQTT"
	if w.version == 3 {
		name = "MQIsdp"
	}
	w.send(0x10, body(name, w.version, byte(0xc2), uint16(60), w.properties(), tencent.ClientID(id), user, password))
	if ack := w.expect(connack); ack.body[1] != 0 {
		w.Fatalf("CONNACK % x", ack.body)
	}
}

func (w *wire) subscribe(topic string, qos byte) {
	w.Helper()
	w.send(0x82, body(uint16(1), w.properties(), topic, qos))
	if ack := w.expect(suback); ack.body[len(ack.body)-1] != qos {
		w.Fatalf("SUBACK % x", ack.body)
	}
}

func (w *wire) publish(topic, payload string, flags byte, id uint16) {
	w.Helper()
	b := body(topic)
	if flags&6 != 0 {
		b = append(b, body(id)...)
	}
	w.send(0x30|flags, append(append(b, w.properties()...), payload...))
}

func (w *wire) puback(id uint16) {
	w.Helper()
	w.send(0x40, body(id))
}
