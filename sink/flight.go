package sink

import (
	"sync/atomic"
	"time"
)

// flight is the time that publishes take: one is under way at a time. While a cluster elects a leader it waits for that.
type flight struct {
	since   atomic.Pointer[time.Time] // when the one that is under way began
	longest atomic.Int64              // ns
}

func (f *flight) begin() {
	now := time.Now()
	f.since.Store(&now)
}

// end gives how long it took.
func (f *flight) end() time.Duration {
	took := f.waiting()
	f.longest.Store(max(f.longest.Load(), int64(took)))
	f.since.Store(nil)
	return took
}

// waiting is how long the one that is under way has been.
func (f *flight) waiting() time.Duration {
	if since := f.since.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

// worst is the longest since the start, the one that is under way included.
func (f *flight) worst() time.Duration { return max(time.Duration(f.longest.Load()), f.waiting()) }
