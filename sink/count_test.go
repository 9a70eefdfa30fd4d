package sink

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// manyUnits are rows of several units: the first half of each of the first two is older than epoch.
func manyUnits() (groups [][]logbridge.Record) {
	for device := range 6 {
		for from := 0; from < unitRows; from += 4096 {
			records := make([]logbridge.Record, 4096)
			for i := range records {
				r := line(fmt.Sprintf("dev%d", device), "x")
				r.Severity = logbridge.LevelError
				if device > 2 {
					r.Severity = logbridge.LevelDebug
				}
				r.Time = epoch.Add(time.Duration(from+i) * time.Millisecond)
				if device < 2 && from < unitRows/2 {
					r.Time = r.Time.Add(-time.Hour)
				}
				r.Attributes = []logbridge.Attr{{Key: "kind", Value: fmt.Sprintf("v%02d", device*10)}}
				records[i] = r
			}
			groups = append(groups, records)
		}
	}
	return groups
}

// TestCountOfManyUnits: a worker that counts one unit row by row and the next page by page keeps what it has counted.
func TestCountOfManyUnits(t *testing.T) {
	groups := manyUnits()
	whole := tableOf(t, 1, groups...)
	path, err := writeSegment(t.TempDir(), whole, 1, uint64(len(groups)))
	s := mustOpen(t, path, err)
	defer s.Close()
	for _, q := range []logbridge.Query{{Since: epoch}, {}, {Product: "ABCDE12345", Device: "dev[0245]", Since: epoch}} {
		for _, by := range []logbridge.CountBy{{Field: "level"}, {Field: "source"}, {Field: "field.kind"}, {Field: "stream", Step: time.Second}} {
			var want, got map[countGroup]uint64
			for _, count := range []struct {
				by   func(*counter) error
				into *map[countGroup]uint64
			}{{whole.count, &want}, {s.count, &got}} {
				c := newCounter(newPlan(t.Context(), q), by)
				if err := count.by(c); err != nil {
					t.Fatal(err)
				}
				*count.into = c.groups
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v by %+v: the segment and the memtable differ: %d and %d groups", q, by, len(got), len(want))
				if len(want) < 10 {
					t.Log(got, want)
				}
			}
		}
	}
}

// TestCountIsBoundedInMemory: many streams in many intervals cost memory for the groups that there are, not for all that
// there could be.
func TestCountIsBoundedInMemory(t *testing.T) {
	const devices = 4000
	var groups [][]logbridge.Record
	for device := 0; device < devices; device += 1000 {
		var records []logbridge.Record
		for i := range 10_000 {
			r := line(fmt.Sprintf("dev%04d", device+i/10), "x")
			r.Time = epoch.Add(time.Duration(device*10+i) * time.Second)
			records = append(records, r)
		}
		groups = append(groups, records)
	}
	whole := tableOf(t, 1, groups...)
	path, err := writeSegment(t.TempDir(), whole, 1, uint64(len(groups)))
	s := mustOpen(t, path, err)
	defer s.Close()
	for name, count := range map[string]func(*counter) error{"memtable": whole.count, "segment": s.count} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := newCounter(newPlan(t.Context(), logbridge.Query{}), logbridge.CountBy{Field: "stream", Step: time.Second})
		if err := count(c); err != nil || len(c.groups) != 10*devices {
			t.Fatalf("%s: %d groups, %v", name, len(c.groups), err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d MiB for %d groups", name, used>>20, len(c.groups))
		}
	}
}

// TestCountByProductOfManyStreams: what a count by product bounds is products, not the streams they have.
func TestCountByProductOfManyStreams(t *testing.T) {
	const devices, steps = 500, 201 // together more than maxCounts
	var groups [][]logbridge.Record
	for step := range steps {
		records := make([]logbridge.Record, devices)
		for i := range records {
			records[i] = line(fmt.Sprint("dev", i), "x")
			records[i].Time = epoch.Add(time.Duration(step) * time.Second)
		}
		groups = append(groups, records)
	}
	whole := tableOf(t, 1, groups...)
	path, err := writeSegment(t.TempDir(), whole, 1, steps)
	s := mustOpen(t, path, err)
	defer s.Close()
	for name, count := range map[string]func(*counter) error{"memtable": whole.count, "segment": s.count} {
		c := newCounter(newPlan(t.Context(), logbridge.Query{}), logbridge.CountBy{Field: "product", Step: time.Second})
		if err := count(c); err != nil || len(c.groups) != steps {
			t.Errorf("%s: %d groups, %v, want %d", name, len(c.groups), err, steps)
		}
	}
}

func TestIntervals(t *testing.T) {
	for _, c := range []struct{ t, step, origin, want int64 }{
		{7, 5, 0, 5}, {-1, 5, 0, -5}, {-5, 5, 0, -5}, {-6, 5, 0, -10}, {0, 5, 0, 0}, {7, 0, 0, 0},
		{7, 5, 2, 7}, {6, 5, 2, 2}, {1, 5, 2, -3}, {-3, 5, 2, -3}, {-4, 5, 2, -8},
		{1 << 62, 1<<63 - 1, 0, 0}, {1 << 62, 1<<63 - 1, 1<<63 - 2, -1}, {-1 << 63, 1 << 20, 0, -1 << 63}, {-1<<63 + 5, 1000, 0, -1 << 63},
	} {
		if got := (intervals{c.step, c.origin}).of(c.t); got != c.want {
			t.Errorf("intervals{%d, %d}.of(%d) = %d, want %d", c.step, c.origin, c.t, got, c.want)
		}
	}
}
