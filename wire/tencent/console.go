package tencent

import (
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// parseReportLine reads one line of text of a report: as ParseLine, or as the logging of Zephyr or ESP-IDF writes it to a
// console, so that a device needs no formatting of its own:
//
//	[00:00:01.234,000] <inf> main: started      Zephyr; the time is that since the start, or missing
//	I (1234) wifi: connected                    ESP-IDF; the time is that since the start, or of the day
//
// Colours around them are left out. Such a time is no time: it stays as time_raw.
func parseReportLine(s string, loc *time.Location) Line {
	if _, ok := lineLevel(s); ok {
		line := ParseLine(s, loc)
		if s[3:] == line.Text { // as people write it: "WRN low battery"
			line.Text = strings.TrimPrefix(line.Text, " ")
		}
		return line
	}
	plain := uncolour(s)
	if line, ok := parseZephyr(plain); ok {
		return line
	}
	if line, ok := parseESP(plain); ok {
		return line
	}
	return ParseLine(s, loc)
}

// uncolour cuts escape sequences for colours off both ends.
func uncolour(s string) string {
	for {
		rest, ok := strings.CutPrefix(s, "\x1b[")
		end := strings.IndexByte(rest, 'm')
		if !ok || end < 0 || strings.Trim(rest[:end], "0123456789;") != "" {
			break
		}
		s = rest[end+1:]
	}
	for {
		start := strings.LastIndex(s, "\x1b[")
		if start < 0 || !strings.HasSuffix(s, "m") || strings.Trim(s[start+2:len(s)-1], "0123456789;") != "" {
			return s
		}
		s = s[:start]
	}
}

func parseZephyr(s string) (Line, bool) {
	when, rest := "", s
	if inside, ok := strings.CutPrefix(s, "["); ok {
		if when, rest, ok = strings.Cut(inside, "] "); !ok {
			return Line{}, false
		}
	}
	rest = uncolour(rest) // the colour comes behind the time
	if len(rest) < len("<inf> ") || rest[0] != '<' || rest[4:6] != "> " {
		return Line{}, false
	}
	level, ok := lineLevel(strings.ToUpper(rest[1:4]))
	if !ok {
		return Line{}, false
	}
	return consoleLine(level, when, rest[6:])
}

func parseESP(s string) (Line, bool) {
	if len(s) < len("I (1) ") || s[1] != ' ' || s[2] != '(' {
		return Line{}, false
	}
	i := strings.IndexByte("EWIDV", s[0])
	when, rest, ok := strings.Cut(s[3:], ") ")
	if i < 0 || !ok {
		return Line{}, false
	}
	return consoleLine([...]logbridge.Level{logbridge.LevelError, logbridge.LevelWarn, logbridge.LevelInfo, logbridge.LevelDebug, logbridge.LevelDebug}[i], when, rest)
}

// consoleLine takes "tag: text" apart. false if when is no time.
func consoleLine(level logbridge.Level, when, rest string) (Line, bool) {
	if strings.Trim(when, "0123456789:.,- ") != "" {
		return Line{}, false
	}
	line := Line{Level: level, Text: rest}
	if tag, text, ok := strings.Cut(rest, ": "); ok && !strings.Contains(tag, " ") {
		line.Tag, line.Text = tag, text
	}
	if when != "" {
		line.Attrs = []logbridge.Attr{{Key: logbridge.TimeRawKey, Value: when}}
	}
	return line, true
}
