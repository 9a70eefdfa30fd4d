package devicesim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Counts are totals since the start of the fleet, Connected apart. Sent, Acknowledged and Refused count lines: what was
// uploaded once or more often, what the server said it has, and what it said it will never take.
type Counts struct {
	Connected    int64 // devices connected now
	Connects     int64 // logins that succeeded
	Asked        int64 // level questions
	Answered     int64 // and their answers
	Pushed       int64 // levels that came without a question
	LinesWritten int64
	Sent         int64
	Acknowledged int64
	Refused      int64
	// Unanswered counts lines of uploads that got no answer, or InternalError: the server may have them or not. They are sent
	// again, so that it has stored at least Acknowledged and at most Acknowledged + Unanswered lines.
	Unanswered int64
	Storms     int64 // that have struck
	Times      int64 // answers to the C SDK's question for the time
	Dropped    int64 // lines given up because a device's buffer was full
	Failed     int64 // connects and uploads that came to nothing and are tried again
	// LastFailure is why the latest of them failed, "" before the first.
	LastFailure string
	// RoundTripP50 and P99 are from level question to answer; zero before the first.
	RoundTripP50, RoundTripP99 time.Duration
}

// stats are the live counters behind Counts.
type stats struct {
	connected, connects, asked, answered, pushed                                 atomic.Int64
	written, sent, acknowledged, refused, dropped, ko, unanswered, storms, times atomic.Int64
	lastFailure                                                                  atomic.Pointer[string]
	roundTrips                                                                   reservoir
}

// failed counts an attempt that came to nothing. One that the fleet itself broke off at its end tells no reason.
func (s *stats) failed(err error) {
	s.ko.Add(1)
	if !errors.Is(err, context.Canceled) {
		why := err.Error()
		s.lastFailure.Store(&why)
	}
}

func (s *stats) counts() Counts {
	c := Counts{
		Connected: s.connected.Load(), Connects: s.connects.Load(),
		Asked: s.asked.Load(), Answered: s.answered.Load(), Pushed: s.pushed.Load(),
		LinesWritten: s.written.Load(), Sent: s.sent.Load(), Acknowledged: s.acknowledged.Load(),
		Refused: s.refused.Load(), Dropped: s.dropped.Load(), Failed: s.ko.Load(),
		Unanswered: s.unanswered.Load(), Storms: s.storms.Load(), Times: s.times.Load(),
	}
	if why := s.lastFailure.Load(); why != nil {
		c.LastFailure = *why
	}
	c.RoundTripP50, c.RoundTripP99 = s.roundTrips.percentiles()
	return c
}

// reservoirSize samples leave p99 an error of a few tenths of a percentile and cost 64 KB.
const reservoirSize = 8192

// reservoir keeps an even sample of all that was added, in bounded memory (Vitter's algorithm R).
type reservoir struct {
	mu     sync.Mutex
	seen   int64
	sample []time.Duration
}

func (r *reservoir) add(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	if len(r.sample) < reservoirSize {
		r.sample = append(r.sample, d)
	} else if i := rand.Int64N(r.seen); i < reservoirSize {
		r.sample[i] = d
	}
}

func (r *reservoir) percentiles() (p50, p99 time.Duration) {
	r.mu.Lock()
	sorted := slices.Clone(r.sample)
	r.mu.Unlock()
	if len(sorted) == 0 {
		return 0, 0
	}
	slices.Sort(sorted)
	return sorted[(len(sorted)-1)/2], sorted[(len(sorted)-1)*99/100]
}
