package sink

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// maxCounts bounds the groups of one answer: what a chart can show, and what a count by a field that is different in each
// record may cost in memory.
const maxCounts = 100_000

// Count counts the records that answer q, in groups; q.Order and q.Limit are not looked at. The answer is sorted by time
// and value. It is ErrTooLarge when there are more than 100 000 groups.
func (l *Log) Count(ctx context.Context, q logbridge.Query, by logbridge.CountBy) ([]logbridge.Count, error) {
	if err := by.Validate(); err != nil {
		return nil, err
	}
	type group struct {
		at    int64
		value string
	}
	counts := map[group]uint64{}
	q.Order, q.Limit = logbridge.ByPosition, 0
	for r, err := range l.Query(ctx, q) {
		if err != nil {
			return nil, err
		}
		g := group{value: by.Of(&r)}
		if by.Step > 0 {
			g.at = floor(r.Time.UnixNano(), int64(by.Step))
		}
		if counts[g]++; len(counts) > maxCounts {
			return nil, fmt.Errorf("%w: more than %d groups", logbridge.ErrTooLarge, maxCounts)
		}
	}
	out := make([]logbridge.Count, 0, len(counts))
	for g, n := range counts {
		c := logbridge.Count{Value: g.value, Records: n}
		if by.Step > 0 {
			c.Time = time.Unix(0, g.at).UTC()
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b logbridge.Count) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Value, b.Value))
	})
	return out, nil
}

// floor is the greatest multiple of step that is not above t, before 1970 as well.
func floor(t, step int64) int64 {
	t -= ((t % step) + step) % step
	return t
}
