package levels

import (
	"time"

	"github.com/logbridge/logbridge"
)

// The states of a device (design.md 5). The first five go from the least to the furthest that was seen since its level
// became what it is; the last two say that it does not follow.
const (
	StateOffline      = "offline"      // stored; the device will be told when it asks
	StateSent         = "sent"         // pushed to it
	StateAcknowledged = "acknowledged" // it has acknowledged the push
	StateAsked        = "asked"        // it has asked and was answered
	StateSeen         = "seen"         // a line at that level has arrived, or the device's own word that it changed its level
	StateContradicted = "contradicted" // lines above the level, dated well after it was told
	StateUnsupported  = "unsupported"  // raised and told, and newer lines keep coming, never one at that level
)

const (
	// grace is how long after the change, and after the device was told, lines may be dated that still follow the former
	// level: it has a buffer, and a clock of its own.
	grace = time.Minute
	// unsupportedLines is how many lines without one at the raised level are no chance any more. A device that has little
	// to say at that level comes to it too, and is cured by its first line there.
	unsupportedLines = 20
)

// sighting is what is known of one device. Times are in nanoseconds since 1970; 0 is never.
type sighting struct {
	slot  int
	shard int // where it is saved
	tags  map[string]string
	own   *rule // what the table of rules has for the device, live or not
	rule  *wide // the first rule for many that means it, live or not
	// next is the one after it, nil for none, if nextKnown.
	next      *wide
	nextKnown bool
	// level and base are what was wanted after the last change, since when it is so, and until when: the end of the rule that
	// says it. Every change settles them, so that up to then no rule has to be asked.
	level, base  logbridge.Level
	since, until int64

	lastSeen               int64
	sent, acked, asked     mark
	announced              mark // the device said so itself
	contradicted, unheeded mark
	// lines has, by severity, when a line of it was first seen since the level became what it is.
	lines [logbridge.LevelDebug + 1]int64
	// others counts the lines below a raised level that are dated after grace, since it was told at othersTold.
	others     int
	othersTold int64
	activity
	// sessions is how many connections to this node are open: a device that takes its own place has two for a moment, and they
	// may be reported in either order.
	sessions int32
	// holder is the other node that the device is connected to (peer.index), 0 for none. epoch numbers its connections, so that of two
	// at two nodes the later is known: it is the time when it was made, or more, as the clocks of nodes differ: more than top, the highest
	// that was heard of. It is that of the session here, or if there is none of that at holder.
	holder     uint8
	epoch, top int64
	unsaid     bool // the other nodes do not know lastSeen
}

// mark is when something happened that is about a level.
type mark struct {
	at    int64
	level logbridge.Level
}

// Observe takes note of what devices did or what was done to them. It is cheap, in memory, and keeps the first time of
// each thing since the device's level became what it is.
func (l *Levels) Observe(list ...logbridge.Observation) {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	for i := range list {
		l.observe(&list[i])
	}
}

// observe is Observe of one thing. Its caller holds the fleet's lock.
func (l *Levels) observe(o *logbridge.Observation) {
	if l.fleet.get(o.Device) == nil && l.late(o) {
		return
	}
	s := l.track(o.Device)
	w := l.brief(o.Device, s)
	at, since := nanos(o.Time), nanos(w.since)
	l.fleet.dirty[s.shard] = true
	if o.Event != logbridge.LevelSent && o.Event != logbridge.DeviceDisconnected { // those two it did not do itself
		s.lastSeen = max(s.lastSeen, at)
	}
	news := true
	switch o.Event {
	case logbridge.DeviceConnected:
		l.connected(o.Device, s, at)
	case logbridge.DeviceDisconnected:
		l.disconnected(o.Device, s)
	case logbridge.LevelSent:
		s.sent.note(o.Level, at, w.level, since)
	case logbridge.LevelAcked:
		s.acked.note(o.Level, at, w.level, since)
	case logbridge.LevelAsked:
		s.asked.note(o.Level, at, w.level, since)
	case logbridge.LevelAnnounced:
		s.announced.note(o.Level, at, w.level, since)
	case logbridge.LineSeen:
		s.activity.note(*o, at)
		news = o.Level.Valid() && s.line(*o, at, w)
	}
	if news {
		l.share.tell(o.Device)
	} else {
		s.unsaid = true
	}
}

// late reports whether something is the last word of a device that was forgotten. A push is observed when it is over, and an outside
// broker takes one for a device that was never seen.
func (l *Levels) late(o *logbridge.Observation) bool {
	switch o.Event {
	case logbridge.DeviceDisconnected:
		return true
	case logbridge.LevelSent, logbridge.LevelAcked:
		_, err := l.devices.Device(o.Device)
		return err != nil
	}
	return false
}

// connected takes note of a session here. Its caller holds the fleet's lock.
func (l *Levels) connected(id logbridge.DeviceID, s *sighting, at int64) {
	s.sessions++
	s.top = max(at, s.top+1)
	s.epoch = s.top
	if l.share == nil {
		return
	}
	if s.sessions == 1 {
		l.share.own.add(id)
	}
	l.share.contest(id, s)
}

