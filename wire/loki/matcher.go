package loki

import "strconv"

// Label is a name with its value.
type Label struct{ Name, Value string }

// MatchOp says how a matcher compares.
type MatchOp string

// The comparisons. Regular expressions must match the whole value.
const (
	Equal     MatchOp = "="
	NotEqual  MatchOp = "!="
	Regexp    MatchOp = "=~"
	NotRegexp MatchOp = "!~"
)

// Matcher compares one label with a value. A label that is not there has the empty value. Matchers of regular expressions come
// from Parse and ParseSelector, which compile them.
type Matcher struct {
	Name  string
	Op    MatchOp
	Value string

	pattern *pattern // of the two regular operators
}

// Match reports whether a label of this value is asked for.
func (m Matcher) Match(value string) bool { return m.match(nil, value) }

// match is Match for a pipeline, or for none.
func (m Matcher) match(p *Pipeline, value string) bool {
	switch m.Op {
	case Equal:
		return value == m.Value
	case NotEqual:
		return value != m.Value
	case Regexp:
		return m.pattern.in(p, value)
	default:
		return !m.pattern.in(p, value)
	}
}

// String is the matcher as a query has it.
func (m Matcher) String() string { return m.Name + string(m.Op) + strconv.Quote(m.Value) }
