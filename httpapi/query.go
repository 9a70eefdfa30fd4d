package httpapi

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// The bounds and defaults of GET /logs (design.md 7).
const (
	defaultLimit = 100
	maxLimit     = 1_000_000
	defaultSince = time.Hour
	// maxFields: each is checked against every record.
	maxFields = 16
	// maxQueryText bounds one parameter's value.
	maxQueryText = 4096
)

// logsQuery is a request for records.
type logsQuery struct {
	logbridge.Query
	follow bool
}

// parseLogsQuery reads the parameters of GET /logs. Each may be given once, field.… several times. An empty value is as if
// the parameter were not there. Errors are ErrInvalid and name the parameter.
func parseLogsQuery(rawQuery string, now time.Time) (logsQuery, error) {
	var q logsQuery
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return q, fmt.Errorf("%w: the query is not well escaped", logbridge.ErrInvalid)
	}
	p := paramReader{query: &q, now: now}
	for name, all := range values {
		for _, v := range all {
			p.read(name, v, len(all))
		}
	}
	if p.err != nil {
		return q, p.err
	}
	p.finish()
	if p.err == nil {
		p.err = q.Validate()
	}
	return q, p.err
}

// paramReader collects parameters; the first fault stays.
type paramReader struct {
	query *logsQuery
	now   time.Time
	order string
	paged bool // after was given, if only the zero position
	err   error
}

// fail keeps the fault whose text comes first, since parameters come in no order.
func (p *paramReader) fail(format string, args ...any) {
	err := fmt.Errorf("%w: "+format, append([]any{logbridge.ErrInvalid}, args...)...)
	if p.err == nil || err.Error() < p.err.Error() {
		p.err = err
	}
}

func (p *paramReader) read(name, v string, times int) {
	if key, ok := strings.CutPrefix(name, "field."); ok {
		p.field(key, v)
		return
	}
	switch {
	case times > 1:
		p.fail("parameter %s is given more than once", clip(name))
		return
	case len(v) > maxQueryText:
		p.fail("parameter %s is longer than %d bytes", clip(name), maxQueryText)
		return
	}
	if text := p.text(name); text != nil {
		*text = v
		return
	}
	p.typed(name, v)
}

// text is where a parameter that needs no parsing goes; nil for the others.
func (p *paramReader) text(name string) *string {
	switch q := &p.query.Query; name {
	case "stream":
		return (*string)(&q.Stream)
	case "product":
		return &q.Product
	case "device":
		return &q.Device
	case "project":
		return &q.Project
	case "logstore":
		return &q.Logstore
	case "topic":
		return &q.Topic
	case "q":
		return &q.Contains
	case "direction":
		return &p.order
	}
	return nil
}

func (p *paramReader) typed(name, v string) {
	var err error
	q := p.query
	switch name {
	case "level":
		if v != "" {
			var l logbridge.Level
			l, err = logbridge.ParseLevel(v)
			q.Levels = logbridge.AtLeast(l)
		}
	case "source":
		if v != "" {
			q.Sources = logbridge.SourcesOf(logbridge.Source(v))
			if !slices.Contains(logbridge.Sources, logbridge.Source(v)) {
				err = fmt.Errorf("%q is none of %v", clip(v), logbridge.Sources)
			}
		}
	case "since":
		q.Since, err = parseWhen(v, p.now)
	case "until":
		q.Until, err = parseWhen(v, p.now)
	case "after":
		if v != "" {
			p.paged = true
			q.After, err = logbridge.ParsePosition(v)
		}
	case "limit":
		if v != "" {
			q.Limit, err = strconv.Atoi(v)
			if err != nil || q.Limit < 1 || q.Limit > maxLimit {
				err = fmt.Errorf("%q is not a number from 1 to %d", clip(v), maxLimit)
			}
		}
	case "follow":
		switch v {
		case "true", "1":
			q.follow = true
		case "", "false", "0":
		default:
			err = fmt.Errorf("%q is neither true nor false", clip(v))
		}
	default:
		p.fail("there is no parameter %q", clip(name))
		return
	}
	if err != nil {
		p.fail("parameter %s: %s", name, strings.TrimPrefix(err.Error(), logbridge.ErrInvalid.Error()+": "))
	}
}

func (p *paramReader) field(key, v string) {
	switch {
	case key == "" || len(key) > maxQueryText || len(v) > maxQueryText:
		p.fail("parameter field.… needs a name, and at most %d bytes of name and value", maxQueryText)
	case len(p.query.Fields) == maxFields:
		p.fail("more than %d field parameters", maxFields)
	default:
		p.query.Fields = append(p.query.Fields, logbridge.Attr{Key: key, Value: v})
	}
}

// finish sets defaults and the order. A reader that comes back with after, or follows, goes by position: the only order in
// which nothing is missed or repeated. It has no default since, nor a default limit when it follows.
func (p *paramReader) finish() {
	q := p.query
	switch p.order {
	case "", "backward":
		q.Order = logbridge.NewestFirst
	case "forward":
		q.Order = logbridge.OldestFirst
	default:
		p.fail("parameter direction: %q is neither forward nor backward", clip(p.order))
	}
	if q.follow && p.order == "backward" {
		p.fail("parameter direction: follow goes forward only")
	}
	if q.follow || p.paged && p.order != "backward" {
		q.Order = logbridge.ByPosition
	}
	if q.Since.IsZero() && !p.paged {
		q.Since = p.now.Add(-defaultSince)
	}
	if q.Limit == 0 && !q.follow {
		q.Limit = defaultLimit
	}
}

// latest is the last second of year 9999, beyond which RFC 3339 has no form.
const latest = 253402300799

// parseWhen reads a duration before now, a time in RFC 3339, or unix seconds.
func parseWhen(v string, now time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 && v != "0" {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t, nil
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 && n <= latest {
		return time.Unix(n, 0), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 10m, nor a time such as 2026-11-21T10:55:44Z, nor unix seconds", clip(v))
}
