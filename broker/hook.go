package broker

import (
	"errors"
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
)

// guard is the one hook into mochi: login, topic rights, and the hand-over of messages. Its methods run on the goroutine
// of the client's connection, except OnPacketEncode. What a session sends and receives never goes through mochi's own handling
// of messages: that hands packets of 800 bytes from function to function by value, which doubled the stack of each connection.
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
		mqtt.OnPacketEncode:
		return true
	}
	return false
}

// OnPacketRead sees every packet before mochi acts on it. A CONNECT is stripped of what is not offered; PUBLISH, SUBSCRIBE and
// UNSUBSCRIBE are answered here, and PUBACK is noted. What is malformed is left to mochi, which ends the connection.
func (g *guard) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := cl.Net.Conn.(*conn)
	s := c.session
	if s == nil {
		return tame(pk, &c.hello), nil
	}
	switch kind := pk.FixedHeader.Type; kind {
	case packets.Puback:
		g.broker.puback(s, pk.PacketID, pk.ReasonCode)
		return pk, nil
	case packets.Publish, packets.Subscribe, packets.Unsubscribe:
		own := borrow() // the stack of each connection would have to hold another of 800 bytes
		*own = pk
		err := g.take(cl, s, own)
		if err == errLeft {
			return pk, nil
		}
		return nothing(), err
	}
	return pk, closeOn(cl, g.broker.settle(s)) // what came before it
}

// errLeft says that a packet is left to mochi.
var errLeft = errors.New("malformed")

// take answers what mochi must not see, and gives the packet back.
func (g *guard) take(cl *mqtt.Client, s *session, pk *packets.Packet) error {
	defer giveBack(pk)
	kind := pk.FixedHeader.Type
	if kind == packets.Publish && pk.PublishValidate(0) == packets.CodeSuccess {
		return closeOn(cl, g.publish(s, pk))
	}
	if err := closeOn(cl, g.broker.settle(s)); err != nil {
		return err
	}
	switch {
	case kind == packets.Subscribe && pk.SubscribeValidate() == packets.CodeSuccess:
		return closeOn(cl, s.subscribe(pk))
	case kind == packets.Unsubscribe && pk.UnsubscribeValidate() == packets.CodeSuccess:
		return closeOn(cl, s.unsubscribe(pk))
	}
	return errLeft
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
func tame(pk packets.Packet, h *hello) packets.Packet {
	pk.Connect.WillFlag, pk.Connect.WillRetain, pk.Connect.WillQos = false, false, 0
	pk.Connect.WillTopic, pk.Connect.WillPayload = "", nil
	pk.Connect.Clean = true
	h.receiveMaximum = pk.Properties.ReceiveMaximum
	pk.Properties.ReceiveMaximum = 0
	pk.Properties.TopicAliasMaximum = 0
	if pk.ProtocolVersion < 5 {
		pk.Connect.Keepalive = min(pk.Connect.Keepalive, maxKeepaliveV3)
		return pk
	}
	if k := pk.Connect.Keepalive; k == 0 || k > maxKeepalive {
		pk.Connect.Keepalive, h.serverKeepalive = maxKeepalive, true
	}
	return pk
}

// puback tells the handler of a delivery. A reason code says that the device did not take it.
func (b *Broker) puback(s *session, id uint16, code byte) {
	topic, payload, ok := s.acked(id)
	if ok && code < packets.ErrUnspecifiedError.Code {
		b.counters.acked.Add(1)
		b.handler.Acked(s, topic, payload)
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
	c.broker = g.broker
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
	if cl.State.Keepalive == 0 {
		c.probe()
	}
	g.broker.handler.Connected(c.session)
}

// publish takes in a message. An error ends the connection: that is the answer to QoS 2, which is not offered at all
// (tencent-iot.md 2.1).
func (g *guard) publish(s *session, pk *packets.Packet) error {
	b := g.broker
	allowed := mayPublish(s.device, pk.TopicName)
	if pk.FixedHeader.Qos <= 1 && allowed {
		b.counters.received.Add(1)
		if s.hold(pk) {
			return b.settle(s)
		}
		return nil
	}
	if err := b.settle(s); err != nil {
		return err
	}
	b.counters.forbidden.Add(1)
	b.handler.Refused(s, pk.TopicName, logbridge.ErrForbidden)
	if !allowed && pk.FixedHeader.Qos <= 1 {
		return s.acknowledge(pk, packets.ErrNotAuthorized)
	}
	s.conn.farewell.Store(uint32(packets.ErrQosNotSupported.Code))
	return packets.ErrQosNotSupported
}

// oversize counts a packet over the bound, and tells the handler of one that was a message.
func (b *Broker) oversize(s *session, head byte) {
	b.counters.oversize.Add(1)
	if head>>4 == packets.Publish {
		b.handler.Refused(s, "", logbridge.ErrTooLarge)
	}
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
