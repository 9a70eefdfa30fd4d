package loki

import (
	"net/url"
	"time"

	"github.com/logbridge/logbridge"
)

// Params are the parameters that the endpoints share.
type Params struct {
	Query string
	// Start (inclusive) and End (exclusive). Time is that of an instant query.
	Start, End, Time time.Time
	// Step is positive.
	Step time.Duration
	// Limit is positive: what was asked for, or 100. A bound on it is for the caller.
	Limit int
	// Order is NewestFirst or OldestFirst.
	Order logbridge.Order
}

// ParseParams reads query, start, end, since, time, step, limit and direction. Unknown parameters are not looked at.
func ParseParams(form url.Values, now time.Time) (Params, error) {
	return Params{}, nil
}

// ParseTime reads a time parameter: an integer of nanoseconds (of at most ten digits: of seconds, as Loki does), a
// number of seconds with a fraction, or RFC 3339.
func ParseTime(s string) (time.Time, error) { return time.Time{}, nil }