// disconnected takes note of the end of one.
func (l *Levels) disconnected(id logbridge.DeviceID, s *sighting) {
	if s.sessions == 0 {
		return
	}
	s.sessions--
	if l.share == nil {
		return
	}
	if s.sessions == 0 {
		l.share.own.remove(id)
	}
	l.share.contest(id, s)
}

// line takes note of lines of one severity, and reports whether they say something new.
func (s *sighting) line(o logbridge.Observation, at int64, w want) (news bool) {
	since := nanos(w.since)
	if s.lines[o.Level] < max(since, 1) {
		s.lines[o.Level], news = at, true
	}
	told := s.told(w.level, since)
	dated := at
	if !o.Dated.IsZero() {
		dated = nanos(o.Dated)
	}
	if dated <= max(told, since)+int64(grace) {
		return news
	}
	switch {
	case o.Level > max(w.level, logbridge.LevelError): // errors are normal at level 0 (tencent-iot.md 3.2)
		if !s.contradicted.after(told, w.level, since) {
			s.contradicted, news = mark{at, w.level}, true
		}
	case told != 0 && w.level > w.base && o.Level < w.level:
		if s.othersTold != told {
			s.others, s.othersTold = 0, told
		}
		s.others += max(1, o.Lines)
		if s.others >= unsupportedLines && !s.unheeded.after(told, w.level, since) {
			s.unheeded, news = mark{at, w.level}, true
		}
	}
	return news
}

// told is when the device was last told this level in a new way: by a push, by its PUBACK, by an answer. 0 is never.
func (s *sighting) told(level logbridge.Level, since int64) (at int64) {
	for _, m := range [...]*mark{&s.sent, &s.acked, &s.asked} {
		if m.tells(level, since) {
			at = max(at, m.at)
		}
	}
	return at
}

// note keeps the first event that is about the wanted level; any other is better than none.
func (m *mark) note(level logbridge.Level, at int64, wanted logbridge.Level, since int64) {
	if !m.tells(wanted, since) {
		*m = mark{at, level}
	}
}

// tells reports whether it happened since then and is about this level.
func (m mark) tells(level logbridge.Level, since int64) bool {
	return m.at != 0 && m.level == level && m.at >= since
}

// after reports whether it happened after the device was told: what it did before that says nothing.
func (m mark) after(told int64, level logbridge.Level, since int64) bool {
	return m.tells(level, since) && m.at >= told
}

// state is what was seen since then about a level, and when first.
func (s *sighting) state(level logbridge.Level, since int64) (string, int64) {
	told := s.told(level, since)
	switch line := s.lines[level]; {
	case s.contradicted.after(told, level, since):
		return StateContradicted, s.contradicted.at
	case s.announced.tells(level, since) && (level == logbridge.LevelOff || line < since || s.announced.at < line):
		return StateSeen, s.announced.at
	case level != logbridge.LevelOff && line != 0 && line >= since:
		return StateSeen, line
	case s.unheeded.after(told, level, since):
		return StateUnsupported, s.unheeded.at
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
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	s := l.fleet.get(id)
	now := l.clock.now()
	w := l.decide(id, s, now)
	return w.state(s, now)
}

// Briefs puts what is wanted and was seen of devices into out, in their order. It is for going through the whole fleet: what they
// share is looked up once.
func (l *Levels) Briefs(ids []logbridge.DeviceID, out []logbridge.LevelBrief) {
	now := l.clock.now()
	at := nanos(now)
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	for i, id := range ids {
		s := l.fleet.get(id)
		switch {
		case s == nil:
			out[i] = logbridge.LevelBrief{Desired: l.decide(id, nil, now).level, State: StateOffline}
			continue
		case s.until == 0 || at < s.until:
			out[i].Desired = s.level
			out[i].State, _ = s.state(s.level, s.since)
		default:
			w := l.decide(id, s, now)
			out[i].Desired = w.level
			out[i].State, _ = s.state(w.level, nanos(w.since))
		}
		out[i].Connected, out[i].LinesPerMinute, out[i].Skew = s.sessions > 0, s.perMinute(at), s.skew
	}
}

// state describes what is wanted of a device and what was seen of it; s is nil for one that was never seen.
func (w want) state(s *sighting, now time.Time) logbridge.LevelState {
	out := logbridge.LevelState{Desired: w.level, Base: w.base, Expires: w.expires, ChangedAt: w.since, State: StateOffline, StateTime: w.since}
	switch {
	case w.wide != nil:
		out.Rule, out.SetBy, out.Reason = w.wide.ID, w.wide.SetBy.Name, w.wide.Reason
	case w.rule != nil:
		out.SetBy, out.Reason = w.rule.By.Name, w.rule.Reason
	}
	if s == nil {
		return out
	}
	state, at := s.state(w.level, nanos(w.since))
	out.State, out.StateTime = state, instant(at)
	out.Connected, out.LastSeen = s.sessions > 0 || s.holder != 0, instant(s.lastSeen)
	out.LastLine, out.LinesPerMinute = instant(s.lastLine), s.perMinute(nanos(now))
	out.Skew, out.SkewKnown = s.skew, s.skewKnown
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
