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
		for due := l.due.pop(now, expiryBatch); len(due) > 0 && ctx.Err() == nil; due = l.due.pop(now, expiryBatch) {
			l.expire(ctx, due)
		}
		for due := l.wideDue.pop(now, 1); len(due) > 0 && ctx.Err() == nil; due = l.wideDue.pop(now, 1) {
			l.expireWide(ctx, due[0])
		}
		next := now.Add(lookAgain)
		for _, first := range []func() (time.Time, bool){l.due.next, l.wideDue.next} {
			if t, any := first(); any && t.Before(next) {
				next = t
			}
		}
		alarm, stop := l.clock.at(next)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-l.due.poke:
		case <-l.wideDue.poke:
		case <-alarm:
		}
		stop()
	}
}

// expire deletes the rules that are due, each only if it is still the one that was planned for: on a cluster every node
// tries, and one succeeds.
func (l *Levels) expire(ctx context.Context, due []deadline[scope]) {
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
			if err != nil && ctx.Err() == nil {
				l.log.Error("level rule cannot be ended in the store, will try again", "device", d.id.String(), "error", err)
			}
			if !done { // or another node was faster, or is about to be: the next look finds the rule gone, or ends it
				l.due.retry(d, l.clock.now().Add(retryAfter))
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			records = append(records, l.expiryRecords(d.id, r)...)
			return nil
		})
	}
	g.Wait()
	l.appendAudit(ctx, records)
}

// expireWide is expire for a rule for many devices.
func (l *Levels) expireWide(ctx context.Context, d deadline[string]) {
	r, revision := l.wides.Get(d.id)
	if r == nil || revision != d.revision {
		return
	}
	parts, before := l.survey(r, nil, r.Expires.Add(-1)) // as it was until then
	done, err := l.wides.DeleteIf(ctx, d.id, d.revision)
	if err != nil && ctx.Err() == nil {
		l.log.Error("level rule cannot be ended in the store, will try again", "rule", d.id, "error", err)
	}
	if !done {
		l.wideDue.retry(d, l.clock.now().Add(retryAfter))
		return
	}
	l.recordRule(ctx, ruleEvent{action: actionExpire, rule: r, by: expiryActor, reason: "expired", before: before, parts: parts})
}

// deadline is the planned end of a rule: a device's, by its name, or one for many, by its id.
type deadline[K comparable] struct {
	id       K
	at       time.Time
	revision uint64
	index    int // in the heap
}

// schedule is a heap of deadlines, at most one for each name.
type schedule[K comparable] struct {
	mu   *sync.Mutex
	heap deadlines[K]
	byID map[K]*deadline[K]
	// poke wakes runExpiry when the first deadline has changed.
	poke chan struct{}
}

func newSchedule[K comparable]() schedule[K] {
	return schedule[K]{mu: new(sync.Mutex), byID: map[K]*deadline[K]{}, poke: make(chan struct{}, 1)}
}

// plan sets the deadline of a rule, in place of a former one.
func (s *schedule[K]) plan(id K, at time.Time, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(deadline[K]{id: id, at: at, revision: revision})
}

func (s *schedule[K]) put(d deadline[K]) {
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

// retry plans d again for later, unless the rule has another deadline by now.
func (s *schedule[K]) retry(d deadline[K], at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[d.id]; !ok {
		s.put(deadline[K]{id: d.id, at: at, revision: d.revision})
	}
}

func (s *schedule[K]) cancel(id K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.byID[id]; ok {
		heap.Remove(&s.heap, d.index)
		delete(s.byID, id)
	}
}

// next is when the first deadline comes.
func (s *schedule[K]) next() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return time.Time{}, false
	}
	return s.heap[0].at, true
}

// pop takes at most n deadlines that have come.
func (s *schedule[K]) pop(now time.Time, n int) []deadline[K] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []deadline[K]
	for len(due) < n && len(s.heap) > 0 && !s.heap[0].at.After(now) {
		d := heap.Pop(&s.heap).(*deadline[K])
		delete(s.byID, d.id)
		due = append(due, *d)
	}
	return due
}

// deadlines is a container/heap by time.
type deadlines[K comparable] []*deadline[K]

func (h deadlines[K]) Len() int           { return len(h) }
func (h deadlines[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h deadlines[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *deadlines[K]) Push(x any) {
	d := x.(*deadline[K])
	d.index = len(*h)
	*h = append(*h, d)
}

// Pop is for container/heap.
func (h *deadlines[K]) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
