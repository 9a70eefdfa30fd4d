package sink

import (
	"cmp"
	"context"
	"iter"
	"math"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// tailStretch is how many records a tail looks for at a time: what it keeps in memory of their places. A tail that is no
	// more than that behind passes nothing over, however slow its reader.
	tailStretch = 4096

	// tailPause is the least time between two looks of a tail at the log: thousands of groups a second mean tens of looks,
	// and who watches lines go by does not notice.
	tailPause = 25 * time.Millisecond

	// tailPatience is how long a tail that has kept up may wait for its reader until it keeps up again: a terminal that
	// redraws or a page in the background takes less, and lines that are older are no live view any more.
	tailPatience = 10 * time.Second
)

// Tail gives every record behind from that answers q, in the order of positions: first those that are there, then each
// new one when it has been stored, with no gap and no repeat in between, until ctx ends or the caller stops. Each record's
// Position is where a later Tail can go on. q.Order and q.Limit are not looked at.
//
// A tail reads the store and is only woken by new records, so a slow reader costs no more memory than one page of them. As
// long as it has not come to the newest record it loses nothing, however long that takes. Once it has, a reader who keeps it waiting
// for more than 10 s in all before it is there again, and who is more than 4096 records behind by then, is taken to
// the newest position: the pair that says so has a *logbridge.Lost for its error, and is not the last. Any other error is.
func (l *Log) Tail(ctx context.Context, from logbridge.Position, q logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) {
		if err := cmp.Or(q.Validate(), l.current()); err != nil {
			yield(logbridge.Record{}, err)
			return
		}
		q.Order, q.Limit, q.After = logbridge.ByPosition, tailStretch, from
		t := tail{l: l, ctx: ctx, q: q, yield: yield}
		t.sleeper = l.sleepers.join(newPlan(ctx, q).exactStream())
		defer t.leave()
		for t.step() {
		}
	}
}

// Newest is the newest position: a Tail from there gives only what comes later, and a Query that begins now sees everything up
// to it.
func (l *Log) Newest() logbridge.Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// tail is a Tail at work.
type tail struct {
	*sleeper
	l     *Log
	ctx   context.Context
	q     logbridge.Query // After is what the tail has given, or knows that there is nothing up to
	yield func(logbridge.Record, error) bool

	live   bool          // it has come to the newest record once
	waited time.Duration // for the reader, since it last was there
	slow   bool          // that is too long
}

// step looks once, and sleeps if there is no more. It reports whether the tail goes on.
func (t *tail) step() bool {
	looked := time.Now()
	reached, sent, more := t.look()
	switch {
	case t.ctx.Err() != nil:
		return false
	case t.slow:
		return t.passOver()
	case !more:
		return false
	case sent == tailStretch:
		return true
	}
	t.live, t.waited = true, 0
	t.advance(reached)
	first, ok := t.wait(t.ctx, reached.Seq)
	if ok {
		t.advance(logbridge.Position{Seq: first - 1, Index: math.MaxUint32})
	}
	return ok && t.pause(looked)
}

// advance moves After forward, never back: a group shows in the memtable just before it counts as reached.
func (t *tail) advance(to logbridge.Position) {
	if t.q.After.Compare(to) < 0 {
		t.q.After = to
	}
}

// pause waits until the next look is due. It reports whether the tail goes on.
func (t *tail) pause(looked time.Time) bool {
	rest := tailPause - time.Since(looked)
	if rest <= 0 {
		return true
	}
	due := time.NewTimer(rest)
	defer due.Stop()
	select {
	case <-due.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// look gives the next records, and the position that they were looked for up to.
func (t *tail) look() (reached logbridge.Position, sent int, more bool) {
	r := t.l.newReading(t.ctx, t.q, t.l.tails)
	r.follow = true
	defer r.end()
	more = r.give(func(record logbridge.Record, err error) bool {
		if err != nil {
			return t.ctx.Err() == nil && t.yield(record, err)
		}
		t.q.After = record.Position
		handed := time.Now()
		wanted := t.yield(record, nil)
		t.waited += time.Since(handed)
		t.slow = wanted && t.live && t.waited > t.l.patience
		return wanted && !t.slow
	})
	return r.reached, r.sent, more
}

// passOver takes a tail whose reader is too slow to the newest position, if it is far from there, and says so. It reports
// whether the tail goes on.
func (t *tail) passOver() bool {
	t.slow, t.waited = false, 0
	n, to, err := t.behind()
	switch {
	case err != nil:
		if t.ctx.Err() == nil {
			t.yield(logbridge.Record{}, err)
		}
		return false
	case n <= tailStretch:
		return true
	}
	t.q.After = to
	t.l.tailDropped.Add(n)
	return t.yield(logbridge.Record{}, &logbridge.Lost{Records: n, To: to})
}

// behind counts what the tail has not given yet, up to the newest position.
func (t *tail) behind() (n uint64, to logbridge.Position, err error) {
	p := newPlan(t.ctx, t.q)
	p.Limit, p.turn = 0, t.l.turns.of(&t.l.cfg)
	c, to, err := t.l.countAll(p, logbridge.CountBy{})
	if err != nil {
		return 0, to, err
	}
	for _, records := range c.groups {
		n += records
	}
	return n, to, nil
}
