package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
)

// doctorCmd looks at everything that serve needs, with the settings of serve, and changes nothing.
type doctorCmd struct {
	Config
	Syncs  int    `default:"100" placeholder:"N" help:"How many writes are synced to measure the disk (${default})."`
	Output string `short:"o" enum:"table,json" default:"table" placeholder:"FORM" help:"table or json (${default})."`
	Color  string `enum:"auto,always,never" default:"auto" placeholder:"WHEN" help:"Colours: auto is on a terminal, unless NO_COLOR is set; always, never (${default})."`
}

// Help is what --help says beyond the flags.
func (doctorCmd) Help() string {
	return `It takes the settings of serve, from the same places. Exit codes: 0 all is well, warnings too; 1 something failed; 2 the command line is wrong.`
}

// The states of a finding. Only a failure makes the exit code 1.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailed  = "failed"
	stateSkipped = "skipped"
)

// finding is what one check found, and what to do about it.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"`
}

// examination collects findings.
type examination struct {
	cfg   Config
	syncs int
	found []finding
	// running says that a server works on the data folder now.
	running bool
}

func (e *examination) ok(check, format string, args ...any) {
	e.found = append(e.found, finding{check, stateOK, fmt.Sprintf(format, args...), ""})
}

func (e *examination) warn(check, detail, do string) {
	e.found = append(e.found, finding{check, stateWarning, detail, do})
}

func (e *examination) fail(check, detail, do string) {
	e.found = append(e.found, finding{check, stateFailed, detail, do})
}

func (e *examination) skip(check, format string, args ...any) {
	e.found = append(e.found, finding{check, stateSkipped, fmt.Sprintf(format, args...), ""})
}

// mostSyncs bounds --syncs; a slow disk is known long before.
const mostSyncs = 100_000

func (c *doctorCmd) Run(p program, ctx *kong.Context) error {
	if c.Syncs < 1 || c.Syncs > mostSyncs {
		return usageError{fmt.Errorf("--syncs: use a number from 1 to %d", mostSyncs)}
	}
	faults := c.finish(ctx)
	e := &examination{cfg: c.Config, syncs: c.Syncs}
	e.configuration(faults)
	e.folders()
	e.disk()
	e.addresses()
	e.files()
	e.clock(p.ctx)
	e.descriptors()
	e.cluster(p.ctx)
	if err := c.report(p, e.found); err != nil {
		return err
	}
	if n := e.count(stateFailed); n > 0 {
		return fmt.Errorf("%d of %d checks failed", n, len(e.found))
	}
	return nil
}

func (e *examination) count(state string) (n int) {
	for _, f := range e.found {
		if f.State == state {
			n++
		}
	}
	return n
}

// configuration shows every fault of the settings. Each says what to do by itself.
func (e *examination) configuration(faults error) {
	const check = "configuration"
	if faults == nil {
		where := "flags and environment"
		if e.cfg.ConfigFile != "" {
			where += ", " + e.cfg.ConfigFile
		}
		e.ok(check, "%s: no fault", where)
		return
	}
	for _, fault := range leaves(faults) {
		e.fail(check, fault.Error(), "")
	}
}

// leaves takes joined errors apart.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) // as errors.Join makes them; fmt.Errorf's with several %w are whole sentences
	if !ok || fmt.Sprintf("%T", err) != fmt.Sprintf("%T", errors.Join(err)) {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, leaves(one)...)
	}
	return all
}

// stateColours are ANSI colours: green, yellow, red, grey.
var stateColours = map[string]string{stateOK: "32", stateWarning: "33", stateFailed: "31", stateSkipped: dim}

func (c *doctorCmd) report(p program, found []finding) error {
	if c.Output == outputJSON {
		lines := json.NewEncoder(p.stdout)
		lines.SetEscapeHTML(false)
		lines.SetIndent("", "  ")
		return lines.Encode(struct {
			Checks []finding `json:"checks"`
		}{found})
	}
	var lines [][]cell
	for _, f := range found {
		lines = append(lines, []cell{{f.State, stateColours[f.State]}, {f.Check, bold}, {printable(f.Detail), ""}})
		if f.Do != "" {
			lines = append(lines, []cell{{"", ""}, {"", ""}, {"→ " + printable(f.Do), ""}})
		}
	}
	return writeCells(p.stdout, lines, coloured(c.Color, p.stdout))
}
