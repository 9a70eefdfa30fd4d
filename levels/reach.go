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
		w, state := l.look(d.ID, now)
		if state.Connected {
			connected(part{id: d.ID, level: state.Desired, decided: w.wide != nil && w.wide.ID == r.ID})
		}
		if meant {
			count(&reach, r, w, state, d.ID)
		}
	}
	return reach
}

func count(reach *logbridge.RuleReach, r *wide, w want, state logbridge.LevelState, id logbridge.DeviceID) {
	reach.Matched++
	reach.Levels[state.Desired]++
	reach.States[state.State]++
	if len(reach.Sample) < sampleSize {
		reach.Sample = append(reach.Sample, id)
	}
	if state.Connected {
		reach.Connected++
	}
	if w.wide != nil && w.wide.ID == r.ID || r.ID == "" && w.yieldsTo(r) && state.Desired != r.Level {
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

func (l *Levels) look(id logbridge.DeviceID, now time.Time) (want, logbridge.LevelState) {
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	s := l.fleet.get(id)
	w := l.decide(id, s, now)
	return w, w.state(s, now)
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
