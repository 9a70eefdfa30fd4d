package broker

import "sync/atomic"

// counters are what Stats reads. They only grow.
type counters struct {
	accepted, refusedFull, crowded, evicted, oversize, acceptErrors, noConnect, panics, takeovers atomic.Uint64

	logins        [loginResults]atomic.Uint64
	refusedLogged atomic.Int64 // when a refused login was last logged, in Unix nanoseconds

	received, forbidden, invalid, failed atomic.Uint64
	sent, acked, held, replaced          atomic.Uint64
}

// refused is the number of refused logins.
func (c *counters) refused() (n uint64) {
	for r := loginAccepted + 1; r < loginCertificate; r++ {
		n += c.logins[r].Load()
	}
	return n
}

// Stats are the numbers of a broker. Connections and Sessions are of now, the others count from the start.
type Stats struct {
	Connections int // open, logged in or not
	HalfOpen    int // of those, without a CONNECT so far
	Sessions    int // devices that are logged in

	Accepted     uint64 // connections taken in
	RefusedFull  uint64 // connections beyond MaxConnections, and over WebSocket beyond the other bounds too
	Crowded      uint64 // waits of a connection because of MaxHalfOpen
	Evicted      uint64 // half-open connections that had to make room for others
	AcceptErrors uint64
	NoConnect    uint64 // connections that ended before a CONNECT of bearable size
	Panics       uint64 // connections ended by a panic
	Takeovers    uint64 // logins of a device that was logged in

	Logins Logins

	Received  uint64 // messages on topics that their device may write
	Forbidden uint64 // messages on other topics, at a QoS that is not offered included
	Oversize  uint64 // packets over MaxPacket of devices that are logged in
	Invalid   uint64 // messages that the handler refused for good
	Failed    uint64 // messages that the handler could not take now

	Sent     uint64 // payloads written to devices
	Acked    uint64 // of those at QoS 1, acknowledged
	Held     uint64 // payloads that waited for the PUBACK of an earlier one
	Replaced uint64 // of those, replaced by a newer one before they were written
}

// Logins counts CONNECT packets by what came of them.
type Logins struct {
	Accepted, AcceptedByCertificate                                                uint64
	Malformed, NoPassword, UnknownDevice, WrongPassword, Expired, WrongCertificate uint64
	// Throttled were refused unseen because of earlier failures.
	Throttled uint64
}

// Stats reads the numbers.
func (b *Broker) Stats() Stats {
	c := &b.counters
	conns, halfOpen, sessions := b.table.len()
	return Stats{
		Connections:  conns,
		HalfOpen:     halfOpen,
		Sessions:     sessions,
		Accepted:     c.accepted.Load(),
		RefusedFull:  c.refusedFull.Load(),
		Crowded:      c.crowded.Load(),
		Evicted:      c.evicted.Load(),
		AcceptErrors: c.acceptErrors.Load(),
		NoConnect:    c.noConnect.Load(),
		Panics:       c.panics.Load(),
		Takeovers:    c.takeovers.Load(),
		Logins: Logins{
			Accepted:              c.logins[loginAccepted].Load(),
			Malformed:             c.logins[loginMalformed].Load(),
			NoPassword:            c.logins[loginNoPassword].Load(),
			UnknownDevice:         c.logins[loginUnknownDevice].Load(),
			WrongPassword:         c.logins[loginWrongPassword].Load(),
			Expired:               c.logins[loginExpired].Load(),
			AcceptedByCertificate: c.logins[loginCertificate].Load(),
			WrongCertificate:      c.logins[loginWrongCertificate].Load(),
			Throttled:             c.logins[loginThrottled].Load(),
		},
		Received:  c.received.Load(),
		Forbidden: c.forbidden.Load(),
		Oversize:  c.oversize.Load(),
		Invalid:   c.invalid.Load(),
		Failed:    c.failed.Load(),
		Sent:      c.sent.Load(),
		Acked:     c.acked.Load(),
		Held:      c.held.Load(),
		Replaced:  c.replaced.Load(),
	}
}
