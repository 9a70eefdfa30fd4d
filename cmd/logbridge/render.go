package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

// printer writes one record of the answer to standard output.
func (c logsCmd) printer(p program) func(line []byte) error {
	if c.Output == "json" {
		return func(line []byte) error {
			_, err := p.stdout.Write(append(line[:len(line):len(line)], '\n'))
			return err
		}
	}
	colour := coloured(p.stdout)
	return func(line []byte) error {
		var r shownRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("a line of the answer is no record: %w", err)
		}
		_, err := fmt.Fprintln(p.stdout, r.text(colour))
		return err
	}
}

// coloured reports whether w is a terminal whose user has not asked for no colours (no-color.org).
func coloured(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && isatty.IsTerminal(f.Fd())
}

// shownRecord is a record as the operator API writes it.
type shownRecord struct {
	Seq        string          `json:"seq"`
	Time       time.Time       `json:"time"`
	Stream     string          `json:"stream"`
	Level      string          `json:"level"`
	Body       string          `json:"body"`
	Attributes json.RawMessage `json:"attributes"`
}

// levelColours are ANSI colours: red, yellow, none, grey.
var levelColours = map[string]string{"error": "31", "warn": "33", "debug": "90"}

// text is the record as one line: local time, level, stream, body or fields. A control character of a line could
// rewrite the terminal, so it is shown escaped.
func (r shownRecord) text(colour bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s ", r.Time.Local().Format("2006-01-02 15:04:05.000"), strings.ToUpper(r.Level), printable(strings.TrimPrefix(r.Stream, "device/")))
	b.WriteString(printable(r.Body))
	if fields := string(r.Attributes); fields != "" && fields != "{}" && fields != "null" {
		if r.Body != "" {
			b.WriteByte(' ')
		}
		b.WriteString(printable(fields))
	}
	if c := levelColours[r.Level]; colour && c != "" {
		return "\x1b[" + c + "m" + b.String() + "\x1b[0m"
	}
	return b.String()
}

// printable escapes what is not to be sent to a terminal.
func printable(s string) string {
	clean := func(r rune) bool { return r == '\t' || strconv.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if clean(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}
