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
		compareCounts(t, queries[i], whole, one, merged)
	}
}
