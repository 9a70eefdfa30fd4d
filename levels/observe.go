package levels

import (
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// The states of a device, from the least to the furthest that was seen since its level became what it is.
const (
	StateOffline      = "offline"      // stored; the device will be told when it asks
	StateSent         = "sent"         // pushed to it
	StateAcknowledged = "acknowledged" // it has acknowledged the push
	StateAsked        = "asked"        // it has asked and was answered
	StateSeen         = "seen"         // a line at that level has arrived
)

// sightings is what was seen of each device. Only devices that logged in get here, so there are never more than are
// registered.
type sightings struct {
	mu *sync.RWMutex
	of map[logbridge.DeviceID]*sighting
}

// sighting is what was seen of one device. Times are in nanoseconds since 1970; 0 is never.
type sighting struct {
	lastSeen           int64
	sent, acked, asked mark
	// lines has, by severity, when a line of it was first seen since the level became what it is.
	lines [logbridge.LevelDebug + 1]int64
	// sessions is how many connections are open: a device that takes its own place has two for a moment, and they may
	// be reported in either order.
	sessions int32
}

// mark is when a device was told a level.
type mark struct {
	at    int64
	level logbridge.Level
}

func newSightings() sightings {
	return sightings{mu: new(sync.RWMutex), of: map[logbridge.DeviceID]*sighting{}}
}

func (s *sightings) forget(id logbridge.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, id)
}

// Observe takes note of what a device did or what was done to it. It is cheap, in memory, and keeps the first time of
// each thing since the device's level became what it is.
func (l *Levels) Observe(o logbridge.Observation) {
	w := l.want(o.Device)
	at, since := nanos(o.Time), nanos(w.since)
	l.seen.mu.Lock()
	defer l.seen.mu.Unlock()
	s := l.seen.of[o.Device]
	if s == nil {
		if o.Event == logbridge.DeviceDisconnected {
			return // the last word of one that was forgotten
		}
		s = new(sighting)
		l.seen.of[o.Device] = s
	}
	if o.Event != logbridge.LevelSent && o.Event != logbridge.DeviceDisconnected { // those two it did not do itself
		s.lastSeen = max(s.lastSeen, at)
	}
	switch o.Event {
	case logbridge.DeviceConnected:
		s.sessions++
	case logbridge.DeviceDisconnected:
		s.sessions = max(0, s.sessions-1)
	case logbridge.LevelSent:
		s.sent.note(o.Level, at, w.level, since)
	case logbridge.LevelAcked:
		s.acked.note(o.Level, at, w.level, since)
	case logbridge.LevelAsked:
		s.asked.note(o.Level, at, w.level, since)
	case logbridge.LineSeen:
		if o.Level.Valid() && s.lines[o.Level] < max(since, 1) {
			s.lines[o.Level] = at
		}
	}
}

// note keeps the first event that is about the wanted level; any other is better than none.
func (m *mark) note(level logbridge.Level, at int64, wanted logbridge.Level, since int64) {
	if !m.tells(wanted, since) {
		*m = mark{at, level}
	}
}

// tells reports whether the device was told this level since then.
func (m mark) tells(level logbridge.Level, since int64) bool {
	return m.at != 0 && m.level == level && m.at >= since
}

// state is the furthest that was seen since then about a level.
func (s *sighting) state(level logbridge.Level, since int64) (string, int64) {
	switch line := s.lines[level]; {
	case level != logbridge.LevelOff && line != 0 && line >= since:
		return StateSeen, line
	case s.asked.tells(level, since):
		return StateAsked, s.asked.at
	case s.acked.tells(level, since):
		return StateAcknowledged, s.acked.at
	case s.sent.tells(level, since):
		return StateSent, s.sent.at
	}
	return StateOffline, since
}

// State is what is wanted of a device, by whom and until when, and what was seen of it. For a device that follows its
// base level, who and why are of the base level. StateTime is when the state was reached first.
func (l *Levels) State(id logbridge.DeviceID) logbridge.LevelState {
	w := l.want(id)
	out := logbridge.LevelState{Desired: w.level, Base: w.base, Expires: w.expires, ChangedAt: w.since, State: StateOffline, StateTime: w.since}
	if w.rule != nil {
		out.SetBy, out.Reason = w.rule.By.Name, w.rule.Reason
	}
	l.seen.mu.RLock()
	defer l.seen.mu.RUnlock()
	s := l.seen.of[id]
	if s == nil {
		return out
	}
	state, at := s.state(w.level, nanos(w.since))
	out.State, out.StateTime = state, instant(at)
	out.Connected, out.LastSeen = s.sessions > 0, instant(s.lastSeen)
	return out
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
