package loki

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
)

// Expr is a parsed query: *LogExpr, *RangeExpr, *VectorExpr, *BinaryExpr or *LiteralExpr. String gives it in canonical form, which
// parses to the same again. Expressions are not changed once parsed, and may be used concurrently.
type Expr interface{ String() string }

// LogExpr selects lines: {a="x"} |= "y" | json.
type LogExpr struct {
	Matchers []Matcher
	Stages   []Stage
}

// RangeOp is a function over the lines of a range.
type RangeOp string

// The functions over a range. The rates are per second.
const (
	CountOverTime RangeOp = "count_over_time"
	Rate          RangeOp = "rate"
	BytesOverTime RangeOp = "bytes_over_time"
	BytesRate     RangeOp = "bytes_rate"
)

// RangeExpr is a function over the lines of the Range that ends Offset before each step: (t-Offset-Range, t-Offset]. Offset may be
// negative.
type RangeExpr struct {
	Op            RangeOp
	Log           *LogExpr
	Range, Offset time.Duration
}

// VectorOp is an aggregation over series.
type VectorOp string

// The aggregations.
const (
	Sum     VectorOp = "sum"
	Count   VectorOp = "count"
	Min     VectorOp = "min"
	Max     VectorOp = "max"
	Avg     VectorOp = "avg"
	TopK    VectorOp = "topk"
	BottomK VectorOp = "bottomk"
)

// VectorExpr aggregates the series of Inner.
type VectorExpr struct {
	Op VectorOp
	// Param is the k of topk and bottomk, positive; 0 for the others.
	Param int
	// By are the labels that are kept, or with Without those that are not. Grouped is false when the query has neither, which means
	// one group of everything, just as by ().
	By      []string
	Without bool
	Grouped bool
	// Inner is a *RangeExpr, *VectorExpr, *BinaryExpr or *LiteralExpr with Vector set.
	Inner Expr
}

// BinaryExpr combines two expressions, at least one of which is a *LiteralExpr or made of such only. Apply does the arithmetic.
type BinaryExpr struct {
	// Op is one of + - * / % ^, or for a comparison = (==), ! (!=), > and <, G (>=) and L (<=).
	Op byte
	// Bool: the comparison gives 1 and 0 in place of keeping and leaving out.
	Bool        bool
	Left, Right Expr
}

// LiteralExpr is a number, or with Vector a series without labels that always has it: vector(n).
type LiteralExpr struct {
	Value  float64
	Vector bool
}

// Apply gives the value for a left and a right one, and whether there is any: a comparison that does not hold leaves the
// sample out. That of one that
// holds is left.
func (e *BinaryExpr) Apply(left, right float64) (value float64, ok bool) {
	switch e.Op {
	case '+':
		return left + right, true
	case '-':
		return left - right, true
	case '*':
		return left * right, true
	case '/': // Loki: a division by zero is NaN, not infinite
		if right == 0 {
			return math.NaN(), true
		}
		return left / right, true
	case '%':
		if right == 0 {
			return math.NaN(), true
		}
		return math.Mod(left, right), true
	case '^':
		return math.Pow(left, right), true
	}
	holds := compare(e.Op, left, right)
	if e.Bool {
		if holds {
			return 1, true
		}
		return 0, true
	}
	return left, holds
}

func compare[T cmp.Ordered](op byte, left, right T) bool {
	switch op {
	case '=':
		return left == right
	case '!':
		return left != right
	case '>':
		return left > right
	case '<':
		return left < right
	case 'G':
		return left >= right
	default:
		return left <= right
	}
}

// binaryText is how the operators are written that have another letter in BinaryExpr.Op.
func binaryText(op byte) string {
	switch op {
	case '=':
		return "=="
	case '!':
		return "!="
	case 'G':
		return ">="
	case 'L':
		return "<="
	}
	return string(op)
}

// String is the query in canonical form.
func (e *LogExpr) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range e.Matchers {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.String())
	}
	b.WriteByte('}')
	for _, s := range e.Stages {
		b.WriteByte(' ')
		b.WriteString(s.String())
	}
	return b.String()
}

// String is the query in canonical form.
func (e *RangeExpr) String() string {
	s := string(e.Op) + "(" + e.Log.String() + "[" + formatDuration(e.Range) + "]"
	if e.Offset != 0 {
		s += " offset " + formatDuration(e.Offset)
	}
	return s + ")"
}

// String is the query in canonical form.
func (e *VectorExpr) String() string {
	s := string(e.Op)
	if e.Grouped {
		if e.Without {
			s += " without ("
		} else {
			s += " by ("
		}
		s += strings.Join(e.By, ", ") + ") "
	}
	s += "("
	if e.Param > 0 {
		s += strconv.Itoa(e.Param) + ", "
	}
	return s + e.Inner.String() + ")"
}

// String is the query in canonical form.
func (e *BinaryExpr) String() string {
	op := binaryText(e.Op)
	if e.Bool {
		op += " bool"
	}
	return "(" + e.Left.String() + " " + op + " " + e.Right.String() + ")"
}

// String is the query in canonical form.
func (e *LiteralExpr) String() string {
	s := strconv.FormatFloat(e.Value, 'f', -1, 64)
	if e.Vector {
		return "vector(" + s + ")"
	}
	return s
}
