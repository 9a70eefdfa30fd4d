package levels

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/logbridge/logbridge"
)

// sumOf is what a device adds to a digest.
func sumOf(id logbridge.DeviceID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id.Product)) // a hash never fails
	_, _ = h.Write([]byte{'/'})
	_, _ = h.Write([]byte(id.Device))
	return h.Sum64()
}

// heard takes in a message of any node.
func (l *Levels) heard(m []byte, now time.Time) {
	s := l.share
	const head = 1 + nodeIDLength + 1
	if len(m) < head || m[0] != sharedVersion || nodeID(m[1:1+nodeIDLength]) == s.id {
		return // of another version, or our own
	}
	id, kind, body := nodeID(m[1:1+nodeIDLength]), m[head-1], m[head:]
	l.fleet.mu.Lock()
	p := s.peer(id)
	if p == nil {
		l.fleet.mu.Unlock()
		return
	}
	p.heard = now
	var taken []logbridge.DeviceID
	switch kind {
	case sayStates:
		var err error
		if taken, err = l.heardStates(p, body); err != nil {
			l.log.Error("another node's message about devices cannot be read and is passed over", "error", err)
		}
	case sayAll:
		l.letGo(p)
	case sayBeat:
		l.heardBeat(p, body, now)
	case sayAsk:
		if len(body) == nodeIDLength && (nodeID(body) == s.id || nodeID(body) == nodeID{}) {
			s.answer = true
			poke(s.poke)
		}
	case sayBye:
		l.dropPeer(p)
	}
	l.fleet.mu.Unlock()
	for _, id := range taken {
		s.taken(id)
	}
}

// peer gives what is known of a node, which is a beginning for a new one; nil when there are too many.
func (s *share) peer(id nodeID) *peer {
	if p := s.peers[id]; p != nil {
		return p
	}
	for i := 1; i < len(s.holders); i++ {
		if s.holders[i] == nil {
			p := &peer{id: id, index: uint8(i)}
			s.holders[i], s.peers[id] = p, p
			return p
		}
	}
	return nil
}

// Others counts the nodes that are heard, this one included, and the devices that are connected to the others.
func (l *Levels) Others() (nodes, devices int) {
	if l.share == nil {
		return 1, 0
	}
	l.fleet.mu.RLock()
	defer l.fleet.mu.RUnlock()
	for _, p := range l.share.peers {
		devices += p.has.n
	}
	return 1 + len(l.share.peers), devices
}

// dropPeer forgets a node: what was connected there is not connected any more. Its caller holds the fleet's lock.
func (l *Levels) dropPeer(p *peer) {
	l.letGo(p)
	delete(l.share.peers, p.id)
	l.share.holders[p.index] = nil
}

// letGo takes all devices away from a node.
func (l *Levels) letGo(p *peer) {
	if p.has.n == 0 {
		return
	}
	l.fleet.each("", func(id logbridge.DeviceID, seen *sighting) {
		if seen.holder == p.index {
			l.share.hold(id, seen, nil)
		}
	})
}

// hold notes which other node a device is connected to: nil for none.
func (s *share) hold(id logbridge.DeviceID, seen *sighting, p *peer) {
	if former := s.holders[seen.holder]; former != nil {
		former.has.remove(id)
	}
	seen.holder = 0
	if p != nil {
		seen.holder = p.index
		p.has.add(id)
	}
	s.contest(id, seen)
}

// contest notes whether a device is connected here and elsewhere.
func (s *share) contest(id logbridge.DeviceID, seen *sighting) {
	if seen.sessions > 0 && seen.holder != 0 {
		s.contested[id] = struct{}{}
	} else {
		delete(s.contested, id)
	}
}

// heardBeat compares what is known of a node with what it says itself.
func (l *Levels) heardBeat(p *peer, body []byte, now time.Time) {
	d := shardDecoder{rest: body}
	says := digest{n: int(d.number() & (1<<31 - 1))}
	sum := d.bytes(8)
	if d.bad {
		return
	}
	says.sum = binary.BigEndian.Uint64(sum)
	if says == p.has {
		p.differs = 0
		return
	}
	if p.differs++; p.differs > 1 && now.Sub(p.askedLast) > askPause {
		p.askedLast = now
		l.share.send(l.share.message(sayAsk, p.id[:]))
	}
}

// heardStates takes in states of devices. taken are those that have connected to that node while they are connected here.
func (l *Levels) heardStates(p *peer, body []byte) (taken []logbridge.DeviceID, err error) {
	err = decodeShared(body, func(id logbridge.DeviceID, where byte, in *sighting) {
		if where == deviceGone {
			l.fleet.drop(id, l.share)
			return
		}
		if _, err := l.devices.Device(id); err != nil {
			return // deleted, or its registration is still on its way: the next beats will tell
		}
		s := l.track(id)
		s.merge(in, l.brief(id, s))
		s.top = max(s.top, in.epoch)
		switch {
		case where == deviceAway:
			if s.holder == p.index {
				l.share.hold(id, s, nil)
			}
		case s.sessions > 0:
			l.share.hold(id, s, p)
			if in.epoch > s.epoch {
				taken = append(taken, id)
			} // or that session is to end, and its node is told so until it has
		case s.holder == 0 || s.holder == p.index || in.epoch > s.epoch:
			s.epoch = in.epoch
			l.share.hold(id, s, p)
		}
	})
	return taken, err
}

// merge adds what another node has seen of a device; w is what is wanted of it as far as this node knows.
func (s *sighting) merge(in *sighting, w want) {
	s.lastSeen = max(s.lastSeen, in.lastSeen)
	if in.lastLine > s.lastLine {
		s.activity = in.activity
	}
	since := nanos(w.since)
	switch {
	case in.level == s.level && abs(in.since-s.since) < int64(sinceSlack):
		// The same change. A node that had it by the watch reckons from when it came: the earlier one is right.
		s.since = min(s.since, in.since)
		since = s.since
	case in.since > s.since: // that node knows a change which has still to come here
		for i, m := range s.marks() {
			*m = *in.marks()[i]
		}
		s.lines = in.lines
		return
	case in.since < s.since:
		return // that node has still to hear of a change
	}
	theirs := in.marks()
	for i, m := range s.marks() {
		m.merge(*theirs[i], s.level, since)
	}
	for i, at := range in.lines {
		if at >= max(since, 1) && (s.lines[i] < max(since, 1) || at < s.lines[i]) {
			s.lines[i] = at
		}
	}
}

// sinceSlack is how far apart two nodes may see the same change: the time of a watch that was lost, and what clocks differ by.
const sinceSlack = 10 * time.Second

// merge keeps the first of two events that are about a level, or the later one when neither is.
func (m *mark) merge(o mark, level logbridge.Level, since int64) {
	ours, theirs := m.tells(level, since), o.tells(level, since)
	if theirs && (!ours || o.at < m.at) || !ours && !theirs && o.at > m.at {
		*m = o
	}
}

func abs(n int64) int64 { return max(n, -n) }

// decodeShared gives every device of a message. Those before a fault are given all the same.
func decodeShared(b []byte, give func(id logbridge.DeviceID, where byte, s *sighting)) error {
	d := shardDecoder{rest: b}
	for len(d.rest) > 0 {
		where := d.bytes(1)
		epoch := d.time()
		id, s, err := d.sighting(true)
		if err != nil {
			return err
		}
		if where[0] > deviceHere {
			continue // of a version that knows more
		}
		s.epoch = epoch
		give(id, where[0], s)
	}
	return nil
}
