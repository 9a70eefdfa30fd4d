package httpapi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// grouping says which labels series are told apart by: the named ones, or without: all but those.
type grouping struct {
	names   []string
	without bool
}

// everyLabel tells series apart by all there is.
var everyLabel = grouping{without: true}

// keeps reports whether a label tells series apart.
func (g grouping) keeps(name string) bool { return slices.Contains(g.names, name) != g.without }

// of gives the labels that tell series apart, in the order of their names. One without a value is as if it were not there.
func (g grouping) of(labels []loki.Label) []loki.Label {
	var out []loki.Label
	for _, l := range labels {
		if l.Value != "" && g.keeps(l.Name) {
			out = append(out, l)
		}
	}
	sortLabels(out)
	return out
}

// dimensions are by what records have to be counted, so that their labels can be told apart.
type dimensions struct {
	// by is empty, "stream", "product" or the name of an attribute with its prefix, as in CountBy.Field. For "product", the
	// streams that are no device's are counted by stream.
	by            string
	source, level bool
}

// The values of dimensions.by that are no attributes.
const (
	byProduct = "product"
	byStream  = "stream"
)

// dimensionsOf gives what a grouping needs to know; false when counting cannot tell.
func (s *selection) dimensionsOf(g grouping) (d dimensions, ok bool) {
	names := g.names
	if g.without {
		if s.parses() {
			return d, false // by all that is in the lines
		}
		names = slices.DeleteFunc(slices.Clone(viewLabels), func(name string) bool { return !g.keeps(name) })
	}
	for _, name := range names {
		if !d.need(s, name) {
			return d, false
		}
	}
	return d, true
}

// need adds what a label follows from; false when counting cannot tell.
func (d *dimensions) need(s *selection, name string) bool {
	if slices.Contains(viewLabels, name) && s.parses() && !s.always(name) {
		return false
	}
	switch name {
	case labelLevel, labelDetectedLevel:
		d.level = true
	case labelSource:
		d.source = true
	case labelProduct, labelService:
		return d.needs(byProduct)
	case labelDevice, labelProject, labelLogstore, labelTopic, labelNamespace:
		return d.needs(byStream)
	default:
		return s.countable(name) && d.needs(logbridge.FieldPrefix+name)
	}
	return true
}

// needs adds what is counted by; false when that cannot be with what is needed already.
func (d *dimensions) needs(by string) bool {
	switch {
	case d.by == "" || d.by == by || d.by == byProduct && by == byStream:
		d.by = by
	case d.by == byStream && by == byProduct:
	default:
		return false
	}
	return true
}

// countable reports that a label which no stream has is the attribute of this name and nothing else. A name with an
// underscore may be that of an attribute whose own name is no label's, so the records must be looked at.
func (s *selection) countable(name string) bool {
	for i := range len(name) {
		if !isAlphanumeric(name[i]) {
			return false
		}
	}
	return isLabelName(name) && name != metaSeq && (s.onlyJSON && s.events() || !s.parses() && s.bodies())
}

// counted is how many records of a kind, as far as the dimensions tell, there are in one interval.
type counted struct {
	kind    lokiKind
	value   string // of the attribute
	at      time.Time
	records uint64
}

// labels gives the labels that tell the records apart; field is the name of the attribute, if they are counted by one.
func (c *counted) labels(g grouping, d dimensions) []loki.Label {
	labels := c.kind.labels()
	if name, ok := fieldOf(d.by); ok {
		labels = append(labels, loki.Label{Name: name, Value: c.value})
	}
	return g.of(labels)
}

func fieldOf(by string) (string, bool) {
	if len(by) > len(logbridge.FieldPrefix) && by[:len(logbridge.FieldPrefix)] == logbridge.FieldPrefix {
		return by[len(logbridge.FieldPrefix):], true
	}
	return "", false
}

// countKinds counts what q selects, by the dimensions and in the intervals that step and origin say. The log counts by one thing at a
// time, so the dimension of few values is asked for value by value.
func (s *Server) countKinds(ctx context.Context, q logbridge.Query, step time.Duration, origin time.Time, d dimensions, fn func(counted) error) error {
	c := kindCounter{ctx: ctx, log: s.deps.Log, step: step, origin: origin, fn: fn}
	return c.count(q, d, lokiKind{})
}

type kindCounter struct {
	ctx    context.Context
	log    Log
	step   time.Duration
	origin time.Time
	fn     func(counted) error
}

// count splits by source, then by level. What of the kind is known already is in known.
func (c *kindCounter) count(q logbridge.Query, d dimensions, known lokiKind) error {
	switch {
	case d.source && (d.level || d.by != ""):
		sources, err := c.log.Count(c.ctx, q, logbridge.CountBy{Field: "source"})
		if err != nil {
			return err
		}
		d.source = false
		for _, n := range sources {
			known.source = logbridge.Source(n.Value)
			q.Sources = logbridge.SourcesOf(known.source)
			if err := c.count(q, d, known); err != nil {
				return err
			}
		}
		return nil
	case d.level && d.by != "":
		d.level = false
		asked := q
		for l := logbridge.LevelError; l <= logbridge.LevelDebug; l++ {
			if !asked.MatchLevel(l) {
				continue
			}
			known.level = l
			q.Levels = logbridge.LevelsOf(l)
			if err := c.count(q, d, known); err != nil {
				return err
			}
		}
		return nil
	case d.by == byProduct:
		return c.countProducts(q, known)
	case d.source:
		return c.countBy(q, "source", known)
	case d.level:
		return c.countBy(q, "level", known)
	}
	return c.countBy(q, d.by, known)
}

// countProducts counts devices' streams by product, however many devices there are, and others by stream.
func (c *kindCounter) countProducts(q logbridge.Query, known lokiKind) error {
	asked := q.Streams
	only := func(devices bool) logbridge.Query {
		q.Streams = func(s logbridge.Stream) bool {
			_, is := s.Device()
			return is == devices && (asked == nil || asked(s))
		}
		return q
	}
	if err := c.countBy(only(true), byProduct, known); err != nil {
		return err
	}
	return c.countBy(only(false), byStream, known)
}

func (c *kindCounter) countBy(q logbridge.Query, field string, known lokiKind) error {
	counts, err := c.log.Count(c.ctx, q, logbridge.CountBy{Field: field, Step: c.step, Origin: c.origin})
	if err != nil {
		return err
	}
	for _, n := range counts {
		one := counted{kind: known, at: n.Time, records: n.Records}
		switch field {
		case "":
		case "source":
			one.kind.source = logbridge.Source(n.Value)
		case "level":
			if one.kind.level, err = logbridge.ParseLevel(n.Value); err != nil {
				return fmt.Errorf("count by level: %w", err)
			}
		case byProduct:
			one.kind.stream = logbridge.DeviceID{Product: n.Value}.Stream()
		case byStream:
			one.kind.stream = logbridge.Stream(n.Value)
		default:
			one.value = n.Value
		}
		if err := c.fn(one); err != nil {
			return err
		}
	}
	return nil
}
