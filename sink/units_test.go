package sink

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestSegmentOfManyUnits asks a memtable of several units of rows, its segment, and a merged one the same: units are
// looked through by several workers, each of which goes on with what it has found before.
func TestSegmentOfManyUnits(t *testing.T) {
	groups := manyRecords(rand.New(rand.NewPCG(17, 7)), 20, 4000)
	whole := tableOf(t, 1, groups...)
	dir := t.TempDir()
	path, err := writeSegment(dir, whole, 1, 20)
	one := mustOpen(t, path, err)
	var parts []*segment
	for i := 0; i < 20; i += 10 {
		path, err := writeSegment(dir, tableOf(t, uint64(i+1), groups[i:i+10]...), uint64(i+1), uint64(i+10))
		parts = append(parts, mustOpen(t, path, err))
	}
	path, err = mergeSegments(t.Context(), dir, parts)
	merged := mustOpen(t, path, err)
	asked := []logbridge.Query{{Limit: 70_000}} // more than a unit
	for i, q := range queries {
		if i%5 != 0 {
			continue
		}
		if q.Limit == 0 {
			q.Limit = 2000
		}
		asked = append(asked, q)
		q.Limit, q.Order = 700, logbridge.OldestFirst
		asked = append(asked, q)
	}
	for _, q := range asked {
		want, err := answer(t, whole.open, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*segment{one, merged} {
			if got, err := answer(t, s.open, q); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, query %+v: %d records, the memtable has %d; %v", filepath.Base(s.path), q, len(got), len(want), err)
			}
			if at := len(want) / 3; at > 0 { // a slow reader's second look
				got, err := answerPlan(s.open, newPlan(t.Context(), q).behind(hitOf(want[at-1]), at))
				if err != nil || !reflect.DeepEqual(got, want[at:]) {
					t.Errorf("%s, behind %d of %+v: %d records, want %d; %v", filepath.Base(s.path), at, q, len(got), len(want)-at, err)
				}
			}
		}
	}
	for i := 0; i < len(queries); i += 9 {
		q := queries[i]
		for _, by := range []logbridge.CountBy{{}, {Field: "level"}, {Field: "source"}, {Field: "stream"}, {Field: "product"}, {Field: "field.k0"},
			{Field: "field.k1"}, {Step: 7e11}, {Field: "level", Step: 7e11}, {Field: "field.k2", Step: 1e12}} {
			counts := func(count func(*counter) error) map[countGroup]uint64 {
				c := newCounter(newPlan(t.Context(), q), by)
				if err := count(c); err != nil {
					t.Fatal(err)
				}
				return c.groups
			}
			want := counts(whole.count)
			for _, s := range []*segment{one, merged} {
				if got := counts(s.count); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, query %+v by %+v: %v, the memtable says %v", filepath.Base(s.path), q, by, got, want)
				}
			}
		}
	}
}

func answerPlan(open func(*plan) (cursor, error), p *plan) (out []logbridge.Record, err error) {
	c, err := open(p)
	for err == nil {
		if _, more := c.head(); !more {
			break
		}
		var r logbridge.Record
		if r, err = c.take(); err == nil {
			out = append(out, r)
		}
	}
	return out, err
}
