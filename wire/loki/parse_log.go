package loki

import (
	"slices"
	"strings"
)

func (p *parser) logExpr() *LogExpr {
	at := p.tok.at
	e := &LogExpr{Matchers: p.selector()}
	// Loki's rule: without a matcher that the empty value fails, a query would have to look at every stream there is.
	if p.err == nil && !slices.ContainsFunc(e.Matchers, func(m Matcher) bool { return !m.Match("") }) {
		p.failAt(at, `the selector needs a matcher that the empty value does not match, such as service_name=~".+"`)
	}
	p.stages(e)
	return e
}

func (p *parser) selector() []Matcher {
	p.expect("{", "to begin a selector")
	if p.take("}") {
		return nil
	}
	var matchers []Matcher
	for p.err == nil {
		matchers = append(matchers, p.matcher())
		if !p.take(",") {
			break
		}
	}
	if p.err == nil && !p.take("}") {
		p.fail(`expected "," or "}" after a matcher, found %s`, p.tok.what())
	}
	return matchers
}

// matcher reads a label, an operator and a string.
func (p *parser) matcher() Matcher {
	m := Matcher{Name: p.name()}
	switch op := MatchOp(p.tok.raw); {
	case p.tok.kind == symbol && (op == Equal || op == NotEqual || op == Regexp || op == NotRegexp):
		m.Op = op
	default:
		p.fail("expected =, !=, =~ or !~ after %s, found %s", quoted(m.Name), p.tok.what())
	}
	p.advance()
	p.value(&m)
	return m
}

// value reads the string of a matcher.
func (p *parser) value(m *Matcher) {
	if p.tok.kind != text {
		p.fail("expected a quoted string after %s, found %s", m.Op, p.tok.what())
		return
	}
	m.Value = p.tok.value
	if m.Op == Regexp || m.Op == NotRegexp {
		m.pattern = p.pattern(m.Value, true)
	}
	p.advance()
}

// stages reads what follows a selector.
func (p *parser) stages(e *LogExpr) {
	for p.err == nil && p.tok.kind == symbol {
		switch p.tok.raw {
		case "|=", "!=", "|~", "!~":
			e.Stages = append(e.Stages, p.lineFilters()...)
		case "|>", "!>":
			p.fail("the pattern filter %s is not supported here", p.tok.raw)
		case "|":
			p.advance()
			e.Stages = append(e.Stages, p.stage())
		default:
			return
		}
		if len(e.Stages) > maxStages {
			p.fail("the query has more than %d stages", maxStages)
		}
	}
}

// lineFilters reads a line filter with its alternatives. None of several is as each of them not, so those become filters of
// their own.
func (p *parser) lineFilters() []Stage {
	op := p.tok.raw
	p.advance()
	filter := &lineFilter{op: op}
	for p.err == nil {
		if p.isWord("ip") {
			p.fail("ip() is not supported here")
		}
		if p.tok.kind != text {
			p.fail("expected a quoted string after %s, found %s", op, p.tok.what())
			return nil
		}
		filter.tests = append(filter.tests, p.lineTest(op))
		p.advance()
		if !p.isWord("or") || !p.part() {
			break
		}
		p.advance()
	}
	if op == "|=" || op == "|~" {
		return []Stage{filter}
	}
	var stages []Stage
	for _, t := range filter.tests {
		stages = append(stages, &lineFilter{op: op, tests: []lineTest{t}})
	}
	return stages
}

// refused are the stages of Loki that are not supported.
var refused = []string{"unpack", "pattern", "regexp", "decolorize", "unwrap"}

// stage reads what follows a |.
func (p *parser) stage() Stage {
	name := strings.ToLower(p.tok.raw)
	if p.tok.kind != word {
		name = ""
	}
	switch name {
	case "json":
		p.advance()
		return &jsonStage{fields: p.fields(true)}
	case "logfmt":
		p.advance()
		return p.logfmt()
	case "drop", "keep":
		p.advance()
		picks := p.picks()
		if name == "drop" {
			return &dropStage{picks: picks}
		}
		return &keepStage{picks: picks}
	case "label_format":
		p.advance()
		return p.labelFormat()
	case "line_format":
		p.advance()
		if p.tok.kind != text {
			p.fail("expected a quoted template after line_format, found %s", p.tok.what())
		}
		return &lineStage{template: p.template()}
	}
	if slices.Contains(refused, name) {
		p.fail("%s is not supported here", name)
		return nil
	}
	if name == "" && !p.is("(") {
		p.fail("expected json, logfmt, drop, keep, label_format, line_format or a label filter after |, found %s", p.tok.what())
		return nil
	}
	return &filterStage{filter: p.filter(1)}
}

// picks reads the names and matchers of drop and keep.
func (p *parser) picks() []pick {
	var picks []pick
	for p.err == nil {
		name := p.name()
		if op := MatchOp(p.tok.raw); p.tok.kind == symbol && (op == Equal || op == NotEqual || op == Regexp || op == NotRegexp) {
			m := &Matcher{Name: name, Op: op}
			p.advance()
			p.value(m)
			picks = append(picks, pick{name: name, matcher: m})
		} else {
			picks = append(picks, pick{name: name})
		}
		if !p.take(",") {
			break
		}
	}
	return picks
}

// labelFormat reads what label_format makes: new=old or new="template", each label once.
func (p *parser) labelFormat() Stage {
	s := &formatStage{}
	for p.err == nil {
		at := p.tok.at
		f := format{to: p.name()}
		p.expect("=", "after the new name")
		if p.tok.kind == text {
			t := p.template()
			f.template = &t
		} else {
			f.from = p.name()
		}
		if slices.ContainsFunc(s.formats, func(other format) bool { return other.to == f.to }) {
			p.failAt(at, "label_format makes %s twice", quoted(f.to))
		}
		if reserved(f.to) {
			p.failAt(at, "%s cannot be made by label_format", f.to)
		}
		s.formats = append(s.formats, f)
		if !p.take(",") {
			break
		}
	}
	return s
}

// logfmt reads the flags and arguments of logfmt.
func (p *parser) logfmt() Stage {
	s := &logfmtStage{}
	for p.err == nil && p.tok.kind == flag {
		switch p.tok.raw {
		case "--strict":
			s.strict = true
		case "--keep-empty":
			s.keepEmpty = true
		default:
			p.fail("expected --strict or --keep-empty, found %s", p.tok.what())
		}
		p.advance()
	}
	s.fields = p.fields(false)
	return s
}

// fields reads the arguments of a parser: label="path", or only label when both are called the same. There may be none.
func (p *parser) fields(paths bool) []field {
	if p.tok.kind != word || p.isWord("offset") {
		return nil
	}
	var fields []field
	for p.err == nil {
		f := field{label: p.name()}
		f.expr = f.label
		at := p.tok.at
		if p.take("=") {
			if p.tok.kind != text {
				p.fail("expected a quoted string after =, found %s", p.tok.what())
				return nil
			}
			at = p.tok.at
			f.expr = p.tok.value
			p.advance()
		}
		f.path = []step{{name: f.expr}}
		if paths {
			path, ok := parsePath(f.expr)
			if !ok && p.err == nil {
				p.failAt(at, `%s is not a path into JSON such as a.b, a["b c"] or a[0]`, quoted(f.expr))
			}
			f.path = path
		}
		fields = append(fields, f)
		if len(fields) > maxFields {
			p.failAt(at, "more than %d arguments", maxFields)
		}
		if !p.take(",") {
			break
		}
	}
	return fields
}
