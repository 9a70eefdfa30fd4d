package tencent

import (
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// levelChanged is what the C SDK says, as a warning, when it was told another level of warn or above; the level's number
// follows (3.2).
const levelChanged = "Upload log level change to: "

// Observe tells what an upload says about the level that a device follows: how many lines of each severity there are, with the
// time of the newest, and the device's own word that it changed its level; and about its clock. records are those that Records
// made of the lines.
func Observe(id logbridge.DeviceID, lines []Line, records []logbridge.Record, received time.Time, tell func(logbridge.Observation)) {
	var seen [logbridge.LevelDebug + 1]logbridge.Observation
	skew, known := clockSkew(lines, received)
	for i := range records {
		r := &records[i]
		if !r.Severity.Valid() {
			continue
		}
		o := &seen[r.Severity]
		o.Lines++
		if r.Time.After(o.Dated) {
			o.Dated = r.Time
		}
		if r.Severity != logbridge.LevelWarn {
			continue
		}
		if _, number, ok := strings.Cut(r.Body, levelChanged); ok {
			if level, err := logbridge.ParseLevel(number); err == nil {
				tell(logbridge.Observation{Device: id, Event: logbridge.LevelAnnounced, Level: level, Time: received})
			}
		}
	}
	for level, o := range seen {
		if o.Lines > 0 {
			o.Device, o.Event, o.Level, o.Time = id, logbridge.LineSeen, logbridge.Level(level), received
			o.Skew, o.SkewKnown = skew, known
			tell(o)
		}
	}
}

// clockSkew is how far the time of receipt is ahead of the last line that has a time, as the device wrote it: of the lines of an
// upload that one waited the least.
func clockSkew(lines []Line, received time.Time) (skew time.Duration, known bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		if t := lines[i].Time; !t.IsZero() {
			return received.Sub(t), true
		}
	}
	return 0, false
}
