package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// What is shown of labels exists: all of it is counted from the records of the time range.

// maxSets bounds the sets of labels in one answer: some hundred bytes each.
const maxSets = 50_000

func errSets() error {
	return newProblem(http.StatusBadRequest, fmt.Sprintf("there are more than %d series; narrow the request by a selector or a shorter time range", maxSets))
}

// selectorOf reads what requests about labels select by: a selector, which may be absent or empty, or a log query, of which only the
// selector counts.
func selectorOf(query string) (*selection, error) {
	matchers, err := loki.ParseSelector(query)
	if err == nil {
		return selectStreams(matchers), nil
	}
	if expr, other := loki.Parse(query); other == nil {
		if logs, ok := expr.(*loki.LogExpr); ok {
			return selectStreams(logs.Matchers), nil
		}
	}
	return nil, err
}

// streamsOf gives the streams that a request's query selects, with how many records of the time range each has.
func (s *Server) streamsOf(ctx context.Context, sel *selection, p *loki.Params, d dimensions, fn func(counted) error) error {
	if sel.none || !p.Start.Before(p.End) {
		return nil
	}
	return s.countKinds(ctx, sel.during(p.Start, p.End), 0, time.Time{}, d, fn)
}

// labelValues gives the values of each label that what is selected has.
func (s *Server) labelValues(ctx context.Context, r *lokiRequest) (map[string]map[string]bool, error) {
	sel, err := selectorOf(r.params.Query)
	if err != nil {
		return nil, err
	}
	values := map[string]map[string]bool{}
	for _, d := range []dimensions{{by: byStream}, {source: true}, {level: true}} {
		err := s.streamsOf(ctx, sel, &r.params, d, func(c counted) error {
			for _, l := range d.labels(c.kind) {
				if values[l.Name] == nil {
					values[l.Name] = map[string]bool{}
				}
				values[l.Name][l.Value] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// labels gives those labels of a kind that the dimensions tell.
func (d dimensions) labels(kind lokiKind) []loki.Label {
	var labels []loki.Label
	if d.by == byStream {
		labels = streamLabels(kind.stream)
	}
	if d.source {
		labels = append(labels, loki.Label{Name: labelSource, Value: string(kind.source)})
	}
	if d.level {
		labels = append(labels, loki.Label{Name: labelLevel, Value: kind.level.String()}, loki.Label{Name: labelDetectedLevel, Value: kind.level.String()})
	}
	return labels
}

// lokiLabels answers labels: the names.
func (s *Server) lokiLabels(ctx context.Context, r *lokiRequest) ([]byte, error) {
	values, err := s.labelValues(ctx, r)
	if err != nil {
		return nil, err
	}
	return loki.AppendStrings(nil, slices.Sorted(maps.Keys(values))), nil
}

// lokiLabelValues answers label/<name>/values.
func (s *Server) lokiLabelValues(ctx context.Context, r *lokiRequest) ([]byte, error) {
	sel, err := selectorOf(r.params.Query)
	if err != nil {
		return nil, err
	}
	values, d := map[string]bool{}, dimensions{}
	if !slices.Contains(viewLabels, r.name) {
		err = s.attributeValues(ctx, sel, r, values)
	} else if d.need(sel, r.name) {
		err = s.streamsOf(ctx, sel, &r.params, d, func(c counted) error {
			if v := labelOf(c.kind.labels(), r.name); v != "" {
				values[v] = true
			}
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return loki.AppendStrings(nil, slices.Sorted(maps.Keys(values))), nil
}

// attributeValues gives the values of an attribute, as of a label that was pushed, in what is no web event.
func (s *Server) attributeValues(ctx context.Context, sel *selection, r *lokiRequest, values map[string]bool) error {
	p := r.params
	if sel.none || !p.Start.Before(p.End) || !isLabelName(r.name) {
		return nil
	}
	q := sel.during(p.Start, p.End)
	if q.Sources == 0 {
		q.Sources = allSources
	}
	if q.Sources &^= logbridge.SourcesOf(logbridge.SourceSLS, logbridge.SourceCLS); q.Sources == 0 {
		return nil
	}
	counts, err := s.deps.Log.Count(ctx, q, logbridge.CountBy{Field: logbridge.FieldPrefix + r.name})
	for _, c := range counts {
		if c.Value != "" {
			values[c.Value] = true
		}
	}
	return err
}

// lokiSeries answers series: the sets of labels that what any of the selectors selects has.
func (s *Server) lokiSeries(ctx context.Context, r *lokiRequest) ([]byte, error) {
	const most = 16 // each is counted on its own
	selectors := slices.Concat(r.form["match[]"], r.form["match"])
	if len(selectors) == 0 {
		selectors = []string{""}
	}
	if len(selectors) > most {
		return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("more than %d selectors", most))
	}
	sets := map[string][]loki.Label{}
	for _, selector := range selectors {
		sel, err := selectorOf(selector)
		if err != nil {
			return nil, err
		}
		err = s.streamsOf(ctx, sel, &r.params, dimensions{by: byStream, source: true, level: true}, func(c counted) error {
			labels := c.kind.labels()
			sets[seriesKey(labels)] = labels
			if len(sets) > maxSets {
				return errSets()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([][]loki.Label, 0, len(sets))
	for _, key := range slices.Sorted(maps.Keys(sets)) {
		out = append(out, sets[key])
	}
	return loki.AppendSets(nil, out), nil
}

// detectedLabel is a label with how many values it has.
type detectedLabel struct {
	Label       string `json:"label"`
	Cardinality int    `json:"cardinality"`
}

// lokiDetectedLabels answers detected_labels. Logs Drilldown shows nothing at all without it.
func (s *Server) lokiDetectedLabels(ctx context.Context, r *lokiRequest) ([]byte, error) {
	values, err := s.labelValues(ctx, r)
	if err != nil {
		return nil, err
	}
	found := make([]detectedLabel, 0, len(values))
	for name, of := range values {
		found = append(found, detectedLabel{name, len(of)})
	}
	slices.SortFunc(found, func(a, b detectedLabel) int { return strings.Compare(a.Label, b.Label) })
	return json.Marshal(map[string]any{"detectedLabels": found})
}

// meanLength is the mean length of the newest lines of what is selected, 0 when there are none.
func (s *Server) meanLength(ctx context.Context, sel *selection, p *loki.Params) (float64, error) {
	const sample = 1000
	q := sel.during(p.Start, p.End)
	q.Order, q.Limit = logbridge.NewestFirst, sample
	bytes, n := 0, 0
	for r, err := range s.deps.Log.Query(ctx, q) {
		if err != nil {
			return 0, err
		}
		bytes += len(lokiLine(&r))
		n++
	}
	if n == 0 {
		return 0, nil
	}
	return float64(bytes) / float64(n), nil
}
