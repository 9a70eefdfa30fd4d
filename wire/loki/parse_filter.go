package loki

import "strconv"

// filter reads label filters. level is 1 where anything may follow, 2 behind or, 3 behind and.
//
// In Loki's grammar a comma, or nothing at all, between two filters means and, and takes all that follows as its right side,
// whatever stands before: a="1" or b="2", c="3" is a="1" or (b="2" and c="3").
func (p *parser) filter(level int) labelFilter {
	defer func() { p.depth-- }()
	if !p.enter() {
		return nil
	}
	left := p.filterOperand()
	for p.err == nil {
		switch {
		case p.isWord("or"):
			if level > 1 {
				return left
			}
			p.advance()
			left = &orFilter{left, p.filter(2)}
		case p.isWord("and"):
			if level > 2 {
				return left
			}
			p.advance()
			left = &andFilter{left, p.filter(3)}
		case p.is(","):
			p.advance()
			return &andFilter{left, p.filter(1)}
		case p.tok.kind == word && !p.isWord("offset"), p.is("("):
			return &andFilter{left, p.filter(1)}
		default:
			return left
		}
	}
	return left
}

func (p *parser) filterOperand() labelFilter {
	if p.take("(") {
		f := p.filter(1)
		p.expect(")", "to close the parenthesis")
		return f
	}
	name := p.name()
	op := p.tok.raw
	switch op {
	case "=", "==", "!=", ">", ">=", "<", "<=", "=~", "!~":
	default:
		op = ""
	}
	if p.tok.kind != symbol || op == "" {
		p.fail("expected a comparison such as = or >= after %s, found %s", quoted(name), p.tok.what())
		return nil
	}
	p.advance()
	if p.tok.kind == text {
		return p.textFilter(name, op)
	}
	if p.isWord("ip") {
		p.fail("ip() is not supported here")
		return nil
	}
	if op == "=~" || op == "!~" {
		p.fail("expected a quoted string after %s, found %s", op, p.tok.what())
		return nil
	}
	return p.quantity(name, operators[op].op, op)
}

func (p *parser) textFilter(name, op string) labelFilter {
	m := Matcher{Name: name, Op: MatchOp(op)}
	switch m.Op {
	case Equal, NotEqual, Regexp, NotRegexp:
		p.value(&m)
		return &textFilter{m}
	}
	p.fail("%s compares numbers: write = or != before %s", op, p.tok.what())
	return nil
}

// quantity reads a number, a duration or a size.
func (p *parser) quantity(name string, op byte, opText string) labelFilter {
	if opText == "=" {
		op = '='
	}
	negative := p.is("-")
	if negative || p.is("+") {
		p.advance()
	}
	t := p.tok
	v, err := strconv.ParseFloat(t.raw, 64)
	if negative {
		v = -v
	}
	if t.kind == number && err == nil {
		p.advance()
		return numberFilter(name, op, v)
	}
	if t.kind != quantity {
		p.fail("expected a quoted string, a number, a duration or a size after %s, found %s", opText, t.what())
		return nil
	}
	if d, err := parseQuantity(t.raw); err == nil {
		if negative {
			d = -d
		}
		p.advance()
		return durationFilter(name, op, d)
	}
	n, err := parseBytes(t.raw)
	if err != nil || negative {
		p.fail("%s is neither a duration such as 10ms nor a size such as 1KB", t.what())
		return nil
	}
	p.advance()
	return bytesFilter(name, op, n)
}
