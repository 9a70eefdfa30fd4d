package sink

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

// waits is how many wait for a turn.
func (t *turns) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

// idle forgets what was appended.
func (t *turns) idle() { t.appended.Store(int64(time.Since(t.begin) - time.Hour)) }

func begun(t *testing.T, all *turns) *turn {
	t.Helper()
	one := all.of(&Config{QueryTime: 2 * time.Hour, QueryBytes: 1 << 40})
	if err := one.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return one
}

// TestTurnsLeaveHalfToIngest: while something is appended half of the processors read, and who reads with more of them
// gives them back with the next page; when nothing is, all read.
func TestTurnsLeaveHalfToIngest(t *testing.T) {
	all := newTurns()
	all.processors = 4
	var running []*turn
	for range 4 {
		running = append(running, begun(t, all))
	}
	if all.tryLock() {
		t.Error("a fifth turn on four processors")
	}
	done := all.append()
	var waiting sync.WaitGroup
	for _, one := range running[2:] {
		waiting.Go(func() {
			if err := one.read(t.Context(), 1); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, func() bool { return all.waits() == 2 })
	for _, one := range running[:2] { // whose turn is not over, however slow the machine is
		if one.began = time.Now().Add(time.Hour); one.read(t.Context(), 1) != nil || !one.has {
			t.Error("more than half of the processors were given back")
		}
	}
	ended := time.Now()
	done()
	if !all.busy() && time.Since(ended) < ingestLately {
		t.Error("idle with the end of an append: the next comes at once")
	}
	all.idle()
	running[0].end() // who comes to the end of its turn lets those in that have room now
	running[1].end()
	waiting.Wait()
	running[2].end()
	running[3].end()
	if all.running != 0 || all.processors != 4 {
		t.Errorf("%d turns are left", all.running)
	}
	all.processors = 1
	defer all.append()()
	if !all.tryLock() {
		t.Error("one processor, and nobody ever reads beside ingest")
	}
}

// TestTurnsOfLittleWorkComeFirst, within a class the older query does, and each fourth is that of the oldest of all.
func TestTurnsOfLittleWorkComeFirst(t *testing.T) {
	all := newTurns()
	all.processors = 1
	first := begun(t, all)
	var mu sync.Mutex
	var order []string
	var waiting sync.WaitGroup
	for i, q := range []struct {
		name  string
		spent time.Duration
	}{{"oldest", time.Minute}, {"old", 10 * time.Second}, {"search", time.Second}, {"next search", 900 * time.Millisecond}, {"count", 30 * time.Millisecond}, {"look", 0}, {"second look", time.Millisecond}} {
		one := all.of(&Config{})
		one.work.spent.Store(int64(q.spent))
		waiting.Go(func() {
			if err := one.begin(t.Context()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, q.name)
			mu.Unlock()
			one.end()
		})
		waitFor(t, func() bool { return all.waits() == i+1 })
	}
	all.given = 1
	first.end()
	waiting.Wait()
	if want := []string{"look", "second look", "count", "oldest", "search", "next search", "old"}; !slices.Equal(order, want) {
		t.Errorf("%s, want %s", strings.Join(order, ", "), strings.Join(want, ", "))
	}
}

// TestLongTurnGivesWay: who has read for longer than a turn lets others in with the next page, and goes on behind them; it
// does not, while nobody waits.
func TestLongTurnGivesWay(t *testing.T) {
	all := newTurns()
	all.processors = 1
	long := begun(t, all)
	long.began = long.began.Add(-time.Second)
	if err := long.read(t.Context(), 1); err != nil || !long.has || long.work.spent.Load() < int64(time.Second) {
		t.Errorf("alone: %v, %d ns spent", err, long.work.spent.Load())
	}
	got := make(chan *turn)
	go func() { got <- begun(t, all) }()
	waitFor(t, func() bool { return all.waits() == 1 })
	long.began = long.began.Add(-time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- long.read(ctx, 1) }()
	short := <-got
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || long.has {
		t.Errorf("cancelled while it waits to go on: %v", err)
	}
	long.end() // has nothing to give back
	short.end()
	if all.running != 0 || all.waits() != 0 {
		t.Errorf("%d run, %d wait", all.running, all.waits())
	}
}

// TestTurnRestsBesideIngest, and not when there is none, nor when it was short.
func TestTurnRestsBesideIngest(t *testing.T) {
	for _, c := range []struct {
		busy       bool
		took, rest time.Duration
	}{{true, turnTime, turnTime / restPart}, {true, time.Hour, longTurn / restPart}, {true, turnTime - 1, 0}, {false, time.Second, 0}} {
		synctest.Test(t, func(t *testing.T) {
			all := newTurns()
			one := begun(t, all)
			if c.busy {
				defer all.append()()
			}
			time.Sleep(c.took)
			before := time.Now()
			if err := one.read(t.Context(), 1); err != nil || time.Since(before) != c.rest {
				t.Errorf("%+v: rested for %s, %v", c, time.Since(before), err)
			}
		})
	}
}

// TestShare: a query takes more processors while nobody wants them.
func TestShare(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor")
	}
	all := newTurns()
	one := begun(t, all)
	p := newPlan(t.Context(), logbridge.Query{})
	p.turn = one
	both := func() (workers int) {
		var mu sync.Mutex
		err := p.share(2, func(*plan, func() (int, bool)) error {
			mu.Lock()
			defer mu.Unlock()
			workers++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return workers
	}
	all.processors = 2
	if n := both(); n != 2 {
		t.Errorf("%d workers, one processor is idle", n)
	}
	all.processors = 1
	if n := both(); n != 1 {
		t.Errorf("%d workers, and no processor is free", n)
	}
	one.end()
	if all.running != 0 {
		t.Errorf("%d turns are left", all.running)
	}
}

// TestWhoWaitsForItsHelpersHasNoTurn: a query that has come to its end and waits for the goroutines that help it leaves them
// its turn, or they wait for each other when ingest has begun meanwhile.
func TestWhoWaitsForItsHelpersHasNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newTurns()
		all.processors = 2
		one := begun(t, all)
		p := newPlan(t.Context(), logbridge.Query{})
		p.turn = one
		appended := make(chan struct{})
		err := p.share(2, func(own *plan, _ func() (int, bool)) error {
			if own == p {
				all.append() // it goes on and on
				close(appended)
				return nil
			}
			<-appended
			time.Sleep(time.Second)
			return own.scanned(1)
		})
		if err != nil || !one.has {
			t.Errorf("%v, turn %t", err, one.has)
		}
		one.end()
		if all.running != 0 || all.waits() != 0 {
			t.Errorf("%d run, %d wait", all.running, all.waits())
		}
	})
}

