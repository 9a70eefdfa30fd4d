package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

type logsCmd struct {
	Client
	Follow   bool     `short:"f" help:"Go on with what arrives, over restarts of the server too."`
	Product  string   `short:"p" placeholder:"PRODUCT" help:"Of this product."`
	Device   string   `short:"d" placeholder:"GLOB" help:"Of devices with such names, as 'dev-0*'."`
	Project  string   `placeholder:"PROJECT" help:"Of this SLS project."`
	Logstore string   `placeholder:"LOGSTORE" help:"Of this SLS logstore."`
	Topic    string   `placeholder:"TOPIC" help:"Of this CLS topic."`
	Stream   string   `placeholder:"STREAM" help:"Of this stream, as audit or otlp/shop/checkout."`
	Source   string   `placeholder:"SOURCE" help:"That came by mqtt, reportlog, sls, cls, otlp, loki or audit."`
	Level    string   `placeholder:"LEVEL" help:"At least this severe: error, warn, info or debug."`
	Grep     string   `placeholder:"TEXT" help:"With this text in line or field."`
	Field    []string `sep:"none" placeholder:"KEY=VALUE" help:"With this field; may be repeated."`
	Since    string   `default:"1h" placeholder:"TIME" help:"From then on: a duration before now, or a time as 2026-11-21T10:00:00Z (${default})."`
	Until    string   `placeholder:"TIME" help:"Up to then."`
	Limit    *int     `short:"n" placeholder:"N" help:"Of the newest N (100). With -f: end after N (no limit)."`
	Count    string   `placeholder:"BY" help:"Count, and show no lines: by level, source, product, stream, field.KEY, or all."`
	Step     string   `placeholder:"DURATION" help:"With --count: a bar for each such interval, as 5m."`
	Output   string   `short:"o" enum:"text,json" default:"text" help:"text or json, one record a line (${default})."`
	Color    string   `enum:"auto,always,never" default:"auto" help:"Colours: auto is on a terminal, unless NO_COLOR is set; always, never (${default})."`
	ExitCode bool     `help:"End with exit code 3 if there is nothing to show."`
}

// Help is what --help says beyond the flags.
func (logsCmd) Help() string {
	return `Exit codes: 0 done, also when the reader of a pipe goes away; 1 failed; 2 the command line is wrong; and with --exit-code 3 if nothing was found.`
}

// usualLimit is how many records a query without -n shows.
const usualLimit = 100

func (c logsCmd) Run(p program) error {
	query, err := c.query(time.Now())
	if err != nil {
		return usageError{err}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	shown := 0
	switch {
	case c.Count != "":
		shown, err = c.count(p, server, query)
	case c.Follow:
		show := newPrinter(c, p.stdout, coloured(c.Color, p.stdout))
		f := follower{server: server, query: query, show: show.line, stderr: p.stderr, raw: show.json}
		err = f.run(p.ctx)
		shown = f.shown
	default:
		shown, err = c.list(p, server, query)
	}
	if err == nil && shown == 0 && c.ExitCode {
		return errNothing
	}
	return err
}

// list shows the newest records in the order in which they happened.
func (c logsCmd) list(p program, server *api, query url.Values) (shown int, err error) {
	var lines [][]byte
	failed := server.logs(p.ctx, query, func(line []byte) error {
		lines = append(lines, slices.Clone(line))
		return nil
	})
	out := bufio.NewWriter(p.stdout)
	show := newPrinter(c, out, coloured(c.Color, p.stdout))
	for _, line := range lines {
		show.expect(line)
	}
	for _, line := range slices.Backward(lines) {
		if err := show.line(line); err != nil {
			return shown, err
		}
		shown++
	}
	return shown, cmp.Or(out.Flush(), failed)
}

// query turns the flags into the parameters of GET /logs. Times become absolute, so that a query that is repeated
// after a lost connection is the same query.
func (c logsCmd) query(now time.Time) (url.Values, error) {
	q := url.Values{}
	for name, value := range map[string]string{"product": c.Product, "device": c.Device, "project": c.Project,
		"logstore": c.Logstore, "topic": c.Topic, "stream": c.Stream, "source": c.Source, "level": c.Level, "q": c.Grep} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var faults []error
	for name, value := range map[string]string{"since": c.Since, "until": c.Until} {
		t, err := parseTime(value, now)
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s: %w", name, err))
		} else if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	if c.Level != "" {
		if _, err := logbridge.ParseLevel(c.Level); err != nil {
			faults = append(faults, fmt.Errorf("--level: %w", err))
		}
	}
	if c.Limit != nil && *c.Limit <= 0 {
		faults = append(faults, errors.New("--limit: give a positive number"))
	}
	if c.Follow && c.Until != "" {
		faults = append(faults, errors.New("--until: following has no end in time, so leave out -f or --until"))
	}
	for _, f := range c.Field {
		key, value, ok := strings.Cut(f, "=")
		if !ok || key == "" {
			faults = append(faults, fmt.Errorf("--field: %q is not of the form KEY=VALUE", f))
		}
		q.Add(logbridge.FieldPrefix+key, value)
	}
	faults = append(faults, c.countFaults()...)
	if c.Follow {
		q.Set("follow", "true")
	}
	switch {
	case c.Count != "":
	case c.Limit != nil:
		q.Set("limit", strconv.Itoa(*c.Limit))
	case !c.Follow:
		q.Set("limit", strconv.Itoa(usualLimit))
	}
	return q, errors.Join(faults...)
}

// parseTime reads a duration before now or a point in time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration as 10m nor a time as 2026-11-21T10:00:00Z", s)
}

// longestLine is more than a record's bound in the sink, in its JSON form.
const longestLine = 8 << 20

// logs runs a query and hands each line of the answer to use, without its end; the line is only valid during the call.
func (a *api) logs(ctx context.Context, query url.Values, use func(line []byte) error) error {
	res, err := a.send(ctx, http.MethodGet, "/logs?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	return readLines(res.Body, use)
}

func readLines(body io.ReadCloser, use func(line []byte) error) error {
	defer func() { _ = body.Close() }()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 { // a sign of life
			continue
		}
		if err := answerError(lines.Bytes()); err != nil {
			return err
		}
		if err := use(lines.Bytes()); err != nil {
			return fmt.Errorf("%w: %w", errUse, err)
		}
	}
	return lines.Err()
}

// answerError reads the line with which the server ends an answer that it could not finish.
func answerError(line []byte) error {
	if !bytes.HasPrefix(line, []byte(`{"error":`)) {
		return nil
	}
	var last struct{ Error string }
	if err := json.Unmarshal(line, &last); err != nil {
		return fmt.Errorf("last line of the answer: %w", err)
	}
	return fmt.Errorf("the server could not finish its answer: %s", last.Error)
}

// errUse marks an error of the reader's own, as against the server's.
var errUse = errors.New("write")
