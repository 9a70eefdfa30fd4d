package levels

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// ruleKind is the kind of the rules of this file in the bucket. Its keys have two names (a device), one (a product) or
// none (everyone).
const ruleKind = "level"

// scope is what a rule speaks of: a device, a product (no device) or everyone (neither).
type scope = logbridge.DeviceID

// rule is a level for a scope.
type rule struct {
	Level logbridge.Level
	// Expires is when the rule ends; zero is never.
	Expires time.Time
	Reason  string
	By      logbridge.Actor
	SetAt   time.Time
	// Since is when the level became what it is: earlier than SetAt if a rule of the same level was replaced.
	Since time.Time
}

func (r *rule) live(now time.Time) bool { return r.Expires.IsZero() || now.Before(r.Expires) }

// ruleJSON is a rule as stored. Fields that are not known are ignored, so that neighbouring versions can read each
// other's rules; only the level must be there.
type ruleJSON struct {
	Level   *logbridge.Level `json:"level"`
	Expires time.Time        `json:"expires_at,omitzero"`
	Reason  string           `json:"reason,omitempty"`
	SetBy   string           `json:"set_by,omitempty"`
	Address string           `json:"address,omitempty"`
	SetAt   time.Time        `json:"set_at,omitzero"`
	Since   time.Time        `json:"since,omitzero"`
}

func encodeRule(_ scope, r rule) ([]byte, error) {
	return json.Marshal(ruleJSON{&r.Level, r.Expires, r.Reason, r.By.Name, r.By.Address, r.SetAt, r.Since})
}

func decodeRule(_ scope, b []byte) (rule, error) {
	var j ruleJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return rule{}, fmt.Errorf("%w: stored rule: %w", logbridge.ErrInvalid, err)
	}
	if j.Level == nil {
		return rule{}, fmt.Errorf("%w: stored rule without a level", logbridge.ErrInvalid)
	}
	return rule{*j.Level, j.Expires, j.Reason, logbridge.Actor{Name: j.SetBy, Address: j.Address}, j.SetAt, j.Since}, nil
}

func ruleCodec(changed func(scope, *rule, *rule, uint64)) natsd.Codec[scope, rule] {
	return natsd.Codec[scope, rule]{
		Names: func(s scope) []string {
			switch {
			case s.Device != "":
				return []string{s.Product, s.Device}
			case s.Product != "":
				return []string{s.Product}
			}
			return nil
		},
		Key: func(names []string) (scope, bool) {
			var s scope
			for i, to := range []*string{&s.Product, &s.Device} {
				if i < len(names) {
					*to = names[i]
				}
			}
			return s, len(names) <= 2
		},
		Compare: func(a, b scope) int {
			return cmp.Or(strings.Compare(a.Product, b.Product), strings.Compare(a.Device, b.Device))
		},
		Encode: encodeRule, Decode: decodeRule, Changed: changed,
	}
}

// changed follows the table of rules: it plans the end of a rule, notes whose level is another now, and has everyone told.
func (l *Levels) changed(s scope, before, after *rule, revision uint64) {
	if after != nil && s.Device != "" && !after.Expires.IsZero() {
		l.due.plan(s, after.Expires, revision)
	} else {
		l.due.cancel(s)
	}
	if !l.loaded {
		return // New looks at all of them together
	}
	now := l.clock.now()
	at := now
	if after != nil {
		at = after.SetAt
	} else if !before.live(now) {
		at = before.Expires
	}
	l.fleet.mu.Lock()
	switch {
	case s.Device == "":
		l.fleet.each(s.Product, func(id logbridge.DeviceID, seen *sighting) { l.settle(id, seen, at, now) })
	case after != nil && l.fleet.get(s) == nil:
		l.track(s)
	case l.fleet.get(s) != nil:
		seen := l.fleet.get(s)
		seen.own = after
		l.settle(s, seen, at, now)
	}
	l.fleet.mu.Unlock()
	l.notices.add(logbridge.LevelChange{Product: s.Product, Device: s.Device})
}

// want is what is wanted of a device, and why.
type want struct {
	level, base logbridge.Level
	rule        *rule // the device's own, or that of the base; nil if neither says the level
	own         bool  // rule is the device's own
	wide        *wide // says the level; nil if none does
	expires     time.Time
	since       time.Time // when the level became what it is
}

// want finds what is wanted of a device. It does not allocate.
func (l *Levels) want(id logbridge.DeviceID) want {
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	return l.decide(id, l.fleet.get(id), l.clock.now())
}

// brief is decide for a device of the fleet, without the reasons: level, base and since.
func (l *Levels) brief(id logbridge.DeviceID, s *sighting) want {
	now := l.clock.now()
	if s.until == 0 || now.UnixNano() < s.until {
		return want{level: s.level, base: s.base, since: instant(s.since)}
	}
	return l.decide(id, s, now)
}

// decide is want for who holds the fleet's lock; s is nil for a device that is not in the fleet. Rules that are over have no
// effect, whether or not they are deleted already: they only say since when.
func (l *Levels) decide(id logbridge.DeviceID, s *sighting, now time.Time) want {
	w := want{base: l.cfg.GlobalBase, rule: l.base(id.Product)}
	if w.rule != nil {
		w.base, w.since = w.rule.Level, w.rule.Since
	}
	w.level = w.base
	over := time.Time{} // when the last of the rules that are over was
	var own *rule
	if s != nil {
		own = s.own
	} else {
		own, _ = l.rules.Get(id)
	}
	if own != nil && !own.live(now) {
		over, own = own.Expires, nil
	}
	switch {
	case own != nil:
		w.rule, w.own, w.level, w.since, w.expires = own, true, own.Level, own.Since, own.Expires
	default:
		if w.wide, over = l.decideWide(id, s, now, over); w.wide != nil {
			w.rule, w.level, w.since, w.expires = nil, w.wide.Level, w.wide.ChangedAt, w.wide.Expires
		}
	}
	switch {
	case s != nil && s.level == w.level && s.since != 0:
		w.since = instant(s.since)
	case over.After(w.since):
		w.since = over
	}
	return w
}

// decideWide finds the first live rule for many that means the device, and when the last of those before it was over.
func (l *Levels) decideWide(id logbridge.DeviceID, s *sighting, now, over time.Time) (*wide, time.Time) {
	list := l.fleet.rules.of(id.Product)
	t := target{id: id, slot: -1, from: l.devices}
	if s != nil {
		if s.rule == nil || s.rule.live(now) {
			return s.rule, over
		}
		t, list = s.target(id), list[position(list, s.rule):]
	}
	for i, w := range list {
		if !t.meets(list[i]) {
			continue
		}
		if w.live(now) {
			return w, over
		}
		over = latest(over, w.Expires)
	}
	return nil, over
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
