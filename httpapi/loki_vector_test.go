package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// metric asks a metric query of the records' hour, step by step or, without a step, at its end.
func (w *world) metric(query, step string) metricAnswer {
	w.t.Helper()
	path, params := "/query_range", url.Values{"query": {query}, "start": {nanos(lokiEpoch)}, "end": {nanos(lokiEpoch.Add(time.Hour))}, "step": {step}}
	if step == "" {
		path, params = "/query", url.Values{"query": {query}, "time": {nanos(lokiEpoch.Add(time.Hour))}}
	}
	var m metricAnswer
	w.lokiOK(&m, path, params)
	return m
}

// TestAggregationsAgreeWithTheirSeries takes the series of a count apart from what is made of them.
func TestAggregationsAgreeWithTheirSeries(t *testing.T) {
	w, _ := lokiWorld(t, 400)
	const counts = `count_over_time({service_name=~".+"}[5m])`
	for _, step := range []string{"5m", ""} {
		base := w.metric(counts, step)
		if len(base.Data.Result) < 10 {
			t.Fatalf("%d series", len(base.Data.Result))
		}
		for op, fold := range map[string]func([]float64) float64{
			"sum":   func(v []float64) float64 { return sumOf(v) },
			"count": func(v []float64) float64 { return float64(len(v)) },
			"min":   func(v []float64) float64 { return slices.Min(v) },
			"max":   func(v []float64) float64 { return slices.Max(v) },
			"avg":   func(v []float64) float64 { return sumOf(v) / float64(len(v)) },
		} {
			for by, names := range map[string][]string{"": {}, "by (source)": {"source"}, "by (source, level)": {"source", "level"}, "by (device)": {"device"}} {
				if got, want := fmt.Sprint(folded(w.metric(op+" "+by+" ("+counts+")", step), names, sumOf)), fmt.Sprint(folded(base, names, fold)); got != want {
					t.Errorf("%s %s, step %q:\n got %.300s\nwant %.300s", op, by, step, got, want)
				}
			}
		}
		for op, sign := range map[string]float64{"topk": -1, "bottomk": 1} {
			got := w.metric(op+" by (source) (3, "+counts+")", step)
			best := func(v []float64) float64 {
				slices.SortFunc(v, func(a, b float64) int { return cmp.Compare(a*sign, b*sign) })
				return sumOf(v[:min(3, len(v))])
			}
			if got, want := fmt.Sprint(folded(got, []string{"source"}, sumOf)), fmt.Sprint(folded(base, []string{"source"}, best)); got != want {
				t.Errorf("%s, step %q:\n got %.300s\nwant %.300s", op, step, got, want)
			}
		}
	}
	top := w.metric("topk(5, sum by (device, level) ("+counts+"))", "")
	for i := 1; i < len(top.Data.Result); i++ {
		if number(top.Data.Result[i-1].Value) < number(top.Data.Result[i].Value) {
			t.Errorf("topk is not in order: %+v", top.Data.Result)
		}
	}
	if len(top.Data.Result) != 5 {
		t.Errorf("topk(5) gives %d", len(top.Data.Result))
	}
}

func sumOf(v []float64) (sum float64) {
	for _, f := range v {
		sum += f
	}
	return sum
}

