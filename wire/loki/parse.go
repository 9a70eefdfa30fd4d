package loki

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/logbridge/logbridge"
)

// Bounds on a query. Dashboards that list a thousand devices in one expression stay far below them.
const (
	// maxQuery is the longest query in bytes: half of what Loki reads.
	maxQuery = 64 << 10
	// maxDepth bounds parentheses and functions within each other, since reading and evaluating them calls itself.
	maxDepth = 64
	// maxParts bounds operators, functions and label filters, which nest to the left without parentheses.
	maxParts = 1000
	// maxStages bounds the steps that each line goes through.
	maxStages = 100
)

// Parse reads a query. The error is one sentence that says what is wrong where, and wraps logbridge.ErrInvalid.
func Parse(query string) (Expr, error) {
	p, err := newParser(query)
	if err != nil {
		return nil, err
	}
	e := p.expr(1)
	if p.tok.kind != endOfQuery {
		p.fail("expected an operator or the end of the query, found %s", p.tok.what())
	}
	if p.err != nil {
		return nil, p.err
	}
	return e, nil
}

// ParseSelector reads a selector without stages, as the parameters match[] of series and query of labels have it. Other than in
// Parse, it may select everything: {} and the empty string do. Errors are those of Parse.
func ParseSelector(selector string) ([]Matcher, error) {
	p, err := newParser(selector)
	if err != nil {
		return nil, err
	}
	if p.err == nil && p.tok.kind == endOfQuery {
		return nil, nil
	}
	matchers := p.selector()
	if p.tok.kind != endOfQuery {
		p.fail("expected the end of the selector, found %s", p.tok.what())
	}
	if p.err != nil {
		return nil, p.err
	}
	return matchers, nil
}

// parser reads a query from left to right, one token ahead. After a fault the token is the end of the query, so that all
// ends by itself, and err is the first fault.
type parser struct {
	lexer
	tok   token
	err   error
	depth int
	parts int
	// program is what regular expressions may still cost; see pattern.
	program int
}

func newParser(query string) (*parser, error) {
	if len(query) > maxQuery {
		return nil, fmt.Errorf("%w query: line 1, column 1: it is %d bytes long, and at most %d are read", logbridge.ErrInvalid, len(query), maxQuery)
	}
	p := &parser{lexer: lexer{query: query}, program: maxProgram}
	p.advance()
	return p, nil
}

// advance goes to the next token.
func (p *parser) advance() {
	if p.err != nil {
		return
	}
	t, err := p.next()
	if err != nil {
		p.err, t = err, token{}
	}
	p.tok = t
}

// fail makes a fault at the current token.
func (p *parser) fail(format string, args ...any) { p.failAt(p.tok.at, format, args...) }

func (p *parser) failAt(at int, format string, args ...any) {
	if p.err == nil {
		p.err = p.fault(at, format, args...)
	}
	p.tok = token{}
}

// is reports whether the current token is this symbol.
func (p *parser) is(symbolText string) bool { return p.tok.kind == symbol && p.tok.raw == symbolText }

// isWord reports whether the current token is this keyword. Keywords may be in any case, as in Loki.
func (p *parser) isWord(keyword string) bool {
	return p.tok.kind == word && strings.EqualFold(p.tok.raw, keyword)
}

// take passes over a symbol, if it is the current token.
func (p *parser) take(symbolText string) bool {
	if !p.is(symbolText) {
		return false
	}
	p.advance()
	return true
}

// expect passes over a symbol that must be there.
func (p *parser) expect(symbolText, where string) {
	if !p.take(symbolText) {
		p.fail("expected %q %s, found %s", symbolText, where, p.tok.what())
	}
}

// enter counts one more level, and says whether it may be entered; leave it with p.depth--.
func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth {
		p.fail("the query is nested deeper than %d", maxDepth)
	}
	return p.part()
}

// part counts one more operator, function or label filter.
func (p *parser) part() bool {
	p.parts++
	if p.parts > maxParts {
		p.fail("the query has more than %d parts", maxParts)
	}
	return p.err == nil
}

