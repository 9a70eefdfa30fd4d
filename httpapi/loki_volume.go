package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge/wire/loki"
)

// Volumes are estimates: how many records there are is counted, and each is taken to be as long as the newest 1 000 lines of the
// selection are in the mean. Loki's own are estimates too, of the chunks that its index names.

// lokiStats answers index/stats, which has no envelope. A stream counts as one chunk.
func (s *Server) lokiStats(ctx context.Context, r *lokiRequest) ([]byte, error) {
	sel, err := selectorOf(r.params.Query)
	if err != nil {
		return nil, err
	}
	var streams, entries uint64
	err = s.streamsOf(ctx, sel, &r.params, dimensions{by: byStream}, func(c counted) error {
		streams++
		entries += c.records
		return nil
	})
	if err != nil {
		return nil, err
	}
	length := 0.0
	if entries > 0 {
		if length, err = s.meanLength(ctx, sel, &r.params); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]uint64{"streams": streams, "chunks": streams, "entries": entries, "bytes": uint64(float64(entries) * length)})
}

// lokiVolume answers index/volume: how many bytes there are by series or by label, the most first.
func (s *Server) lokiVolume(ctx context.Context, r *lokiRequest) ([]byte, error) {
	volumes, err := s.volumes(ctx, r, 0)
	if err != nil {
		return nil, err
	}
	answer := loki.Answer{Type: loki.Vector}
	b := answer.Open(nil)
	for _, v := range volumes {
		b = answer.Sample(b, v.labels, loki.Sample{Time: r.params.End, Value: v.total})
	}
	return answer.Close(b), nil
}

// lokiVolumeRange answers index/volume_range: the same for each step, at the end of it.
func (s *Server) lokiVolumeRange(ctx context.Context, r *lokiRequest) ([]byte, error) {
	if _, err := gridOf(r.params.Start, r.params.End, r.params.Step); err != nil {
		return nil, err
	}
	volumes, err := s.volumes(ctx, r, r.params.Step)
	if err != nil {
		return nil, err
	}
	answer := loki.Answer{Type: loki.Matrix}
	b := answer.Open(nil)
	for _, v := range volumes {
		b = answer.Series(b, loki.Series{Labels: v.labels, Samples: v.steps})
	}
	return answer.Close(b), nil
}

// volume is how many bytes one series or label has, in all and by step.
type volume struct {
	labels []loki.Label
	total  float64
	steps  []loki.Sample
}

// volumes gives the greatest volumes, as many as the request's limit says, which Loki has at 100.
func (s *Server) volumes(ctx context.Context, r *lokiRequest, step time.Duration) ([]*volume, error) {
	sel, err := selectorOf(r.params.Query)
	if err != nil {
		return nil, err
	}
	g, byLabel, err := sel.volumeGrouping(r)
	if err != nil {
		return nil, err
	}
	d, ok := sel.dimensionsOf(g)
	if !ok || sel.none || !r.params.Start.Before(r.params.End) {
		return nil, nil // a label that no stream has
	}
	length, err := s.meanLength(ctx, sel, &r.params)
	if err != nil {
		return nil, err
	}
	found := volumeSet{}
	err = s.countKinds(ctx, sel.during(r.params.Start, r.params.End), step, r.params.Start, d, func(c counted) error {
		labels, bytes := c.labels(g, d), float64(c.records)*length
		if !byLabel {
			return found.add(labels, c.at, bytes)
		}
		for _, l := range labels {
			if err := found.add([]loki.Label{{Name: l.Name}}, c.at, bytes); err != nil {
				return err
			}
		}
		return nil
	})
	return found.greatest(r.params.Limit, step), err
}

// volumeGrouping is by the target labels or, without any, by those that the selector names, or all when it names none.
func (s *selection) volumeGrouping(r *lokiRequest) (g grouping, byLabel bool, err error) {
	switch r.form.Get("aggregateBy") {
	case "", "series":
	case "labels":
		byLabel = true
	default:
		return g, false, newProblem(http.StatusBadRequest, "invalid aggregation option: aggregateBy is series or labels")
	}
	if targets := r.form.Get("targetLabels"); targets != "" {
		g.names = strings.Split(targets, ",")
	} else if !byLabel {
		for _, m := range s.log.Matchers {
			g.names = append(g.names, m.Name)
		}
	}
	if len(g.names) == 0 {
		g = everyLabel
	}
	g.names = slices.DeleteFunc(g.names, func(name string) bool { return !slices.Contains(viewLabels, name) })
	return g, byLabel, nil
}

// volumeSet is volumes by what seriesKey says of their labels.
type volumeSet map[string]*volumeParts

type volumeParts struct {
	volume
	key string
	at  map[time.Time]float64
}

func (s volumeSet) add(labels []loki.Label, at time.Time, bytes float64) error {
	if len(labels) == 0 {
		return nil // has none of the labels
	}
	key := seriesKey(labels)
	v := s[key]
	if v == nil {
		if len(s) == maxSets {
			return errSets()
		}
		v = &volumeParts{volume: volume{labels: labels}, key: key, at: map[time.Time]float64{}}
		s[key] = v
	}
	v.total += bytes
	v.at[at] += bytes
	return nil
}

// greatest gives the greatest volumes, at most limit.
func (s volumeSet) greatest(limit int, step time.Duration) []*volume {
	list := make([]*volumeParts, 0, len(s))
	for _, v := range s {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b *volumeParts) int {
		return cmp.Or(cmp.Compare(b.total, a.total), strings.Compare(a.key, b.key))
	})
	out := make([]*volume, 0, min(limit, len(list)))
	for _, v := range list[:min(limit, len(list))] {
		v.total = float64(uint64(v.total))
		for at, bytes := range v.at {
			v.steps = append(v.steps, loki.Sample{Time: at.Add(step), Value: float64(uint64(bytes))})
		}
		slices.SortFunc(v.steps, func(a, b loki.Sample) int { return a.Time.Compare(b.Time) })
		out = append(out, &v.volume)
	}
	return out
}
