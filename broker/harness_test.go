package broker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// patience is how long a test waits for what must happen; nothing that must not happen is waited for.
const patience = time.Minute

const testPSK = "bXktMTYtYnl0ZS1rZXkhIQ==" // tencent-iot.md 7

var (
	dev1 = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_01"}
	dev2 = logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_02"}
)

// devices are the credentials: every device of the one product whose name begins with "dev".
type devices struct{}

func (devices) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	if id.Product != dev1.Product || !strings.HasPrefix(id.Device, "dev") {
		return logbridge.Device{}, fmt.Errorf("%w: device %s", logbridge.ErrNotFound, id)
	}
	if id.Device == "dev_certificate" {
		return logbridge.Device{ID: id}, nil
	}
	return logbridge.Device{ID: id, PSK: testPSK}, nil
}

// recorder is a Handler that notes what it is told.
type recorder struct {
	handle func(logbridge.Session, logbridge.Message) error // nil: success

	connected    chan logbridge.Session
	disconnected chan logbridge.Session
	messages     chan logbridge.Message
	acked        chan string  // payloads
	refused      chan string  // topics
	together     atomic.Int64 // the most messages that came together
}

func newRecorder() *recorder {
	const room = 4096
	return &recorder{
		connected:    make(chan logbridge.Session, room),
		disconnected: make(chan logbridge.Session, room),
		messages:     make(chan logbridge.Message, room),
		acked:        make(chan string, room),
		refused:      make(chan string, room),
	}
}

// busyRecorder is one whose first message takes from began to release.
func busyRecorder() (r *recorder, began, release chan struct{}) {
	r, began, release = newRecorder(), make(chan struct{}), make(chan struct{})
	r.handle = func(logbridge.Session, logbridge.Message) error {
		close(began)
		<-release
		return nil
	}
	return r, began, release
}

func (r *recorder) Connected(s logbridge.Session)    { r.connected <- s }
func (r *recorder) Disconnected(s logbridge.Session) { r.disconnected <- s }
func (r *recorder) Refused(_ logbridge.Session, topic string, why error) {
	if errors.Is(why, logbridge.ErrTooLarge) {
		topic = "too large"
	}
	select {
	case r.refused <- topic:
	default:
	}
}

func (r *recorder) Acked(_ logbridge.Session, _ string, payload []byte) {
	select {
	case r.acked <- string(payload):
	default: // a test that does not look
	}
}

func (r *recorder) Handle(_ context.Context, s logbridge.Session, messages []logbridge.Message) []error {
	r.together.Store(max(r.together.Load(), int64(len(messages))))
	errs := make([]error, len(messages))
	for i, m := range messages {
		errs[i] = r.one(s, m)
	}
	return errs
}

func (r *recorder) one(s logbridge.Session, m logbridge.Message) error {
	m.Payload = bytes.Clone(m.Payload)
	select {
	case r.messages <- m:
	default:
	}
	if r.handle != nil {
		return r.handle(s, m)
	}
	return nil
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s in %v", what, patience)
		panic("unreachable")
	}
}

// start runs a broker on port 0 until the test ends.
func start(t testing.TB, cfg Config, h Handler) *Broker {
	t.Helper()
	b := bound(t, cfg, h)
	run(t, b)
	return b
}

func bound(t testing.TB, cfg Config, h Handler) *Broker {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	b, err := New(cfg, devices{}, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run returns what ends the broker and waits for it; the end of the test does so in any case.
func run(t testing.TB, b *Broker) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// client is a raw MQTT client: it sends what it is told to, right or wrong.
type client struct {
	testing.TB
	net.Conn
	r       *bufio.Reader
	version byte
}

// dial opens a TCP connection.
func dial(t testing.TB, b *Broker, version byte) *client {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, c, version)
}

// pipe opens a connection without buffers: a client that does not read is noticed at the first byte.
func pipe(t testing.TB, b *Broker, version byte) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	c := wrap(t, ours, version) // a pipe that is closed takes no deadline
	b.admit(t.Context(), theirs)
	return c
}

func wrap(t testing.TB, c net.Conn, version byte) *client {
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{TB: t, Conn: c, r: bufio.NewReader(c), version: version}
}

