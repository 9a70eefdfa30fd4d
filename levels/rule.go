package levels

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
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

// changed follows the table of rules: it plans the end of a rule, remembers when one ended, and has everyone told.
func (l *Levels) changed(s scope, before, after *rule, revision uint64) {
	if after != nil && s.Device != "" && !after.Expires.IsZero() {
		l.due.plan(s, after.Expires, revision)
	} else {
		l.due.cancel(s)
	}
	if after == nil {
		now := l.clock.now()
		if !before.Expires.IsZero() && before.Expires.Before(now) {
			now = before.Expires
		}
		if l.Effective(s) != before.Level {
			l.ended.note(s, now)
		} else {
			l.ended.note(s, before.Since)
		}
	}
	l.notices.add(logbridge.LevelChange{Product: s.Product, Device: s.Device})
}

// endings remembers when the last rule of a device or product ended, which no rule tells any more. It is lost with the
// process.
type endings struct {
	mu sync.RWMutex
	at map[scope]time.Time
}

func newEndings() endings { return endings{at: map[scope]time.Time{}} }

func (e *endings) note(s scope, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at[s] = at
}

func (e *endings) forget(s scope) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.at, s)
}

func (e *endings) of(s scope) time.Time {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.at[s]
}

// want is what is wanted of a device, and why.
type want struct {
	level, base logbridge.Level
	rule        *rule // says the level; nil for the default of the configuration
	expires     time.Time
	since       time.Time // when the level became what it is
}

// want is Effective with its reasons. It does not allocate.
func (l *Levels) want(id logbridge.DeviceID) want {
	w := want{base: l.cfg.GlobalBase, rule: l.base(id.Product)}
	if w.rule != nil {
		w.base, w.since = w.rule.Level, w.rule.Since
	}
	w.level = w.base
	if own := l.own(id); own != nil {
		w.rule, w.level, w.since, w.expires = own, own.Level, own.Since, own.Expires
		return w
	}
	own, _ := l.rules.Get(id)
	if own != nil && own.Expires.After(w.since) && own.Level != w.level {
		w.since = own.Expires // over, but not yet deleted
	}
	w.since = latest(w.since, l.ended.of(id))
	if r, _ := l.rules.Get(scope{Product: id.Product}); r == nil {
		w.since = latest(w.since, l.ended.of(scope{Product: id.Product}))
	}
	return w
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
