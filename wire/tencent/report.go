package tencent

import (
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// ParseReport reads a message on TopicReport: lines of text, each as in ParseLine, separated by newline + form feed if that
// occurs, else by newline; or JSON: an array of strings (lines) and of objects, or one object. In an object, time is a Unix
// time of any unit (loose.UnixTime), RFC 3339, or "2006-01-02 15:04:05" in loc; level a name, abbreviation or number;
// message the text; other members become Attrs in their order. A time or level that cannot be read stays in Attrs as
// time_raw or level.
//
// A text may begin with '[' or '{' ("[main] started"), and JSON may arrive cut off, so what is not valid JSON is text and
// nothing is lost: the only error is ErrTooLarge, beyond MaxLines. An empty payload has no lines.
func ParseReport(payload []byte, loc *time.Location) ([]Line, error) {
	text := loose.Repair(payload)
	if lines, err := reportJSON(text, loc); err == nil || err == errTooManyLines {
		return lines, wrapReport(err)
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
		lines[i] = ParseLine(part, loc)
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
			lines = append(lines, ParseLine(part, loc))
		}
	}
	return lines, s.End()
}

func reportObject(s *loose.Scanner, loc *time.Location) Line {
	line := Line{Level: logbridge.LevelInfo}
	for s.Enter('{'); s.Next(); {
		switch key := s.Key(); key {
		case "message":
			line.Text = s.Text()
		case "level":
			text := s.Text()
			level, err := logbridge.ParseLevel(text)
			if err != nil || level == logbridge.LevelOff { // no severity of a record
				line.Attrs = append(line.Attrs, logbridge.Attr{Key: key, Value: text})
				continue
			}
			line.Level = level
		case "time":
			line.setReportTime(s.Text(), loc)
		default:
			line.Attrs = append(line.Attrs, logbridge.Attr{Key: key, Value: s.Text()})
		}
	}
	return line
}

func (l *Line) setReportTime(text string, loc *time.Location) {
	if t, ok := loose.UnixTime(text); ok {
		l.Time = t
		return
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil && !t.IsZero() {
		l.Time, l.timeText = t, text
		return
	}
	l.setTime(text, loc)
}
