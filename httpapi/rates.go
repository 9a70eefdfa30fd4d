package httpapi

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// rateBurst is for how long a rate may be spent at once: the browser SDKs gather events for ten seconds (web-tracking.md 2.3, 5.2).
const rateBurst = 10 * time.Second

// maxRates bounds the memory of rates to some 10 MB.
const maxRates = 1 << 17

// rate is so many events and bytes a second; 0 or less is no bound.
type rate struct{ events, bytes int64 }

func (r rate) none() bool { return r.events <= 0 && r.bytes <= 0 }

// rates keeps what writers may still write: each address to each store, and all addresses together. What is kept is in the memory
// of one node, and a new process begins with full allowances.
type rates struct {
	seed maphash.Seed
	now  func() time.Time

	mu   sync.Mutex // guards left
	left map[uint64]allowance
}

// allowance is what there was left at a time; it may be a debt.
type allowance struct {
	events, bytes float64
	at            int64 // Unix nanoseconds
}

func newRates() *rates {
	return &rates{seed: maphash.MakeSeed(), now: time.Now, left: map[uint64]allowance{}}
}

// spender is who writes to a store, and how fast it and all together may.
type spender struct {
	stream  logbridge.Stream
	address netip.Addr
	own     rate
	all     rate
}

// spend takes what a request costs, of both or of neither; false is more than there is. A request that is larger than a full
// allowance passes when that is full, and leaves a debt: none is too large for ever.
func (r *rates) spend(s *spender, events, bytes int) bool { return r.ask(s, events, bytes, true) }

// has says whether there is anything left at all, before a body is read.
func (r *rates) has(s *spender) bool { return r.ask(s, 1, 1, false) }

func (r *rates) ask(s *spender, events, bytes int, take bool) bool {
	if s.own.none() && s.all.none() {
		return true
	}
	own, all := r.keys(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now().UnixNano()
	a, b := r.of(own, s.own, now), r.of(all, s.all, now)
	if !a.covers(s.own, events, bytes) || !b.covers(s.all, events, bytes) {
		return false
	}
	if take {
		r.put(own, s.own, a, events, bytes)
		r.put(all, s.all, b, events, bytes)
	}
	return true
}

// keys names the two allowances. An IPv6 address counts as its /64, which one customer has.
func (r *rates) keys(s *spender) (own, all uint64) {
	type key struct {
		logbridge.Stream
		netip.Addr
	}
	from := s.address
	if from.Is6() {
		if prefix, err := from.Prefix(64); err == nil {
			from = prefix.Addr()
		}
	}
	return maphash.Comparable(r.seed, key{s.stream, from}), maphash.Comparable(r.seed, key{s.stream, netip.Addr{}})
}

// of is an allowance now. A clock that was set back adds nothing.
func (r *rates) of(key uint64, limit rate, now int64) allowance {
	full := allowance{limit.full(limit.events), limit.full(limit.bytes), now}
	a, ok := r.left[key]
	if !ok {
		return full
	}
	passed := float64(max(0, now-a.at)) / float64(time.Second)
	return allowance{min(full.events, a.events+passed*float64(limit.events)), min(full.bytes, a.bytes+passed*float64(limit.bytes)), now}
}

// full is what a rate comes to in a burst.
func (rate) full(a int64) float64 { return float64(max(a, 0)) * rateBurst.Seconds() }

func (a allowance) covers(limit rate, events, bytes int) bool {
	return (limit.events <= 0 || a.events >= min(float64(events), limit.full(limit.events))) &&
		(limit.bytes <= 0 || a.bytes >= min(float64(bytes), limit.full(limit.bytes)))
}

func (r *rates) put(key uint64, limit rate, a allowance, events, bytes int) {
	if limit.none() {
		return
	}
	if _, ok := r.left[key]; !ok && len(r.left) >= maxRates {
		r.forget(a.at)
	}
	r.left[key] = allowance{a.events - float64(events), a.bytes - float64(bytes), a.at}
}

// forget makes room: what has not been used for two bursts is full, or nearly, and else one of eight goes.
func (r *rates) forget(now int64) {
	kept := 0
	for key, a := range r.left {
		if now-a.at >= int64(2*rateBurst) || kept%8 == 7 {
			delete(r.left, key)
		}
		kept++
	}
}
