package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

// lastError reads a query to its end.
func lastError(e *env, ctx context.Context, q logbridge.Query) (records int, err error) {
	for _, err := range e.log.Query(ctx, q) {
		if err != nil {
			return records, err
		}
		records++
	}
	return records, nil
}

// TestTooManyQueries: as many as may be there are, the next is refused, and a place is free when one ends.
func TestTooManyQueries(t *testing.T) {
	e := newEnv(t, Config{MaxQueries: 5})
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "1")}})
	var inside func(depth int)
	inside = func(depth int) {
		if depth == 5 {
			if _, err := lastError(e, t.Context(), logbridge.Query{}); !errors.Is(err, logbridge.ErrUnavailable) || !strings.Contains(err.Error(), "too many queries") {
				t.Errorf("one too many: %v", err)
			}
			return
		}
		for _, err := range e.log.Query(t.Context(), logbridge.Query{}) {
			if err != nil {
				t.Errorf("query %d: %v", depth, err)
			}
			inside(depth + 1)
		}
	}
	inside(0)
	if n, err := lastError(e, t.Context(), logbridge.Query{}); n != 1 || err != nil {
		t.Errorf("afterwards: %d records, %v", n, err)
	}
	if got := e.log.Stats(); got.Queries != 0 || got.QueriesRefused != 1 {
		t.Errorf("%+v", got)
	}
}

// TestQueryWaitsForItsTurn: while all turns are taken a query waits, ends with its context, and goes on when one is free.
func TestQueryWaitsForItsTurn(t *testing.T) {
	e := newEnv(t, Config{})
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "1")}})
	others := e.log.turns.of(&e.log.cfg)
	e.log.turns.processors = 1
	if err := others.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	ask := func(ctx context.Context) {
		_, err := lastError(e, ctx, logbridge.Query{})
		result <- err
	}
	go ask(ctx)
	waitFor(t, func() bool { return e.log.turns.waits() == 1 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while it waited: %v", err)
	}
	go ask(t.Context())
	waitFor(t, func() bool { return e.log.turns.waits() == 1 })
	others.end()
	if err := <-result; err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// TestQueryIsBounded in what it reads and in the time that it works, but not by what its reader does.
func TestQueryIsBounded(t *testing.T) {
	for name, cfg := range map[string]Config{
		"bytes": {MemtableBytes: 16 << 10, QueryBytes: 500},
		"time":  {MemtableBytes: 16 << 10, QueryTime: 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, cfg)
			e.fill(0, 60)
			for _, q := range []logbridge.Query{{}, {Contains: "nowhere"}, {Order: logbridge.ByPosition}} {
				if n, err := lastError(e, t.Context(), q); !errors.Is(err, logbridge.ErrTooLarge) || n == 60 {
					t.Errorf("%+v: %d records, %v", q, n, err)
				}
			}
			if _, err := e.log.Count(t.Context(), logbridge.Query{}, logbridge.CountBy{Field: "level", Step: time.Second}); !errors.Is(err, logbridge.ErrTooLarge) {
				t.Errorf("count: %v", err)
			}
			if got := e.log.turns.running; got != 0 {
				t.Errorf("%d turns are not given back", got)
			}
		})
	}
	w := work{maxTime: time.Minute, maxBytes: 1}
	w.spent.Store(int64(50 * time.Second))
	if w.check(9*time.Second) != nil {
		t.Error("within its bounds and refused")
	}
	if err := w.check(11 * time.Second); !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("61 seconds: %v", err)
	}
}

