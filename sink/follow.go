package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// followPause and followMost are the waits between two looks for a group that must be there: a server that was asked may
	// not have applied it yet, or none answers.
	followPause = time.Millisecond
	followMost  = 250 * time.Millisecond

	// startWait is how long New indexes what the commit log holds: longer is a thing for readyz to tell.
	startWait = 5 * time.Second

	// idleLooks is how many looks in a row find nothing until the leader is asked whether there was something.
	idleLooks = 10

	// sayEvery is how often the log is told that the commit log cannot be read.
	sayEvery = 10 * time.Second
)

// errPurged: the commit log does not have any more what this node needs next.
var errPurged = errors.New("the commit log has dropped what this node lacks")

// newerGroup is a group of a node that runs a later version: to pass it over would make this node's answers others than theirs.
type newerGroup struct{ version byte }

func (e *newerGroup) Error() string {
	return fmt.Sprintf("another node writes groups of version %d, and this one reads up to %d: run the newer version here too", e.version, groupVersion)
}

// others is told when other nodes have committed something; nil without a cluster.
func (l *Log) others() <-chan struct{} {
	if l.cluster == nil {
		return nil
	}
	return l.cluster.news
}

// follow indexes the next groups of other nodes. It returns when there are none, after one fetch, or when they cannot be read: then
// it is tried again at the next look.
func (l *Log) follow(ctx context.Context) error {
	c := l.cluster
	if c.stateless {
		return l.copyFrom(ctx)
	}
	indexed, more, err := l.followTo(ctx, math.MaxUint64)
	if err == nil && indexed+int(more) == 0 {
		err = l.nothing(ctx)
	}
	if errors.Is(err, errPurged) {
		return l.copyFrom(ctx)
	}
	if newer := (*newerGroup)(nil); errors.As(err, &newer) {
		return err
	}
	if err != nil {
		l.sayUnreached(err)
		return nil
	}
	c.lag.Store(more)
	if more > 0 {
		c.look()
	}
	l.arrived(more)
	return nil
}

// nothing is called when there is nothing to index: that may be since all of it was dropped, which the leader is asked from time to
// time.
func (l *Log) nothing(ctx context.Context) error {
	c := l.cluster
	if c.idle++; !c.behind.Load() && c.idle%idleLooks != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err == nil && info.State.FirstSeq > l.next() {
		return errPurged
	}
	return err
}

// arrived ends this node's being behind when there is no more than a fetch left.
func (l *Log) arrived(more uint64) {
	if c := l.cluster; more < fetchGroups && l.next() > c.target && c.behind.Swap(false) {
		c.log.Info("this node has what the others have", "position", l.Newest())
	}
}

// followAtStart indexes what is not much: a node that was restarted is ready when New returns. Run does the rest.
func (l *Log) followAtStart(ctx context.Context) {
	c := l.cluster
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for c.behind.Load() && !c.stateless {
		if _, size := l.active.size(); size >= l.cfg.MemtableBytes {
			return
		}
		indexed, more, err := l.followTo(ctx, math.MaxUint64)
		if err != nil || ctx.Err() != nil {
			return
		}
		if l.arrived(more); indexed == 0 {
			time.Sleep(followPause)
		}
	}
}

func (l *Log) sayUnreached(err error) {
	if c := l.cluster; time.Since(c.said) > sayEvery {
		c.said = time.Now()
		c.log.Warn("the commit log cannot be read, trying again", "err", err)
	}
}

// followTo indexes groups up to sequence to, of one fetch; more says how many are left behind the fetch.
func (l *Log) followTo(ctx context.Context, to uint64) (indexed int, more uint64, err error) {
	from := l.next()
	most := uint64(fetchGroups)
	if left := to - from; left < most {
		most = left + 1
	}
	groups, more, err := l.cluster.fetch.fetch(ctx, from, int(most))
	if err != nil {
		return 0, 0, err
	}
	if len(groups) == 0 && to != math.MaxUint64 { // it must be there
		return 0, 0, l.passHole(ctx, from)
	}
	for i, m := range groups {
		next := l.next()
		if m.seq > next {
			if i > 0 {
				return indexed, uint64(len(groups)-i) + more, nil // an answer with a hole: what is behind it is asked for again
			}
			if err := l.passHole(ctx, next); err != nil {
				return indexed, 0, err
			}
			return indexed, uint64(len(groups)) + more, nil
		}
		if m.seq < next || m.seq > to {
			continue
		}
		if err := l.takeFetched(m); err != nil {
			return indexed, 0, err
		}
		indexed++
		if l.cluster.running {
			l.rotate(ctx)
		}
	}
	return indexed, more, nil
}

