package httpapi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// metricQuery evaluates a metric query at the points of a grid.
type metricQuery struct {
	*Server
	ctx  context.Context
	grid grid
}

// result is a number, the same at each point, or series.
type result struct {
	scalar bool
	number float64
	series []series
}

// matrix is the answer of a range query.
func (m *metricQuery) matrix(e loki.Expr) ([]byte, error) {
	r, err := m.answer(e)
	if err != nil {
		return nil, err
	}
	if r.scalar {
		r.series = m.everywhere(r.number)
	}
	answer := loki.Answer{Type: loki.Matrix}
	b := answer.Open(nil)
	var samples []loki.Sample
	for _, s := range r.series {
		samples = samples[:0]
		for _, p := range s.points {
			samples = append(samples, loki.Sample{Time: m.time(p.step), Value: p.value})
		}
		b = answer.Series(b, loki.Series{Labels: s.labels, Samples: samples})
	}
	return answer.Close(b), nil
}

// vector is the answer of an instant query.
func (m *metricQuery) vector(e loki.Expr) ([]byte, error) {
	r, err := m.answer(e)
	if err != nil {
		return nil, err
	}
	if r.scalar {
		answer := loki.Answer{Type: loki.Scalar}
		return answer.Close(answer.Sample(answer.Open(nil), nil, loki.Sample{Time: m.time(0), Value: r.number})), nil
	}
	if v, ok := e.(*loki.VectorExpr); ok && v.Param > 0 { // the best first
		slices.SortStableFunc(r.series, func(a, b series) int { return better(v.Op, a.points[0].value, b.points[0].value) })
	}
	answer := loki.Answer{Type: loki.Vector}
	b := answer.Open(nil)
	for _, s := range r.series {
		b = answer.Sample(b, s.labels, loki.Sample{Time: m.time(0), Value: s.points[0].value})
	}
	return answer.Close(b), nil
}

func (m *metricQuery) time(step int) time.Time { return time.Unix(0, m.grid.at(step)).UTC() }

// answer evaluates the whole query, whose series are sorted by their labels.
func (m *metricQuery) answer(e loki.Expr) (result, error) {
	r, err := m.eval(e)
	if err != nil {
		return r, err
	}
	r.series = slices.DeleteFunc(r.series, func(s series) bool { return len(s.points) == 0 })
	if len(r.series) > maxSeries {
		return r, newProblem(http.StatusBadRequest, errSeries)
	}
	slices.SortFunc(r.series, func(a, b series) int { return strings.Compare(seriesKey(a.labels), seriesKey(b.labels)) })
	return r, nil
}

func (m *metricQuery) eval(e loki.Expr) (result, error) {
	switch e := e.(type) {
	case *loki.LiteralExpr:
		if !e.Vector {
			return result{scalar: true, number: e.Value}, nil
		}
		return result{series: m.everywhere(e.Value)}, nil
	case *loki.RangeExpr:
		s, err := m.overTime(e, everyLabel)
		return result{series: s}, err
	case *loki.VectorExpr:
		s, err := m.aggregate(e)
		return result{series: s}, err
	case *loki.BinaryExpr:
		left, err := m.eval(e.Left)
		if err != nil {
			return result{}, err
		}
		right, err := m.eval(e.Right)
		if err != nil {
			return result{}, err
		}
		return combine(e, left, right), nil
	}
	return result{}, newProblem(http.StatusBadRequest, "this is no metric query: "+e.String())
}

// everywhere is the series without labels that has one value at each point.
func (m *metricQuery) everywhere(value float64) []series {
	s := series{points: make([]point, m.grid.n)}
	for i := range s.points {
		s.points[i] = point{i, value}
	}
	return []series{s}
}

// overTime evaluates a function over ranges of lines, its series told apart by g.
func (m *metricQuery) overTime(e *loki.RangeExpr, g grouping) ([]series, error) {
	sel := selectLogs(e.Log)
	t := newTally(windows{grid: m.grid, length: int64(e.Range), offset: int64(e.Offset)})
	bytes := e.Op == loki.BytesOverTime || e.Op == loki.BytesRate
	d, countable := sel.dimensionsOf(g)
	var err error
	switch {
	case sel.none:
	case sel.exact && !sel.errors && !bytes && countable:
		err = m.countOverTime(t, sel, g, d)
	default:
		err = m.readOverTime(t, sel, g, bytes)
	}
	if err != nil {
		return nil, err
	}
	per := 1.0
	if e.Op == loki.Rate || e.Op == loki.BytesRate {
		per = e.Range.Seconds()
	}
	return t.series(per)
}

// during is the time range of a tally's windows.
func (t *tally) during() (since, until time.Time) {
	from, to := t.span()
	return time.Unix(0, from), time.Unix(0, to)
}

