package tencent

import (
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// lineTime is the time in a line: the device's local time, without a zone (4.1).
const lineTime = "2006-01-02 15:04:05"

// lineEnd ends each line in Java's one array element, in cached text and in the old frame (4.1, 5).
const lineEnd = "\n\f"

// Line is one log line of a device.
type Line struct {
	Level logbridge.Level
	// Time is zero when the line has none or one that could not be read; in the latter case Attrs has its text as
	// logbridge.TimeRawKey.
	Time time.Time
	// Tag is the source file or the tag.
	Tag  string
	Text string
	// Attrs are what a structured report says beside the above (ParseReport).
	Attrs []logbridge.Attr
	// timeText is what Time was read from, empty if that was a number.
	timeText string
}

// ParseLine reads LEVEL|TIME|FILE or TAG|REST, where REST may hold any further '|' (4.1); LEVEL|TIME|REST, as ESP writes it
// (5); LEVEL|REST; and LEVEL directly followed by the text, as the documents show it (4.1). Levels are ERR, WRN, INF and DBG;
// a line that begins otherwise is kept whole as info, and one that begins with the word ERROR or INFO is kept whole at
// that level. Times are local to loc; nil is UTC. It cannot fail: what is not understood stays in Text.
func ParseLine(s string, loc *time.Location) Line {
	level, ok := lineLevel(s)
	if !ok {
		return Line{Level: logbridge.LevelInfo, Text: s}
	}
	line := Line{Level: level}
	rest, fields := strings.CutPrefix(s[3:], "|")
	switch {
	case !fields && isWord(s):
		line.Text = s
		return line
	case !fields:
		line.Text = rest
		return line
	}
	when, after, ok := strings.Cut(rest, "|")
	if !ok || !looksLikeTime(when) {
		line.Text = rest
		return line
	}
	line.setTime(when, loc)
	if line.Tag, line.Text, ok = strings.Cut(after, "|"); !ok {
		line.Tag, line.Text = "", after
	}
	return line
}

func (l *Line) setTime(text string, loc *time.Location) {
	if loc == nil {
		loc = time.UTC
	}
	t, err := time.ParseInLocation(lineTime, text, loc)
	switch {
	case err == nil && !t.IsZero():
		l.Time, l.timeText = t, text
	case text != "":
		l.Attrs = append(l.Attrs, logbridge.Attr{Key: logbridge.TimeRawKey, Value: text})
	}
}

func lineLevel(s string) (logbridge.Level, bool) {
	if len(s) < 3 {
		return 0, false
	}
	switch s[:3] {
	case "ERR":
		return logbridge.LevelError, true
	case "WRN":
		return logbridge.LevelWarn, true
	case "INF":
		return logbridge.LevelInfo, true
	case "DBG":
		return logbridge.LevelDebug, true
	}
	return 0, false
}

func levelLetters(l logbridge.Level) string {
	switch l {
	case logbridge.LevelError:
		return "ERR"
	case logbridge.LevelWarn:
		return "WRN"
	case logbridge.LevelDebug:
		return "DBG"
	}
	return "INF"
}

// isWord reports that s begins with a word of which the level letters are only the beginning, so that cutting them off
// would maim the text: "ERROR: disk full" as people and other loggers write it.
func isWord(s string) bool {
	for _, word := range [...]string{"ERROR", "INFO"} {
		if rest, ok := strings.CutPrefix(s, word); ok && (rest == "" || !isLetter(rest[0])) {
			return true
		}
	}
	return false
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// looksLikeTime tells a time field, readable or not, from text that happens to hold a '|'. The empty field is a time that
// the device did not have.
func looksLikeTime(s string) bool {
	const most = 40 // RFC 3339 with nanoseconds and a zone is 35 characters
	return len(s) <= most && strings.Trim(s, "0123456789-:./ +TZ") == ""
}

// FormatLine writes a line so that ParseLine, in the zone of l.Time, reads the same: LEVEL|TIME|TAG|TEXT, or just LEVELTEXT
// when there is neither time nor tag.
func FormatLine(l Line) string {
	letters := levelLetters(l.Level)
	when := ""
	if !l.Time.IsZero() {
		when = l.Time.Format(lineTime)
	} else if len(l.Attrs) > 0 && l.Attrs[0].Key == logbridge.TimeRawKey && looksLikeTime(l.Attrs[0].Value) {
		when = l.Attrs[0].Value
	}
	if when == "" && l.Tag == "" && !strings.HasPrefix(l.Text, "|") && !isWord(letters+l.Text) {
		return letters + l.Text
	}
	return letters + "|" + when + "|" + strings.ReplaceAll(l.Tag, "|", "/") + "|" + l.Text
}

// SplitLines takes a message apart at newline + form feed (4.1) and drops what is empty. It changes nothing in a message
// that is one line already.
func SplitLines(message string) []string {
	lines, _ := appendLines(nil, message, lineEnd, len(message))
	return lines
}

// appendLines adds the parts of a message to lines. false when there are more than most.
func appendLines(lines []string, message, separator string, most int) ([]string, bool) {
	for part := range strings.SplitSeq(message, separator) {
		if part = strings.Trim(part, "\r\n\f\x00"); part == "" {
			continue
		}
		if len(lines) == most {
			return lines, false
		}
		lines = append(lines, part)
	}
	return lines, true
}