// takeFetched indexes a group that was read back. If it is one of this process, whose acknowledgement is still to come, its
// appends are answered.
func (l *Log) takeFetched(m fetched) error {
	if own := l.cluster.writer.own.find(m.id); own != nil && own.claim() {
		l.indexGroup(&group{seq: m.seq, raw: own.raw, members: own.members})
		return nil
	}
	g, err := decompress(m.seq, m.data)
	if err != nil {
		l.log.Error("a committed group cannot be read", "err", err)
		g = &group{seq: m.seq}
	}
	if len(g.raw) > 0 && g.raw[0] > groupVersion {
		return &newerGroup{g.raw[0]}
	}
	l.indexGroup(g)
	return nil
}

// passHole is called when a server has groups behind a sequence and not the one that it has. Where the leader says that the
// commit log begins behind it, that is errPurged; where the leader has it, nothing is done; and where he has not, it is lost on all
// of them, which is reported, as with an embedded server.
func (l *Log) passHole(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	if _, err := l.cluster.fetch.ofLeader(ctx, getRequest{Seq: seq}); !errors.Is(err, errNoMessage) {
		return err
	}
	info, err := l.stream.Info(ctx)
	if err != nil {
		return err
	}
	switch {
	case info.State.FirstSeq > seq:
		return errPurged
	case info.State.LastSeq < seq:
		return fmt.Errorf("the leader ends at %d: it is not up to date", info.State.LastSeq)
	}
	l.log.Error("a group is missing in the commit log: what it held is lost", "seq", seq)
	l.mu.Lock()
	l.last = logbridge.Position{Seq: seq, Index: math.MaxUint32}
	l.mu.Unlock()
	return nil
}

// takeOwn indexes a group that this process has committed, after everything before it.
func (l *Log) takeOwn(ctx context.Context, g *group) error {
	c := l.cluster
	c.committed()
	defer c.writer.own.remove(g)
	if err := l.reach(ctx, g); err != nil {
		if g.claim() {
			g.fail(fmt.Errorf("%w: %w", logbridge.ErrUnavailable, err))
		}
		if ctx.Err() != nil {
			return nil // it is in the commit log, and the next start finds it there
		}
		return err
	}
	if !g.claim() {
		return nil // it came back with the groups of the others
	}
	if g.seq < l.next() { // it came with segments of another node
		for _, w := range g.members {
			if w.report != nil {
				l.ledger.reported(w.report)
			}
		}
		g.fail(fmt.Errorf("%w: stored, and what became of it was not seen here", logbridge.ErrUnavailable))
		return nil
	}
	l.indexGroup(g)
	return nil
}

// reach indexes what is before a group of this process. It ends when that is done, or the sink ends and it cannot be done.
func (l *Log) reach(ctx context.Context, g *group) error {
	pause, ended := followPause, time.Time{}
	for l.next() < g.seq && !g.claimed.Load() {
		// The groups before must be indexed also when ctx has ended, as long as that is possible.
		indexed, _, err := l.followTo(context.WithoutCancel(ctx), g.seq-1)
		if errors.Is(err, errPurged) {
			err = l.copyFrom(ctx)
		}
		if indexed > 0 {
			pause = followPause
			continue
		}
		if newer := (*newerGroup)(nil); errors.As(err, &newer) {
			return err
		}
		if err != nil {
			l.sayUnreached(err)
		}
		if ctx.Err() != nil {
			if ended.IsZero() {
				ended = time.Now()
			}
			if time.Since(ended) > lastTry {
				return errors.Join(errors.New("the groups before it cannot be read"), err)
			}
		}
		time.Sleep(pause)
		pause = min(2*pause, followMost)
	}
	return nil
}
