// Package attempts bounds how often a login may fail: by the device that is named, by the address that it comes from, and by
// the two together. It is one for all ways in, MQTT and HTTP alike.
//
// Only failures count. A whole fleet behind one address may log in at once, as often as it likes; and whoever has not failed is
// always heard, so that neither a stranger who guesses at a device's key nor a fleet with wrong keys in the same building
// keeps the right device out. Who has failed is heard again when his own allowance has filled up, and sooner only as
// long as neither his address nor his device has failed too often elsewhere.
//
// Memory is bounded: Limiter holds no more than a fixed number of allowances, of 32 bytes each. When it is full, those that
// have filled up are forgotten, and then any. Names are held as hashes under a key of the process.
package attempts

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// allowance is how many failures are let through at once, and how long one takes to be forgiven.
type allowance struct {
	burst float64
	every time.Duration
}

// The allowances. Keys have 128 bits, so none of them is about guessing one right: they bound what guessing costs.
var (
	// ofPair: a device with a wrong key that reconnects every few seconds is always answered.
	ofPair = allowance{burst: 60, every: time.Second}
	// ofAddress: a fleet with wrong keys behind one address.
	ofAddress = allowance{burst: 2000, every: 50 * time.Millisecond}
	// ofDevice: many addresses that try one device.
	ofDevice = allowance{burst: 300, every: time.Second}
)

// maxEntries bounds the memory to some 10 MB.
const maxEntries = 1 << 17

// Limiter is the memory of failures. Its methods may be called concurrently.
type Limiter struct {
	seed maphash.Seed
	now  func() time.Time

	mu      sync.Mutex // guards all below
	entries map[uint64]entry
}

// entry is an allowance that is not full: how much of it was left at a time.
type entry struct {
	left float64
	at   int64 // in Unix nanoseconds
}

// New makes a Limiter.
func New() *Limiter {
	return &Limiter{seed: maphash.MakeSeed(), now: time.Now, entries: map[uint64]entry{}}
}

// Allowed says whether a login of this device from this address is to be looked at. Without it, a login is to be refused as if
// it were wrong, whether it is or not.
func (l *Limiter) Allowed(from netip.Addr, id logbridge.DeviceID) bool {
	address, device, pair := l.keys(from, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return true
	}
	now := l.now().UnixNano()
	own := l.left(pair, ofPair, now)
	if own >= ofPair.burst {
		return true // it has not failed, or long ago
	}
	return own >= 1 && l.left(address, ofAddress, now) >= 1 && l.left(device, ofDevice, now) >= 1
}

// Failed takes note of a login that was wrong. known says that there is such a device: of names that nobody has only the
// address is remembered, so that they fill no memory.
func (l *Limiter) Failed(from netip.Addr, id logbridge.DeviceID, known bool) {
	address, device, pair := l.keys(from, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().UnixNano()
	l.take(address, ofAddress, now)
	if known {
		l.take(device, ofDevice, now)
		l.take(pair, ofPair, now)
	}
}

// Len is how many allowances are remembered.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// keys names the three allowances. An IPv6 address counts as its /64, which one customer has.
func (l *Limiter) keys(from netip.Addr, id logbridge.DeviceID) (address, device, pair uint64) {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		if prefix, err := from.Prefix(64); err == nil {
			from = prefix.Addr()
		}
	}
	return maphash.Comparable(l.seed, from), maphash.Comparable(l.seed, id),
		maphash.Comparable(l.seed, struct {
			netip.Addr
			logbridge.DeviceID
		}{from, id})
}

// left is what there is of an allowance now. A clock that was set back forgives nothing.
func (l *Limiter) left(key uint64, a allowance, now int64) float64 {
	e, ok := l.entries[key]
	if !ok {
		return a.burst
	}
	return min(a.burst, e.left+float64(max(0, now-e.at))/float64(a.every))
}

func (l *Limiter) take(key uint64, a allowance, now int64) {
	left := max(0, l.left(key, a, now)-1)
	if _, ok := l.entries[key]; !ok && len(l.entries) >= maxEntries {
		l.forget(now)
	}
	l.entries[key] = entry{left: left, at: now}
}

// forget makes room: every entry is full after the longest time that one takes, and else one of eight goes.
func (l *Limiter) forget(now int64) {
	long := int64(max(full(ofPair), full(ofAddress), full(ofDevice)))
	kept := 0
	for key, e := range l.entries {
		if now-e.at >= long || kept%8 == 7 {
			delete(l.entries, key)
		}
		kept++
	}
}

// full is how long an allowance that is used up takes to fill.
func full(a allowance) time.Duration { return time.Duration(a.burst) * a.every }
