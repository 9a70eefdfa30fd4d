package broker

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/logbridge/logbridge"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// session is one login of one device. It holds what the device has subscribed to and what is on its way there, in
// place of mochi's subscription tree and in-flight messages: those give up messages for ever when a device announces a
// small Receive Maximum (P5), deadlock (P4), forget a message when the device uses the same packet identifier for one
// of its own, and cost more memory than the rest of a session.
type session struct {
	device   logbridge.DeviceID
	conn     *conn
	client   *mqtt.Client
	counters *counters
	// Copies of what the CONNECT said, so that a push to a whole fleet does not go through mochi's clients.
	version       byte
	maxPacket     uint32 // bytes (MQTT 5 3.1.2.11.4); 0 is no bound
	noProblemInfo bool   // it wants no reason strings (3.1.2.11.7)
	window        int    // how many messages may be unacknowledged (MQTT 5 Receive Maximum)

	connected bool  // Handler.Connected was called; for the connection's goroutine only
	held      *held // messages that are not handled yet; for the connection's goroutine only, nil without one

	mu       sync.Mutex // guards the rest, and is held while writing: what is sent later arrives later
	subs     [outlets]subscription
	unacked  int
	packetID uint16            // the last one used
	lapsed   [maxLapsed]uint16 // packet identifiers of messages that were sent again under another one, 0 for a free place
}

// maxLapsed bounds how many messages of a session are unacknowledged and given up, each of which counts in its window.
const maxLapsed = 4

// subscription is what the device subscribed to at one outlet.
type subscription struct {
	topic   string // "" before the first SUBSCRIBE
	active  bool   // false again after UNSUBSCRIBE
	qos     byte
	flying  uint16 // packet identifier of the unacknowledged message, 0 without one
	sent    []byte // its payload
	waiting []byte // the newest payload that came meanwhile, nil without one
}

func newSession(id logbridge.DeviceID, c *conn, cl *mqtt.Client, counters *counters) *session {
	asked := &cl.Properties.Props
	s := &session{device: id, conn: c, client: cl, counters: counters, window: math.MaxInt, version: cl.Properties.ProtocolVersion,
		maxPacket: asked.MaximumPacketSize, noProblemInfo: asked.RequestProblemInfoFlag && asked.RequestProblemInfo == 0}
	if n := c.hello.receiveMaximum; n > 0 {
		s.window = int(n)
	}
	return s
}

// Device is whose session it is.
func (s *session) Device() logbridge.DeviceID { return s.device }

