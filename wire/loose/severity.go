package loose

import "github.com/logbridge/logbridge"

// Severity is the level that a web event says of itself in its first field named level, severity or __level__ that can be
// read as one; info otherwise. Off is a wish about logging, not the severity of an event, and counts as info.
func Severity(fields []logbridge.Attr) logbridge.Level {
	for _, f := range fields {
		switch f.Key {
		case "level", "severity", "__level__":
			if level, err := logbridge.ParseLevel(f.Value); err == nil && level != logbridge.LevelOff {
				return level
			}
		}
	}
	return logbridge.LevelInfo
}
