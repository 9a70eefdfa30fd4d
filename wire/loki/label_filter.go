package loki

import (
	"cmp"
	"strconv"
	"time"
)

// filterStage is a label filter: | level="error" or status >= 500.
type filterStage struct{ filter labelFilter }

func (s *filterStage) run(p *Pipeline) bool { return s.filter.holds(p) }
func (s *filterStage) String() string       { return "| " + s.filter.String() }

// labelFilter is a condition on labels. Those on numbers leave out a line that has not got the label, and keep one whose label
// is no number, with __error__.
type labelFilter interface {
	String() string
	holds(p *Pipeline) bool
}

type andFilter struct{ left, right labelFilter }

// holds asks both sides whatever the first says, since either may set __error__, which an or around it may keep.
func (f *andFilter) holds(p *Pipeline) bool {
	left := f.left.holds(p)
	return f.right.holds(p) && left
}

func (f *andFilter) String() string { return "(" + f.left.String() + ", " + f.right.String() + ")" }

type orFilter struct{ left, right labelFilter }

func (f *orFilter) holds(p *Pipeline) bool { return f.left.holds(p) || f.right.holds(p) }
func (f *orFilter) String() string         { return "(" + f.left.String() + " or " + f.right.String() + ")" }

type textFilter struct{ matcher Matcher }

func (f *textFilter) holds(p *Pipeline) bool {
	if f.matcher.Name == errorLabel {
		return f.matcher.match(p, p.fault)
	}
	value, _ := p.get(f.matcher.Name)
	return f.matcher.match(p, value)
}

func (f *textFilter) String() string { return f.matcher.String() }

// valueFilter compares what a label says as a number, a duration or a size.
type valueFilter[T cmp.Ordered] struct {
	name   string
	op     byte // as in BinaryExpr
	value  T
	parse  func(string) (T, error)
	format func(T) string
	kind   string // what the value is, for __error_details__
}

func numberFilter(name string, op byte, value float64) labelFilter {
	parse := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return &valueFilter[float64]{name, op, value, parse, format, "a number"}
}

// durationFilter reads labels as Go writes durations, with no day or week, as Loki does.
func durationFilter(name string, op byte, value time.Duration) labelFilter {
	return &valueFilter[time.Duration]{name, op, value, time.ParseDuration, formatDuration, "a duration"}
}

func bytesFilter(name string, op byte, value uint64) labelFilter {
	return &valueFilter[uint64]{name, op, value, parseBytes, formatBytes, "a size in bytes"}
}

func (f *valueFilter[T]) holds(p *Pipeline) bool {
	s, ok := p.get(f.name)
	if !ok {
		return false
	}
	v, err := f.parse(s)
	if err != nil {
		return p.notComparable(f.name, f.kind)
	}
	return compare(f.op, v, f.value)
}

func (f *valueFilter[T]) String() string { return f.name + binaryText(f.op) + f.format(f.value) }

// notComparable keeps the line and says why, unless something is said already.
func (p *Pipeline) notComparable(name, kind string) bool {
	if p.fault == "" {
		p.failed(filterFault, name+" is not "+kind)
	}
	return true
}
