package broker

import (
	"errors"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// maxKeepalive is the platform's longest keep-alive in seconds (tencent-iot.md 2.1). MQTT 5 clients are told to use it
	// when they ask for more, or for none.
	maxKeepalive = 900
	// maxKeepaliveV3 is the longest for older clients, which cannot be told: mochi multiplies it by 1.5 in 16 bits (P13).
	maxKeepaliveV3 = 65535 / 3 * 2
	// takeoverWait bounds how long a device that logs in again waits for its older session to end, which may be in the
	// middle of an Append. Waiting keeps a device's messages in order and a redelivery from overtaking the original; a
	// client gives up its CONNACK after some 5 s.
	takeoverWait = 3 * time.Second
	// hidden marks a topic that mochi is not to recognize. No client can send it: it is no legal character of a topic.
	hidden = "\x00"
)

// temporary is the answer to a QoS 1 publish of MQTT 5 that may succeed later. mochi needs a bare Code (P2).
func temporary() packets.Code {
	return packets.Code{Code: packets.ErrImplementationSpecificError.Code, Reason: "temporarily unavailable"}
}

// guard is the one hook into mochi: login, topic rights, and the hand-over of messages. Its methods run on the goroutine
// of the client's connection, except OnPacketEncode.
type guard struct {
	mqtt.HookBase
	broker *Broker
}

// ID names the hook.
func (g *guard) ID() string { return "logbridge" }

// Provides says which methods mochi is to call.
func (g *guard) Provides(b byte) bool {
	switch b {
	case mqtt.OnPacketRead, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnPacketEncode:
		return true
	}
	return false
}

// OnPacketRead sees every packet before mochi acts on it. A CONNECT is stripped of what is not offered, SUBSCRIBE and
// UNSUBSCRIBE are answered here, and PUBACK is noted.
func (g *guard) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := cl.Net.Conn.(*conn)
	s := c.session
	if s == nil {
		tame(&pk, &c.hello)
		return pk, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return g.publishRead(cl, pk)
	case packets.Subscribe:
		if pk.SubscribeValidate() != packets.CodeSuccess {
			return pk, nil // mochi closes the connection
		}
		return nothing(), closeOn(cl, s.subscribe(&pk))
	case packets.Unsubscribe:
		if pk.UnsubscribeValidate() != packets.CodeSuccess {
			return pk, nil
		}
		return nothing(), closeOn(cl, s.unsubscribe(&pk))
	case packets.Puback:
		g.puback(s, &pk)
	}
	return pk, nil
}

// nothing is a packet that mochi takes without doing anything: the PUBACK of a message that it does not know.
func nothing() packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}
}

// closeOn ends the connection of a client that could not be answered.
func closeOn(cl *mqtt.Client, err error) error {
	if err != nil {
		cl.Stop(err)
		return packets.ErrRejectPacket
	}
	return nil
}

// tame takes out of a CONNECT what is not offered: a will (P11), a stored session (P12), topic aliases (P19), a keep-alive
// that overflows (P13), and the Receive Maximum, which our own session observes (P4, P5).
func tame(pk *packets.Packet, h *hello) {
	pk.Connect.WillFlag, pk.Connect.WillRetain, pk.Connect.WillQos = false, false, 0
	pk.Connect.WillTopic, pk.Connect.WillPayload = "", nil
	pk.Connect.Clean = true
	h.receiveMaximum = pk.Properties.ReceiveMaximum
	pk.Properties.ReceiveMaximum = 0
	pk.Properties.TopicAliasMaximum = 0
	if pk.ProtocolVersion < 5 {
		pk.Connect.Keepalive = min(pk.Connect.Keepalive, maxKeepaliveV3)
		return
	}
	if k := pk.Connect.Keepalive; k == 0 || k > maxKeepalive {
		pk.Connect.Keepalive, h.serverKeepalive = maxKeepalive, true
	}
}

// publishRead hides topics that mochi would drop without an acknowledgement: it takes any that begins with $sys, in any
// case, for its own (P28), and knows $share. At QoS 2 it would answer with a PUBACK; it is not offered at all
// (tencent-iot.md 2.1), so that the connection ends.
func (g *guard) publishRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Qos > 1 {
		g.broker.counters.forbidden.Add(1)
		g.broker.handler.Refused(cl.Net.Conn.(*conn).session, pk.TopicName, logbridge.ErrForbidden)
		if cl.Properties.ProtocolVersion == 5 {
			cl.Net.Conn.(*conn).farewell.Store(uint32(packets.ErrQosNotSupported.Code))
		}
		cl.Stop(packets.ErrQosNotSupported)
		return pk, packets.ErrRejectPacket
	}
	pk.FixedHeader.Retain = false
	if t := pk.TopicName; len(t) > 1 && t[0] == '$' && t[1]|0x20 == 's' {
		pk.TopicName = hidden + t
	}
	return pk, nil
}

// puback tells the handler of a delivery. A reason code says that the device did not take it.
func (g *guard) puback(s *session, pk *packets.Packet) {
	topic, payload, ok := s.acked(pk.PacketID)
	if ok && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		g.broker.counters.acked.Add(1)
		g.broker.handler.Acked(s, topic, payload)
	}
}

