package loki

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// What is taken when a request does not say (query-and-export.md, 1).
const (
	defaultLimit = 100
	defaultSince = time.Hour
	// defaultSteps is into how many steps a range is cut.
	defaultSteps = 250
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

// ParseParams reads query, start, end, since, time, step, limit and direction. What is not there has Loki's default: an hour up
// to now, 100 lines, the newest first, and a step of a 250th of the range but no less than a second. Unknown parameters are
// not looked at. Errors name the parameter and wrap logbridge.ErrInvalid.
func ParseParams(form url.Values, now time.Time) (Params, error) {
	p := Params{Query: form.Get("query"), Limit: defaultLimit}
	var err error
	if p.Time, err = timeParam(form, "time", now); err != nil {
		return Params{}, err
	}
	if err = p.bounds(form, now); err != nil {
		return Params{}, err
	}
	if p.Step, err = stepParam(form.Get("step"), p.End.Sub(p.Start)); err != nil {
		return Params{}, err
	}
	if s := form.Get("limit"); s != "" {
		if p.Limit, err = strconv.Atoi(s); err != nil || p.Limit < 1 {
			return Params{}, wrong("limit", s, "a positive number")
		}
	}
	switch s := form.Get("direction"); strings.ToLower(s) {
	case "", "backward":
		p.Order = logbridge.NewestFirst
	case "forward":
		p.Order = logbridge.OldestFirst
	default:
		return Params{}, wrong("direction", s, "forward or backward")
	}
	return p, nil
}

func (p *Params) bounds(form url.Values, now time.Time) error {
	since := defaultSince
	if s := form.Get("since"); s != "" {
		d, err := ParseDuration(s)
		if err != nil {
			return wrong("since", s, "a duration such as 30m, 1h30m or 1d")
		}
		since = d
	}
	var err error
	if p.End, err = timeParam(form, "end", now); err != nil {
		return err
	}
	// Loki counts since back from now when the end is still to come.
	last := p.End
	if last.After(now) {
		last = now
	}
	if p.Start, err = timeParam(form, "start", last.Add(-since)); err != nil {
		return err
	}
	if p.End.Before(p.Start) {
		return fmt.Errorf("%w: the end is before the start", logbridge.ErrInvalid)
	}
	return nil
}

func timeParam(form url.Values, name string, absent time.Time) (time.Time, error) {
	s := form.Get(name)
	if s == "" {
		return absent, nil
	}
	t, err := ParseTime(s)
	if err != nil {
		return time.Time{}, wrong(name, s, "nanoseconds, seconds with a fraction, or RFC 3339")
	}
	return t, nil
}

func wrong(name, value, expected string) error {
	return fmt.Errorf("%w: %s is %s, and should be %s", logbridge.ErrInvalid, name, quoted(value), expected)
}

// stepParam reads a step: seconds, with a fraction if need be, or a duration.
func stepParam(s string, span time.Duration) (time.Duration, error) {
	if s == "" {
		return max(span/defaultSteps, time.Second).Truncate(time.Second), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if d, ok := seconds(f); ok && d > 0 {
			return d, nil
		}
	} else if d, err := ParseDuration(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, wrong("step", s, "a positive number of seconds or a duration such as 30s")
}

func seconds(f float64) (time.Duration, bool) {
	f *= float64(time.Second)
	return time.Duration(f), f > math.MinInt64 && f < math.MaxInt64
}

// secondDigits is the longest integer that Loki takes for seconds.
const secondDigits = 10

// ParseTime reads a time parameter: an integer of nanoseconds (of at most ten digits: of seconds, as Loki does), a
// number of seconds with a fraction, of which thousandths count, or RFC 3339. Times that nanoseconds of 64 bits cannot hold are
// errors that wrap logbridge.ErrInvalid.
func ParseTime(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err == nil && len(s) <= secondDigits:
		return inNanoseconds(time.Unix(n, 0))
	case err == nil:
		return time.Unix(0, n).UTC(), nil
	}
	if strings.Contains(s, ".") {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			whole, part := math.Modf(f)
			if !(math.Abs(whole) < math.MaxInt64/float64(time.Second)) {
				return time.Time{}, errTime
			}
			return inNanoseconds(time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)))
		}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errTime
	}
	return inNanoseconds(t)
}

var errTime = fmt.Errorf("%w time: expected nanoseconds, seconds with a fraction, or RFC 3339", logbridge.ErrInvalid)

// inNanoseconds refuses what the nanoseconds of an int64 cannot hold, of which all answers are made.
func inNanoseconds(t time.Time) (time.Time, error) {
	if !time.Unix(0, t.UnixNano()).Equal(t) {
		return time.Time{}, errTime
	}
	return t.UTC(), nil
}
