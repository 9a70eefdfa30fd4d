package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// asleep waits until so many tails sleep.
func (e *env) asleep(n int) {
	e.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		s := e.log.sleepers
		s.mu.Lock()
		there := len(s.many.asleep)
		for _, w := range s.one {
			there += len(w.asleep)
		}
		s.mu.Unlock()
		if there == n {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("%d tails sleep, want %d", there, n)
		}
	}
}

// TestSleepingTailOpensNothing: what was written and merged while a tail slept is not opened for it when it wakes, since
// nothing of it is the tail's.
func TestSleepingTailOpensNothing(t *testing.T) {
	for name, q := range map[string]logbridge.Query{"one stream": {Product: "ABCDE12345", Device: "quiet"}, "more": {Device: "quie?"}} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, Config{MemtableBytes: 16 << 10})
			e.append(lines("quiet", 0, 1))
			next, stop := iter.Pull2(e.log.Tail(t.Context(), logbridge.Position{}, q))
			defer stop()
			want := func(body string) {
				t.Helper()
				if r, err, ok := next(); !ok || err != nil || r.Body != body {
					t.Fatalf("%+v, %v, %t, want %s", r, err, ok, body)
				}
			}
			want("0")
			woken := make(chan struct{})
			go func() { defer close(woken); want("1") }()
			e.asleep(1)
			if q.Product != "" { // a tail of one stream sleeps through the lines of others
				e.fill(0, 60)
				e.asleep(1)
				e.settle()
				if e.log.Stats().Segments < 2 {
					t.Fatal("this test wants segments")
				}
			}
			e.log.segments.cache.clear()
			e.append(lines("quiet", 1, 1))
			<-woken
			e.log.segments.cache.mu.Lock()
			defer e.log.segments.cache.mu.Unlock()
			if opened := len(e.log.segments.cache.entries); opened > 0 {
				t.Errorf("%d segments were opened", opened)
			}
		})
	}
}

// TestTailsAgainstAModel: tails of one stream, of a product, of levels and of everything, from the beginning, from the end
// and back again with their last position, while several write, segments roll and merge, and the sink is started anew. Each gives
// exactly what answers its query, in order.
func TestTailsAgainstAModel(t *testing.T) {
	const writers, rounds, each = 3, 3, 60
	e := newEnv(t, Config{MemtableBytes: 24 << 10})
	queries := []logbridge.Query{
		{Product: "ABCDE12345", Device: "dev_0"}, {Product: "ABCDE12345", Device: "dev_1"}, {Stream: "device/ABCDE12345/dev_2"},
		{Product: "ABCDE12345"}, {}, {Device: "dev_[01]"}, {Levels: logbridge.LevelsOf(logbridge.LevelError)},
		{Product: "ABCDE12345", Device: "dev_0", Contains: "7"}, {Product: "ABCDE12345", Device: "nobody"},
		{Streams: func(s logbridge.Stream) bool { return strings.HasSuffix(string(s), "2") }},
	}
	type reader struct {
		q   logbridge.Query
		at  logbridge.Position
		got []logbridge.Position
	}
	readers := make([]*reader, 2*len(queries)) // of each query one that goes and comes, and one that stays
	for i := range readers {
		readers[i] = &reader{q: queries[i/2]}
	}
	merges := merger{Log: e.log, policy: mergePolicy{rows: 40, bytes: 1 << 40, span: mergeSpan}}
	for round := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		following, stop := context.WithCancel(ctx)
		var writing, reading sync.WaitGroup
		for i, r := range readers {
			reading.Go(func() {
				for following.Err() == nil {
					for record, err := range e.log.Tail(following, r.at, r.q) {
						if err != nil {
							t.Errorf("%+v: %v", r.q, err)
							return
						}
						r.at, r.got = record.Position, append(r.got, record.Position)
						if i%2 == 1 && len(r.got)%7 == 0 {
							break
						}
					}
				}
			})
		}
		for w := range writers {
			writing.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(round), uint64(w)))
				for i := range each {
					r := line(fmt.Sprint("dev_", w), fmt.Sprint(round, i, strings.Repeat(" pad", rnd.IntN(200))))
					r.Severity = logbridge.Level(1 + rnd.IntN(4))
					if _, err := e.log.Append(ctx, logbridge.Batch{Records: []logbridge.Record{r}}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		merges.next(ctx, merges.policy.pick)
		e.asleep(len(readers)) // they have all there is
		stop()
		reading.Wait()
		for _, r := range readers {
			var want []logbridge.Position
			q := r.q
			q.Order = logbridge.ByPosition
			for _, record := range e.query(q) {
				want = append(want, record.Position)
			}
			if fmt.Sprint(r.got) != fmt.Sprint(want) {
				t.Errorf("round %d, %+v: %d records, want %d", round, r.q, len(r.got), len(want))
			}
		}
		cancel()
		e.restart()
		merges.Log = e.log
	}
	if n := e.log.Stats(); n.Segments == 0 || n.Tails != 0 || n.TailDropped != 0 {
		t.Errorf("%+v: this test wants segments, and tails to leave nothing behind", n)
	}
}

