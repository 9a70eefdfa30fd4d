package tencent

import (
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// ParseReport reads a message on TopicReport, once it is unpacked: lines of text, each as in ParseLine or as a
// console shows it (parseReportLine), separated by newline + form feed if that occurs, else by newline; or, unless the form says
// Lines, JSON: an array of strings (lines) and of objects, or one object. In an object, whatever the case of the names,
//
//   - time, ts, timestamp or @timestamp is a Unix time of any unit (loose.UnixTime), RFC 3339, or "2006-01-02 15:04:05" in loc,
//   - level, severity or lvl is a name, an abbreviation or a number (loose.Severity),
//   - message or msg is the text,
//
// and all other members become Attrs in their order, nested ones as the JSON that was sent. Of two that mean the same the first
// counts and the other is an attribute. A time or level that cannot be read stays in Attrs as time_raw or under its name.
//
// A text may begin with '[' or '{' ("[main] started"), and JSON may arrive cut off, so what is not valid JSON is text and
// nothing is lost: the only error is ErrTooLarge, beyond MaxLines. An empty payload has no lines.
func ParseReport(payload []byte, form ReportForm, loc *time.Location) ([]Line, error) {
	text := loose.Repair(payload)
	if !form.Lines {
		if lines, err := reportJSON(text, loc); err == nil || err == errTooManyLines {
			return lines, wrapReport(err)
		}
	}
	separator := "\n"
	if strings.Contains(text, lineEnd) {
		separator = lineEnd
	}
	parts, ok := appendLines(nil, text, separator, MaxLines)
	if !ok {
		return nil, wrapReport(errTooManyLines)
	}
	lines := make([]Line, len(parts))
	for i, part := range parts {
		lines[i] = parseReportLine(part, loc)
	}
	return lines, nil
}

func wrapReport(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("report: %w", err)
}

// reportJSON reads a report that is one JSON array or object.
func reportJSON(text string, loc *time.Location) ([]Line, error) {
	s := loose.NewScanner(text)
	var lines []Line
	if s.Peek() == '{' {
		lines = append(lines, reportObject(&s, loc))
		return lines, s.End()
	}
	for s.Enter('['); s.Next(); {
		if s.Peek() == '{' && len(lines) < MaxLines {
			lines = append(lines, reportObject(&s, loc))
			continue
		}
		// A string may hold several lines; any other scalar is a line of its own.
		parts, ok := appendLines(nil, s.Text(), lineEnd, MaxLines-len(lines))
		if !ok {
			s.Fail(errTooManyLines)
		}
		for _, part := range parts {
			lines = append(lines, parseReportLine(part, loc))
		}
	}
	return lines, s.End()
}

// meaning is what a member of an object is to a line.
type meaning uint8

const (
	meansNothing meaning = iota
	meansText
	meansLevel
	meansTime
)

// meaningOf knows the usual names: those of Tencent's platform, of the logging libraries of Go, Python, Node and Rust, of
// Google Cloud (severity) and of Elastic (@timestamp).
func meaningOf(key string) meaning {
	switch strings.ToLower(key) {
	case "message", "msg":
		return meansText
	case "level", "severity", "lvl":
		return meansLevel
	case "time", "ts", "timestamp", "@timestamp":
		return meansTime
	}
	return meansNothing
}

func reportObject(s *loose.Scanner, loc *time.Location) Line {
	line := Line{Level: logbridge.LevelInfo}
	var taken [meansTime + 1]bool
	for s.Enter('{'); s.Next(); {
		key := s.Key()
		means := meaningOf(key)
		if taken[means] || s.Peek() == 'n' { // null says nothing
			means = meansNothing
		}
		value := s.Text()
		switch means {
		case meansText:
			line.Text, taken[means] = value, true
			continue
		case meansTime:
			line.setReportTime(value, loc)
			taken[means] = !line.Time.IsZero()
			continue
		case meansLevel:
			if level, ok := loose.Severity(value); ok {
				line.Level, taken[means] = level, true
				continue
			}
		}
		line.Attrs = append(line.Attrs, logbridge.Attr{Key: key, Value: value})
	}
	return line
}

// reportTimes are the forms of a time beside a number and that of a line: RFC 3339, and ISO 8601 with a zone as strftime
// writes it, or without.
func reportTimes() []string {
	return []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05"}
}

func (l *Line) setReportTime(text string, loc *time.Location) {
	if t, ok := loose.UnixTime(text); ok {
		l.Time = t
		return
	}
	if loc == nil {
		loc = time.UTC
	}
	for _, form := range reportTimes() {
		if t, err := time.ParseInLocation(form, text, loc); err == nil && !t.IsZero() {
			l.Time, l.timeText = t, text
			return
		}
	}
	l.setTime(text, loc)
}
