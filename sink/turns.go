package sink

import (
	"cmp"
	"context"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// turnTime is how long a goroutine reads while others wait: what somebody who asks for little may have to wait for, and
	// far longer than to change over takes.
	turnTime = 5 * time.Millisecond

	// ingestLately is how long after an append readers leave processors to the next one. Uploaders in a hurry come again
	// within milliseconds; with a few uploads a second most of a search has all processors.
	ingestLately = 50 * time.Millisecond

	// restPart: while ingest goes on, a turn that has lasted is followed by a rest of this part of it, so that ingest has more
	// than half of a machine that has other things to do as well, or only one processor.
	restPart = 2
	longTurn = 4 * turnTime // what counts of it: the rest of the time the thread may not have run

	// elderTurns: one of so many turns is for the oldest query that waits, so that many small ones do not keep it waiting for
	// ever.
	elderTurns = 4
)

// turns shares the processors among the goroutines that read, so that whatever is asked leaves ingest what it needs. While
// something is being appended, at most half of the processors read; else all may. Of those that wait, one whose query has
// worked little comes first: a look at one device waits for the end of a turn, not for the searches of everything that came
// before it.
type turns struct {
	processors int

	appending atomic.Int64 // appends under way
	appended  atomic.Int64 // when the last one ended, ns since begin
	begin     time.Time

	queries atomic.Int64 // so many have been

	mu      sync.Mutex
	running int
	waiting []*waiter
	given   int
}

type waiter struct {
	class int           // of what its query has worked
	query int64         // its number
	ready chan struct{} // closed when it is its turn
}

// before: within a class, which spans a factor of four, the older query comes first, so that of many large ones some end
// soon, and not all of them late.
func (w *waiter) before(o *waiter) bool {
	return cmp.Or(cmp.Compare(w.class, o.class), cmp.Compare(w.query, o.query)) < 0
}

func classOf(spent time.Duration) int { return bits.Len64(uint64(spent/turnTime)) / 2 }

// of gives the turn, not begun yet, of a new query.
func (t *turns) of(cfg *Config) *turn {
	return &turn{of: t, work: &work{number: t.queries.Add(1), maxTime: cfg.QueryTime, maxBytes: cfg.QueryBytes}}
}

func newTurns() *turns {
	t := &turns{processors: runtime.GOMAXPROCS(0), begin: time.Now()}
	t.appended.Store(-int64(ingestLately))
	return t
}

// append says that an append has begun, until the call of what it gives.
func (t *turns) append() (done func()) {
	t.appending.Add(1)
	return func() {
		t.appended.Store(int64(time.Since(t.begin)))
		t.appending.Add(-1)
	}
}

// busy reports whether something is being appended, or was just now.
func (t *turns) busy() bool {
	return t.appending.Load() > 0 || int64(time.Since(t.begin))-t.appended.Load() < int64(ingestLately)
}

// most is how many may read now.
func (t *turns) most() int {
	if t.busy() {
		return max(1, t.processors/2)
	}
	return t.processors
}

// lock waits for a turn of a query.
func (t *turns) lock(ctx context.Context, q *work) error {
	w := &waiter{class: classOf(time.Duration(q.spent.Load())), query: q.number, ready: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.give()
	t.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := slices.Index(t.waiting, w); at >= 0 {
		t.waiting = slices.Delete(t.waiting, at, at+1)
	} else { // it was given just now
		t.running--
		t.give()
	}
	return ctx.Err()
}

// tryLock takes a turn that nobody wants.
func (t *turns) tryLock() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 || t.running >= t.most() {
		return false
	}
	t.running++
	return true
}

func (t *turns) unlock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	t.give()
}

// give gives the turns that there are. It needs the lock.
func (t *turns) give() {
	for len(t.waiting) > 0 && t.running < t.most() {
		at, elder := 0, t.given%elderTurns == 0
		t.given++
		for i, w := range t.waiting {
			if best := t.waiting[at]; elder && w.query < best.query || !elder && w.before(best) {
				at = i
			}
		}
		close(t.waiting[at].ready)
		t.waiting = slices.Delete(t.waiting, at, at+1)
		t.running++
	}
}

// wanted reports whether who has a turn shall give it back, ended says that it has had its time.
func (t *turns) wanted(ended bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ended && len(t.waiting) > 0 || t.running > t.most()
}

