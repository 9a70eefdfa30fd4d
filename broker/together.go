package broker

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/logbridge/logbridge"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What one read brings is handled together: its reports are stored with one sync and its PUBACKs are written with one system call.
// Messages are held back until mochi wants to read on, which is when no whole packet is left, so that none of them waits
// for what has not come.

const (
	// maxHeld bounds the messages that are handled together.
	maxHeld = 64
	// readAhead is the room for what has come on a connection that sends much; mochi reads headSize bytes at a time.
	readAhead = 16 << 10
	// maxReadAhead bounds the connections that have such room at a time: 16 MB. The others read as mochi does.
	maxReadAhead = 1024
)

// held is the messages of one session that wait to be handled.
type held struct {
	messages []logbridge.Message
	ids      []uint16 // their packet identifiers
}

var heldPool = sync.Pool{New: func() any {
	return &held{messages: make([]logbridge.Message, 0, maxHeld), ids: make([]uint16, 0, maxHeld)}
}}

// hold takes in a message; full says that it is time to handle what is held.
func (s *session) hold(pk *packets.Packet) (full bool) {
	if s.held == nil {
		s.held = heldPool.Get().(*held)
	}
	s.held.messages = append(s.held.messages, logbridge.Message{
		Topic:       pk.TopicName,
		Payload:     pk.Payload,
		ContentType: pk.Properties.ContentType,
		QoS:         pk.FixedHeader.Qos,
		Dup:         pk.FixedHeader.Dup,
	})
	s.held.ids = append(s.held.ids, pk.PacketID)
	return len(s.held.messages) == maxHeld
}

// settle hands over what is held, and acknowledges it in its order. An error ends the connection: that is the answer to what may
// succeed later from a client that knows no reason codes. What came before that is acknowledged; what came behind it may be stored
// all the same, and comes again.
func (b *Broker) settle(s *session) error {
	h := s.held
	if h == nil {
		return nil
	}
	s.held = nil // a panic must not hand it over again
	var acks bytes.Buffer
	var failed error
	errs := b.handler.Handle(b.handling, s, h.messages)
	for i := range h.messages {
		code, qos := packets.CodeSuccess, h.messages[i].QoS
		if errs != nil && errs[i] != nil {
			var temporary bool
			if code, temporary = b.verdict(errs[i]); temporary && qos > 0 && s.version < 5 {
				failed = errs[i]
				break
			}
		}
		if qos == 0 {
			continue
		}
		if failed = s.encodeAck(&acks, h.ids[i], code); failed != nil {
			break
		}
	}
	clear(h.messages)
	h.messages, h.ids = h.messages[:0], h.ids[:0]
	heldPool.Put(h)
	if acks.Len() > 0 {
		if _, err := s.conn.Write(acks.Bytes()); err != nil {
			return err
		}
	}
	return failed
}

// verdict is the reason code for a message that was not taken, and whether it may succeed later.
func (b *Broker) verdict(err error) (code packets.Code, temporary bool) {
	switch {
	case errors.Is(err, logbridge.ErrInvalid):
		b.counters.invalid.Add(1)
		return packets.ErrPayloadFormatInvalid, false
	case errors.Is(err, logbridge.ErrTooLarge):
		b.counters.invalid.Add(1)
		return packets.ErrQuotaExceeded, false
	}
	b.counters.failed.Add(1)
	return unavailable(), true
}

// unavailable is the answer to a QoS 1 publish of MQTT 5 that may succeed later.
func unavailable() packets.Code {
	return packets.Code{Code: packets.ErrImplementationSpecificError.Code, Reason: "temporarily unavailable"}
}

// room is where connections read ahead to.
type room struct {
	pool  sync.Pool
	taken atomic.Int32
}

// get is nil when there is none left.
func (r *room) get() *[readAhead]byte {
	if r.taken.Add(1) > maxReadAhead {
		r.taken.Add(-1)
		return nil
	}
	if b, ok := r.pool.Get().(*[readAhead]byte); ok {
		return b
	}
	return new([readAhead]byte)
}

func (r *room) put(b *[readAhead]byte) {
	r.pool.Put(b)
	r.taken.Add(-1)
}