// TestSlowReaderIsToldWhatHeMissed: a tail that has kept up and then waits too long for its reader goes on at the newest
// position and says exactly what it passed over, if that is much. One that has never kept up passes nothing over.
func TestSlowReaderIsToldWhatHeMissed(t *testing.T) {
	for name, q := range map[string]logbridge.Query{
		"one stream": {Product: "ABCDE12345", Device: "loud"}, "more": {Device: "lou?"}, "content": {Device: "lou?", Contains: "5"},
	} {
		t.Run(name, func(t *testing.T) { slowReader(t, q) })
	}
}

func slowReader(t *testing.T, q logbridge.Query) {
	much := 2 * tailStretch
	if q.Contains != "" {
		much *= 2 // half of all have a 5
	}
	e := newEnv(t, Config{MemtableBytes: 400 << 10})
	e.log.patience = 0 // who makes the tail wait at all is slow
	q.Order = logbridge.ByPosition
	number := 0
	// more appends lines and gives those that answer the query.
	more := func(n int) []logbridge.Record {
		e.log.mu.RLock()
		q.After = e.log.last
		e.log.mu.RUnlock()
		e.append(lines("loud", number, n))
		e.append(lines("other", number, 10))
		number += n
		return e.query(q)
	}
	next, stop := iter.Pull2(e.log.Tail(t.Context(), logbridge.Position{}, q))
	defer stop()
	expect := func(want []logbridge.Record) {
		t.Helper()
		for _, w := range want {
			if r, err, ok := next(); !ok || err != nil || r.Position != w.Position {
				t.Fatalf("%+v, %v, %t, want %+v", r, err, ok, w)
			}
		}
	}
	dropped := uint64(0)
	lose := func(want []logbridge.Record) {
		t.Helper()
		_, err, ok := next()
		var lost *logbridge.Lost
		if !ok || !errors.As(err, &lost) || int(lost.Records) != len(want) || lost.To.Compare(want[len(want)-1].Position) < 0 {
			t.Fatalf("%v, %t, want the loss of %d", err, ok, len(want))
		}
		if dropped += lost.Records; e.log.Stats().TailDropped != dropped {
			t.Errorf("the metric says %d, want %d", e.log.Stats().TailDropped, dropped)
		}
	}
	history := more(much)
	expect(history[:5])
	expect(append(history[5:], more(much)...)) // not live yet
	var live []logbridge.Record
	var appending sync.WaitGroup
	appending.Go(func() {
		e.asleep(1)
		live = more(100)
	})
	r, err, ok := next()
	appending.Wait()
	if !ok || err != nil || r.Position != live[0].Position {
		t.Fatalf("%+v, %v, %t, want %+v", r, err, ok, live[0])
	}
	expect(live[1:])
	lose(more(much)) // in the memtables and in segments
	expect(more(100))
	e.settle()
	expect(more(100))
	few := more(tailStretch / 2) // not worth a loss
	expect(few[:10])
	expect(few[10:])
	waits := more(10)
	expect(waits[:1]) // amid of what it has looked up already
	lose(append(waits[1:], more(much)...))
	expect(more(50))
}

// TestCountsEndAtTheNewestPosition: a group that the memtable shows and that does not count yet is in none, so that what a tail
// passes over and what it gives then never overlap.
func TestCountsEndAtTheNewestPosition(t *testing.T) {
	e := newEnv(t, Config{})
	e.append(lines("dev", 0, 3))
	uploads, err := encodeBatch(lines("dev", 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	g := &group{seq: e.log.next(), raw: joinGroup([]*waiting{{upload: uploads[0]}})}
	var p parsed
	if err := p.parse(g.raw); err != nil {
		t.Fatal(err)
	}
	e.log.active.add(g, &p)
	for _, q := range []logbridge.Query{{}, {Product: "ABCDE12345", Device: "dev"}} {
		tl := tail{l: e.log, ctx: t.Context(), q: q}
		n, to, err := tl.behind()
		if err != nil || n != 3 || to != e.log.Newest() {
			t.Errorf("%d up to %s, %v, want 3 up to %s", n, to, err, e.log.Newest())
		}
	}
}
