package levels

import (
	"time"

	"github.com/logbridge/logbridge"
)

// activity is what the lines of a device tell beside its level. It is 40 bytes of each sighting, and noting a line allocates
// nothing.
type activity struct {
	lastLine  int64 // when the last line came
	skew      time.Duration
	skewKnown bool
	// minute is the one in which the last line came, since 1970. lines came in it, and linesBefore in the one before.
	minute, lines, linesBefore uint32
}

// note takes note of lines.
func (a *activity) note(o logbridge.Observation, at int64) {
	a.lastLine = max(a.lastLine, at)
	if o.SkewKnown {
		a.skew, a.skewKnown = o.Skew, true
	}
	minute, n := uint32(at/int64(time.Minute)), uint32(max(1, o.Lines))
	switch minute {
	case a.minute:
		a.lines += n
	case a.minute + 1:
		a.lines, a.linesBefore = n, a.lines
	default:
		a.lines, a.linesBefore = n, 0
	}
	a.minute = minute
}

// perMinute is how many lines came in the minute until now, as if those of the minute before had come evenly.
func (a *activity) perMinute(now int64) float64 {
	past := float64(now%int64(time.Minute)) / float64(time.Minute)
	switch uint32(now / int64(time.Minute)) {
	case a.minute:
		return float64(a.lines) + float64(a.linesBefore)*(1-past)
	case a.minute + 1:
		return float64(a.lines) * (1 - past)
	}
	return 0
}