func number(v [2]any) float64 {
	f, err := strconv.ParseFloat(v[1].(string), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// folded gathers the values of an answer by time and labels, and folds each.
func folded(m metricAnswer, names []string, fold func([]float64) float64) map[string]float64 {
	values := map[string][]float64{}
	for _, s := range m.Data.Result {
		key := ""
		for _, name := range names {
			key += s.Metric[name] + ","
		}
		if s.Values == nil {
			s.Values = [][2]any{s.Value}
		}
		for _, v := range s.Values {
			at := fmt.Sprintf("%s%.3f", key, v[0])
			values[at] = append(values[at], number(v))
		}
	}
	out := map[string]float64{}
	for key, v := range values {
		out[key] = math.Round(fold(v)*1e6) / 1e6
	}
	return out
}

func TestArithmetic(t *testing.T) {
	w := start(t)
	w.storeLines("one", "two", "three", "four", "five")
	const n = `sum(count_over_time({device="dev_01"}[1h]))`
	for query, want := range map[string]string{
		"1 + 2 * 3": "7", "vector(7)": "7", "vector(3) * vector(4)": "12", n: "5", n + " * 2": "10", "100 / " + n: "20", n + " - vector(1)": "4", n + " / 0": "NaN",
		n + " > 4": "5", n + " > 5": "", n + " >= bool 6": "0", "2 < " + n: "5", `sum(rate({device="dev_01"}[1h])) * 3600`: "5",
		`sum by (level) (count_over_time({device="dev_01"}[1h])) + vector(1)`: "", "(" + n + " + 1) % 4": "2", `sum(count_over_time({device="none"}[1h]))`: "",
		`count(sum by (level) (count_over_time({device="dev_01"}[1h])))`: "4", `max(sum by (level) (count_over_time({device="dev_01"}[1h])))`: "2",
	} {
		a := w.loki("/query", url.Values{"query": {query}, "time": {nanos(lokiEpoch.Add(30 * time.Minute))}})
		got := ""
		var m metricAnswer
		var scalar struct{ Data struct{ Result [2]any } }
		switch {
		case json.Unmarshal([]byte(a.body), &m) == nil && len(m.Data.Result) == 1:
			got = m.Data.Result[0].Value[1].(string)
		case json.Unmarshal([]byte(a.body), &scalar) == nil && scalar.Data.Result[1] != nil:
			got = scalar.Data.Result[1].(string)
		}
		if a.StatusCode != 200 || got != want {
			t.Errorf("%s = %q, want %q: %d %.300s", query, got, want, a.StatusCode, a.body)
		}
	}
	if m := w.metric("1 + 1", "20m"); m.Data.ResultType != "matrix" || len(m.Data.Result) != 1 || len(m.Data.Result[0].Values) != 4 || m.Data.Result[0].Values[3][1] != "2" {
		t.Errorf("a number over a range: %+v", m)
	}
}

// TestLogQueriesAgreeWithAModel asks for lines in both orders with a limit.
func TestLogQueriesAgreeWithAModel(t *testing.T) {
	w, records := lokiWorld(t, 300)
	found := 0
	for _, selector := range modelSelectors {
		for _, stages := range modelStages {
			query := selector + " " + stages
			expr, err := loki.Parse(query)
			check(t, err)
			e := expr.(*loki.LogExpr)
			for _, order := range []logbridge.Order{logbridge.OldestFirst, logbridge.NewestFirst} {
				direction, flags := "forward", ""
				if order == logbridge.NewestFirst {
					direction, flags = "BACKWARD", "categorize-labels"
				}
				const limit = 7
				want := modelLines(records, e, order, limit)
				found += len(want)
				params := during(query, "limit", strconv.Itoa(limit), "direction", direction)
				var x explored
				w.lokiOK(&x, "/query_range", params, "X-Loki-Response-Encoding-Flags", flags)
				if got := linesOf(x, order); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s %s:\n got %.400q\nwant %.400q", query, direction, got, want)
				}
			}
		}
	}
	if found < 2000 {
		t.Errorf("only %d lines", found)
	}
}

// modelLine is a line with its time and labels as text, but for what tells where they come from.
type modelLine struct{ at, line, labels string }

func modelLines(records []logbridge.Record, e *loki.LogExpr, order logbridge.Order, limit int) []modelLine {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b logbridge.Record) int { return a.Time.Compare(b.Time) })
	if order == logbridge.NewestFirst {
		slices.Reverse(records)
	}
	var out []modelLine
	pipeline := e.Pipeline()
	for _, r := range records {
		if !matchesAll(e.Matchers, appendMetadata(lokiKindOf(&r).labels(), &r)) {
			continue
		}
		line, labels, keep := pipeline.Categorize(lokiLine(&r), lokiKindOf(&r).labels(), appendMetadata(nil, &r))
		if !keep {
			continue
		}
		all := map[string]string{}
		for _, l := range slices.Concat(labels.Stream, labels.Metadata, labels.Parsed) {
			if l.Name != metaSeq {
				all[l.Name] = l.Value
			}
		}
		if out = append(out, modelLine{nanos(r.Time), line, fmt.Sprint(all)}); len(out) == limit {
			break
		}
	}
	return sortedLines(out, order)
}

// linesOf gives the lines of an answer. Those of different streams have no order among each other.
func linesOf(x explored, order logbridge.Order) []modelLine {
	var out []modelLine
	for _, s := range x.Data.Result {
		for _, v := range s.Values {
			all := map[string]string{}
			for name, value := range s.Stream {
				all[name] = value
			}
			if len(v) == 3 {
				for _, kind := range v[2].(map[string]any) {
					for name, value := range kind.(map[string]any) {
						if name != metaSeq {
							all[name] = value.(string)
						}
					}
				}
			}
			out = append(out, modelLine{v[0].(string), v[1].(string), fmt.Sprint(all)})
		}
	}
	return sortedLines(out, order)
}

func sortedLines(lines []modelLine, order logbridge.Order) []modelLine {
	slices.SortStableFunc(lines, func(a, b modelLine) int {
		c := cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.labels, b.labels))
		if order == logbridge.NewestFirst {
			c = cmp.Or(-cmp.Compare(a.at, b.at), cmp.Compare(a.labels, b.labels))
		}
		return c
	})
	return lines
}
