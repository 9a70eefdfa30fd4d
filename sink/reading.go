package sink

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// opened is a table that a query has come to.
type opened struct {
	cursor
	held *member
	done func()
}

// reading is a query at work. It reads a page at a time in turn with others, and between pages holds what it reads from
// only as long as its reader is quick (stallTime, pinTime). Then it takes a new look, at what is behind the last record
// that it gave: so a slow reader holds up neither the memory of old memtables nor the disk of removed files.
type reading struct {
	l      *Log
	gate   *gate
	asked  *plan
	follow bool // a later look may find what came since

	mu      sync.Mutex // guards all below; held while a page is read
	plan    *plan
	tables  []table // not opened yet, best bound first
	open    []*opened
	looked  time.Time // zero: it holds nothing; pages that were read since have moved it on by what they took
	reached logbridge.Position
	ahead   int // tables to open next, of a narrow query
	sent    int
	last    hit // the last record of the last page
	given   bool
	done    bool
}

// maxAhead bounds how many tables are opened together, and aheadBytes what is read of each while their number grows: the
// lines of one device take a few pages of a segment; what takes more is read by all processors one segment after the other.
const maxAhead, aheadBytes = 16, 1 << 20

// errOutdated: a table of this look is no longer there; another look finds its records elsewhere, or knows that they are lost.
var errOutdated = errors.New("the set of segments has changed")

func (l *Log) newReading(ctx context.Context, q logbridge.Query, g *gate) *reading {
	p := newPlan(ctx, q)
	p.turn = l.turns.of(&l.cfg)
	return &reading{l: l, gate: g, asked: p}
}

// Query gives the records that answer q, in its order. It sees everything that was acknowledged before it began. It
// reads little further than the caller does, and ends with ctx, whose error is then the last thing it gives. It is
// ErrUnavailable when too many queries are being answered, and ErrTooLarge when it has worked for longer or read more than
// Config allows.
func (l *Log) Query(ctx context.Context, q logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) {
		err := cmp.Or(q.Validate(), l.current())
		if err == nil {
			err = l.queries.enter()
		}
		if err != nil {
			yield(logbridge.Record{}, err)
			return
		}
		defer l.queries.leave()
		r := l.newReading(ctx, q, l.queries)
		defer r.end()
		r.give(yield)
	}
}

// give yields the records, and the error that ended them, if one did. It reports whether the reader wants more.
func (r *reading) give(yield func(logbridge.Record, error) bool) bool {
	for !r.done {
		page, err := r.page()
		more := true
		stalled := time.AfterFunc(stallTime, r.stall)
		for i := 0; i < len(page) && more; i++ {
			if cut := r.asked.ctx.Err(); cut != nil {
				page, err = nil, cut
			} else {
				more = yield(page[i], nil)
			}
		}
		stalled.Stop()
		if err != nil && more {
			yield(logbridge.Record{}, err)
			return false
		}
		if !more {
			return false
		}
	}
	return true
}

// stall lets go while the reader has a page; a page that is being read is waited for and then is not stalled.
func (r *reading) stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letGo()
}

// end lets go for good.
func (r *reading) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	r.letGo()
}

func (r *reading) letGo() {
	for _, o := range r.open {
		r.close(o)
	}
	for _, t := range r.tables {
		if t.held != nil {
			r.l.segments.release(t.held)
		}
	}
	r.open, r.tables, r.plan, r.looked = nil, nil, nil, time.Time{}
}

