package levels

import (
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// fleet is every device that was ever seen or has a level of its own, so never more than are registered, and the rules
// for many, matched against them. Each device remembers the first rule that means it, so that its level costs no
// search; a change of a rule looks at the devices of the rule's product, and searches again only for those whose
// first rule it was.
type fleet struct {
	mu    *sync.RWMutex // guards the rest and every sighting
	of    map[string]map[string]*sighting
	rules ruleIndex
	dirty [shards]bool // what has changed since it was saved
	// concerned is room for the devices that one change of a rule concerns.
	concerned []logbridge.LevelChange
}

func newFleet() fleet {
	return fleet{mu: new(sync.RWMutex), of: map[string]map[string]*sighting{}, rules: ruleIndex{}}
}

func (f *fleet) get(id logbridge.DeviceID) *sighting { return f.of[id.Product][id.Device] }

// size is how many devices of a product there are, or of all.
func (f *fleet) size(product string) (n int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for p, devices := range f.of {
		if product == "" || p == product {
			n += len(devices)
		}
	}
	return n
}

// each goes through the devices of a product, or of all. Its caller holds mu.
func (f *fleet) each(product string, do func(logbridge.DeviceID, *sighting)) {
	for p, devices := range f.of {
		if product == "" || p == product {
			for d, s := range devices {
				do(logbridge.DeviceID{Product: p, Device: d}, s)
			}
		}
	}
}

// track gives what is known of a device, which is a beginning for one that is new. Its caller holds mu for writing.
func (l *Levels) track(id logbridge.DeviceID) *sighting {
	f := &l.fleet
	if s := f.get(id); s != nil {
		return s
	}
	s := new(sighting)
	l.enter(id, s)
	now := l.clock.now()
	s.since = nanos(l.decide(id, s, now).since)
	l.settle(id, s, instant(s.since), now)
	return s
}

// enter puts a device into the fleet and finds its rule.
func (l *Levels) enter(id logbridge.DeviceID, s *sighting) {
	f := &l.fleet
	if f.of[id.Product] == nil {
		f.of[id.Product] = map[string]*sighting{}
	}
	f.of[id.Product][id.Device] = s
	s.slot, s.shard = id.Slot(), shardOf(id)
	s.own, _ = l.rules.Get(id)
	d, _ := l.devices.Device(id) // one that is not registered has no tags
	s.tags = d.Tags
	s.search(id, f.rules.of(id.Product))
}

// search finds the first rule of a list that means the device.
func (s *sighting) search(id logbridge.DeviceID, list []*wide) {
	t := s.target(id)
	s.rule, s.next, s.nextKnown = first(list, &t), nil, false
}

func (f *fleet) forget(id logbridge.DeviceID, with *share) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(id, with)
	with.tell(id)
}

// drop is forget for who holds mu.
func (f *fleet) drop(id logbridge.DeviceID, with *share) {
	s := f.get(id)
	if s == nil {
		return
	}
	if with != nil {
		if s.sessions > 0 {
			with.own.remove(id)
		}
		s.sessions = 0
		with.hold(id, s, nil)
	}
	delete(f.of[id.Product], id.Device)
	if len(f.of[id.Product]) == 0 {
		delete(f.of, id.Product)
	}
	f.dirty[s.shard] = true
}

func (s *sighting) target(id logbridge.DeviceID) target {
	return target{id: id, slot: s.slot, tags: s.tags}
}

// settle takes note of a device's level after a change that took place at a time, and reports whether it is another.
func (l *Levels) settle(id logbridge.DeviceID, s *sighting, at time.Time, now time.Time) bool {
	w := l.decide(id, s, now)
	s.base, s.until = w.base, nanos(w.expires)
	if w.level == s.level {
		return false
	}
	s.level, s.since = w.level, nanos(at)
	l.fleet.dirty[s.shard] = true
	return true
}

// wideChanged follows the table of rules for many: it plans the rule's end, finds the devices whose level it changes, and
// has those that are connected told.
func (l *Levels) wideChanged(id string, before, after *wide, revision uint64) {
	if after != nil && !after.Expires.IsZero() {
		l.wideDue.plan(id, after.Expires, revision)
	} else {
		l.wideDue.cancel(id)
	}
	if !l.loaded {
		return // New looks at all of them together
	}
	now := l.clock.now()
	at := now
	if after != nil {
		at = after.ChangedAt
	} else if !before.live(now) {
		at = before.Expires
	}
	f := &l.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if before != nil {
		f.rules.remove(before)
	}
	if after != nil {
		f.rules.add(after)
	}
	concerned := f.concerned[:0]
	look := func(id logbridge.DeviceID, s *sighting) {
		// While its first rule is over, and not yet deleted, one behind that decides.
		concerns := f.reconsider(id, s, before, after) || s.rule != nil && !s.rule.live(now)
		if concerns && l.settle(id, s, at, now) && l.tells(s) {
			concerned = append(concerned, logbridge.LevelChange{Product: id.Product, Device: id.Device})
		}
	}
	if before != nil {
		f.each(before.Selector.Product, look)
	} else {
		f.each(after.Selector.Product, look)
	}
	l.notices.add(concerned...)
	f.concerned = concerned
}

// tells reports whether listeners are told when a device's level changes.
func (l *Levels) tells(s *sighting) bool { return s.sessions > 0 || l.cfg.TellAbsent }

// reconsider finds the rule of a device after one rule has changed, and reports whether that one has to do with its level. It
// remembers the rule that a new one displaces, so that a rule which comes and goes costs no search.
func (f *fleet) reconsider(id logbridge.DeviceID, s *sighting, before, after *wide) bool {
	t := s.target(id)
	switch {
	case before != nil && s.rule == before && after == nil && s.nextKnown:
		s.rule, s.next, s.nextKnown = s.next, nil, false
		return true
	case before != nil && s.rule == before:
		list := f.rules.of(id.Product)
		if after == nil { // none of those before it meant the device
			list = list[position(list, before):]
		}
		s.search(id, list)
		return true
	case before != nil && s.next == before:
		s.next, s.nextKnown = nil, false
	}
	switch {
	case after == nil:
	case s.rule == nil || order(after, s.rule) < 0:
		if t.meets(after) {
			s.rule, s.next, s.nextKnown = after, s.rule, true
			return true
		}
	case s.nextKnown && (s.next == nil || order(after, s.next) < 0) && t.meets(after):
		s.next = after
	}
	return false
}

// Retagged takes note of a device whose tags are others now, or which was registered or deleted: it follows the rules that
// mean it from now on.
func (l *Levels) Retagged(id logbridge.DeviceID) {
	d, _ := l.devices.Device(id)
	f := &l.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.get(id)
	if s == nil {
		return // its tags are looked up when it is seen
	}
	s.tags = d.Tags
	s.search(id, f.rules.of(id.Product))
	if now := l.clock.now(); l.settle(id, s, now, now) && l.tells(s) {
		l.notices.add(logbridge.LevelChange{Product: id.Product, Device: id.Device})
	}
}
