package broker

import (
	"container/list"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// maxConnect bounds the CONNECT packet, which is read before anybody has proved anything: mochi allocates what a
	// header announces, twice (P18). A device's CONNECT is below 300 bytes; MQTT 5 properties and a will may add to it.
	maxConnect = 4 << 10
	// headSize takes in the CONNECT of every known SDK with one read.
	headSize = 512
	// farewellTimeout is how long a DISCONNECT may hold up the closing of a connection.
	farewellTimeout = 100 * time.Millisecond
)

var (
	errNotConnect = fmt.Errorf("%w: the first packet is not a CONNECT", logbridge.ErrInvalid)
	errConnectBig = fmt.Errorf("%w: the CONNECT packet has more than %d bytes", logbridge.ErrTooLarge, maxConnect)
)

// conn is what mochi gets as the network connection of a client. A write has a deadline, and one that fails ends the
// connection, since mochi goes on after half a packet (P7).
type conn struct {
	net.Conn
	writeTimeout time.Duration
	writable     atomic.Int64 // until when, since the process began, the write deadline that is set lets a write take writeTimeout
	closed       atomic.Bool

	// waiting is the table's, as long as there is no CONNECT.
	waiting *list.Element

	// frames follows the packets that are read.
	frames framer
	// broker, set at login, handles what is held, counts a packet over its bound, and has room for reading ahead.
	broker *Broker

	// ahead is what was taken from the connection and Read has not handed on yet; room is where it lies, if it is not the CONNECT.
	ahead []byte
	room  *[readAhead]byte
	// busy says that the last read may have left something.
	busy bool
	// quiet is when the read deadline ends that is set, patience how far it was ahead when it was asked for.
	quiet    time.Time
	patience time.Duration
	// session is set at login by the connection's own goroutine, which alone uses it.
	session *session
	// hello is what the CONNECT said and mochi was not told; set and used likewise.
	hello hello

	draining  atomic.Bool
	tellsWhy  atomic.Bool   // a CONNACK of MQTT 5 is on its way: a DISCONNECT may follow it
	farewell  atomic.Uint32 // the reason code of the DISCONNECT that Close writes; 0 none
	closeOnce sync.Once
	// done is closed when the connection's goroutine has ended and its session is reported as disconnected.
	done chan struct{}
}

// hello is the part of a CONNECT that is kept from mochi.
type hello struct {
	receiveMaximum  uint16 // 0 is no bound
	serverKeepalive bool   // the keep-alive is not the one that the client asked for
}

func newConn(c net.Conn, cfg Config) *conn {
	return &conn{Conn: c, writeTimeout: cfg.WriteTimeout, frames: framer{most: int32(cfg.MaxPacket)}, done: make(chan struct{})}
}

// certificate is what the device has shown over TLS and TLS has verified; nil without.
func (c *conn) certificate() *x509.Certificate {
	secure, ok := c.Conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	if chains := secure.ConnectionState().VerifiedChains; len(chains) > 0 && len(chains[0]) > 0 {
		return chains[0][0]
	}
	return nil
}

// address is where the connection comes from; the zero Addr if that is no IP address.
func (c *conn) address() netip.Addr {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr()
}

// probe lets TCP find out whether the peer is still there. It is for a session without an MQTT keep-alive, which would otherwise
// never be missed.
func (c *conn) probe() {
	raw := c.Conn
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}) // it can only be closed already
	}
}

