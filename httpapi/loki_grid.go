package httpapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// The bounds of one metric query.
const (
	// maxPoints per series, as Loki has it: a resolution of 60 s for a week, or of 1 h for a year.
	maxPoints = 11_000
	// maxSeries of an answer: a chart of more shows nothing, and Grafana draws each of them.
	maxSeries = 2_000
	// maxCells bounds what one part of a query is added up in, a cell for each series and step at which its value changes:
	// about 40 bytes each.
	maxCells = 500_000
	// maxGroups bounds the labels of its series, which may come from the lines: some hundred bytes for each of as many
	// series as maxCells has room for.
	maxGroups = 64 << 20
)

// errSeries is Loki's own sentence: people look it up.
var errSeries = fmt.Sprintf("maximum number of series (%d) reached for a single query; consider reducing query cardinality by adding more specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()", maxSeries)

// errResolution is Loki's too.
func errResolution() error {
	return fmt.Errorf("%w: exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter", logbridge.ErrInvalid)
}

func errCells() error {
	return fmt.Errorf("%w: the query has more than %d values to add up; aggregate by fewer labels, or use a longer step or a shorter time range", logbridge.ErrTooLarge, maxCells)
}

// grid is the times at which a metric query is evaluated: start, start+step and so on, n of them.
type grid struct {
	start, step int64 // ns; step is above 0
	n           int
}

// gridOf is the grid of a range query; start equal to end makes it the one time of an instant query.
func gridOf(start, end time.Time, step time.Duration) (grid, error) {
	span := end.Sub(start)
	switch {
	case span < 0:
		return grid{}, fmt.Errorf("%w: end timestamp must not be before or equal to start time", logbridge.ErrInvalid)
	case span == 0:
		return grid{start: start.UnixNano(), step: 1, n: 1}, nil
	case step <= 0:
		return grid{}, fmt.Errorf("%w: zero or negative query resolution step widths are not accepted. Try a positive integer", logbridge.ErrInvalid)
	case span/step > maxPoints:
		return grid{}, errResolution()
	}
	return grid{start: start.UnixNano(), step: int64(step), n: int(span/step) + 1}, nil
}

// at is the time of point i.
func (g grid) at(i int) int64 { return g.start + int64(i)*g.step }

// windows are the stretches of time that the points of a grid look back at: (t-offset-length, t-offset] for a point at t.
type windows struct {
	grid
	length, offset int64
}

// span is all that the windows cover, from (inclusive) to until (exclusive).
func (w windows) span() (from, until int64) {
	return w.start - w.offset - w.length + 1, w.at(w.n-1) - w.offset + 1
}

// of gives the points whose windows hold a time of the span, first to last; last is below first when none does.
func (w windows) of(t int64) (first, last int) {
	first = max(0, int(ceilDiv(t+w.offset-w.start, w.step)))
	last = min(w.n-1, int(ceilDiv(t+w.offset+w.length-w.start, w.step))-1)
	return first, last
}

func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}

// point is the value of a series at one point of the grid.
type point struct {
	step  int
	value float64
}

// series is what a metric query gives: labels in the order of their names, points in that of time.
type series struct {
	labels []loki.Label
	points []point
}

// seriesKey tells series apart.
func seriesKey(labels []loki.Label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.Name)
		b.WriteByte(0)
		b.WriteString(l.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// tally adds up what falls into the windows, by series. It keeps the changes from point to point, so what it costs does not
// depend on how much the windows overlap.
type tally struct {
	windows
	groups map[string]*tallied
	cells  int
	bytes  int // of the labels
}

type tallied struct {
	labels  []loki.Label
	changes map[int]change
}

// change is by how much a series differs from the point before.
type change struct{ records, value int64 }

func newTally(w windows) *tally { return &tally{windows: w, groups: map[string]*tallied{}} }

// add counts records at time t, with a value in all, for the series with these labels, which are kept.
func (t *tally) add(labels []loki.Label, at int64, records, value int64) error {
	first, last := t.of(at)
	if last < first {
		return nil
	}
	return t.changed(labels, [2]int{first, last + 1}, change{records, value})
}

// change counts records that come into the windows from a point on, or go out of them.
func (t *tally) change(labels []loki.Label, from int, records int64) error {
	return t.changed(labels, [2]int{max(from, 0), t.n}, change{records, records})
}

// changed adds c to the points from span[0] to before span[1].
func (t *tally) changed(labels []loki.Label, span [2]int, c change) error {
	key := seriesKey(labels)
	g := t.groups[key]
	if g == nil {
		if t.bytes += len(key) + labelsBytes(labels); t.bytes > maxGroups {
			return fmt.Errorf("%w: the labels by which the query adds up are larger than %d MiB; aggregate by others", logbridge.ErrTooLarge, maxGroups>>20)
		}
		ownValues(labels)
		g = &tallied{labels: labels, changes: map[int]change{}}
		t.groups[key] = g
		t.cells++
	}
	before := len(g.changes)
	at := g.changes[span[0]]
	g.changes[span[0]] = change{at.records + c.records, at.value + c.value}
	at = g.changes[span[1]]
	g.changes[span[1]] = change{at.records - c.records, at.value - c.value}
	if t.cells += len(g.changes) - before; t.cells > maxCells {
		return errCells()
	}
	return nil
}

// series gives the points at which a series has records; its value there is what was added, divided by per.
func (t *tally) series(per float64) ([]series, error) {
	var out []series
	points := 0
	for _, key := range slices.Sorted(maps.Keys(t.groups)) {
		g := t.groups[key]
		s := series{labels: g.labels}
		steps := slices.Sorted(maps.Keys(g.changes))
		var now change
		for i, step := range steps {
			c := g.changes[step]
			now = change{now.records + c.records, now.value + c.value}
			if now.records <= 0 || i+1 == len(steps) {
				continue
			}
			end := steps[i+1]
			if points += end - step; points > maxCells {
				return nil, errCells()
			}
			for ; step < end; step++ {
				s.points = append(s.points, point{step, float64(now.value) / per})
			}
		}
		out = append(out, s)
	}
	return out, nil
}
