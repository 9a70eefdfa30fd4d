package httpapi

import (
	"context"
	"runtime"
	"time"
)

// Work on lines rests when it has taken shareTime, as long as half of what it took, while records come in: what comes in then
// has more than half of the processors. What has taken long in one
// piece may not have run all that time, so no more than longShare of it counts.
const (
	shareTime = 5 * time.Millisecond
	longShare = 4 * shareTime
)

// linesAtOnce is how many queries of Loki's clients work on lines at a time: half of the processors, so that whatever their
// stages do with the lines, what comes in has the other half. Reading the lines is shared out by the log itself.
func linesAtOnce() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// share is the part of one query, which works on a line between begin and end. Its methods are not for concurrent use.
type share struct {
	ctx   context.Context
	slots chan struct{}
	busy  func() bool // reports whether records come in
	has   bool
	began time.Time
	took  time.Duration // since the last rest
}

// begin waits for its turn; false when ctx is done.
func (h *share) begin() bool {
	if h.ctx.Err() != nil {
		return false
	}
	select {
	case h.slots <- struct{}{}:
		h.has, h.began = true, time.Now()
	case <-h.ctx.Done():
	}
	return h.has
}

// end lets others work, if it has begun, after the rest that may be due.
func (h *share) end() {
	if !h.has {
		return
	}
	if h.took += time.Since(h.began); h.took >= shareTime {
		if h.busy() {
			time.Sleep(min(h.took, longShare) / 2)
		}
		h.took = 0
	}
	h.has = false
	<-h.slots
}

// pause is end and begin: who waits comes first. It is a Pipeline's Pause.
func (h *share) pause() bool {
	h.end()
	return h.begin()
}
