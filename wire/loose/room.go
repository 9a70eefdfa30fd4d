package loose

import (
	"math/bits"
	"sync"

	"github.com/logbridge/logbridge"
)

// Room is the memory of the events and records of one request, which the next of about its size uses again: made anew, it is two
// thirds of the garbage that is made of ten events (httpapi's BenchmarkTrack). Texts are not in it. A nil Room is none, and lends nothing.
type Room struct {
	// Events and Fields, those of all events behind each other, are empty slices to append to. What they become is to be put here
	// again.
	Events []Event
	Fields []logbridge.Attr

	records []logbridge.Record
	size    int // in rooms
}

const (
	// smallRoom is how many events the smallest rooms have place for; each size has for twice as many as the one before.
	smallRoom = 8
	// roomFields is for how many fields of an event there is place.
	roomFields = 8
	// roomSizes is how many sizes are kept; what needs more than 512 events is made anew. A request has twice as much as it asked for at
	// most: small requests that wait never hold the memory of large ones.
	roomSizes = 7
)

// rooms are those in which nobody is, by size.
var rooms [roomSizes]sync.Pool

// NewRoom gives room for so many events and fields. More of them make the slices grow.
func NewRoom(events, fields int) *Room {
	need := max(events, (fields+roomFields-1)/roomFields, smallRoom)
	size := bits.Len(uint(need-1)) - bits.Len(smallRoom-1)
	if size >= roomSizes {
		return &Room{Events: make([]Event, 0, events), Fields: make([]logbridge.Attr, 0, fields), size: roomSizes}
	}
	if r, ok := rooms[size].Get().(*Room); ok {
		return r
	}
	n := smallRoom << size
	return &Room{Events: make([]Event, 0, n), Fields: make([]logbridge.Attr, 0, n*roomFields), records: make([]logbridge.Record, 0, n), size: size}
}

// Release gives the room back: neither it nor anything in it may be used any more, records that Records made in it included.
func (r *Room) Release() {
	if r == nil || r.size == roomSizes || max(cap(r.Events), cap(r.records), cap(r.Fields)/roomFields) > smallRoom<<r.size {
		return
	}
	// A room that waits holds no texts, nor the bodies that they are parts of.
	clear(r.Events)
	clear(r.Fields)
	clear(r.records)
	r.Events, r.Fields, r.records = r.Events[:0], r.Fields[:0], r.records[:0]
	rooms[r.size].Put(r)
}

// makeRecords gives n records, zero ones.
func (r *Room) makeRecords(n int) []logbridge.Record {
	if r == nil || n > cap(r.records) {
		return make([]logbridge.Record, n)
	}
	r.records = r.records[:n]
	return r.records[:n:n]
}
