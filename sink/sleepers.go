package sink

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// sleepers are the tails that wait for new records, by what wakes them: a tail of one stream only a group that holds a record
// of it, a tail of more than one any group that holds a record. So what a group costs the indexer grows with the streams in
// it and with the tails that it wakes, and not with the tails there are.
type sleepers struct {
	there atomic.Int64 // tails, asleep or not

	mu   sync.Mutex // guards all below
	many watch
	one  map[string]*watch // by stream, while a tail asks for it
}

// watch is what wakes some tails.
type watch struct {
	newest uint64 // the newest group that held something for them; 0 is none since the first of them came
	asleep []*sleeper
	tails  int
}

// sleeper is a tail as sleepers know it.
type sleeper struct {
	of     *sleepers
	watch  *watch
	stream string      // "" is more than one
	wake   chan uint64 // the group that wakes it; room for one, since it leaves asleep with that
}

func newSleepers() *sleepers { return &sleepers{one: map[string]*watch{}} }

// join adds a tail of one stream, or of more than one for "", until leave. What is committed before its first look at the
// log need not wake it, and what comes after that does.
func (s *sleepers) join(stream string) *sleeper {
	s.there.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &sleeper{of: s, watch: &s.many, stream: stream, wake: make(chan uint64, 1)}
	if stream != "" {
		if s.one[stream] == nil {
			s.one[stream] = &watch{}
		}
		t.watch = s.one[stream]
	}
	t.watch.tails++
	return t
}

func (t *sleeper) leave() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	if t.watch.tails--; t.watch.tails == 0 && t.stream != "" {
		delete(t.of.one, t.stream)
	}
	t.of.there.Add(-1)
}

// wait returns when there is, or may be, something for a tail that has looked at everything up to group reached. Nothing for
// it lies before group first. It is false when ctx has ended.
func (t *sleeper) wait(ctx context.Context, reached uint64) (first uint64, ok bool) {
	t.of.mu.Lock()
	if t.watch.newest > reached {
		t.of.mu.Unlock()
		return reached + 1, ctx.Err() == nil
	}
	t.watch.asleep = append(t.watch.asleep, t)
	t.of.mu.Unlock()
	select {
	case first = <-t.wake:
		return first, true
	case <-ctx.Done():
		t.of.mu.Lock()
		defer t.of.mu.Unlock()
		t.watch.asleep = slices.DeleteFunc(t.watch.asleep, func(o *sleeper) bool { return o == t })
		return 0, false
	}
}

// committed wakes whom a group concerns. The indexer calls it in the order of groups, when queries see the group.
func (s *sleepers) committed(seq uint64, p *parsed) {
	if s.there.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var last []byte
	for i := range p.rows {
		r := &p.rows[i]
		if !r.kept || bytes.Equal(r.stream, last) {
			continue
		}
		last = r.stream
		s.many.ring(seq)
		if w := s.one[string(r.stream)]; w != nil {
			w.ring(seq)
		}
	}
}

// everyone wakes all, for groups up to seq that did not come one by one.
func (s *sleepers) everyone(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.many.ring(seq)
	for _, w := range s.one {
		w.ring(seq)
	}
}

func (w *watch) ring(seq uint64) {
	w.newest = seq
	for _, t := range w.asleep {
		t.wake <- seq
	}
	clear(w.asleep)
	w.asleep = w.asleep[:0]
}