// page reads the next records in a turn of its own. With an error come the records before it.
func (r *reading) page() (page []logbridge.Record, err error) {
	came := time.Now()
	if err := r.gate.lock(r.asked.ctx); err != nil {
		return nil, err
	}
	defer r.gate.unlock()
	if err := r.asked.turn.begin(r.asked.ctx); err != nil {
		return nil, err
	}
	defer r.asked.turn.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	began, size := time.Now(), 0
	if came.Sub(r.looked) > pinTime {
		r.letGo()
	}
	defer func() {
		if !r.looked.IsZero() { // reading and waiting for turns are not the reader's time
			r.looked = r.looked.Add(time.Since(latest(came, r.looked)))
		}
	}()
	for !r.done && size < pageBytes && len(page) < pageRecords && time.Since(began) < pageTime {
		if r.looked.IsZero() {
			r.look()
		}
		record, got, err := r.step()
		if errors.Is(err, errOutdated) {
			r.letGo()
			continue
		}
		if err != nil {
			return page, err
		}
		if got {
			page = append(page, record)
			size += memorySize(&record)
			r.sent++
		}
	}
	if r.done {
		r.letGo()
	}
	return page, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// memorySize is about what a record takes in memory.
func memorySize(r *logbridge.Record) int {
	n := 200 + len(r.Stream) + len(r.Body)
	for _, a := range r.Attributes {
		n += 32 + len(a.Key) + len(a.Value)
	}
	return n
}

// look takes hold of the tables as they are now.
func (r *reading) look() {
	r.plan = r.asked
	if r.given {
		r.plan = r.asked.behind(r.last, r.sent)
	}
	if before := r.reached; before != (logbridge.Position{}) && !r.follow {
		p := *r.plan
		p.newest = before.Seq
		r.plan = &p
		r.tables, _ = r.l.tables(r.plan)
	} else {
		r.tables, r.reached = r.l.tables(r.plan)
	}
	slices.SortFunc(r.tables, func(a, b table) int { return r.plan.compare(a.bound, b.bound) })
	r.looked = time.Now()
}

// step opens the next table if its bound is reached, or takes the next record.
func (r *reading) step() (record logbridge.Record, got bool, err error) {
	if r.plan.Limit < 0 || r.asked.Limit > 0 && r.sent >= r.asked.Limit {
		r.done = true
		return record, false, nil
	}
	if err := r.plan.scanned(0); err != nil {
		return record, false, err
	}
	best := r.best()
	if len(r.tables) > 0 && (best == nil || r.reaches(r.tables[0], best)) {
		return record, false, r.openNext()
	}
	if best == nil {
		r.done = true
		return record, false, nil
	}
	at, _ := best.head()
	err = r.l.attempt(best.held, func() (err error) {
		record, err = best.take()
		return err
	})
	if err != nil {
		return logbridge.Record{}, false, err
	}
	r.last, r.given = at, true
	if _, more := best.head(); !more { // what it holds is not held until the end
		r.open = slices.DeleteFunc(r.open, func(o *opened) bool { return o == best })
		r.close(best)
	}
	return record, true, nil
}

// openNext opens the next table, and more of them at the same time the further a narrow query has come: the lines of one
// device may lie in all of them.
func (r *reading) openNext() error {
	n := 1
	if r.plan.narrow() {
		n = min(max(1, r.ahead), len(r.tables))
	}
	work := r.plan.turn.work
	before := work.bytes.Load()
	next := make([]*opened, n)
	err := r.plan.share(n, func(p *plan, take func() (int, bool)) error {
		for i, ok := take(); ok; i, ok = take() {
			var err error
			if next[i], err = r.openTable(p, r.tables[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if r.ahead = 1; r.tables[0].held != nil && work.bytes.Load()-before <= int64(n)*aheadBytes {
		r.ahead = min(2*n, maxAhead)
	}
	for i, o := range next {
		switch {
		case o == nil:
		case err != nil:
			if o.done != nil {
				o.done() // the table is still held as one that is not opened
			}
		default:
			if _, any := o.head(); any {
				r.open = append(r.open, o)
			} else {
				r.close(o)
			}
			if i == n-1 {
				clear(r.tables[:n]) // a memtable without a hit is not held any more
				r.tables = r.tables[n:]
			}
		}
	}
	r.trim()
	return err
}

// trimShare is how many times what the limit leaves a query may hold in hits: each table has as many as that.
const trimShare = 4

// trim drops the hits that the limit leaves out, when all tables together hold far more than that.
func (r *reading) trim() {
	rest, sum := r.asked.Limit-r.sent, 0
	for _, o := range r.open {
		sum += len(o.left())
	}
	if r.asked.Limit == 0 || sum <= max(rest, takeAtOnce)*trimShare {
		return
	}
	all := make([]hit, 0, sum)
	for _, o := range r.open {
		all = append(all, o.left()...)
	}
	slices.SortFunc(all, r.plan.compare)
	worst := all[rest-1]
	for _, o := range r.open {
		hits := o.left()
		o.cut(sort.Search(len(hits), func(i int) bool { return r.plan.compare(hits[i], worst) > 0 }))
	}
	r.open = slices.DeleteFunc(r.open, func(o *opened) bool {
		_, any := o.head()
		if !any {
			r.close(o)
		}
		return !any
	})
}

func (r *reading) openTable(p *plan, t table) (*opened, error) {
	if err := p.scanned(t.bytes); err != nil {
		return nil, err
	}
	o := &opened{held: t.held}
	err := r.l.attempt(t.held, func() (err error) {
		o.cursor, o.done, err = t.open(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (r *reading) close(o *opened) {
	if o.done != nil {
		o.done()
	}
	if o.held != nil {
		r.l.segments.release(o.held)
	}
}

// attempt does a read of a segment, nil for a memtable. What looks damaged is read again, for the disk may be right and the
// read wrong; if it still does, the segment is set aside, and errOutdated says that another look is needed. So it
// does when the segment has left the set meanwhile, by another reader, a merge or retention.
func (l *Log) attempt(m *member, read func() error) error {
	err := read()
	if err == nil || m == nil {
		return err
	}
	if errors.Is(err, errDamaged) {
		first := err
		if err = read(); err == nil {
			l.log.Warn("a segment was read wrongly, and rightly the second time", "segment", m.path, "err", first)
			return nil
		}
	}
	if errors.Is(err, errDamaged) {
		l.setAside(m, err)
		return errOutdated
	}
	if !l.has(m) {
		return errOutdated
	}
	return err
}

func (r *reading) reaches(t table, o *opened) bool {
	h, _ := o.head()
	return r.plan.compare(t.bound, h) <= 0
}

func (r *reading) best() *opened {
	var best *opened
	var bestHit hit
	for _, o := range r.open {
		if h, ok := o.head(); ok && (best == nil || r.plan.compare(h, bestHit) < 0) {
			best, bestHit = o, h
		}
	}
	return best
}
