package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

type ledgerCmd struct {
	Client
	All bool `short:"a" help:"Every stream; else those with anything that was a duplicate, refused or dropped."`
	Output
}

// Run prints the ledger: in all, by source, and by stream. Received is the sum of the other columns.
func (c ledgerCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, "/ledger", func(l logbridge.Ledger) error { return c.print(p, l) })
}

// ledgerRow is a line of the ledger.
type ledgerRow struct {
	name string
	logbridge.Counts
}

func ledgerColumns() []column[ledgerRow] {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return []column[ledgerRow]{
		{name: "", value: func(r ledgerRow) string { return r.name }},
		{name: "RECEIVED", value: func(r ledgerRow) string { return number(r.Received) }},
		{name: "STORED", value: func(r ledgerRow) string { return number(r.Stored) }},
		{name: "DUPLICATE", value: func(r ledgerRow) string { return number(r.Duplicate) }},
		{name: "REFUSED", value: func(r ledgerRow) string { return number(sum(r.Refused)) }, colour: func(r ledgerRow) string { return alarm(r.Refused) }},
		{name: "DROPPED", value: func(r ledgerRow) string { return number(sum(r.Dropped)) }, colour: func(r ledgerRow) string { return alarm(r.Dropped) }},
		{name: "REASONS", value: func(r ledgerRow) string { return reasons(r.Counts) }},
	}
}

// alarm is the colour of what was not stored.
func alarm(counts map[string]uint64) string {
	if sum(counts) == 0 {
		return ""
	}
	return levelColours["warn"]
}

func (c ledgerCmd) print(p program, l logbridge.Ledger) error {
	if l.Since != nil {
		if err := tell(p, "Lines since %s.", l.Since.Local().Format(time.DateTime)); err != nil {
			return err
		}
	}
	rows := []ledgerRow{{"total", l.Total}}
	for _, source := range logbridge.Sources {
		if counts, ok := l.Sources[source]; ok {
			rows = append(rows, ledgerRow{"source " + string(source), counts})
		}
	}
	quiet := 0
	for _, s := range l.Streams {
		if !c.All && s.Stored == s.Received {
			quiet++
			continue
		}
		rows = append(rows, ledgerRow{string(s.Stream), s.Counts})
	}
	if err := writeTable(p.stdout, c.Output, rows, ledgerColumns()); err != nil || quiet == 0 {
		return err
	}
	return tell(p, "Not shown, since every line was stored: %d of %d streams; --all shows them.", quiet, len(l.Streams))
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