// Send implements logbridge.Session.
func (s *session) Send(topic string, payload []byte) error {
	o, ok := outletOf(s.device, topic)
	if !ok {
		return fmt.Errorf("%w: nothing is delivered to %s on this topic", logbridge.ErrInvalid, s.device)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.closed.Load() {
		return fmt.Errorf("%w: session of %s is gone", logbridge.ErrUnavailable, s.device)
	}
	sub := &s.subs[o]
	if !sub.active {
		return fmt.Errorf("%w: %s has not subscribed to %s", logbridge.ErrNotFound, s.device, topic)
	}
	if sub.qos > 0 && (sub.flying != 0 || s.unacked >= s.window) {
		s.counters.held.Add(1)
		if sub.waiting != nil {
			s.counters.replaced.Add(1)
		}
		sub.waiting = payload
		return nil
	}
	return s.write(sub, payload)
}

// Resend implements logbridge.Session. The message goes out with a packet identifier of its own, since MQTT 5 forbids to send
// the same again on one connection (4.4): what is late then is the PUBACK of a message that is told twice, which does no harm.
func (s *session) Resend(topic string) (bool, error) {
	o, ok := outletOf(s.device, topic)
	if !ok {
		return false, fmt.Errorf("%w: nothing is delivered to %s on this topic", logbridge.ErrInvalid, s.device)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := &s.subs[o]
	free := slices.Index(s.lapsed[:], 0)
	switch {
	case sub.flying == 0 || !sub.active:
		return false, nil
	case s.conn.closed.Load():
		return false, fmt.Errorf("%w: session of %s is gone", logbridge.ErrUnavailable, s.device)
	case free < 0 || s.unacked >= s.window:
		return false, fmt.Errorf("%w: %s acknowledges nothing", logbridge.ErrUnavailable, s.device)
	}
	payload := sub.waiting
	if payload == nil {
		payload = sub.sent
	}
	s.lapsed[free], sub.waiting = sub.flying, nil
	return true, s.write(sub, payload)
}

// write sends payload to the subscriber. Its caller holds mu and has seen that a QoS 1 message may go.
func (s *session) write(sub *subscription, payload []byte) error {
	pk := borrow()
	defer giveBack(pk)
	pk.FixedHeader.Type, pk.FixedHeader.Qos = packets.Publish, sub.qos
	pk.TopicName, pk.Payload = sub.topic, payload
	if sub.qos > 0 {
		pk.PacketID = s.nextPacketID()
	}
	if err := s.emit(pk); err != nil {
		return fmt.Errorf("%w: send to %s: %w", logbridge.ErrUnavailable, s.device, err)
	}
	s.counters.sent.Add(1)
	if sub.qos > 0 {
		sub.flying, sub.sent = pk.PacketID, payload
		s.unacked++
	}
	return nil
}

// nextPacketID gives an identifier that no message in flight has; there are never more than outlets and lapsed ones of those.
func (s *session) nextPacketID() uint16 {
	for {
		s.packetID++
		if s.packetID != 0 && s.flight(s.packetID) == nil && !slices.Contains(s.lapsed[:], s.packetID) {
			return s.packetID
		}
	}
}

// flight finds the subscription whose message in flight has the identifier.
func (s *session) flight(id uint16) *subscription {
	for i := range s.subs {
		if s.subs[i].flying == id {
			return &s.subs[i]
		}
	}
	return nil
}

// acked takes a PUBACK: it frees the message's place and sends what waits. ok is false when no such message is in flight.
func (s *session) acked(id uint16) (topic string, payload []byte, ok bool) {
	if id == 0 {
		return "", nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, late := s.flight(id), slices.Index(s.lapsed[:], id)
	switch {
	case sub != nil:
		topic, payload, ok = sub.topic, sub.sent, true
		sub.flying, sub.sent = 0, nil
	case late >= 0: // what it said was said again
		s.lapsed[late] = 0
	default:
		return "", nil, false
	}
	s.unacked--
	for i := range s.subs {
		sub := &s.subs[i]
		if sub.waiting == nil || sub.flying != 0 || s.unacked >= s.window {
			continue
		}
		next := sub.waiting
		sub.waiting = nil
		if s.write(sub, next) != nil {
			break // the connection is closed by its wrapper
		}
	}
	return topic, payload, ok
}

// subscribe takes in a SUBSCRIBE and writes its SUBACK, before which nothing is delivered.
func (s *session) subscribe(pk *packets.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes := make([]byte, len(pk.Filters))
	for i, f := range pk.Filters {
		switch {
		case len(pk.Properties.SubscriptionIdentifier) > 0:
			codes[i] = packets.ErrSubscriptionIdentifiersNotSupported.Code
		case !maySubscribe(s.device, f.Filter):
			codes[i] = packets.ErrNotAuthorized.Code
		default:
			codes[i] = min(f.Qos, 1)
			s.activate(f.Filter, codes[i])
		}
		if codes[i] >= packets.ErrUnspecifiedError.Code && s.version < 5 {
			codes[i] = packets.ErrUnspecifiedError.Code
		}
	}
	answer := borrow()
	defer giveBack(answer)
	answer.FixedHeader.Type, answer.PacketID = packets.Suback, pk.PacketID
	answer.ReasonCodes = codes
	return s.emit(answer)
}

// activate remembers a subscription if something is ever delivered there.
func (s *session) activate(filter string, qos byte) {
	if o, ok := outletOf(s.device, filter); ok {
		sub := &s.subs[o]
		sub.topic, sub.active, sub.qos = filter, true, qos
	}
}

// unsubscribe takes in an UNSUBSCRIBE and writes its UNSUBACK. A message in flight may still be acknowledged.
func (s *session) unsubscribe(pk *packets.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range pk.Filters {
		if o, ok := outletOf(s.device, f.Filter); ok {
			s.subs[o].active, s.subs[o].waiting = false, nil
		}
	}
	answer := borrow()
	defer giveBack(answer)
	answer.FixedHeader.Type, answer.PacketID = packets.Unsuback, pk.PacketID
	answer.ReasonCodes = make([]byte, len(pk.Filters)) // success: what is not known was accepted and not kept, or is no matter
	return s.emit(answer)
}

// encodeAck adds the answer to a message of QoS 1. A refused one is told to MQTT 5 alone: others get what they get for success, since
// there is no other answer and a device without one sends again for ever.
func (s *session) encodeAck(to *bytes.Buffer, id uint16, code packets.Code) error {
	ack := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id}
	if s.version == 5 && code.Code >= packets.ErrUnspecifiedError.Code {
		ack.ReasonCode, ack.Properties.ReasonString = code.Code, code.Reason
	}
	return s.encode(to, &ack)
}

// acknowledge answers a message of QoS 1 that was not handed over.
func (s *session) acknowledge(pk *packets.Packet, code packets.Code) error {
	if pk.FixedHeader.Qos == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := s.encodeAck(&b, pk.PacketID, code); err != nil {
		return err
	}
	_, err := s.conn.Write(b.Bytes())
	return err
}

// emit writes a packet.
func (s *session) emit(pk *packets.Packet) error {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := s.encode(b, pk); err != nil {
		return err
	}
	_, err := s.conn.Write(b.Bytes())
	return err
}

// buffers are for packets that are written: what mochi encodes goes through several.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encode adds a packet in the client's version, within the bounds that it has set.
func (s *session) encode(to *bytes.Buffer, pk *packets.Packet) (err error) {
	pk.ProtocolVersion, pk.Mods.DisallowProblemInfo = s.version, s.noProblemInfo
	before := to.Len()
	switch pk.FixedHeader.Type {
	case packets.Publish:
		err = pk.PublishEncode(to)
	case packets.Puback:
		err = pk.PubackEncode(to)
	case packets.Suback:
		err = pk.SubackEncode(to)
	case packets.Unsuback:
		err = pk.UnsubackEncode(to)
	}
	if err != nil {
		return err
	}
	if s.maxPacket > 0 && uint32(to.Len()-before) > s.maxPacket {
		to.Truncate(before)
		return packets.ErrPacketTooLarge
	}
	return nil
}

// outgoing are packets that are taken apart or written. They are of 800 bytes, too much for the stacks of many connections, which
// grow by doubling.
var outgoing = sync.Pool{New: func() any { return new(packets.Packet) }}

// borrow gives an empty packet, until giveBack.
func borrow() *packets.Packet { return outgoing.Get().(*packets.Packet) }

func giveBack(pk *packets.Packet) {
	*pk = packets.Packet{}
	outgoing.Put(pk)
}
