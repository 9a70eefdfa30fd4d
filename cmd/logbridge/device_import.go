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
}

// importLine is a line of the answer: a device whose secret was made, a bad line, how far it is, or the end.
type importLine struct {
	Line     int           `json:"line"`
	Product  string        `json:"product"`
	Device   string        `json:"device"`
	PSK      string        `json:"psk"`
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
	res, err := server.send(p.ctx, http.MethodPost, "/devices/import", io.NopCloser(in)) // else the client would close standard input
	if err != nil {
		return err
	}
	show := &importShow{p: p, json: c.Output == outputJSON, bar: progressBar{size: size, begun: time.Now()}}
	if f, ok := p.stderr.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		show.terminal = true
	}
	return show.all(res.Body)
}

// importShow shows the answer to an import.
type importShow struct {
	p        program
	json     bool
	terminal bool
	bar      progressBar
	summary  *importCounts // the last line, if it is that
}

func (s *importShow) all(answer io.ReadCloser) error {
	defer s.clear()
	if err := readLines(answer, s.line); err != nil {
		return fmt.Errorf("%w: import again, which is harmless", err)
	}
	switch n := s.summary; {
	case n == nil:
		return errors.New("the answer ended early: import again, which is harmless")
	case n.Bad > 0:
		return fmt.Errorf("%d of %d lines are bad", n.Bad, n.Lines)
	}
	return nil
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
		_, err = fmt.Fprintf(s.p.stderr, "%d devices: %d new, %d changed, %d as they were, %d bad lines, in %s\n", l.Summary.Lines, l.Summary.Created, l.Summary.Changed,
			l.Summary.Unchanged, l.Summary.Bad, time.Since(s.bar.begun).Round(100*time.Millisecond))
	case l.Error != "":
		s.clear()
		_, err = fmt.Fprintf(s.p.stderr, "line %d: %s\n", l.Line, printable(strings.TrimSpace(l.Product+" "+l.Device+" "+l.Error)))
	case l.PSK != "":
		s.clear()
		err = json.NewEncoder(s.p.stdout).Encode(madeSecret{l.Product, l.Device, l.PSK})
	}
	return err
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
	text := fmt.Sprintf("%d devices, %.0f a second", n.Lines, rate)
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
