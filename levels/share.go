package levels

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/logbridge/logbridge"
)

// What one node sees of a device the others know by plain messages, which cost no disk write and may be lost: while a connection
// to NATS is made again, mostly. So nothing rests on a single one.
//
//   - A device's state is said as a whole whenever it changes: connected or not, what it was told, what it has said. When it was last
//     seen, and nothing else, is said as seldom as it is saved.
//   - Each node says every beatEvery that it is there, and a sum over its connected devices. Who knows others of it twice in a row asks for
//     all. Of a node that is silent for silentAfter nobody is connected any more.
//   - A device that connects to a second node ends its session at the first one, which that one may hear late: until it has ended, it is
//     told again with each beat.
//
// All messages go to one subject, so that those of one node come in its order.
const (
	shareSubject = "logbridge.observed"
	beatEvery    = 2 * time.Second
	silentAfter  = 10 * time.Second
	// shareGap is the least time between two messages about changes, so that many devices share one. The first goes at once.
	shareGap = 20 * time.Millisecond
	// maxShared is where a message is full, in bytes: far below what NATS takes.
	maxShared = 128 << 10
	// sharedVersion begins each message. One with another is passed over.
	sharedVersion = 1
	// nodeIDLength makes ids of nodes that never meet. A node that starts again has another.
	nodeIDLength = 8
	// askPause is how long a node waits for all of another's devices before it asks again.
	askPause = 15 * time.Second
	// maxPeers bounds how many other nodes are known at a time.
	maxPeers = 250
)

// The kinds of messages.
const (
	sayStates = 's' // of devices, as sharedState has them
	sayAll    = 'r' // what comes behind are all devices that are connected to the node
	sayBeat   = 'b' // how many are connected to it, and the sum over them
	sayAsk    = 'a' // an id: that node says all, or everyone with an id of zeroes
	sayBye    = 'q' // it ends
)

// nodeID names one life of a node.
type nodeID [nodeIDLength]byte

// share is what a node needs to talk to the others. The fleet's lock guards it.
type share struct {
	conn *nats.Conn
	id   nodeID
	// pending are the devices whose state the others do not know yet; of those that are not in the fleet any more, that.
	pending map[logbridge.DeviceID]struct{}
	poke    chan struct{}
	own     digest // of the devices that are connected here
	peers   map[nodeID]*peer
	holders [maxPeers + 1]*peer // by peer.index
	// contested are devices that are connected here, and at another node as far as we know.
	contested map[logbridge.DeviceID]struct{}
	answer    bool // someone has asked for all
	beat      time.Duration
	silent    time.Duration
	taken     func(logbridge.DeviceID)
}

// peer is another node.
type peer struct {
	id        nodeID
	index     uint8 // in sightings: 1 and more
	heard     time.Time
	has       digest // of the devices that are connected there, as far as we know
	differs   int    // beats in a row with another digest
	askedLast time.Time
}

// digest is a number of devices and a sum over them.
type digest struct {
	n   int
	sum uint64
}

func (d *digest) add(id logbridge.DeviceID) {
	d.n++
	d.sum ^= sumOf(id)
}

func (d *digest) remove(id logbridge.DeviceID) {
	d.n--
	d.sum ^= sumOf(id)
}

func newShare(conn *nats.Conn) *share {
	s := &share{conn: conn, pending: map[logbridge.DeviceID]struct{}{}, poke: make(chan struct{}, 1),
		peers: map[nodeID]*peer{}, contested: map[logbridge.DeviceID]struct{}{}, beat: beatEvery, silent: silentAfter, taken: func(logbridge.DeviceID) {}}
	_, _ = rand.Read(s.id[:]) // never fails
	return s
}

// OnTaken sets what is told of a device that has connected to another node while it is connected here: that session is to end. fn must
// be quick, and is set before Run.
func (l *Levels) OnTaken(fn func(logbridge.DeviceID)) {
	if l.share != nil {
		l.share.taken = fn
	}
}

// tell has the others told of a device. Its caller holds the fleet's lock.
func (s *share) tell(id logbridge.DeviceID) {
	if s != nil {
		s.pending[id] = struct{}{}
		poke(s.poke)
	}
}

