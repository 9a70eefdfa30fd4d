package sink

import (
	"math/bits"
	"sync"
)

// bodies are the buffers that batches are encoded into and that wait for another batch, by size. What waits for its group takes less than
// twice its bytes. Larger ones are left to the garbage collector.
var bodies [bodySizes]sync.Pool

const (
	smallBody = 8 // the smallest buffers have 256 bytes, each size twice as many as the one before
	bodySizes = 9 // the largest that are kept have 64 KiB
)

// takeBody gives an empty buffer for n bytes, n > 0.
func takeBody(n int) *[]byte {
	size := max(bits.Len(uint(n-1))-smallBody, 0)
	if size >= bodySizes {
		b := make([]byte, 0, n)
		return &b
	}
	if b, ok := bodies[size].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, 1<<(smallBody+size))
	return &b
}

// releaseBodies gives the buffers of appends back, which are in their group and on disk.
func releaseBodies(members []*waiting) {
	for _, w := range members {
		room := w.room
		w.body, w.room = nil, nil
		if room == nil {
			continue // a report
		}
		if size := bits.Len(uint(cap(*room)-1)) - smallBody; size >= 0 && size < bodySizes && cap(*room) == 1<<(smallBody+size) {
			bodies[size].Put(room)
		}
	}
}
