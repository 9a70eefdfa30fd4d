package sink

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestAllTogether runs appends, flushes of small memtables, merges, retention, queries, counts and tails at once. Each
// record that was acknowledged is found exactly once, by each reader, apart from those that retention has removed, which
// are the oldest; and nothing is left behind.
func TestAllTogether(t *testing.T) {
	for name, keep := range map[string]bool{"kept for ever": true, "with retention": false} {
		t.Run(name, func(t *testing.T) { allTogether(t, keep) })
	}
}

const (
	writersTogether = 3
	linesTogether   = 120
)

func allTogether(t *testing.T, keep bool) {
	before := openFiles(t)
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.log.segments.cache.maxFiles = 4
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	writing, writersDone := context.WithCancel(ctx)
	var writers, others sync.WaitGroup
	for w := range writersTogether {
		writers.Go(func() {
			for i := range linesTogether {
				r := line(fmt.Sprint("dev_", w), fmt.Sprint(i, strings.Repeat(" pad", 400)))
				r.Time = epoch.Add(time.Duration(i%50) * time.Second) // every segment has all times
				if _, err := e.log.Append(ctx, logbridge.Batch{Records: []logbridge.Record{r}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	busy := func(work func()) {
		others.Go(func() {
			news := e.log.sleepers.join("")
			defer news.leave()
			for group, ok := uint64(0), true; ok; group, ok = news.wait(writing, group) {
				work()
			}
			work()
		})
	}
	merges := merger{Log: e.log, policy: mergePolicy{rows: 40, bytes: 1 << 40, span: mergeSpan}}
	busy(func() { merges.next(ctx, merges.policy.pick) })
	if !keep {
		busy(func() { e.log.expire(0, 8<<10) })
	}
	busy(func() { e.log.segments.cache.clear() })
	for _, order := range []logbridge.Order{logbridge.NewestFirst, logbridge.OldestFirst, logbridge.ByPosition} {
		busy(func() { e.checkQuery(ctx, order, keep) })
	}
	busy(func() {
		if counts, err := e.log.Count(ctx, logbridge.Query{}, logbridge.CountBy{Field: "stream"}); err != nil || len(counts) > writersTogether {
			t.Errorf("count: %v, %v", counts, err)
		}
	})
	for w := range writersTogether {
		others.Go(func() { e.checkTail(ctx, w, keep) })
	}
	writers.Wait()
	writersDone()
	others.Wait()
	for _, order := range []logbridge.Order{logbridge.NewestFirst, logbridge.ByPosition} {
		if n := e.checkQuery(ctx, order, keep); keep && n != writersTogether*linesTogether {
			t.Errorf("%d records at the end", n)
		}
	}
	e.settle()
	if got := e.log.Stats(); keep && got.Merges == 0 || got.SetAside != 0 || !keep && got.ExpiredByBytes == 0 {
		t.Errorf("%+v: this test wants merges, and retention if it is on", got)
	}
	e.nothingLeft(before)
}

// checkQuery reads everything: the lines of each writer without a repeat and, from the first that retention has left,
// without a gap up to what was acknowledged before the query began.
func (e *env) checkQuery(ctx context.Context, order logbridge.Order, keep bool) (total int) {
	acknowledged := e.log.Ledger()
	var found [writersTogether]map[int]bool
	for w := range found {
		found[w] = map[int]bool{}
	}
	for r, err := range e.log.Query(ctx, logbridge.Query{Order: order}) {
		if err != nil {
			e.t.Errorf("order %d: %v", order, err)
			return total
		}
		w, i := whose(r)
		if found[w][i] {
			e.t.Errorf("order %d: line %d of writer %d is found twice", order, i, w)
		}
		found[w][i] = true
		total++
	}
	for _, s := range acknowledged.Streams {
		id, _ := s.Stream.Device()
		var w int
		fmt.Sscanf(id.Device, "dev_%d", &w)
		var lines []int
		for i := range found[w] {
			lines = append(lines, i)
		}
		slices.Sort(lines)
		switch {
		case keep && len(lines) < int(s.Stored), len(lines) > 0 && lines[len(lines)-1] < int(s.Stored)-1:
			e.t.Errorf("order %d: %d lines of writer %d, %d were stored", order, len(lines), w, s.Stored)
		case keep && len(lines) > 0 && lines[len(lines)-1] != len(lines)-1:
			e.t.Errorf("order %d: writer %d: a gap among %d lines", order, w, len(lines))
		}
	}
	return total
}

// checkTail follows one writer to his last line.
func (e *env) checkTail(ctx context.Context, w int, keep bool) {
	next := 0
	for r, err := range e.log.Tail(ctx, logbridge.Position{}, logbridge.Query{Product: "ABCDE12345", Device: fmt.Sprint("dev_", w)}) {
		if err != nil {
			e.t.Errorf("tail of writer %d: %v", w, err)
			return
		}
		if _, i := whose(r); i < next || keep && i != next {
			e.t.Errorf("tail of writer %d: line %d, want %d", w, i, next)
			return
		} else if next = i + 1; next == linesTogether {
			return
		}
	}
	e.t.Errorf("tail of writer %d ends before line %d", w, next)
}

func whose(r logbridge.Record) (writer, number int) {
	id, _ := r.Stream.Device()
	fmt.Sscanf(id.Device, "dev_%d", &writer)
	fmt.Sscan(r.Body, &number)
	return writer, number
}

// nothingLeft checks that nothing is held, that no file is there that is not in the set, and that no more files are open
// than before once the sink has ended.
func (e *env) nothingLeft(before int) {
	e.t.Helper()
	var paths []string
	for _, m := range e.log.segments.list {
		paths = append(paths, m.path)
		if n := m.users.Load(); n != 1 {
			e.t.Errorf("a segment is held %d times", n)
		}
	}
	if files := e.files("*.parquet*"); !slices.Equal(files, paths) {
		e.t.Errorf("files\n%s\nof segments\n%s", strings.Join(files, "\n"), strings.Join(paths, "\n"))
	}
	if n := len(e.log.queries.slots) + len(e.log.tails.slots) + int(e.log.queries.there.Load()); n != 0 {
		e.t.Errorf("%d turns and places are not given back", n)
	}
	cache := e.log.segments.cache
	if len(cache.entries) > cache.maxFiles {
		e.t.Errorf("%d files are kept open, %d may be", len(cache.entries), cache.maxFiles)
	}
	e.stop()
	if after := openFiles(e.t); after > before {
		e.t.Errorf("%d segment files are open, %d were before", after, before)
	}
}

// openFiles counts the segment files that this process has open; 0 where the system does not say.
func openFiles(t testing.TB) (n int) {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && strings.Contains(target, ".parquet") {
			n++
		}
	}
	return n
}
