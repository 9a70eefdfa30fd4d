package levels

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
	"golang.org/x/sync/errgroup"
)

const (
	// lookAgain is the longest wait for the next end. A timer counts elapsed time, an end is a time of day: after the
	// clock was set, or the machine slept, the two differ.
	lookAgain = time.Minute
	// retryAfter is the pause after an end that the store refused. Effective does not wait for it.
	retryAfter = 5 * time.Second
	// expiryWorkers end rules at the same time: each waits for the disk, and many may end at once.
	expiryWorkers = 8
	// expiryBatch bounds how many ends share one audit append, in rules, well below the sink's largest commit.
	expiryBatch = 256
)

// runExpiry ends rules when their time has come, until ctx ends.
func (l *Levels) runExpiry(ctx context.Context) {
	for {
		now := l.clock.now()
		for due := l.due.pop(now, expiryBatch); len(due) > 0; due = l.due.pop(now, expiryBatch) {
			l.expire(ctx, due)
			if ctx.Err() != nil {
				return
			}
		}
		next := now.Add(lookAgain)
		if t, any := l.due.next(); any && t.Before(next) {
			next = t
		}
		alarm, stop := l.clock.at(next)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-l.due.poke:
		case <-alarm:
		}
		stop()
	}
}

// expire deletes the rules that are due, each only if it is still the one that was planned for: on a cluster every node
// tries, and one succeeds.
func (l *Levels) expire(ctx context.Context, due []deadline) {
	var mu sync.Mutex
	var records []logbridge.Record
	var g errgroup.Group
	g.SetLimit(expiryWorkers)
	for _, d := range due {
		g.Go(func() error {
			r, revision := l.rules.Get(d.id)
			if r == nil || revision != d.revision {
				return nil
			}
			done, err := l.rules.DeleteIf(ctx, d.id, d.revision)
			if err != nil {
				if ctx.Err() == nil {
					l.log.Error("level rule cannot be ended in the store, will try again", "device", d.id.String(), "error", err)
				}
				l.due.retry(d, l.clock.now().Add(retryAfter))
				return nil
			}
			if done {
				mu.Lock()
				defer mu.Unlock()
				records = append(records, l.expiryRecords(d.id, r)...)
			}
			return nil
		})
	}
	g.Wait()
	l.appendAudit(ctx, records)
}

// deadline is the planned end of a device's rule.
type deadline struct {
	id       logbridge.DeviceID
	at       time.Time
	revision uint64
	index    int // in the heap
}

// schedule is a heap of deadlines, at most one for each device.
type schedule struct {
	mu   *sync.Mutex
	heap deadlines
	byID map[logbridge.DeviceID]*deadline
	// poke wakes runExpiry when the first deadline has changed.
	poke chan struct{}
}

func newSchedule() schedule {
	return schedule{mu: new(sync.Mutex), byID: map[logbridge.DeviceID]*deadline{}, poke: make(chan struct{}, 1)}
}

// plan sets the deadline of a device, in place of a former one.
func (s *schedule) plan(id logbridge.DeviceID, at time.Time, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(deadline{id: id, at: at, revision: revision})
}

func (s *schedule) put(d deadline) {
	if old, ok := s.byID[d.id]; ok {
		old.at, old.revision = d.at, d.revision
		heap.Fix(&s.heap, old.index)
	} else {
		s.byID[d.id] = &d
		heap.Push(&s.heap, &d)
	}
	if s.heap[0].id == d.id {
		poke(s.poke)
	}
}

// retry plans d again for later, unless the device has another deadline by now.
func (s *schedule) retry(d deadline, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[d.id]; !ok {
		s.put(deadline{id: d.id, at: at, revision: d.revision})
	}
}

func (s *schedule) cancel(id logbridge.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.byID[id]; ok {
		heap.Remove(&s.heap, d.index)
		delete(s.byID, id)
	}
}

// next is when the first deadline comes.
func (s *schedule) next() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return time.Time{}, false
	}
	return s.heap[0].at, true
}

// pop takes at most n deadlines that have come.
func (s *schedule) pop(now time.Time, n int) []deadline {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []deadline
	for len(due) < n && len(s.heap) > 0 && !s.heap[0].at.After(now) {
		d := heap.Pop(&s.heap).(*deadline)
		delete(s.byID, d.id)
		due = append(due, *d)
	}
	return due
}

// deadlines is a container/heap by time.
type deadlines []*deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *deadlines) Push(x any) {
	d := x.(*deadline)
	d.index = len(*h)
	*h = append(*h, d)
}

// Pop is for container/heap.
func (h *deadlines) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
