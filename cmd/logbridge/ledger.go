package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/logbridge/logbridge"
)

type ledgerCmd struct {
	Client
	All    bool   `short:"a" help:"Every stream; else those with anything that was a duplicate, refused or dropped."`
	Output string `short:"o" enum:"table,json" default:"table" help:"table, or json, which is the API's answer (${default})."`
}

// Run prints the ledger: in all, by source, and by stream. Received is the sum of the other columns.
func (c ledgerCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := server.call(p.ctx, http.MethodGet, "/ledger", nil, &answer); err != nil {
		return err
	}
	if c.Output == "json" {
		_, err := fmt.Fprintln(p.stdout, string(answer))
		return err
	}
	var l logbridge.Ledger
	if err := json.Unmarshal(answer, &l); err != nil {
		return fmt.Errorf("answer of /ledger: %w", err)
	}
	return c.print(p, l)
}

func (c ledgerCmd) print(p program, l logbridge.Ledger) error {
	if l.Since != nil {
		_, _ = fmt.Fprintf(p.stdout, "Lines since %s.\n", l.Since.Local().Format(time.DateTime)) // Flush reports a failed write
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	row := func(name string, counts logbridge.Counts) {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", name, counts.Received, counts.Stored, counts.Duplicate,
			sum(counts.Refused), sum(counts.Dropped), reasons(counts))
	}
	_, _ = fmt.Fprintln(table, "\tRECEIVED\tSTORED\tDUPLICATE\tREFUSED\tDROPPED\tREASONS")
	row("total", l.Total)
	for _, source := range logbridge.Sources {
		if counts, ok := l.Sources[source]; ok {
			row("source "+string(source), counts)
		}
	}
	quiet := 0
	for _, s := range l.Streams {
		if !c.All && s.Stored == s.Received {
			quiet++
			continue
		}
		row(printable(string(s.Stream)), s.Counts)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if quiet == 0 {
		return nil
	}
	_, err := fmt.Fprintf(p.stdout, "Not shown, since every line was stored: %d of %d streams; --all shows them.\n", quiet, len(l.Streams))
	return err
}

func sum(counts map[string]uint64) (n uint64) {
	for _, k := range counts {
		n += k
	}
	return n
}

// reasons writes the reasons of what was refused, and of what was dropped.
func reasons(c logbridge.Counts) string {
	var all []string
	for _, part := range []struct {
		what   string
		counts map[string]uint64
	}{{"refused:", c.Refused}, {"dropped:", c.Dropped}} {
		for i, reason := range slices.Sorted(maps.Keys(part.counts)) {
			if i == 0 {
				all = append(all, part.what)
			}
			all = append(all, fmt.Sprintf("%s=%d", reason, part.counts[reason]))
		}
	}
	return strings.Join(all, " ")
}