// readOverTime adds up the lines one by one. A line that could not be read fails the query, as in Loki: else the sum would be
// less than it says.
func (m *metricQuery) readOverTime(t *tally, sel *selection, g grouping, bytes bool) error {
	since, until := t.during()
	var labels []loki.Label
	for e, err := range m.lokiLines(m.ctx, sel, since, until, logbridge.NewestFirst, 0) {
		if err != nil {
			return err
		}
		if kind := labelOf(e.labels.Parsed, "__error__"); kind != "" {
			return errPipeline(kind, e.labels)
		}
		value := int64(1)
		if bytes {
			value = int64(len(e.line))
		}
		labels = append(append(labels[:0], e.labels.Stream...), e.labels.Parsed...)
		if !g.without { // by what is stored beside lines only where it is named: it may be different for each
			labels = append(labels, e.labels.Metadata...)
		}
		if err := t.add(g.of(labels), e.at.UnixNano(), 1, value); err != nil {
			return err
		}
	}
	return nil
}

func errPipeline(kind string, labels loki.Labels) error {
	series := loki.LogExpr{}
	for _, l := range labels.Stream {
		series.Matchers = append(series.Matchers, loki.Matcher{Name: l.Name, Op: loki.Equal, Value: l.Value})
	}
	return newProblem(http.StatusBadRequest, fmt.Sprintf("pipeline error: '%s' for series: '%s'. "+
		"Use a label filter to intentionally skip this error, such as | __error__!=\"%s\", or skip all of them by | __error__=\"\"", kind, series.String(), kind))
}

// maxIntervals is how many intervals are counted in where windows overlap by parts of their step.
const maxIntervals = 2 * maxPoints

// countOverTime has the log count in intervals that the windows are made of: as long as the greatest common divisor of step
// and length. Where that is too short, it counts twice in intervals of a step: those that end where windows do, in which a
// record comes into a window, and those that end where windows begin, in which it goes out of one.
func (m *metricQuery) countOverTime(t *tally, sel *selection, g grouping, d dimensions) error {
	since, until := t.during()
	q := sel.during(since, until)
	every := gcd(t.step, t.length)
	if t.n == 1 {
		every = t.length
	}
	if (until.UnixNano()-since.UnixNano())/every <= maxIntervals {
		return m.countKinds(m.ctx, q, time.Duration(every), since, d, func(c counted) error {
			return t.add(c.labels(g, d), c.at.UnixNano(), int64(c.records), int64(c.records))
		})
	}
	step, end := time.Duration(t.step), time.Unix(0, t.start-t.offset+1)
	// Out before in: a record that arrives in between must not go out of a window that it was not in.
	err := m.countKinds(m.ctx, q, step, since, d, func(c counted) error {
		_, last := t.of(c.at.UnixNano())
		return t.change(c.labels(g, d), last+1, -int64(c.records))
	})
	if err != nil {
		return err
	}
	return m.countKinds(m.ctx, q, step, end, d, func(c counted) error {
		first, _ := t.of(c.at.UnixNano())
		return t.change(c.labels(g, d), first, int64(c.records))
	})
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// combine does arithmetic point by point: of a number with each series, or of series with the same labels.
func combine(e *loki.BinaryExpr, left, right result) result {
	switch {
	case left.scalar && right.scalar:
		value, ok := e.Apply(left.number, right.number)
		if !ok {
			value = math.NaN() // a comparison of numbers has no sample to leave out
		}
		return result{scalar: true, number: value}
	case right.scalar:
		return result{series: each(left.series, func(p point) (float64, bool) { return e.Apply(p.value, right.number) })}
	case left.scalar:
		return result{series: each(right.series, func(p point) (float64, bool) {
			value, ok := e.Apply(left.number, p.value)
			if !e.Bool && strings.IndexByte("=!<>GL", e.Op) >= 0 {
				value = p.value // of a comparison that holds the sample is left, on whichever side it is
			}
			return value, ok
		})}
	}
	others := map[string]map[int]float64{}
	for _, s := range right.series {
		values := make(map[int]float64, len(s.points))
		for _, p := range s.points {
			values[p.step] = p.value
		}
		others[seriesKey(s.labels)] = values
	}
	var out []series
	for _, s := range left.series {
		other := others[seriesKey(s.labels)]
		out = append(out, each([]series{s}, func(p point) (float64, bool) {
			value, ok := other[p.step]
			if !ok {
				return 0, false
			}
			return e.Apply(p.value, value)
		})...)
	}
	return result{series: out}
}

// each replaces each value, or leaves it out.
func each(all []series, fn func(point) (float64, bool)) []series {
	out := make([]series, 0, len(all))
	for _, s := range all {
		changed := series{labels: s.labels}
		for _, p := range s.points {
			if value, ok := fn(p); ok {
				changed.points = append(changed.points, point{p.step, value})
			}
		}
		out = append(out, changed)
	}
	return out
}
