package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// Output says how a command shows what it was asked for. It is part of every command that lists or shows.
type Output struct {
	Output string `short:"o" enum:"table,wide,json" default:"table" placeholder:"FORM" help:"table, wide, which has more columns, or json, which is the API's answer (${default})."`
	Color  string `enum:"auto,always,never" default:"auto" placeholder:"WHEN" help:"Colours: auto is on a terminal, unless NO_COLOR is set; always, never (${default})."`
}

// The values of --output.
const (
	outputJSON = "json"
	outputWide = "wide"
)

// coloured reports whether w gets colours: if it is a terminal whose user has not asked for none (no-color.org).
func coloured(when string, w io.Writer) bool {
	if when != "auto" {
		return when == "always"
	}
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && isatty.IsTerminal(f.Fd())
}

// ANSI's attributes for what is no level.
const (
	bold = "1"
	dim  = "90"
)

// column is one column of a table of T. value gives its text, colour, if not nil, the ANSI colour of that; a wide one is shown
// by -o wide only.
type column[T any] struct {
	name   string
	value  func(T) string
	wide   bool
	colour func(T) string
}

// list asks the API for a list and shows it. rows takes the list out of the answer.
func list[A, T any](p program, c Client, o Output, path string, rows func(A) []T, columns []column[T]) error {
	return fetch(p, c, o, path, func(answer A) error { return writeTable(p.stdout, o, rows(answer), columns) })
}

// fetch asks the API for something and shows it, as it came with -o json.
func fetch[A any](p program, c Client, o Output, path string, write func(A) error) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	return fetchAs(p, server, o, http.MethodGet, path, nil, write)
}

// fetchAs makes a call and shows its answer, as it came with -o json.
func fetchAs[A any](p program, server *api, o Output, method, path string, in any, write func(A) error) error {
	var text json.RawMessage
	if err := server.call(p.ctx, method, path, in, &text); err != nil {
		return err
	}
	if o.Output == outputJSON {
		_, err := fmt.Fprintln(p.stdout, string(bytes.TrimSpace(text)))
		return err
	}
	var answer A
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return write(answer)
}

// columnGap is between columns.
const columnGap = "  "

// writeTable writes rows under a line of names. Lines end without spaces, so that they
// copy well. text/tabwriter would count the bytes of colours.
func writeTable[T any](w io.Writer, o Output, rows []T, columns []column[T]) error {
	var shown []column[T]
	for _, c := range columns {
		if !c.wide || o.Output == outputWide {
			shown = append(shown, c)
		}
	}
	colours := coloured(o.Color, w)
	head := make([]cell, len(shown))
	for i, c := range shown {
		head[i] = cell{text: c.name, colour: bold}
	}
	lines := [][]cell{head}
	for _, row := range rows {
		line := make([]cell, len(shown))
		for i, c := range shown {
			line[i].text = printable(c.value(row))
			if c.colour != nil {
				line[i].colour = c.colour(row)
			}
		}
		lines = append(lines, line)
	}
	return writeCells(w, lines, colours)
}

// cell is one text of a table.
type cell struct{ text, colour string }

func writeCells(w io.Writer, lines [][]cell, colours bool) error {
	var widths []int
	for _, line := range lines {
		for i, c := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var all, b strings.Builder
	for _, line := range lines {
		b.Reset()
		for i, c := range line {
			text := c.text
			if colours {
				text = paint(c.colour, text)
			}
			b.WriteString(text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)) + columnGap)
		}
		all.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, all.String())
	return err
}

// field is one line of what a thing is shown as.
type field struct{ name, value string }

// writeFields writes one thing, a line for each of its fields.
func writeFields(w io.Writer, o Output, fields ...field) error {
	lines := make([][]cell, len(fields))
	for i, f := range fields {
		lines[i] = []cell{{f.name, dim}, {printable(f.value), ""}}
	}
	return writeCells(w, lines, coloured(o.Color, w))
}

// tell prints what a change did.
func tell(p program, format string, args ...any) error {
	_, err := fmt.Fprintf(p.stdout, format+"\n", args...)
	return err
}

// texts joins a list for a column.
func texts(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, " ")
}

// many is a number of things in words: 1 device, 2 devices.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// isAre is the verb for a number of things.
func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
