package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// printer writes records as text or JSON, one a line.
type printer struct {
	out    io.Writer
	json   bool
	colour bool
	first  string // the first stream that was shown
	many   bool   // others were too
	width  int    // of the column of streams: that of the longest so far
}

// widestStream bounds the column of streams, so that one long name does not push all lines to the right.
const widestStream = 36

func newPrinter(c logsCmd, out io.Writer, colour bool) *printer {
	return &printer{out: out, json: c.Output == "json", colour: colour}
}

// expect takes note of a record that will be shown, so that the lines before it are aligned with it.
func (p *printer) expect(line []byte) {
	var r struct{ Stream string }
	if !p.json && json.Unmarshal(line, &r) == nil {
		p.meet(shownStream(r.Stream))
	}
}

// meet takes note of a stream.
func (p *printer) meet(stream string) {
	if p.first == "" {
		p.first = stream
	}
	p.many = p.many || stream != p.first
	p.width = max(p.width, min(utf8.RuneCountInString(stream), widestStream))
}

// line shows one line of an answer.
func (p *printer) line(line []byte) error {
	if p.json {
		_, err := p.out.Write(append(line[:len(line):len(line)], '\n'))
		return err
	}
	var r shownRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("a line of the answer is no record: %w", err)
	}
	_, err := fmt.Fprintln(p.out, p.text(r))
	return err
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

// shownStream is a stream's name; a device's is product and name.
func shownStream(stream string) string { return printable(strings.TrimPrefix(stream, "device/")) }

// text is the record as one line: local time, level, stream, body or fields. A control character of a line could
// rewrite the terminal, so it is shown escaped.
func (p *printer) text(r shownRecord) string {
	stream := shownStream(r.Stream)
	p.meet(stream)
	level := fmt.Sprintf("%-5s", strings.ToUpper(printable(r.Level)))
	padding := strings.Repeat(" ", max(p.width-utf8.RuneCountInString(stream), 0))
	rest := printable(r.Body)
	if fields := string(r.Attributes); fields != "" && fields != "{}" && fields != "null" {
		if rest != "" {
			rest += " "
		}
		rest += printable(fields)
	}
	if p.colour {
		level, rest = paint(levelColours[r.Level], level), paint(levelColours[r.Level], rest)
		if p.many {
			stream = paint(streamColour(stream), stream)
		}
	}
	return r.Time.Local().Format("2006-01-02 15:04:05.000") + " " + level + " " + stream + padding + " " + rest
}

// levelColours are ANSI colours: red, yellow, none, grey. A terminal shows its own shade of them, which fits its background.
var levelColours = map[string]string{"error": "31", "warn": "33", "debug": "90"}

// streamColours are of the 256 colours that look alike in all terminals, and none of those of levels. Each has a contrast of
// 3 to black and to white, so that it reads on dark and on light.
var streamColours = [...]int{26, 29, 31, 61, 65, 67, 92, 95, 97, 99, 101, 127, 129, 132, 133, 162}

// streamColour is the colour of a stream, the same whenever and wherever it is shown.
func streamColour(stream string) string {
	h := fnv.New32a()
	_, _ = io.WriteString(h, stream)
	return "38;5;" + strconv.Itoa(streamColours[h.Sum32()%uint32(len(streamColours))])
}

// paint puts text into a colour; "" is none.
func paint(colour, text string) string {
	if colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
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