// OnConnectAuthenticate decides about the login.
func (g *guard) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c, now := cl.Net.Conn.(*conn), time.Now()
	id, result := g.broker.login(c, &pk, now)
	g.broker.noteLogin(result, id, cl.Net.Remote, now)
	if result != loginAccepted && result != loginCertificate {
		return false
	}
	c.session = newSession(id, c, cl, &g.broker.counters)
	c.counts = g.broker
	cl.State.ServerKeepalive = c.hello.serverKeepalive
	return true
}

// OnSessionEstablish makes the session the device's own, before the CONNACK. An older one is closed and waited for, so
// that mochi does not forget the new client when the old one ends (P6), nor waits behind a write that is stuck (P8).
func (g *guard) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	old := g.broker.table.login(cl.Net.Conn.(*conn).session)
	if old == nil {
		return
	}
	g.broker.counters.takeovers.Add(1)
	old.conn.takeOver()
	wait := time.NewTimer(takeoverWait)
	defer wait.Stop()
	select {
	case <-old.conn.done:
	case <-wait.C:
	}
}

// OnSessionEstablished reports the session, after the CONNACK.
func (g *guard) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.session.connected = true
	g.broker.handler.Connected(c.session)
}

// OnACLCheck lets every publish come to OnPublish, which decides, since mochi ends the connection of an older client for
// a topic that it may not write. Nothing is ever delivered by mochi.
func (g *guard) OnACLCheck(_ *mqtt.Client, _ string, write bool) bool { return write }

// OnPublish hands a message over and turns the outcome into what mochi makes the right answer of (mqtt-broker.md 2). No
// outcome lets mochi fan the message out.
func (g *guard) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	b, s := g.broker, cl.Net.Conn.(*conn).session
	topic := strings.TrimPrefix(pk.TopicName, hidden)
	if !mayPublish(s.device, topic) {
		b.counters.forbidden.Add(1)
		b.handler.Refused(s, topic, logbridge.ErrForbidden)
		return pk, refusal(cl, &pk, packets.ErrNotAuthorized)
	}
	b.counters.received.Add(1)
	err := b.handler.Handle(b.handling, s, logbridge.Message{
		Topic:       topic,
		Payload:     pk.Payload,
		ContentType: pk.Properties.ContentType,
		QoS:         pk.FixedHeader.Qos,
		Dup:         pk.FixedHeader.Dup,
	})
	switch {
	case err == nil:
		return pk, packets.CodeSuccessIgnore
	case errors.Is(err, logbridge.ErrInvalid):
		b.counters.invalid.Add(1)
		return pk, refusal(cl, &pk, packets.ErrPayloadFormatInvalid)
	case errors.Is(err, logbridge.ErrTooLarge):
		b.counters.invalid.Add(1)
		return pk, refusal(cl, &pk, packets.ErrQuotaExceeded)
	}
	b.counters.failed.Add(1)
	if cl.Properties.ProtocolVersion < 5 && pk.FixedHeader.Qos > 0 {
		cl.Stop(err)
		return pk, packets.ErrRejectPacket
	}
	return pk, refusal(cl, &pk, temporary())
}

// oversize counts a packet over the bound, and tells the handler of one that was a message.
func (b *Broker) oversize(s *session, head byte) {
	b.counters.oversize.Add(1)
	if head>>4 == packets.Publish {
		b.handler.Refused(s, "", logbridge.ErrTooLarge)
	}
}

// refusal answers a message that is forgotten: MQTT 5 is told so at QoS 1, all others get what they get for success, since
// there is no other answer and a device without one sends again for ever.
func refusal(cl *mqtt.Client, pk *packets.Packet, code packets.Code) error {
	if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos > 0 {
		return code
	}
	return packets.CodeSuccessIgnore
}

// OnPacketEncode completes a CONNACK: mochi does not announce what is not offered (P18), calls a refused login a bad
// password, and gives older clients reason codes that they do not know.
func (g *guard) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type != packets.Connack {
		return pk
	}
	switch version := cl.Properties.ProtocolVersion; {
	case version == 5:
	case pk.ReasonCode < packets.ErrUnspecifiedError.Code:
		return pk
	case version == 3 || version == 4:
		pk.ReasonCode = packets.Err3NotAuthorized.Code
		return pk
	default:
		pk.ReasonCode = packets.Err3UnsupportedProtocolVersion.Code
		return pk
	}
	if pk.ReasonCode == packets.ErrBadUsernameOrPassword.Code {
		pk.ReasonCode = packets.ErrNotAuthorized.Code
		pk.Properties.ReasonString = packets.ErrNotAuthorized.Reason
	}
	if pk.ReasonCode == packets.CodeSuccess.Code {
		cl.Net.Conn.(*conn).tellsWhy.Store(true)
		pk.Properties.MaximumPacketSize = uint32(g.broker.cfg.MaxPacket)
		pk.Properties.RetainAvailableFlag = true
		pk.Properties.WildcardSubAvailableFlag = true
		pk.Properties.SubIDAvailableFlag = true
		pk.Properties.SharedSubAvailableFlag = true
	}
	return pk
}
