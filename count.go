package logbridge

import (
	"fmt"
	"strings"
	"time"
)

// CountBy says how records are counted: in groups by a field, in intervals of time, or both.
type CountBy struct {
	// Field is empty (one group), "level", "source", "stream", "product", or "field." and the key of an attribute.
	Field string
	// Step is the length of the intervals of event time; 0 is one interval.
	Step time.Duration
	// Origin is where one of the intervals begins, and so where the others do; the zero value is 1970.
	Origin time.Time
}

// Count is how many records one group has in one interval.
type Count struct {
	Time    time.Time // begin of the interval; zero without a step
	Value   string    // of the field; empty without one, and where a record has none
	Records uint64
}

// FieldPrefix marks the name of an attribute in CountBy and in the operator API.
const FieldPrefix = "field."

// Validate checks field and step.
func (b CountBy) Validate() error {
	switch b.Field {
	case "", "level", "source", "stream", "product":
	default:
		if key, ok := strings.CutPrefix(b.Field, FieldPrefix); !ok || key == "" {
			return fmt.Errorf("%w: cannot count by %q: it is level, source, stream, product or field.<key>", ErrInvalid, clip(b.Field))
		}
	}
	if b.Step < 0 {
		return fmt.Errorf("%w: a step of %s", ErrInvalid, b.Step)
	}
	return nil
}

// Of gives the value that r is counted under.
func (b CountBy) Of(r *Record) string {
	switch b.Field {
	case "":
		return ""
	case "level":
		return r.Severity.String()
	case "source":
		return string(r.Source)
	case "stream":
		return string(r.Stream)
	case "product":
		id, _ := r.Stream.Device()
		return id.Product
	}
	key := strings.TrimPrefix(b.Field, FieldPrefix)
	for _, a := range r.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}
