package logbridge

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Level says how much a device logs, and how severe a record is. The numbers are those of the Tencent IoT log
// service (log_level 0 to 4).
type Level uint8

// The five levels. LevelOff asks a device for silence; as the severity of a record it does not occur.
const (
	LevelOff Level = iota
	LevelError
	LevelWarn
	LevelInfo
	LevelDebug
)

var levelNames = [...]string{"off", "error", "warn", "info", "debug"}

// ParseLevel reads a level from its name in any case, its number, or the usual abbreviations (ERR, WRN, INF, DBG).
func ParseLevel(s string) (Level, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "off", "0", "none":
		return LevelOff, nil
	case "error", "err", "1":
		return LevelError, nil
	case "warn", "warning", "wrn", "2":
		return LevelWarn, nil
	case "info", "inf", "3":
		return LevelInfo, nil
	case "debug", "dbg", "4":
		return LevelDebug, nil
	}
	return 0, fmt.Errorf("%w: level %q is none of off, error, warn, info, debug or 0 to 4", ErrInvalid, clip(s))
}

// Valid reports whether l is one of the five levels.
func (l Level) Valid() bool { return l <= LevelDebug }

func (l Level) String() string {
	if !l.Valid() {
		return fmt.Sprintf("level(%d)", uint8(l))
	}
	return levelNames[l]
}

// SeverityNumber is the lowest OpenTelemetry SeverityNumber of the level's range (ERROR 17, WARN 13, INFO 9, DEBUG 5),
// 0 (unspecified) for LevelOff.
func (l Level) SeverityNumber() int {
	switch l {
	case LevelError:
		return 17
	case LevelWarn:
		return 13
	case LevelInfo:
		return 9
	case LevelDebug:
		return 5
	}
	return 0
}

// MarshalText writes the name.
func (l Level) MarshalText() ([]byte, error) {
	if !l.Valid() {
		return nil, fmt.Errorf("%w: level %d", ErrInvalid, uint8(l))
	}
	return []byte(levelNames[l]), nil
}

// UnmarshalText is ParseLevel.
func (l *Level) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLevel(string(b))
	return err
}

// UnmarshalJSON accepts the name as a string and the number as a number.
func (l *Level) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		return l.UnmarshalText([]byte(s))
	}
	return l.UnmarshalText(b)
}

// clip shortens outside text before it goes into an error message.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