// runSharing talks to the other nodes until ctx ends.
func (l *Levels) runSharing(ctx context.Context) error {
	s := l.share
	if s == nil {
		return nil
	}
	sub, err := s.conn.Subscribe(shareSubject, func(m *nats.Msg) { l.heard(m.Data, time.Now()) })
	if err != nil {
		return fmt.Errorf("hear of other nodes: %w", err)
	}
	s.send(s.message(sayAsk, make([]byte, nodeIDLength)))
	beat, slow := time.NewTicker(s.beat), time.NewTicker(saveEvery)
	defer beat.Stop()
	defer slow.Stop()
	for {
		select {
		case <-ctx.Done():
			l.sayChanges()
			s.send(s.message(sayBye, nil))
			_ = sub.Unsubscribe() // the connection may be gone, and the subscription with it
			return nil
		case <-s.poke:
			l.sayChanges()
			pause(ctx, shareGap)
		case <-beat.C:
			l.sayBeat(time.Now())
		case <-slow.C:
			l.sayLate()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// message begins one.
func (s *share) message(kind byte, body []byte) []byte {
	m := append([]byte{sharedVersion}, s.id[:]...)
	return append(append(m, kind), body...)
}

// send sends messages; one that is lost is as if it had been lost on its way.
func (s *share) send(messages ...[]byte) {
	for _, m := range messages {
		_ = s.conn.Publish(shareSubject, m)
	}
}

// sayChanges tells what is pending, and everything if someone has asked.
func (l *Levels) sayChanges() {
	l.fleet.mu.Lock()
	messages := l.share.changes(&l.fleet)
	l.fleet.mu.Unlock()
	l.share.send(messages...)
}

// changes are the messages about what is pending. Its caller holds the fleet's lock.
func (s *share) changes(f *fleet) (messages [][]byte) {
	one := s.message(sayStates, nil)
	say := func(id logbridge.DeviceID, seen *sighting) {
		if one = appendShared(one, id, seen); len(one) > maxShared {
			messages = append(messages, one)
			one = s.message(sayStates, nil)
		}
	}
	if s.answer {
		messages, s.answer = append(messages, s.message(sayAll, nil)), false
		f.each("", func(id logbridge.DeviceID, seen *sighting) {
			if seen.sessions > 0 {
				say(id, seen)
			}
		})
	}
	for id := range s.pending {
		say(id, f.get(id))
	}
	clear(s.pending)
	if len(one) > 1+nodeIDLength+1 {
		messages = append(messages, one)
	}
	return messages
}

// sayBeat says that this node is there, which devices are connected here, and again those that are connected elsewhere, too; and it
// gives up nodes that are silent.
func (l *Levels) sayBeat(now time.Time) {
	s := l.share
	l.fleet.mu.Lock()
	for id := range s.contested {
		s.pending[id] = struct{}{}
	}
	messages := s.changes(&l.fleet)
	body := binary.AppendUvarint(nil, uint64(s.own.n))
	messages = append(messages, s.message(sayBeat, binary.BigEndian.AppendUint64(body, s.own.sum)))
	for _, p := range s.peers {
		if now.Sub(p.heard) > s.silent {
			l.log.Warn("another node is silent: its devices do not count as connected", "node", fmt.Sprintf("%x", p.id), "devices", p.has.n)
			l.dropPeer(p)
		}
	}
	l.fleet.mu.Unlock()
	s.send(messages...)
}

// sayLate tells of the devices of which nothing is new but when they were last seen.
func (l *Levels) sayLate() {
	l.fleet.mu.Lock()
	l.fleet.each("", func(id logbridge.DeviceID, seen *sighting) {
		if seen.unsaid {
			seen.unsaid = false
			l.share.pending[id] = struct{}{}
		}
	})
	messages := l.share.changes(&l.fleet)
	l.fleet.mu.Unlock()
	l.share.send(messages...)
}

// The states of a device in a message.
const (
	deviceGone = iota // it was forgotten; only its names follow
	deviceAway
	deviceHere // it is connected to the node that says so
)

// appendShared adds a device to a message: whether it is connected, the number of its session (see sighting.epoch), and what
// appendSighting says.
func appendShared(b []byte, id logbridge.DeviceID, s *sighting) []byte {
	switch {
	case s == nil:
		return appendSighting(binary.AppendUvarint(append(b, deviceGone), 0), id, new(sighting))
	case s.sessions > 0:
		b = append(b, deviceHere)
	default:
		b = append(b, deviceAway)
	}
	return appendSighting(binary.AppendUvarint(b, uint64(max(0, s.epoch))), id, s)
}
