package loki

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// unsupported functions of Loki: those over unwrapped values, and some of little use in front of a log.
var unsupported = []string{
	"rate_counter", "avg_over_time", "sum_over_time", "min_over_time", "max_over_time", "stdvar_over_time", "stddev_over_time",
	"quantile_over_time", "first_over_time", "last_over_time", "absent_over_time", "stddev", "stdvar", "sort", "sort_desc",
	"label_replace", "approx_topk", "variants",
}

func (p *parser) function() Expr {
	name := strings.ToLower(p.tok.raw)
	switch name {
	case string(CountOverTime), string(Rate), string(BytesOverTime), string(BytesRate):
		return p.rangeExpr(RangeOp(name))
	case string(Sum), string(Count), string(Min), string(Max), string(Avg), string(TopK), string(BottomK):
		return p.vectorExpr(VectorOp(name))
	case "vector":
		p.advance()
		p.expect("(", "after vector")
		e := &LiteralExpr{Value: p.number(), Vector: true}
		p.expect(")", "to close vector")
		return e
	}
	if slices.Contains(unsupported, name) {
		p.fail("%s is not supported here", name)
		return nil
	}
	p.fail(`%s is not a function; expected one such as count_over_time or sum, or a selector such as {device="d"}`, p.tok.what())
	return nil
}

func (p *parser) rangeExpr(op RangeOp) Expr {
	p.advance()
	p.expect("(", "after "+string(op))
	e := &RangeExpr{Op: op}
	p.logRange(e)
	if e.Range == 0 {
		p.fail("expected a range such as [5m], found %s", p.tok.what())
	}
	p.expect(")", "to close "+string(op))
	if p.isWord("by") || p.isWord("without") {
		p.fail("%s does not go with %s: write sum %s (…) (%s(…))", p.tok.raw, op, p.tok.raw, op)
	}
	return e
}

// logRange reads a log query with its range, which may stand behind the selector, the stages, or a parenthesis around them.
func (p *parser) logRange(e *RangeExpr) {
	defer func() { p.depth-- }()
	if !p.enter() {
		return
	}
	if p.take("(") {
		p.logRange(e)
		p.expect(")", "to close the parenthesis")
	} else {
		e.Log = p.logExpr()
	}
	if p.tok.kind != within || p.err != nil {
		return
	}
	d, err := ParseDuration(p.tok.value)
	switch {
	case e.Range != 0:
		p.fail("a second range %s", p.tok.what())
	case err != nil || d <= 0:
		p.fail("the range is %s, and should be a duration such as [30s], [5m] or [1d]", quoted(p.tok.raw))
	}
	e.Range = d
	p.advance()
	p.offset(e)
	p.stages(e.Log)
}

func (p *parser) offset(e *RangeExpr) {
	if !p.isWord("offset") {
		return
	}
	p.advance()
	sign := time.Duration(1)
	if p.take("-") {
		sign = -1
	}
	d, err := parseQuantity(p.tok.raw)
	if p.tok.kind != quantity || err != nil {
		p.fail("expected a duration such as 5m after offset, found %s", p.tok.what())
		return
	}
	e.Offset = sign * d
	p.advance()
}

// maxK is the largest parameter of topk: as many series as any answer has.
const maxK = 100_000

func (p *parser) vectorExpr(op VectorOp) Expr {
	p.advance()
	e := &VectorExpr{Op: op}
	p.grouping(e)
	p.expect("(", "after "+string(op))
	if op == TopK || op == BottomK {
		k, err := strconv.Atoi(p.tok.raw)
		if p.tok.kind != number || err != nil || k < 1 || k > maxK {
			p.fail("expected how many series %s gives, from 1 to %d, found %s", op, maxK, p.tok.what())
		}
		e.Param = k
		p.advance()
		p.expect(",", "after the number")
	}
	at := p.tok.at
	e.Inner = p.expr(1)
	switch inner := e.Inner.(type) {
	case *LogExpr:
		p.failAt(at, "%s needs series, not lines: a log query becomes one with count_over_time or rate", op)
	case *LiteralExpr:
		if !inner.Vector {
			p.failAt(at, "%s needs series, not a number", op)
		}
	}
	p.expect(")", "to close "+string(op))
	if !e.Grouped {
		p.grouping(e)
	}
	return e
}

// grouping reads by (…) or without (…), if it is there.
func (p *parser) grouping(e *VectorExpr) {
	if !p.isWord("by") && !p.isWord("without") {
		return
	}
	e.Grouped, e.Without = true, p.isWord("without")
	p.advance()
	p.expect("(", "before the labels to group by")
	if p.take(")") {
		return
	}
	for p.err == nil {
		e.By = append(e.By, p.name())
		if !p.take(",") {
			break
		}
	}
	p.expect(")", "after the labels to group by")
}

// name reads the name of a label.
func (p *parser) name() string {
	s := p.tok.raw
	if p.tok.kind != word || !isName(s) {
		p.fail("expected the name of a label, found %s", p.tok.what())
		return ""
	}
	p.advance()
	return s
}