// TestSlowReaderHoldsNothing: a query whose reader stalls lets go of memtables and files, and when he comes back goes on
// where it was, whatever was flushed, merged and appended meanwhile.
func TestSlowReaderHoldsNothing(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 64 << 10})
	rnd := rand.New(rand.NewPCG(9, 10))
	add := func(n int) {
		for range n {
			var b logbridge.Batch
			for range 1 + rnd.IntN(60) {
				b.Records = append(b.Records, randomRecord(rnd))
			}
			e.append(b)
		}
	}
	add(60)
	for _, q := range slices.Concat(queries, []logbridge.Query{{Limit: 700}, {Order: logbridge.OldestFirst, Limit: 700}, {Order: logbridge.ByPosition, Limit: 700}}) {
		want := e.query(q)
		var got []logbridge.Record
		r := e.log.newReading(t.Context(), q, e.log.queries)
		stalls := 0
		r.give(func(record logbridge.Record, err error) bool {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, record); len(got)%150 == 0 {
				if stalls++; stalls%3 == 0 {
					add(2)
					e.settle()
					e.mergeAll(mergePolicy{rows: 500 * int64(stalls), bytes: 1 << 40, span: mergeSpan})
				}
				r.stall()
				if len(r.open)+len(r.tables) != 0 || r.plan != nil {
					t.Fatal("it holds something while its reader stalls")
				}
			}
			return true
		})
		r.end()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("query %+v: %d records with %d stalls, want %d", q, len(got), stalls, len(want))
		}
	}
	for _, m := range e.log.segments.list {
		if n := m.users.Load(); n != 1 {
			t.Errorf("a segment is held %d times", n)
		}
	}
}

// TestWaitForATurnIsNotCountedTwice: the time in which a query holds what it reads from begins when it takes hold of it, however long it
// waited for its turn before.
func TestWaitForATurnIsNotCountedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := tableOf(t, 1, lines("dev", 0, 2*pageRecords).Records)
		l := &Log{
			turns: newTurns(), active: &memtable{groups: whole.groups, rows: whole.rows, streams: whole.streams}, segments: &segmentSet{},
			cfg: Config{QueryTime: time.Hour, QueryBytes: 1 << 40},
		}
		l.turns.processors = 1
		other := begun(t, l.turns)
		time.AfterFunc(2*pinTime, other.end)
		r := l.newReading(t.Context(), logbridge.Query{}, newGate(0, 0))
		if _, err := r.page(); err != nil || r.looked.IsZero() || r.looked.After(time.Now()) {
			t.Errorf("held from %s on, now is %s: %v", r.looked, time.Now(), err)
		}
		r.end()
	})
}

// TestFewHitsHoldNoMemtable: a query that has found little in a memtable, and goes on looking elsewhere, does not keep it.
func TestFewHitsHoldNoMemtable(t *testing.T) {
	for contains, holds := range map[string]bool{"777": false, "7": true} {
		whole := tableOf(t, 1, lines("dev", 0, 2000).Records)
		p := newPlan(t.Context(), logbridge.Query{Contains: contains})
		c, err := whole.open(p)
		if err != nil {
			t.Fatal(err)
		}
		if held := c.(*memCursor).s.groups != nil; held != holds {
			t.Errorf("%d hits of %q: held %t", len(c.left()), contains, held)
		}
	}
}

// TestPagesAreSmall: a query reads little ahead of its reader.
func TestPagesAreSmall(t *testing.T) {
	e := newEnv(t, Config{})
	for i := range 40 {
		e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, strings.Repeat("x", 50<<10)))}})
	}
	r := e.log.newReading(t.Context(), logbridge.Query{}, e.log.queries)
	defer r.end()
	page, err := r.page()
	if err != nil || len(page) == 0 || len(page) > pageBytes/(50<<10)+1 {
		t.Errorf("%d records of 50 kB in a page, %v", len(page), err)
	}
}

// TestLimitHoldsForAllTables: a query whose tables all overlap keeps no more hits than a few times its limit.
func TestLimitHoldsForAllTables(t *testing.T) {
	const limit, each, tables = 100_000, 90_000, 6
	r := (&Log{turns: newTurns()}).newReading(t.Context(), logbridge.Query{Order: logbridge.OldestFirst, Limit: limit}, nil)
	r.plan = r.asked
	var best []hit
	for i := range tables {
		l := hitList{}
		for n := range each {
			l.hits = append(l.hits, hit{time: int64(n), seq: uint64(i)})
		}
		best = append(best, l.hits...)
		r.open = append(r.open, &opened{cursor: &memCursor{hitList: l}})
	}
	r.trim()
	var kept []hit
	for _, o := range r.open {
		kept = append(kept, o.left()...)
	}
	slices.SortFunc(best, r.plan.compare)
	slices.SortFunc(kept, r.plan.compare)
	if !slices.Equal(kept, best[:limit]) {
		t.Errorf("%d hits are kept, or not the best", len(kept))
	}
}
