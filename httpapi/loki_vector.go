package httpapi

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/logbridge/logbridge/wire/loki"
)

// aggregate evaluates an aggregation. A sum over counted lines is counted by what it keeps, so series that it adds up are
// never there.
func (m *metricQuery) aggregate(e *loki.VectorExpr) ([]series, error) {
	g := grouping{names: e.By, without: e.Without}
	if over, ok := e.Inner.(*loki.RangeExpr); ok && e.Op == loki.Sum {
		return m.overTime(over, g)
	}
	inner, err := m.eval(e.Inner)
	if err != nil {
		return nil, err
	}
	if e.Op == loki.TopK || e.Op == loki.BottomK {
		return best(e, g, inner.series), nil
	}
	groups := map[string]*aggregated{}
	for _, s := range inner.series {
		labels := g.of(s.labels)
		key := seriesKey(labels)
		group := groups[key]
		if group == nil {
			group = &aggregated{labels: labels, at: map[int]statistics{}}
			groups[key] = group
		}
		for _, p := range s.points {
			group.at[p.step] = group.at[p.step].with(p.value)
		}
	}
	out := make([]series, 0, len(groups))
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		group := groups[key]
		s := series{labels: group.labels}
		for _, step := range slices.Sorted(maps.Keys(group.at)) {
			s.points = append(s.points, point{step, group.at[step].value(e.Op)})
		}
		out = append(out, s)
	}
	return out, nil
}

// aggregated is one group of series.
type aggregated struct {
	labels []loki.Label
	at     map[int]statistics
}

// statistics are of the values of a group at one point.
type statistics struct{ n, sum, min, max float64 }

func (s statistics) with(v float64) statistics {
	if s.n == 0 {
		return statistics{1, v, v, v}
	}
	return statistics{s.n + 1, s.sum + v, math.Min(s.min, v), math.Max(s.max, v)}
}

func (s statistics) value(op loki.VectorOp) float64 {
	switch op {
	case loki.Count:
		return s.n
	case loki.Min:
		return s.min
	case loki.Max:
		return s.max
	case loki.Avg:
		return s.sum / s.n
	}
	return s.sum
}

// better orders values as topk and bottomk want them, the best first; what is no number is last.
func better(op loki.VectorOp, a, b float64) int {
	if math.IsNaN(a) || math.IsNaN(b) {
		return cmp.Compare(b, a) // NaN is below all else
	}
	if op == loki.BottomK {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(b, a)
}

// best keeps, at each point and in each group, the k best series; of equal ones those that come first by their labels.
func best(e *loki.VectorExpr, g grouping, all []series) []series {
	type candidate struct {
		series int
		value  float64
	}
	type place struct {
		group string
		step  int
	}
	candidates := map[place][]candidate{}
	for i, s := range all {
		group := seriesKey(g.of(s.labels))
		for _, p := range s.points {
			at := place{group, p.step}
			candidates[at] = append(candidates[at], candidate{i, p.value})
		}
	}
	kept := make([]map[int]bool, len(all))
	for at, list := range candidates {
		slices.SortStableFunc(list, func(a, b candidate) int { return better(e.Op, a.value, b.value) })
		for _, c := range list[:min(e.Param, len(list))] {
			if kept[c.series] == nil {
				kept[c.series] = map[int]bool{}
			}
			kept[c.series][at.step] = true
		}
	}
	out := make([]series, 0, len(all))
	for i, s := range all {
		left := each([]series{s}, func(p point) (float64, bool) { return p.value, kept[i][p.step] })
		out = append(out, left...)
	}
	return out
}
