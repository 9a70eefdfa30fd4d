package otlp

import (
	"strconv"
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// severityName is how the names of the enumeration begin, which some senders write in JSON in place of the number.
const severityName = "SEVERITY_NUMBER_"

// LevelOf gives the level of a severity number: 1 to 8 debug, 9 to 12 info, 13 to 16 warn, 17 to 24 error. false for all
// others. The other way round it is logbridge.Level.SeverityNumber.
func LevelOf(number int64) (logbridge.Level, bool) {
	switch {
	case number < 1 || number > 24:
		return logbridge.LevelInfo, false
	case number <= 8:
		return logbridge.LevelDebug, true
	case number <= 12:
		return logbridge.LevelInfo, true
	case number <= 16:
		return logbridge.LevelWarn, true
	}
	return logbridge.LevelError, true
}

// severity judges number and text of a record, and keeps as attributes what the level does not say.
func (r *logRecord) severity(own *loose.Attributes) logbridge.Level {
	level, ok := LevelOf(r.number)
	name := strings.TrimPrefix(r.severityText, severityName)
	if !ok {
		level, ok = loose.Severity(strings.TrimRight(name, "1234")) // ERROR2
	}
	if r.number != 0 && (!ok || r.number != int64(level.SeverityNumber())) {
		own.Add("severity_number", strconv.FormatInt(r.number, 10))
	}
	if r.severityText != "" && !strings.EqualFold(name, level.String()) {
		own.Add("severity_text", r.severityText)
	}
	return level
}