// operators by their symbols, with the letter that BinaryExpr has for them and how strongly they bind.
var operators = map[string]struct {
	op    byte
	level int
}{
	"==": {'=', 1}, "!=": {'!', 1}, ">": {'>', 1}, ">=": {'G', 1}, "<": {'<', 1}, "<=": {'L', 1},
	"+": {'+', 2}, "-": {'-', 2},
	"*": {'*', 3}, "/": {'/', 3}, "%": {'%', 3},
	"^": {'^', 4},
}

// expr reads an expression of operators that bind at least as strongly as level.
func (p *parser) expr(level int) Expr {
	defer func() { p.depth-- }()
	if !p.enter() {
		return nil
	}
	left := p.operand()
	for p.err == nil {
		if p.isWord("and") || p.isWord("or") || p.isWord("unless") {
			p.fail("the set operator %s is not supported here", p.tok.raw)
		}
		at := p.tok
		o, ok := operators[at.raw]
		if at.kind != symbol || !ok || o.level < level {
			break
		}
		p.advance()
		keepValue := p.modifiers(o.level)
		next := o.level + 1
		if o.op == '^' { // 2^3^2 is 2^(3^2)
			next = o.level
		}
		right := p.expr(next)
		left = p.binary(at, &BinaryExpr{Op: o.op, Bool: keepValue, Left: left, Right: right})
	}
	return left
}

// modifiers reads what may stand between an operator and its right side, and reports whether it is bool.
func (p *parser) modifiers(level int) bool {
	for _, w := range [...]string{"on", "ignoring", "group_left", "group_right"} {
		if p.isWord(w) {
			p.fail("%s is not supported here: one side of an operator must be a number or vector(n)", w)
		}
	}
	if !p.isWord("bool") {
		return false
	}
	if level != 1 {
		p.fail("bool goes with comparisons only")
	}
	p.advance()
	return true
}

// binary checks and simplifies an operation.
func (p *parser) binary(at token, e *BinaryExpr) Expr {
	if p.err != nil {
		return nil
	}
	for _, side := range [...]Expr{e.Left, e.Right} {
		if _, ok := side.(*LogExpr); ok {
			p.failAt(at.at, "%s needs numbers on both sides: a log query becomes one with count_over_time or rate", at.what())
			return nil
		}
	}
	if !constant(e.Left) && !constant(e.Right) {
		p.failAt(at.at, "%s between two series is not supported here: one side must be a number or vector(n)", at.what())
		return nil
	}
	left, ok := e.Left.(*LiteralExpr)
	right, ok2 := e.Right.(*LiteralExpr)
	if !ok || !ok2 || left.Vector || right.Vector {
		return e
	}
	numbers := *e
	numbers.Bool = true
	if v, _ := numbers.Apply(left.Value, right.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return &LiteralExpr{Value: v}
	}
	return e
}

// constant reports whether an expression is made of numbers and vector(n) only.
func constant(e Expr) bool {
	switch e := e.(type) {
	case *LiteralExpr:
		return true
	case *BinaryExpr:
		return constant(e.Left) && constant(e.Right)
	}
	return false
}

// operand reads what stands between operators.
func (p *parser) operand() Expr {
	switch {
	case p.take("("):
		e := p.expr(1)
		p.expect(")", "to close the parenthesis")
		return e
	case p.is("{"):
		return p.logExpr()
	case p.tok.kind == number || p.is("+") || p.is("-"):
		return &LiteralExpr{Value: p.number()}
	case p.tok.kind == word:
		return p.function()
	}
	p.fail(`expected a selector such as {device="d"}, a function or a number, found %s`, p.tok.what())
	return nil
}

// number reads a number with its sign.
func (p *parser) number() float64 {
	sign := 1.0
	if p.is("-") {
		sign = -1
	}
	if p.is("-") || p.is("+") {
		p.advance()
	}
	v, err := strconv.ParseFloat(p.tok.raw, 64)
	if p.tok.kind != number || err != nil {
		p.fail("expected a number, found %s", p.tok.what())
		return 0
	}
	p.advance()
	return sign * v
}
