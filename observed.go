package logbridge

import "time"

// ObservedEvent is something a device did, or was done to it, that says which level it follows.
type ObservedEvent uint8

// The events. LevelSent and LevelAcked speak of a push, LevelAsked of a question that was answered, LineSeen of arriving
// records of one severity, LevelAnnounced of a device's own words about the level that it follows from now on; each carries
// the level.
const (
	DeviceConnected ObservedEvent = iota
	DeviceDisconnected
	LevelSent
	LevelAcked
	LevelAsked
	LineSeen
	LevelAnnounced
)

// Observation is one such event of one device.
type Observation struct {
	Device DeviceID
	Event  ObservedEvent
	Level  Level
	Time   time.Time
	// Lines is how many records of a LineSeen there are, and Dated the time of the newest of them, as stored.
	Lines int
	Dated time.Time
	// Skew is, of a LineSeen, how far the time of receipt is ahead of the last line's own time, if SkewKnown: the error of the
	// device's clock, and the seconds that the line waited to be sent.
	Skew      time.Duration
	SkewKnown bool
}

// LevelChange says whose effective level may have changed: one device, a whole product (Device is empty), or everyone
// (both are empty).
type LevelChange struct{ Product, Device string }

// LevelState is what is wanted of a device and what was seen of it.
type LevelState struct {
	Desired Level
	// Base is the level without any rule.
	Base Level
	// Rule is the id of the rule for many devices that says Desired, empty when it is the device's own level or its base.
	Rule string
	// Expires is when Desired falls back to Base; zero when nothing is to end.
	Expires   time.Time
	SetBy     string
	Reason    string
	ChangedAt time.Time
	// State is the furthest of offline, sent, acknowledged, asked, seen that was observed since ChangedAt, or contradicted,
	// or unsupported.
	State     string
	StateTime time.Time
	Connected bool
	LastSeen  time.Time
	// LastLine is when the last line came, stored or not; zero before the first.
	LastLine time.Time
	// LinesPerMinute is how many lines came in the last minute, reckoned from the counts of this minute and the one before.
	LinesPerMinute float64
	// Skew is as in the last Observation that knew it.
	Skew      time.Duration
	SkewKnown bool
}

// LevelBrief is the part of a LevelState that lists of devices are filtered and sorted by.
type LevelBrief struct {
	Desired        Level
	State          string
	Connected      bool
	LinesPerMinute float64
	Skew           time.Duration
}
