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
	table []cell        // twice as long as ring
	// Entries are numbered from 0 on and never again; those from tail up to next are remembered.
	tail, next uint64
	overflow   atomic.Uint64 // entries forgotten before their time
	touched    cell          // means nothing; it keeps the loads of touch
}

// cell is a place in the table: 21 bits of index in the ring + 1, 0 when it is free; 5 bits of its distance from where its
// hash belongs; 6 bits of the hash. The latter two save looks into the ring, each of which would miss the caches.
type cell uint32

const (
	indexBits, distanceBits = 21, 5
	indexMask               = 1<<indexBits - 1
	farthest                = 1<<distanceBits - 1 // this far, or farther
	tagShift                = indexBits + distanceBits
)

// makeCell is a cell for the ring's index, without its distance.
func makeCell(index uint64, h hash) cell { return cell(index+1) | cell(h.low)<<tagShift }

func (c cell) index() uint64    { return uint64(c&indexMask) - 1 }
func (c cell) distance() uint64 { return uint64(c >> indexBits & farthest) }

// at is the cell at this distance.
func (c cell) at(distance uint64) cell {
	return c&^(farthest<<indexBits) | cell(min(distance, farthest))<<indexBits
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
	c := w.table[w.lookup(h)]
	if c == 0 {
		return 0, false
	}
	mask := uint64(len(w.ring) - 1)
	return w.tail + (c.index()-w.tail)&mask, w.age == 0 || now-int64(w.ring[c.index()].at) < w.age
}

// touch loads what the next puts of these hashes will look at: places far apart, which the processor fetches side by side
// here and one after the other later.
func (w *window) touch(hashes []hash) {
	if len(w.table) == 0 {
		return
	}
	mask := uint64(len(w.table) - 1)
	for i, h := range hashes {
		oldest := w.ring[(w.tail+uint64(i))&uint64(len(w.ring)-1)]
		w.touched ^= w.table[h.high&mask] ^ w.table[oldest.high&mask]
	}
}

// lookup gives the place in the table where h is, or where it would go.
func (w *window) lookup(h hash) uint64 {
	mask, tag := uint64(len(w.table)-1), cell(h.low)<<tagShift
	i := h.high & mask
	for {
		c := w.table[i]
		if c == 0 || c&^(1<<tagShift-1) == tag && w.ring[c.index()].hash() == h {
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
	w.point(e.hash(), i)
	w.next++
}

// point lets the table find an entry of the ring by its hash.
func (w *window) point(h hash, index uint64) {
	at := w.lookup(h)
	w.table[at] = makeCell(index, h).at((at - h.high) & uint64(len(w.table)-1))
}

func (w *window) grow() {
	old := w.ring
	size := max(2*len(old), leastEntries)
	w.ring, w.table = make([]windowEntry, size), make([]cell, 2*size)
	for n := w.tail; n < w.next; n++ {
		i := n & uint64(size-1)
		w.ring[i] = old[n&uint64(len(old)-1)]
		w.point(w.ring[i].hash(), i)
	}
}

// drop forgets the oldest entry.
func (w *window) drop() {
	index, mask := w.tail&uint64(len(w.ring)-1), uint64(len(w.table)-1)
	for at := w.ring[index].high & mask; w.table[at] != 0; at = (at + 1) & mask {
		if w.table[at].index() == index { // else the hash came again
			w.free(at)
			break
		}
	}
	w.tail++
}

// free empties a place in the table and moves up what stands behind it and would not be found any more.
func (w *window) free(hole uint64) {
	mask := uint64(len(w.table) - 1)
	w.table[hole] = 0
	for i := (hole + 1) & mask; w.table[i] != 0; i = (i + 1) & mask {
		c := w.table[i]
		distance := c.distance()
		if distance == farthest {
			distance = (i - w.ring[c.index()].high) & mask
		}
		if gap := (i - hole) & mask; distance >= gap {
			w.table[hole], w.table[i] = c.at(distance-gap), 0
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