// connectPacket is a right CONNECT of a device.
func connectPacket(t testing.TB, id logbridge.DeviceID, version byte) packets.Packet {
	t.Helper()
	user := tencent.UserName(id, "AbCdE", time.Time{})
	password, err := tencent.Password(testPSK, user, tencent.HMACSHA256)
	if err != nil {
		t.Fatal(err)
	}
	name := "MQTT"
	if version == 3 {
		name = "MQIsdp"
	}
	return packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connect},
		ProtocolVersion: version,
		Connect: packets.ConnectParams{
			ProtocolName: []byte(name), Clean: true, Keepalive: 60, ClientIdentifier: tencent.ClientID(id),
			UsernameFlag: true, Username: []byte(user), PasswordFlag: true, Password: []byte(password),
		},
	}
}

// login connects as a device. edit may change the CONNECT.
func (c *client) login(id logbridge.DeviceID, edit ...func(*packets.Packet)) packets.Packet {
	c.Helper()
	pk := connectPacket(c, id, c.version)
	for _, e := range edit {
		e(&pk)
	}
	c.send(pk)
	return c.expect(packets.Connack)
}

// loggedIn is a device that has its CONNACK.
func loggedIn(t testing.TB, b *Broker, id logbridge.DeviceID, version byte, edit ...func(*packets.Packet)) *client {
	t.Helper()
	c := dial(t, b, version)
	if ack := c.login(id, edit...); ack.ReasonCode != 0 {
		t.Fatalf("login: CONNACK %#x", ack.ReasonCode)
	}
	return c
}

func (c *client) send(pk packets.Packet) {
	c.Helper()
	if _, err := c.Write(c.encode(pk)); err != nil {
		c.Fatalf("send %d: %v", pk.FixedHeader.Type, err)
	}
}

func (c *client) encode(pk packets.Packet) []byte {
	c.Helper()
	pk.ProtocolVersion = c.version
	pk.Mods.AllowResponseInfo = true
	var buf bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&buf)
	case packets.Publish:
		err = pk.PublishEncode(&buf)
	case packets.Puback:
		err = pk.PubackEncode(&buf)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		err = pk.SubscribeEncode(&buf)
	case packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
		err = pk.UnsubscribeEncode(&buf)
	case packets.Pingreq:
		err = pk.PingreqEncode(&buf)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&buf)
	default:
		err = fmt.Errorf("cannot encode type %d", pk.FixedHeader.Type)
	}
	if err != nil {
		c.Fatal(err)
	}
	return buf.Bytes()
}

// read reads one packet.
func (c *client) read() (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: c.version}
	first, err := c.r.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	n, _, err := packets.DecodeLength(c.r)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

// expect reads one packet, which must be of the type.
func (c *client) expect(kind byte) packets.Packet {
	c.Helper()
	pk, err := c.read()
	if err != nil {
		c.Fatalf("waiting for packet type %d: %v", kind, err)
	}
	if pk.FixedHeader.Type != kind {
		c.Fatalf("got packet type %d (%q), want %d", pk.FixedHeader.Type, pk.Payload, kind)
	}
	return pk
}

// expectClosed reads to the end of the connection, which must come without another packet.
func (c *client) expectClosed() {
	c.Helper()
	pk, err := c.read()
	if err == nil {
		c.Fatalf("got packet type %d, want the end of the connection", pk.FixedHeader.Type)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Fatal("the connection stays open")
	}
}

// alive checks that the client is served.
func (c *client) alive() {
	c.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp)
}

func (c *client) publish(topic, payload string, qos byte, id uint16) {
	c.Helper()
	c.send(publishPacket(topic, payload, qos, id))
}

func publishPacket(topic, payload string, qos byte, id uint16) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos},
		TopicName:   topic, Payload: []byte(payload), PacketID: id,
	}
}

func (c *client) puback(id uint16) {
	c.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
}

// subscribe returns the SUBACK's codes.
func (c *client) subscribe(id uint16, qos byte, filters ...string) []byte {
	c.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	c.send(pk)
	return c.expect(packets.Suback).ReasonCodes
}

// listening is a logged-in device that hears its level, and its session.
func listening(t testing.TB, b *Broker, r *recorder, id logbridge.DeviceID, version, qos byte, edit ...func(*packets.Packet)) (*client, logbridge.Session) {
	t.Helper()
	c := loggedIn(t, b, id, version, edit...)
	s := receive(t, "session", r.connected)
	if codes := c.subscribe(1, qos, tencent.OperationResultTopic(id)); !bytes.Equal(codes, []byte{qos}) {
		t.Fatalf("SUBACK %v", codes)
	}
	return c, s
}
