package bridge

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// recentAge is how long after a report its redelivery is recognized. Devices redeliver when they reconnect or after
	// a time-out, within minutes.
	recentAge = 10 * time.Minute
	// recentEntries bounds the memory to some 12 MB. At 25 000 reports a second that is the last 5 seconds of a fleet.
	recentEntries = 1 << 17
)

// recent remembers the reports that were appended, to recognize redeliveries.
//
// A device that did not get the PUBACK sends its message again, with the DUP flag and the same payload. If that payload was
// appended a short time ago, the redelivery is of what is stored already. The flag is needed: without it the same text is a
// new message, which a device may well have ("heartbeat"). With it, a message may still be taken for an earlier one with the
// same text when its own first delivery was lost, which MQTT over TCP makes rare and which costs a line that is there
// in the same words.
//
// This lives in the memory of one process: after a restart, or on another node, a redelivery is stored once more. So is
// one whose first Append had an unknown outcome. Both are settled in the sink's window of replay keys, which is durable and
// sees messages in stream order, once it takes MQTT messages in.
type recent struct {
	mu   sync.Mutex // guards the rest
	at   map[digest]time.Time
	ring []digest // the keys in the order of their coming, from next on the oldest
	next int
}

// digest stands for a device and a payload.
type digest [16]byte

func newRecent(entries int) *recent {
	return &recent{at: map[digest]time.Time{}, ring: make([]digest, 0, entries)}
}

func recentKey(id logbridge.DeviceID, payload []byte) digest {
	h := sha256.New()
	h.Write([]byte(id.Product + "/" + id.Device + "\n"))
	h.Write(payload)
	var sum [sha256.Size]byte
	return digest(h.Sum(sum[:0])[:16])
}

// has reports whether the payload was appended within recentAge before now.
func (r *recent) has(key digest, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.at[key]
	return ok && now.Sub(at) < recentAge
}

// add remembers a payload, in place of the oldest if there are too many.
func (r *recent) add(key digest, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.at[key]
	r.at[key] = now
	if known {
		return // it keeps its place
	}
	if len(r.ring) < cap(r.ring) {
		r.ring = append(r.ring, key)
		return
	}
	delete(r.at, r.ring[r.next])
	r.ring[r.next] = key
	r.next = (r.next + 1) % len(r.ring)
}
