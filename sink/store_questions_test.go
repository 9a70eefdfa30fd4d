package sink

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// storeUploaders append at the same time.
const storeUploaders = 256

// appendAll appends everything from so many goroutines; without a sink it only reads the records.
func appendAll(ctx context.Context, f *storeFile, l *Log, uploaders int) (seconds float64, err error) {
	var stop atomic.Bool
	var first sync.Once
	var wg sync.WaitGroup
	begin := time.Now()
	for range uploaders {
		wg.Go(func() {
			var r storeRoom
			for !stop.Load() {
				if failed := r.appendNext(ctx, f, l); failed != nil {
					stop.Store(true)
					if failed != io.EOF {
						first.Do(func() { err = failed })
					}
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin).Seconds(), err
}

func (r *storeRoom) appendNext(ctx context.Context, f *storeFile, l *Log) error {
	packed, err := f.next()
	if err != nil {
		return err
	}
	b := r.unpack(packed)
	if l != nil {
		_, err = l.Append(ctx, b)
	}
	return err
}

// storeQuestion is a row of the store benchmark's table: something asked of the loaded sink.
type storeQuestion struct {
	name, aim string
	// ask asks variant i, of which there are so many, and checks the answer.
	ask      func(ctx context.Context, l *Log, i int) error
	variants int
}

// storeQuestions are the questions of issue 3, with the answers that the generator knows. lines is how many of one device are
// asked for.
func storeQuestions(t storeTally, lines int) []storeQuestion {
	hot, spread := t.hotDevice(), t.spreadDevices(lines)
	g := newStoreData(t.Records)
	since, until := g.window()
	statuses := maps.Clone(t.Statuses)
	statuses[""] = uint64(t.Records) - sum(t.Statuses)
	questions := []storeQuestion{
		{fmt.Sprintf("one device, last %d lines: hot", lines), "3 ms", t.askLines(g, []int{hot}, lines), 1},
		{fmt.Sprintf("one device, last %d lines: spread over everything", lines), "5 ms", t.askLines(g, spread, lines), len(spread)},
		{"substring over everything, nowhere", "1000 ms", askContains("no such text in any record", 0), 1},
		{fmt.Sprintf("substring over everything, in %d records", t.Rare), "1000 ms", askContains(rareNeedle, t.Rare), 1},
		{"count by level", "15 ms", askCount(logbridge.Query{}, "level", byName(t.Levels)), 1},
		{"count by level in 31 % of the time", "", askCount(logbridge.Query{Since: since, Until: until}, "level", byName(t.WindowLevels)), 1},
		{"count of a web field (status)", "10 ms", askCount(logbridge.Query{}, "field.status", statuses), 1},
	}
	return append(questions, grafanaQuestions(t, g)...)
}

// hotDevice is the one with the most lines.
func (t *storeTally) hotDevice() int { return slices.Index(t.Lines, slices.Max(t.Lines)) }

// spreadDevices are some devices whose last lines reach furthest back: with just as many lines as are asked for, or, when
// there are none, with the most.
func (t *storeTally) spreadDevices(lines int) []int {
	const wanted = 20
	var devices []int
	for i := range t.Lines {
		if i != t.hotDevice() {
			devices = append(devices, i)
		}
	}
	slices.SortStableFunc(devices, func(a, b int) int { return t.Lines[a] - t.Lines[b] })
	from, _ := slices.BinarySearchFunc(devices, lines, func(d, want int) int { return t.Lines[d] - want })
	from = max(0, min(from, len(devices)-wanted))
	return devices[from : from+wanted]
}

func (t *storeTally) askLines(g *storeData, devices []int, lines int) func(context.Context, *Log, int) error {
	return func(ctx context.Context, l *Log, i int) error {
		device := devices[i]
		id := g.devices[device].id
		n := 0
		for r, err := range l.Query(ctx, logbridge.Query{Product: id.Product, Device: id.Device, Limit: lines}) {
			if err != nil {
				return err
			}
			if r.Stream != id.Stream() {
				return fmt.Errorf("a line of %s among those of %s", r.Stream, id.Stream())
			}
			n++
		}
		if want := min(lines, t.Lines[device]); n != want {
			return fmt.Errorf("%d lines of %s, want %d", n, id.Stream(), want)
		}
		return nil
	}
}

func askContains(needle string, want int) func(context.Context, *Log, int) error {
	return func(ctx context.Context, l *Log, _ int) error {
		n := 0
		for _, err := range l.Query(ctx, logbridge.Query{Contains: needle}) {
			if err != nil {
				return err
			}
			n++
		}
		if n != want {
			return fmt.Errorf("%d records contain %q, want %d", n, needle, want)
		}
		return nil
	}
}

func askCount(q logbridge.Query, field string, want map[string]uint64) func(context.Context, *Log, int) error {
	return func(ctx context.Context, l *Log, _ int) error {
		counts, err := l.Count(ctx, q, logbridge.CountBy{Field: field})
		if err != nil {
			return err
		}
		return compareSums(counts, field, want)
	}
}

func compareSums(counts []logbridge.Count, field string, want map[string]uint64) error {
	got := map[string]uint64{}
	for _, c := range counts {
		got[c.Value] += c.Records
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("count by %s: %v, want %v", field, got, want)
	}
	return nil
}

func byName(levels [logbridge.LevelDebug + 1]uint64) map[string]uint64 {
	names := map[string]uint64{}
	for l, n := range levels {
		if n > 0 {
			names[logbridge.Level(l).String()] = n
		}
	}
	return names
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// TestStoreQuestions asks the benchmark's questions of a few of its records, in segments and in memory.
func TestStoreQuestions(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 512 << 10})
	const records, lines = 12_000, 100
	g, path := newStoreData(records), filepath.Join(t.TempDir(), "records")
	if err := writeStore(path, g); err != nil {
		t.Fatal(err)
	}
	if _, err := appendAll(t.Context(), openStoreFile(t, path), e.log, storeUploaders); err != nil {
		t.Fatal(err)
	}
	if g.tally.Records != records || len(g.tally.Statuses) < 2 || len(byName(g.tally.Levels)) != 4 || g.tally.Lines[g.tally.hotDevice()] <= lines {
		t.Fatalf("not the records that the benchmark wants: %+v", g.tally)
	}
	if share := float64(sum(g.tally.Statuses)) / records; share < 0.08 || share > 0.12 {
		t.Errorf("%.3f of the records are web events, want a tenth", share)
	}
	for _, q := range storeQuestions(g.tally, lines) {
		for i := range q.variants {
			if err := q.ask(t.Context(), e.log, i); err != nil {
				t.Errorf("%s: %v", q.name, err)
			}
		}
	}
}
