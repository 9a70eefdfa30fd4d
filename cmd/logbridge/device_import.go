package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

type deviceImportCmd struct {
	Client
	Output string `short:"o" enum:"table,json" default:"table" placeholder:"FORM" help:"table: on standard output the secrets that were made, in the form of the input, and the rest on standard error; json: the API's whole answer, a line each (${default})."`
	DryRun bool   `help:"Check every line and say which devices would be new and which would change; change nothing."`
	File   string `arg:"" placeholder:"FILE" help:"Lines of {\"product\",\"device\",\"psk\",\"certificate\",\"certificate_subject\",\"tags\"}, the last four as needed; - is standard input."`
}

// importCounts are how far an import is.
type importCounts struct {
	Lines     int   `json:"lines"`
	Created   int   `json:"created"`
	Changed   int   `json:"changed"`
	Unchanged int   `json:"unchanged"`
	Bad       int   `json:"bad"`
	Bytes     int64 `json:"bytes"`
	DryRun    bool  `json:"dry_run"`
}

// importLine is a line of the answer: a device whose secret was made, a bad line, how far it is, or the end.
type importLine struct {
	Line     int           `json:"line"`
	Product  string        `json:"product"`
	Device   string        `json:"device"`
	PSK      string        `json:"psk"`
	Would    string        `json:"would"`
	Error    string        `json:"error"`
	Progress *importCounts `json:"progress"`
	Summary  *importCounts `json:"summary"`
}

func (c deviceImportCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	in, size := os.Stdin, int64(0)
	if c.File != "-" {
		if in, err = os.Open(c.File); err != nil {
			return usageError{err}
		}
		defer func() { _ = in.Close() }()
	}
	if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	path := "/devices/import"
	if c.DryRun {
		path += "?dry_run=true"
	}
	res, err := server.send(p.ctx, http.MethodPost, path, io.NopCloser(in)) // else the client would close standard input
	if err != nil {
		return err
	}
	show := &importShow{p: p, dry: c.DryRun, json: c.Output == outputJSON, bar: progressBar{size: size, begun: time.Now()}}
	if f, ok := p.stderr.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		show.terminal = true
	}
	return show.all(res.Body)
}

// importShow shows the answer to an import.
type importShow struct {
	p        program
	json     bool
	dry      bool
	terminal bool
	bar      progressBar
	summary  *importCounts // the last line, if it is that
}

func (s *importShow) all(answer io.ReadCloser) error {
	defer s.clear()
	if err := readLines(answer, s.line); err != nil {
		return s.again(err)
	}
	switch n := s.summary; {
	case n == nil:
		return s.again(errors.New("the answer ended early"))
	case s.dry && !n.DryRun:
		return errors.New("this server is older and knows no dry run: it has imported the devices")
	case n.Bad > 0:
		return fmt.Errorf("%d of %s %s bad", n.Bad, many(n.Lines, "line"), isAre(n.Bad))
	}
	return nil
}

// again says what to do after an import that ended early.
func (s *importShow) again(err error) error {
	if s.dry {
		return fmt.Errorf("%w: nothing was changed", err)
	}
	return fmt.Errorf("%w: import again, which is harmless", err)
}

func (s *importShow) line(line []byte) (err error) {
	var l importLine
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("a line of the answer is none: %w", err)
	}
	s.summary = l.Summary
	if s.json {
		_, err = fmt.Fprintf(s.p.stdout, "%s\n", line)
	}
	switch {
	case l.Progress != nil && s.terminal:
		_, err = fmt.Fprint(s.p.stderr, "\r"+s.bar.text(*l.Progress, time.Now())+clearToEnd)
	case s.json:
	case l.Summary != nil:
		s.clear()
		_, err = fmt.Fprintln(s.p.stderr, s.sentence(*l.Summary))
	case l.Error != "":
		s.clear()
		_, err = fmt.Fprintf(s.p.stderr, "line %d: %s\n", l.Line, printable(strings.TrimSpace(l.Product+" "+l.Device+" "+l.Error)))
	case l.Would != "":
		s.clear()
		err = tell(s.p, "would %s %s/%s", l.Would, l.Product, l.Device)
	case l.PSK != "":
		s.clear()
		err = json.NewEncoder(s.p.stdout).Encode(madeSecret{l.Product, l.Device, l.PSK})
	}
	return err
}

// sentence is the summary.
func (s *importShow) sentence(n importCounts) string {
	text := fmt.Sprintf("%s: %d new, %d changed, %d as they were, %s, in %s", many(n.Lines, "device"), n.Created, n.Changed, n.Unchanged,
		many(n.Bad, "bad line"), time.Since(s.bar.begun).Round(100*time.Millisecond))
	if s.dry {
		return "dry run, nothing is changed: " + text
	}
	return text
}

// madeSecret is a device whose secret was made, in the form of an import.
type madeSecret struct {
	Product string `json:"product"`
	Device  string `json:"device"`
	PSK     string `json:"psk"`
}

// clearToEnd clears a terminal's line behind the cursor.
const clearToEnd = "\x1b[K"

// clear takes the bar away, so that a line can stand in its place.
func (s *importShow) clear() {
	if s.terminal {
		_, _ = fmt.Fprint(s.p.stderr, "\r"+clearToEnd) // a terminal that is gone is noticed by the next line
	}
}

// progressBar shows how far something is.
type progressBar struct {
	size  int64 // in bytes; 0 is not known
	begun time.Time
}

// text is one line: a bar, if the size is known, how many there are, how many a second, and how long it will last.
func (b progressBar) text(n importCounts, now time.Time) string {
	const width = 30
	passed := now.Sub(b.begun).Seconds()
	rate := 0.0
	if passed > 0 {
		rate = float64(n.Lines) / passed
	}
	text := fmt.Sprintf("%s, %.0f a second", many(n.Lines, "device"), rate)
	if n.Bad > 0 {
		text += fmt.Sprintf(", %d bad", n.Bad)
	}
	if b.size == 0 || n.Bytes == 0 {
		return text
	}
	part := min(float64(n.Bytes)/float64(b.size), 1)
	full := int(part * width)
	left := time.Duration(passed * (1 - part) / part * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s, %s left", strings.Repeat("#", full), strings.Repeat(".", width-full), part*100, text, left)
}