// turn is one goroutine's share in the work of a query.
type turn struct {
	of    *turns
	work  *work
	began time.Time
	has   bool
}

// begin waits for the turn, end gives it back.
func (t *turn) begin(ctx context.Context) error {
	if err := t.of.lock(ctx, t.work); err != nil {
		return err
	}
	t.began, t.has = time.Now(), true
	return nil
}

func (t *turn) end() {
	if t.has {
		t.work.spent.Add(int64(time.Since(t.began)))
		t.has = false
		t.of.unlock()
	}
}

// read counts n bytes that were read, is an error when the query must not go on, and lets others have their turn.
func (t *turn) read(ctx context.Context, n int) error {
	t.work.bytes.Add(int64(n))
	now := time.Now()
	took := now.Sub(t.began)
	if err := t.work.check(took); err != nil {
		return err
	}
	ended := took >= turnTime
	if ended {
		t.work.spent.Add(int64(took))
		if t.of.busy() {
			time.Sleep(min(took, longTurn) / restPart)
		}
		t.began = time.Now()
	}
	if t.of.wanted(ended) {
		t.end()
		return t.begin(ctx)
	}
	return nil
}

// share has n pieces of work done by this goroutine, and by more of them while there are processors for which nobody waits.
// Each worker gets a plan of its own, and asks next for piece after piece until there is none for it.
func (p *plan) share(n int, worker func(p *plan, next func() (int, bool)) error) error {
	var taken atomic.Int64
	next := func() (int, bool) {
		i := int(taken.Add(1)) - 1
		return i, i < n
	}
	var g errgroup.Group
	helpers := 0
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		t, ok := p.turn.another()
		if !ok {
			break
		}
		helpers++
		own := *p
		own.turn = t
		g.Go(func() error {
			defer func() { // what was opened with this plan is read by others
				t.leave()
				own.turn = p.turn
			}()
			return worker(&own, func() (int, bool) {
				if t.wanted() {
					return 0, false
				}
				return next()
			})
		})
	}
	err := worker(p, next)
	if helpers == 0 {
		return err
	}
	return cmp.Or(err, p.turn.without(p.ctx, g.Wait))
}

// another begins a turn for one more goroutine of the same query, if nobody wants it. Work that takes no turns, as that of a
// merge, is not held up.
func (t *turn) another() (*turn, bool) {
	if t == nil {
		return nil, true
	}
	if !t.of.tryLock() {
		return nil, false
	}
	return &turn{of: t.of, work: t.work, began: time.Now(), has: true}, true
}

// without waits for other goroutines of the query, which may be waiting for a turn themselves: it would never come if who
// waits for them kept the only one that ingest leaves.
func (t *turn) without(ctx context.Context, wait func() error) error {
	if t == nil || !t.has {
		return wait()
	}
	t.end()
	return cmp.Or(wait(), t.begin(ctx))
}

func (t *turn) leave() {
	if t != nil {
		t.end()
	}
}

func (t *turn) wanted() bool { return t != nil && t.of.wanted(true) }

// Share is a reader's part of the processors for what it does with the records that it was given. That work takes turns with
// the reading of all queries, so both together leave ingest what it needs. Its methods are not for concurrent use, and no
// query may be read on between Begin and End: its reading may wait for this very turn.
type Share struct {
	ctx  context.Context
	turn *turn
	took time.Duration // since the last rest
}

// Share gives a share whose work ends with ctx.
func (l *Log) Share(ctx context.Context) *Share {
	return &Share{ctx: ctx, turn: l.turns.of(&l.cfg)}
}

// Begin waits for a turn; false when the context is done.
func (s *Share) Begin() bool {
	if s.ctx.Err() != nil {
		return false
	}
	if t := s.turn; t.of.tryLock() { // the usual case, without memory for a place in the queue
		t.began, t.has = time.Now(), true
		return true
	}
	return s.turn.begin(s.ctx) == nil
}

// End lets others have their turn, if it was begun, after the rest that may be due.
func (s *Share) End() {
	t := s.turn
	if !t.has {
		return
	}
	if s.took += time.Since(t.began); s.took >= turnTime {
		if t.of.busy() {
			time.Sleep(min(s.took, longTurn) / restPart)
		}
		s.took = 0
	}
	t.end()
}

// Pause is End and Begin: who waits comes first.
func (s *Share) Pause() bool {
	s.End()
	return s.Begin()
}
