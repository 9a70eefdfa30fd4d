package loki

import (
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
		return f.matcher.Match(p.fault)
	}
	value, _ := p.get(f.matcher.Name)
	return f.matcher.Match(value)
}

func (f *textFilter) String() string { return f.matcher.String() }

type numberFilter struct {
	name  string
	op    byte
	value float64
}

func (f *numberFilter) holds(p *Pipeline) bool {
	s, ok := p.get(f.name)
	if !ok {
		return false
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return p.notComparable(f.name, "a number")
	}
	return compare(f.op, v, f.value)
}

func (f *numberFilter) String() string {
	return f.name + binaryText(f.op) + strconv.FormatFloat(f.value, 'f', -1, 64)
}

type durationFilter struct {
	name  string
	op    byte
	value time.Duration
}

func (f *durationFilter) holds(p *Pipeline) bool {
	s, ok := p.get(f.name)
	if !ok {
		return false
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return p.notComparable(f.name, "a duration")
	}
	return compare(f.op, v, f.value)
}

func (f *durationFilter) String() string { return f.name + binaryText(f.op) + formatDuration(f.value) }

type bytesFilter struct {
	name  string
	op    byte
	value uint64
}

func (f *bytesFilter) holds(p *Pipeline) bool {
	s, ok := p.get(f.name)
	if !ok {
		return false
	}
	v, err := parseBytes(s)
	if err != nil {
		return p.notComparable(f.name, "a size in bytes")
	}
	return compare(f.op, v, f.value)
}

func (f *bytesFilter) String() string { return f.name + binaryText(f.op) + formatBytes(f.value) }

// notComparable keeps the line and says why, unless something is said already.
func (p *Pipeline) notComparable(name, kind string) bool {
	if p.fault == "" {
		p.failed(filterFault, name+" is not "+kind)
	}
	return true
}
