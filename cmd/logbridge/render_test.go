package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// recordLine is a record as the operator API writes it.
func recordLine(stream, level, body string) []byte {
	return fmt.Appendf(nil, `{"seq":"1.0","time":"2026-11-21T10:00:00Z","stream":%q,"level":%q,"body":%q,"attributes":{}}`, stream, level, body)
}

func TestTextCannotSteerTheTerminal(t *testing.T) {
	r := shownRecord{Level: "error", Stream: "device/ABCDE12345/d", Body: "a\x1b[2Jb\u202ec\tµ", Attributes: []byte(`{"k":"v"}`)}
	text := (&printer{}).text(r)
	if want := `ABCDE12345/d a\x1b[2Jb\u202ec` + "\tµ" + ` {"k":"v"}`; !strings.HasSuffix(text, want) {
		t.Errorf("%q does not end with %q", text, want)
	}
	r.Stream, r.Level = "otlp/\x1b[2J/x", "\x1b[2J"
	if text := (&printer{}).text(r); strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
	}
	if coloured := (&printer{colour: true}).text(shownRecord{Level: "error", Body: "x"}); strings.Count(coloured, "\x1b[31m") != 2 || !strings.HasSuffix(coloured, "\x1b[31mx\x1b[0m") {
		t.Errorf("an error is %q in colour", coloured)
	}
}

// show prints lines in order, with those before a blank one expected first.
func show(t *testing.T, p *printer, lines ...[]byte) []string {
	t.Helper()
	var out strings.Builder
	p.out = &out
	for _, line := range lines {
		if err := p.line(line); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestLinesAreAligned(t *testing.T) {
	short, long := recordLine("device/ABCDE12345/d", "warn", "x"), recordLine("device/ABCDE12345/device_10", "debug", "x")
	huge := recordLine("otlp/"+strings.Repeat("n", 40)+"/s", "info", "x")
	at := func(line string) int { return strings.LastIndex(line, " x") }
	p := &printer{}
	p.expect(long)
	got := show(t, p, short, long, huge, short)
	if at(got[0]) != at(got[1]) || at(got[2]) <= at(got[1]) || at(got[3]) != len("2006-01-02 15:04:05.000 DEBUG ")+widestStream {
		t.Errorf("\n%s", strings.Join(got, "\n"))
	}
	if got := show(t, &printer{}, short, long, short); at(got[0]) >= at(got[1]) || at(got[1]) != at(got[2]) { // as they come
		t.Errorf("\n%s", strings.Join(got, "\n"))
	}
}

func TestSeveralDevicesHaveTheirColours(t *testing.T) {
	one, two := recordLine("device/ABCDE12345/dev_01", "info", "x"), recordLine("device/ABCDE12345/dev_02", "info", "x")
	if got := show(t, &printer{colour: true}, one, one); strings.Contains(strings.Join(got, ""), "\x1b") {
		t.Errorf("one device is in colour: %q", got)
	}
	p := &printer{colour: true}
	p.expect(two)
	got := show(t, p, one, two, one)
	colour := func(line string) string { return line[strings.Index(line, "\x1b"):strings.Index(line, "ABCDE")] }
	if got[0] != got[2] || colour(got[0]) == colour(got[1]) || colour(got[0]) != "\x1b["+streamColour("ABCDE12345/dev_01")+"m" {
		t.Errorf("%q", got)
	}
	if got := show(t, &printer{}, one, two, one); strings.Contains(strings.Join(got, ""), "\x1b") {
		t.Errorf("colours that nobody wanted: %q", got)
	}
}

// TestColoursReadOnDarkAndLight by the contrast that WCAG 2 asks of large text, to black and to white.
func TestColoursReadOnDarkAndLight(t *testing.T) {
	steps := [...]float64{0, 95, 135, 175, 215, 255}
	linear := func(c float64) float64 {
		if c /= 255; c <= 0.03928 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	seen := map[int]bool{}
	for _, n := range streamColours {
		c := n - 16 // of a cube of 6 by 6 by 6
		light := 0.2126*linear(steps[c/36]) + 0.7152*linear(steps[c/6%6]) + 0.0722*linear(steps[c%6])
		if black, white := (light+0.05)/0.05, 1.05/(light+0.05); black < 3 || white < 3 || seen[n] {
			t.Errorf("colour %d has a contrast of %.1f to black and %.1f to white, seen before: %v", n, black, white, seen[n])
		}
		seen[n] = true
	}
}

func TestColoursWhenTheyAreWanted(t *testing.T) {
	for _, row := range []struct {
		color, env string
		want       bool
	}{{"auto", "", false}, {"never", "", false}, {"always", "", true}, {"always", "1", true}} {
		t.Setenv("NO_COLOR", row.env)
		stub := newStubAPI(t, 200, string(recordLine("audit", "error", "x"))+"\n")
		code, out, stderr := cli(t, "logs", "--color", row.color, "--url", stub.url, "--token", "t")
		if code != exitOK || strings.Contains(out, "\x1b") != row.want {
			t.Errorf("%+v: exit code %d, %q, %s", row, code, out, stderr)
		}
	}
}
