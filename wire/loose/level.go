package loose

import (
	"strings"

	"github.com/logbridge/logbridge"
)

// Severity reads a word that a logging library uses for a level: those of logbridge.ParseLevel, and the usual ones beyond
// them, each as the nearest of the four. info and false for what is none, and
// for off, which is no severity.
func Severity(word string) (level logbridge.Level, ok bool) {
	if level, err := logbridge.ParseLevel(word); err == nil && level != logbridge.LevelOff {
		return level, true
	}
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "fatal", "critical", "crit", "alert", "emerg", "emergency", "panic", "severe":
		return logbridge.LevelError, true
	case "notice", "information", "informational":
		return logbridge.LevelInfo, true
	case "trace", "verbose", "fine":
		return logbridge.LevelDebug, true
	}
	return logbridge.LevelInfo, false
}