// TestCountEndsWithItsContext: a count that is cancelled reads no further page.
func TestCountEndsWithItsContext(t *testing.T) {
	groups := manyRecords(rand.New(rand.NewPCG(2, 3)), 20, 500)
	whole := tableOf(t, 1, groups...)
	path, err := writeSegment(t.TempDir(), whole, 1, 20)
	s := mustOpen(t, path, err)
	defer s.Close()
	for name, count := range map[string]func(*counter) error{"memtable": whole.count, "segment": s.count} {
		ctx, cancel := context.WithCancel(t.Context())
		p := newPlan(ctx, logbridge.Query{Contains: "k", Streams: func(logbridge.Stream) bool { cancel(); return true }})
		p.turn = begun(t, newTurns())
		if err := count(newCounter(p, logbridge.CountBy{Field: "level"})); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if n := p.turn.work.bytes.Load(); n != 0 {
			t.Errorf("%s: %d bytes were read after the end", name, n)
		}
	}
}

// TestOneStreamGivesWay: a query of one stream with many rows in memory ends with its context, and takes turns, within a block.
func TestOneStreamGivesWay(t *testing.T) {
	s := tableOf(t, 1, lines("dev", 0, 3*blockRows).Records)
	s.one, s.latest = true, uint32(len(s.rows))
	ctx, cancel := context.WithCancel(t.Context())
	p := newPlan(ctx, logbridge.Query{Product: "ABCDE12345", Device: "dev"})
	rows := 0
	err := s.matching(p, func(int) error { rows++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || rows > blockRows {
		t.Errorf("%d rows after the end, %v", rows, err)
	}
}

// TestPredicateThatPanics is an error of its query, and costs nobody else anything.
func TestPredicateThatPanics(t *testing.T) {
	groups := manyRecords(rand.New(rand.NewPCG(4, 5)), 2, 200)
	whole := tableOf(t, 1, groups...)
	path, err := writeSegment(t.TempDir(), whole, 1, 2)
	s := mustOpen(t, path, err)
	defer s.Close()
	for name, open := range map[string]func(*plan) (cursor, error){"memtable": whole.open, "segment": s.open} {
		if _, err := answer(t, open, logbridge.Query{Streams: func(logbridge.Stream) bool { panic("of the predicate") }}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 60)
	for _, in := range []string{"device/", "no such"} { // where: in segments and memtables alike
		q := logbridge.Query{Limit: 10, Streams: func(s logbridge.Stream) bool {
			if strings.HasPrefix(string(s), in) {
				panic("of the predicate")
			}
			return true
		}}
		wanted := func(err error) bool {
			return (err != nil && strings.Contains(err.Error(), "of the predicate")) == (in == "device/")
		}
		if _, err := lastError(e, t.Context(), q); !wanted(err) {
			t.Errorf("query: %v", err)
		}
		if _, err := e.log.Count(t.Context(), q, logbridge.CountBy{Field: "stream"}); !wanted(err) {
			t.Errorf("count: %v", err)
		}
		for _, err := range e.log.Tail(t.Context(), logbridge.Position{}, q) {
			if !wanted(err) {
				t.Errorf("tail: %v", err)
			}
			break
		}
	}
	if got := e.log.turns.running; got != 0 || len(e.log.tails.slots) != 0 {
		t.Errorf("%d turns are not given back", got)
	}
}

// TestSharesTakeTurnsWithReading: a reader's own work waits for the reading of others, and rests while something is appended.
func TestSharesTakeTurnsWithReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		turns.processors = 1
		l := &Log{turns: turns}
		reading := turns.of(&l.cfg)
		if err := reading.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := l.Share(ctx)
		got := make(chan bool)
		go func() { got <- s.Begin() }()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("a turn was given twice")
		default:
		}
		reading.end()
		if !<-got {
			t.Fatal("a turn that was given back was not given")
		}
		defer turns.append()()
		s.took = turnTime
		before := time.Now()
		if !s.Pause() || s.took != 0 || turns.running != 1 || time.Since(before) != turnTime/restPart {
			t.Errorf("after a pause: took %s, %d run, rested %s", s.took, turns.running, time.Since(before))
		}
		s.End()
		s.End() // has nothing to give back
		cancel()
		if s.Begin() || turns.running != 0 {
			t.Error("a turn for one who is gone")
		}
	})
}
