package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// countAll is what --count takes for one count of everything.
const countAll = "all"

// widestBar is the length of the longest bar.
const widestBar = 40

// countFaults are the faults of the flags that speak of counts.
func (c logsCmd) countFaults() (faults []error) {
	if c.Step != "" {
		if d, err := time.ParseDuration(c.Step); err != nil || d <= 0 {
			faults = append(faults, fmt.Errorf("--step: %q is no duration above zero, as 5m", c.Step))
		}
	}
	switch {
	case c.Count == "" && c.Step != "":
		faults = append(faults, errors.New("--step: give --count too, as --count level"))
	case c.Count != "" && c.Follow:
		faults = append(faults, errors.New("--count: what is followed has no end, so leave out -f or --count"))
	case c.Count != "" && c.Limit != nil:
		faults = append(faults, errors.New("--count: everything is counted, so leave out -n or --count"))
	}
	return faults
}

// shownCount is a bucket of the operator API's histogram.
type shownCount struct {
	Time    time.Time `json:"time"`
	Value   string    `json:"value"`
	Records uint64    `json:"records"`
}

// count shows how many records there are, and returns how many lines that took.
func (c logsCmd) count(p program, server *api, query url.Values) (shown int, err error) {
	query.Set("step", "0")
	if c.Step != "" {
		query.Set("step", c.Step)
	}
	if c.Count != countAll {
		query.Set("by", c.Count)
	}
	var answer struct {
		Total   uint64       `json:"total"`
		Buckets []shownCount `json:"buckets"`
	}
	if err := server.call(p.ctx, http.MethodGet, "/logs/histogram?"+query.Encode(), nil, &answer); err != nil {
		return 0, err
	}
	if c.Output == "json" {
		lines := json.NewEncoder(p.stdout)
		for _, b := range answer.Buckets {
			if err := lines.Encode(b); err != nil {
				return 0, err
			}
		}
		return len(answer.Buckets), nil
	}
	return len(answer.Buckets), c.countTable(p.stdout, answer.Buckets, answer.Total)
}

// countTable writes a line for each bucket: the interval, the value, the number of records, and a bar with --step; and the
// total below several.
func (c logsCmd) countTable(out io.Writer, buckets []shownCount, total uint64) error {
	most := uint64(1)
	for _, b := range buckets {
		most = max(most, b.Records)
	}
	colour := coloured(c.Color, out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, b := range buckets {
		line := strconv.FormatUint(b.Records, 10)
		if c.Count != countAll {
			line = orNone(printable(b.Value)) + "\t" + line
		}
		if c.Step != "" {
			bar := strings.Repeat("#", int((b.Records*widestBar+most-1)/most)) // above zero is seen
			if colour && c.Count == "level" {
				bar = paint(levelColours[b.Value], bar)
			}
			line = b.Time.Local().Format("2006-01-02 15:04:05.999") + "\t" + line + "\t" + bar
		}
		_, _ = fmt.Fprintln(table, line) // Flush reports a failed write
	}
	if len(buckets) == 0 || len(buckets) > 1 && c.Step == "" {
		_, _ = fmt.Fprintf(table, "total\t%d\n", total)
	}
	return table.Flush()
}

// orNone is the value of records that have none.
func orNone(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}
