package levels

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// sampleSize is how many of the matched devices are named: enough to see that the selector means what it should.
const sampleSize = 10

// part is a connected device that a rule means, as it was before the rule changed, and how it is now.
type part struct {
	id      logbridge.DeviceID
	level   logbridge.Level
	decided bool // by this very rule
	now     logbridge.Level
	expires time.Time // when now does
}

// survey looks at the registered devices that a rule means, or meant before it was changed (former, or nil), and at what
// is wanted of them at a moment. It walks the devices of the rule's product.
func (l *Levels) survey(r, former *wide, now time.Time) (parts []part, reach logbridge.RuleReach) {
	if r.Selector.Whole() { // no more than these, mostly all: to grow would take as long as to look
		parts = make([]part, 0, l.fleet.size(r.Selector.Product))
	}
	reach = l.visit(r, former, now, func(p part) { parts = append(parts, p) })
	return parts, reach
}

// reach is what a rule is about now.
func (l *Levels) reach(r *wide) logbridge.RuleReach {
	return l.visit(r, nil, l.clock.now(), func(part) {})
}

// visit is survey that hands on the connected devices.
func (l *Levels) visit(r, former *wide, now time.Time, connected func(part)) (reach logbridge.RuleReach) {
	reach.States = map[string]int{}
	for d := range l.devices.Devices(r.Selector.Product) {
		t := target{id: d.ID, slot: -1, tags: d.Tags}
		meant := t.meets(r)
		if !meant && (former == nil || !t.meets(former)) {
			continue
		}
		w, seen := l.look(d.ID, now)
		if seen.connected {
			connected(part{id: d.ID, level: w.level, decided: w.wide != nil && w.wide.ID == r.ID})
		}
		if meant {
			count(&reach, r, w, seen, d.ID)
		}
	}
	return reach
}

func count(reach *logbridge.RuleReach, r *wide, w want, seen glance, id logbridge.DeviceID) {
	reach.Matched++
	reach.Levels[w.level]++
	reach.States[seen.state]++
	if len(reach.Sample) < sampleSize {
		reach.Sample = append(reach.Sample, id)
	}
	if seen.connected {
		reach.Connected++
	}
	if w.wide != nil && w.wide.ID == r.ID || r.ID == "" && w.yieldsTo(r) && w.level != r.Level {
		reach.Decides++
	}
}

// yieldsTo reports whether a new rule would decide.
func (w want) yieldsTo(r *wide) bool {
	switch {
	case w.wide != nil:
		return order(r, w.wide) < 0
	case w.rule != nil:
		return !w.own
	}
	return true
}

// look says what is wanted of a device, without base and since, and what was seen of it.
func (l *Levels) look(id logbridge.DeviceID, now time.Time) (w want, seen glance) {
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	s := l.fleet.get(id)
	if s == nil {
		return l.decide(id, nil, now), glance{state: StateOffline}
	}
	since := s.since
	switch {
	case s.until != 0 && now.UnixNano() >= s.until, s.rule != nil && !s.rule.live(now):
		w = l.decide(id, s, now)
		since = nanos(w.since)
	case s.own != nil && s.own.live(now):
		w = want{level: s.level, rule: s.own, own: true, expires: s.own.Expires}
	case s.rule != nil:
		w = want{level: s.level, wide: s.rule, expires: s.rule.Expires}
	default:
		w = want{level: s.level}
	}
	seen.state, _ = s.state(w.level, since)
	seen.connected = s.sessions > 0 || s.holder != 0
	return w, seen
}

// glance is what was seen of a device, in short.
type glance struct {
	state     string
	connected bool
}

// spread tells how many devices have which level: "debug", or "error 18, info 2"; "none" for no device.
func spread(levels [logbridge.LevelDebug + 1]int) string {
	var names, counted []string
	for level, n := range levels {
		if n > 0 {
			names = append(names, logbridge.Level(level).String())
			counted = append(counted, fmt.Sprint(logbridge.Level(level), " ", n))
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	return cmp.Or(strings.Join(counted, ", "), "none")
}