// readHead reads the beginning of the first packet, keeps it for Read, and refuses what is not a CONNECT of bearable
// size.
func (c *conn) readHead() error {
	buf := make([]byte, headSize)
	n := 0
	for {
		m, err := c.Conn.Read(buf[n:])
		n += m
		complete, bad := checkConnect(buf[:n])
		if bad != nil {
			return bad
		}
		if complete {
			c.ahead = buf[:n]
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// checkConnect looks at the beginning of a stream. complete says that the whole fixed header is there.
func checkConnect(b []byte) (complete bool, err error) {
	if len(b) == 0 {
		return false, nil
	}
	if b[0] != packets.Connect<<4 {
		return false, errNotConnect
	}
	length := 0
	for i, digit := range b[1:] {
		length |= int(digit&0x7f) << (7 * i)
		if length > maxConnect {
			return false, errConnectBig
		}
		if digit&0x80 == 0 {
			return true, nil
		}
		if i == 3 { // a length has four digits at most
			return false, errConnectBig
		}
	}
	return false, nil
}

// Read hands on what was read ahead, then handles what is held, then reads. mochi closes the connection at a packet over the bound
// without a word (P18): it is noticed here, before mochi sees it, so that MQTT 5 is told why.
func (c *conn) Read(p []byte) (n int, err error) {
	if len(c.ahead) == 0 {
		for n, err = c.fill(p); n > 0 && c.delivered(p[:n]); n, err = c.fill(p) {
		}
		if err != nil && n == 0 {
			return 0, err
		}
	}
	if n == 0 {
		n = copy(p, c.ahead)
		c.ahead = c.ahead[n:]
	}
	if head, over := c.frames.feed(p[:n]); over {
		c.farewell.Store(uint32(packets.ErrPacketTooLarge.Code))
		if c.broker != nil {
			c.broker.oversize(c.session, head)
		}
	}
	return n, err
}

// fill reads from the connection, into p or ahead of it: n is what is in p. A connection that sends more than mochi asks for gets
// room of its own until it sends less again.
func (c *conn) fill(p []byte) (n int, err error) {
	c.ahead = nil
	if c.broker == nil {
		return c.Conn.Read(p)
	}
	if err := c.broker.settle(c.session); err != nil {
		return 0, err
	}
	if !c.busy {
		c.leaveRoom()
	} else if c.room == nil {
		c.room = c.broker.room.get()
	}
	if c.room == nil || len(p) >= readAhead {
		n, err = c.Conn.Read(p)
		c.busy = n == len(p)
		return n, err
	}
	got, err := c.Conn.Read(c.room[:])
	c.busy = got >= headSize
	n = copy(p, c.room[:got])
	if c.ahead = c.room[n:got]; n > 0 {
		err = nil // it comes again when all is handed on
	}
	return n, err
}

// delivered takes a PUBACK that came alone, as most do, and says so. mochi would copy it from function to function, and a change for a
// whole fleet brings one from each device.
func (c *conn) delivered(p []byte) bool {
	const length, head = 4, packets.Puback << 4
	if len(p) != length || p[0] != head || p[1] != length-2 || len(c.ahead) > 0 || !c.frames.between() || c.session == nil || !c.session.connected {
		return false
	}
	c.broker.puback(c.session, binary.BigEndian.Uint16(p[2:]), packets.CodeSuccess.Code)
	if !c.quiet.IsZero() { // as mochi does before each packet; an error means that the connection is closed
		_ = c.SetDeadline(time.Now().Add(c.patience))
	}
	return true
}

// leaveRoom gives back the room for reading ahead.
func (c *conn) leaveRoom() {
	if c.room != nil {
		c.broker.room.put(c.room)
		c.room, c.ahead = nil, nil
	}
}

// framer follows the fixed headers in a stream of packets.
type framer struct {
	most   int32 // bytes of a packet, as mochi counts them: one of the head and those behind the length
	rest   int32 // bytes of the current packet that are still to come
	length int32 // what has been read of its length
	digits uint8 // how many digits of it; 0 before the first
	head   byte  // its first byte
	begun  bool  // head was read and the length is not complete
}

// between says that the next byte begins a packet.
func (f *framer) between() bool { return f.rest == 0 && !f.begun }

// feed takes the next bytes. It says when a packet begins that is over the bound or whose length is none; nothing behind that is
// understood.
func (f *framer) feed(p []byte) (head byte, over bool) {
	for len(p) > 0 {
		switch {
		case f.rest > 0:
			n := min(f.rest, int32(min(len(p), math.MaxInt32)))
			f.rest -= n
			p = p[n:]
			continue
		case !f.begun:
			f.head, f.begun, f.length, f.digits = p[0], true, 0, 0
		default:
			f.length |= int32(p[0]&0x7f) << (7 * f.digits)
			f.digits++
			if f.length+1 > f.most || f.digits == 4 && p[0]&0x80 != 0 {
				return f.head, true
			}
			if p[0]&0x80 == 0 {
				f.rest, f.begun = f.length, false
			}
		}
		p = p[1:]
	}
	return 0, false
}

// processStart has a monotonic time, which clocks that are set do not change.
var processStart = time.Now()

// Write writes all of p in time or closes the connection. The deadline is set half as far again ahead, so that several writes have
// one: to set it is a tenth of a short write.
func (c *conn) Write(p []byte) (int, error) {
	if now := time.Since(processStart); int64(now) >= c.writable.Load() {
		spare := c.writeTimeout / 2
		if err := c.Conn.SetWriteDeadline(processStart.Add(now + c.writeTimeout + spare)); err != nil {
			return 0, err
		}
		c.writable.Store(int64(now + spare))
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Close()
	}
	return n, err
}

// SetDeadline is what mochi calls for the keep-alive, before each packet. It bounds reading only: a handler may be slower than the
// keep-alive, and its PUBACK is to be written all the same (P21). The deadline is set an eighth later than asked for, so that
// a connection that sends much does not have it set for each packet.
func (c *conn) SetDeadline(t time.Time) (err error) {
	if t.IsZero() || t.After(c.quiet) {
		if c.quiet = t; !t.IsZero() {
			c.patience = time.Until(t)
			c.quiet = t.Add(c.patience / 8)
		}
		err = c.SetReadDeadline(c.quiet)
	}
	if c.draining.Load() {
		err = c.SetReadDeadline(longAgo())
	}
	return err
}

// drain ends the connection when its goroutine wants to read the next packet.
func (c *conn) drain() {
	c.farewell.Store(uint32(packets.ErrServerShuttingDown.Code))
	c.draining.Store(true)
	// An error means that the connection is closed already.
	_ = c.SetReadDeadline(longAgo())
}

// takeOver closes the connection at once because its device has logged in on another.
func (c *conn) takeOver() {
	c.farewell.Store(uint32(packets.ErrSessionTakenOver.Code))
	c.Close()
}

// revoke closes the connection because its device may not be here any more.
func (c *conn) revoke() {
	c.farewell.Store(uint32(packets.ErrNotAuthorized.Code))
	c.Close()
}

// Close closes the connection, once. MQTT 5 is told the reason if there is one; older versions know no DISCONNECT from
// the server (P23).
func (c *conn) Close() error {
	err := error(net.ErrClosed)
	c.closeOnce.Do(func() {
		c.closed.Store(true)
		if reason := byte(c.farewell.Load()); reason != 0 && c.tellsWhy.Load() {
			// The deadline also ends a write that is stuck, so that this one cannot wait behind it (P8). Whether the
			// farewell arrives does not matter.
			_ = c.SetWriteDeadline(time.Now().Add(farewellTimeout))
			_, _ = c.Conn.Write([]byte{packets.Disconnect << 4, 2, reason, 0})
		}
		err = c.Conn.Close()
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// longAgo is a deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }
