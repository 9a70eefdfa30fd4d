package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

const (
	streamName = "logbridge"
	subject    = "logbridge.log"

	// maxWaiting bounds the encoded bytes of appends that wait for their group: beyond it Append answers at once that it
	// is overloaded, so that memory stays bounded whatever the disk does.
	maxWaiting = 64 << 20

	// publishTimeout is how long one try to publish waits for its acknowledgement.
	publishTimeout = 5 * time.Second

	// publishTries bounds the tries of one group; all carry the same message id, so JetStream stores it once.
	publishTries = 4

	// handOverMost is how many committed groups may wait for the indexer. When it falls behind, appends wait.
	handOverMost = 4

	// A committed group that the indexer did not get from the committer is read back, and again after gapPause while that
	// fails, gapTries times in all: longer than a disk stalls. After that only a new start can help.
	gapTries = 50
	gapPause = 100 * time.Millisecond

	// gatherShare and gatherMost bound how long a publish waits for the appends that the one before has answered, once
	// they are answered: this part of what that one took, and never longer than it takes to run some hundred goroutines.
	gatherShare = 8
	gatherMost  = 250 * time.Microsecond

	// gatherBytes is the largest group whose appends are waited for. With groups of 120 KB that made 1.2 to 1.4 times the rate;
	// with those of 1 MiB, which take longer to index than to publish, it made less.
	gatherBytes = 256 << 10

	// reportAge is how long a refusal waits for an append whose group takes it along. A crash loses those that waited.
	reportAge = time.Second

	// reportRoom is what a group has for a report when there was none for longer.
	reportRoom = 64 << 10

	// lastReports bounds the groups of reports at the end.
	lastReports = 64
)

// waiting is one append on its way: enqueued, committed with its group, indexed, answered. Or it is a report of the ledger,
// the last in its group, whose answer nobody waits for.
type waiting struct {
	upload
	done   chan result // buffered: the committer and the indexer never wait for a caller that gave up
	report *report     // nil for an append
}

type result struct {
	receipt logbridge.Receipt
	err     error
}

// group is what one message of the commit log holds.
type group struct {
	seq      uint64
	raw      []byte
	members  []*waiting
	answered chan<- struct{} // told when the members are answered, if not nil; never blocks

	id      string      // of its message
	claimed atomic.Bool // somebody answers the members
}

// claim reports whether the caller is the one who answers the members. On a cluster a group may come back from the commit log
// before its acknowledgement does.
func (g *group) claim() bool { return g.claimed.CompareAndSwap(false, true) }

// fail answers the members; whoever calls it has the claim, or nobody else knows the group.
func (g *group) fail(err error) {
	for _, w := range g.members {
		w.done <- result{err: err}
	}
}

// settle tells the committer, if it waits, that the members are answered.
func (g *group) settle() {
	if g.answered != nil {
		g.answered <- struct{}{}
	}
}

// publisher brings a message to disk. nil means that it is there; an *jetstream.APIError that it was refused; any other
// error that the outcome is unknown. The same message id is stored once.
type publisher interface {
	PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)
}

// committer collects appends into groups and publishes one group at a time.
type committer struct {
	js     publisher
	room   *room
	out    chan<- *group
	ledger *ledger
	log    *slog.Logger
	writer *writer       // how a cluster is written to; nil with an embedded server
	ending chan struct{} // closed when Run is to end

	flight flight

	packed []byte // room for a compressed group; the NATS client copies it before a publish returns

	wake     chan struct{}
	answered chan struct{}

	mu     sync.Mutex
	queue  []*waiting
	bytes  int  // encoded bytes in queue
	closed bool // no appends any more

	reported time.Time // when a group last took a report along

	waits atomic.Int64 // appends in queue, for a look without the lock
}

func newCommitter(js publisher, room *room, out chan<- *group, ledger *ledger, log *slog.Logger) *committer {
	return &committer{js: js, room: room, out: out, ledger: ledger, log: log, ending: make(chan struct{}), wake: make(chan struct{}, 1), answered: make(chan struct{}, 1)}
}

var (
	errOverload = fmt.Errorf("%w: too many appends are waiting", logbridge.ErrUnavailable)
	errClosed   = fmt.Errorf("%w: the sink is closing", logbridge.ErrUnavailable)
)

// enqueue takes all the uploads of one append or none.
func (c *committer) enqueue(uploads []upload) ([]*waiting, error) {
	size := 0
	for _, u := range uploads {
		size += u.size()
	}
	all := make([]waiting, len(uploads))
	members := make([]*waiting, len(uploads))
	for i, u := range uploads {
		all[i] = waiting{upload: u, done: make(chan result, 1)}
		members[i] = &all[i]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, errClosed
	case c.bytes+size > maxWaiting:
		return nil, errOverload
	}
	c.queue = append(c.queue, members...)
	c.bytes += size
	c.waits.Store(int64(len(c.queue)))
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return members, nil
}

// take removes the next group from the queue and adds what the ledger has to report; alone also when no append waits. While
// appends fill one group after the other a report would find no room, just when many are refused: so it is the first then.
func (c *committer) take(alone bool) []*waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	var report *waiting
	size := 1
	if len(c.queue) > 0 && time.Since(c.reported) > 2*reportAge {
		if report = c.ledger.report(reportRoom); report != nil {
			size += report.size()
		}
	}
	n := 0
	for n < len(c.queue) && (n == 0 && report == nil || size+c.queue[n].size() <= maxGroup) {
		size += c.queue[n].size()
		c.bytes -= c.queue[n].size()
		n++
	}
	members := slices.Clone(c.queue[:n])
	clear(c.queue[:n]) // the array lives on
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	c.waits.Store(int64(len(c.queue)))
	if report == nil && (n > 0 || alone) {
		report = c.ledger.report(maxGroup - size)
	}
	if report != nil {
		c.reported = time.Now()
		members = append(members, report)
	}
	return members
}

// run publishes until ctx ends, then what was enqueued before, then closes the hand-over. It ends with an error when the
// commit log does not answer: NATS keeps the first write error of a stream for ever, so only a new start can help, and
// waiting would only hide it.
func (c *committer) run(ctx context.Context) error {
	defer close(c.out)
	defer context.AfterFunc(ctx, func() { c.close(); close(c.ending) })()
	report := time.NewTicker(reportAge)
	defer report.Stop()
	for ctx.Err() == nil {
		var err error
		select {
		case <-ctx.Done():
		case <-c.wake:
			err = c.publishAll(false)
		case <-report.C:
			err = c.publishAll(true)
		}
		if err != nil {
			return err
		}
	}
	c.close()
	err := c.publishAll(true)
	for range lastReports {
		if err == nil && c.ledger.owes() {
			err = c.publishAll(true)
		}
	}
	return err
}

// close ends the taking of appends.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// publishAll publishes what waits; report says whether a report of the ledger is worth a group of its own. One publish is in
// the air at a time: JetStream syncs every message for itself and one after the other, so with two each sync is for half of
// the appends. That cost more than the wait between two publishes: it made 0.6 to 0.9 of the rate, with 64 appends at a time
// on a disk that syncs in 0.3 ms, and the slower the disk, the more of the time is the sync.
func (c *committer) publishAll(report bool) error {
	for members := c.take(report); len(members) > 0; members = c.take(false) {
		g := &group{raw: joinGroup(members), members: members}
		if err := c.room.check(0); err != nil { // nothing was tried: an outcome that is known
			c.ledger.refuseGroup(members)
			g.fail(err)
			continue
		}
		if c.writer != nil {
			g.id = rand.Text()
			c.writer.own.add(g)
		}
		c.flight.begin()
		err := c.publish(g)
		took := c.flight.end()
		if err == nil {
			c.handOver(g, took)
			continue
		}
		c.log.Error("group not committed", "records", recordsOf(members), "err", err)
		refused := (*jetstream.APIError)(nil)
		known := errors.As(err, &refused)
		if known { // counted before the senders are told
			c.ledger.refuseGroup(members)
			c.writer.forget(g)
		}
		if g.claim() {
			g.fail(fmt.Errorf("%w: commit log: %w", logbridge.ErrUnavailable, err))
		}
		if !known {
			c.close()
			c.failAll(err)
			return fmt.Errorf("commit log does not answer, start again: %w", err)
		}
	}
	return nil
}

// handOver gives a group to the indexer. If it is small, the next publish waits until its appends are answered and have
// had the time to come back. Otherwise they would miss the next one, and each would hold half of them: two convoys that
// share the syncs. took is how long this publish took. A single append waits for none.
func (c *committer) handOver(g *group, took time.Duration) {
	want := c.waits.Load() + int64(len(g.members))
	if want < 2 || len(g.raw) > gatherBytes {
		c.out <- g
		releaseBodies(g.members)
		return
	}
	g.answered = c.answered
	c.out <- g
	releaseBodies(g.members)
	<-c.answered
	// The answered appends are ready to run, and go first. A timer would be too coarse for those that are late.
	waitForReady()
	for until := time.Now().Add(min(took/gatherShare, gatherMost)); c.waits.Load() < want && time.Now().Before(until); {
		runtime.Gosched()
	}
}

// waitForReady returns when the goroutines that are ready to run on this processor have had their turn, here or where they were taken
// to. It rests on how Go's scheduler works: a new goroutine is the next to run, and the one that was that goes behind all
// others. If that changes, it waits for less. runtime.Gosched alone puts its caller into the global queue, where an idle
// processor finds it before it looks for the work of another one: it then runs nothing but the caller.
func waitForReady() {
	last := make(chan struct{})
	go close(last)
	go func() {}()
	<-last
}

// failAll answers what waits when nothing can be committed any more.
func (c *committer) failAll(err error) {
	for members := c.take(false); len(members) > 0; members = c.take(false) {
		c.ledger.refuseGroup(members)
		(&group{members: members}).fail(fmt.Errorf("%w: commit log: %w", logbridge.ErrUnavailable, err))
	}
}

func recordsOf(members []*waiting) (n int) {
	for _, w := range members {
		n += w.records
	}
	return n
}

func joinGroup(members []*waiting) []byte {
	size := 1
	for _, w := range members {
		size += w.size()
	}
	raw := make([]byte, 0, size)
	raw = append(raw, groupVersion)
	for _, w := range members {
		raw = append(append(raw, w.head...), w.body...)
	}
	return raw
}

// publish returns when JetStream has the group on disk. A try whose outcome is unknown is repeated under the same
// message id; a refusal ends it.
func (c *committer) publish(g *group) error {
	c.packed = s2.Encode(c.packed[:cap(c.packed)], g.raw)
	id := g.id
	if id == "" {
		id = rand.Text()
	}
	if c.writer != nil {
		return c.writer.publish(c.js, g, id, c.packed, c.ending)
	}
	msg := nats.NewMsg(subject)
	msg.Data = c.packed
	var err error
	for range publishTries {
		ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
		var ack *jetstream.PubAck
		ack, err = c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(streamName))
		cancel()
		if err == nil {
			g.seq = ack.Sequence
			return nil
		}
		if api := (*jetstream.APIError)(nil); errors.As(err, &api) {
			return err
		}
	}
	return err
}
