package sink

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"
)

const (
	// windowAge is how old a delivery may be that a redelivered message or a repeated line repeats: devices send again when
	// they reconnect, within minutes, and later the same text is rather new.
	windowAge = 10 * time.Minute

	// windowEntries bounds what each window remembers, about 24 MB; the oldest go first and are counted. A power of two.
	windowEntries = 1 << 20

	// leastEntries is what a window begins with; it doubles as it fills.
	leastEntries = 1 << 10
)

// hash names an upload or a line. 96 bits of SHA-256: a line that is new is taken for one of a million others once in
// 2^76 lines, and nobody can make two alike.
type hash struct {
	high uint64
	low  uint32
}

func hashOf(b []byte) hash {
	sum := sha256.Sum256(b)
	return hash{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint32(sum[8:])}
}

// windowEntry is 16 bytes without a pointer, so that the garbage collector has nothing to look through.
type windowEntry struct {
	high    uint64
	low, at uint32 // at: seconds since 1970
}

func (e windowEntry) hash() hash { return hash{e.high, e.low} }

// window remembers hashes with their times, in the order in which they came: a ring of entries, and an open-addressing
// table that finds them. Its clock is the time of receipt that uploads carry, never the wall clock of whoever indexes, so
// that every run over the same groups decides alike.
type window struct {
	age   int64 // in seconds; entries older than this are forgotten. 0: only the bound forgets
	bound int
	ring  []windowEntry // a power of two long
	table []uint32      // index in ring + 1, or 0; twice as long as ring
	// Entries are numbered from 0 on and never again; those from tail up to next are remembered.
	tail, next uint64
	overflow   atomic.Uint64 // entries forgotten before their time
}

func newWindow(age time.Duration, bound int) *window {
	return &window{age: int64(age / time.Second), bound: bound}
}

// seconds is a time of receipt as a window keeps it.
func seconds(ns int64) int64 { return min(max(ns/int64(time.Second), 0), math.MaxUint32) }

// find gives the number of the newest entry with this hash, if it is remembered and not too old at now.
func (w *window) find(h hash, now int64) (number uint64, ok bool) {
	if len(w.ring) == 0 {
		return 0, false
	}
	slot := w.table[w.lookup(h)]
	if slot == 0 {
		return 0, false
	}
	e := w.ring[slot-1]
	mask := uint64(len(w.ring) - 1)
	return w.tail + (uint64(slot-1)-w.tail)&mask, w.age == 0 || now-int64(e.at) < w.age
}

// lookup gives the place in the table where h is, or where it would go.
func (w *window) lookup(h hash) uint64 {
	mask := uint64(len(w.table) - 1)
	i := h.high & mask
	for {
		slot := w.table[i]
		if slot == 0 || w.ring[slot-1].hash() == h {
			return i
		}
		i = (i + 1) & mask
	}
}

// put remembers a hash, anew if it was there. It forgets at most two that are too old, so that their number shrinks.
func (w *window) put(h hash, now int64) {
	for range 2 {
		if w.age == 0 || w.tail == w.next || now-int64(w.oldest().at) < w.age {
			break
		}
		w.drop()
	}
	if int(w.next-w.tail) == w.bound {
		if w.age == 0 || now-int64(w.oldest().at) < w.age {
			w.overflow.Add(1)
		}
		w.drop()
	}
	w.push(windowEntry{h.high, h.low, uint32(now)})
}

func (w *window) oldest() windowEntry { return w.ring[w.tail&uint64(len(w.ring)-1)] }

// push adds an entry; there is room below the bound.
func (w *window) push(e windowEntry) {
	if int(w.next-w.tail) == len(w.ring) {
		w.grow()
	}
	i := w.next & uint64(len(w.ring)-1)
	w.ring[i] = e
	w.table[w.lookup(e.hash())] = uint32(i) + 1
	w.next++
}

func (w *window) grow() {
	old := w.ring
	size := max(2*len(old), leastEntries)
	w.ring, w.table = make([]windowEntry, size), make([]uint32, 2*size)
	for n := w.tail; n < w.next; n++ {
		i := n & uint64(size-1)
		w.ring[i] = old[n&uint64(len(old)-1)]
		w.table[w.lookup(w.ring[i].hash())] = uint32(i) + 1
	}
}

// drop forgets the oldest entry.
func (w *window) drop() {
	i := w.tail & uint64(len(w.ring)-1)
	at := w.lookup(w.ring[i].hash())
	if w.table[at] == uint32(i)+1 { // else the hash came again
		w.free(at)
	}
	w.tail++
}

// free empties a place in the table and moves up what stands behind it and would not be found any more.
func (w *window) free(hole uint64) {
	mask := uint64(len(w.table) - 1)
	w.table[hole] = 0
	for i := (hole + 1) & mask; w.table[i] != 0; i = (i + 1) & mask {
		home := w.ring[w.table[i]-1].high & mask
		if (i-home)&mask >= (i-hole)&mask {
			w.table[hole], w.table[i] = w.table[i], 0
			hole = i
		}
	}
}

// entries gives the entries from a number on, oldest first, as the two parts of the ring.
func (w *window) entries(from uint64) (a, b []windowEntry) {
	if from >= w.next {
		return nil, nil
	}
	mask := uint64(len(w.ring) - 1)
	i, j := from&mask, w.next&mask
	if i < j {
		return w.ring[i:j], nil
	}
	return w.ring[i:], w.ring[:j]
}
