package otlp

import (
	"math"
	"strconv"

	"github.com/logbridge/logbridge/wire/loose"
)

// value is an AnyValue as text.
type value struct {
	text string
	kind kind
}

type kind uint8

const (
	absent  kind = iota // no value was set; null inside of others
	textual             // text as it is
	literal             // text is JSON: a number, true, false, an array, an object
	tooBig              // an array or object that no record can hold, and that was not kept
)

// excess is what makes a record with a value that is too big too long itself.
func (v value) excess() int {
	if v.kind == tooBig {
		return loose.MaxRecord + 1
	}
	return 0
}

func text(s string) value { return value{s, textual} }

func boolean(b bool) value { return value{strconv.FormatBool(b), literal} }

func integer(n int64) value { return value{strconv.FormatInt(n, 10), literal} }

// double writes a number as JSON can say it, and the three that it cannot in the words of protobuf's JSON.
func double(f float64) value {
	switch {
	case math.IsNaN(f):
		return text("NaN")
	case math.IsInf(f, 1):
		return text("Infinity")
	case math.IsInf(f, -1):
		return text("-Infinity")
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) { // as JavaScript does
		format = 'e'
	}
	return value{strconv.FormatFloat(f, format, -1, 64), literal}
}

// composite writes an array or an object. Nested ones are copied into those around them, which maxDepth bounds.
type composite struct {
	b    []byte
	open byte
	big  bool
}

func newComposite(open byte) composite { return composite{b: []byte{open}, open: open} }

// add appends an element, with its key in an object.
func (c *composite) add(key string, v value) {
	if c.big = c.big || v.kind == tooBig || len(c.b) > loose.MaxRecord; c.big {
		c.b = nil
		return
	}
	if len(c.b) > 1 {
		c.b = append(c.b, ',')
	}
	if c.open == '{' {
		c.b = append(loose.AppendString(c.b, key), ':')
	}
	switch v.kind {
	case textual:
		c.b = loose.AppendString(c.b, v.text)
	case literal:
		c.b = append(c.b, v.text...)
	default:
		c.b = append(c.b, "null"...)
	}
}

func (c *composite) value() value {
	if c.big {
		return value{kind: tooBig}
	}
	return value{string(append(c.b, c.open+2)), literal} // in ASCII the brackets are two apart
}
