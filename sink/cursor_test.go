package sink

import (
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestCursorHoldsLittle: however long the records are, a cursor over a segment has few bytes of them in memory.
func TestCursorHoldsLittle(t *testing.T) {
	const records, length = 600, 200_000
	var groups [][]logbridge.Record
	for i := range records {
		short, long := line("dev", "short"), line("dev", strings.Repeat("x", length))
		short.Time = epoch.Add(time.Duration(2*i) * time.Second)
		long.Time = short.Time.Add(time.Second)
		if i%2 == 1 {
			long.Body, long.Attributes = "", []logbridge.Attr{{Key: "long", Value: long.Body}}
		}
		groups = append(groups, []logbridge.Record{short, long})
	}
	path, err := writeSegment(t.TempDir(), tableOf(t, 1, groups...), 1, uint64(len(groups)))
	s := mustOpen(t, path, err)
	defer s.Close()
	for _, q := range []logbridge.Query{{}, {Limit: 250}, {Order: logbridge.ByPosition}} {
		c, err := s.open(newPlan(t.Context(), q))
		if err != nil {
			t.Fatal(err)
		}
		n, most := 0, 0
		for {
			size := 0
			for i := range c.(*segmentCursor).ready {
				size += memorySize(&c.(*segmentCursor).ready[i])
			}
			most = max(most, size)
			if _, more := c.head(); !more {
				break
			}
			if _, err := c.take(); err != nil {
				t.Fatal(err)
			}
			n++
		}
		want := 2 * records
		if q.Limit > 0 {
			want = q.Limit
		}
		if n != want || most > 2*takeBytes {
			t.Errorf("%+v: %d records, %d MiB of them at once", q, n, most>>20)
		}
	}
}
