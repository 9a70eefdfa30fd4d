package broker

import (
	"net"
	"syscall"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A session without an MQTT keep-alive has TCP's probes, or a peer that is gone would stay for ever; the others need none.
func TestProbesWithoutKeepalive(t *testing.T) {
	for keepalive, want := range map[uint16]int{0: 1, 60: 0} {
		r := newRecorder()
		b := start(t, Config{}, r)
		loggedIn(t, b, dev1, 4, func(pk *packets.Packet) { pk.Connect.Keepalive = keepalive })
		s := receive(t, "session", r.connected).(*session)
		raw, err := s.conn.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if failed := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) }); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		if got != want {
			t.Errorf("keep-alive of %d s: SO_KEEPALIVE is %d, want %d", keepalive, got, want)
		}
	}
}
