package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

// memtableSpare is the part by which a memtable may have more rows than the one before and still not be copied.
const memtableSpare = 16

// index takes the committed groups in stream order until the committer has closed the hand-over, and then waits for the
// segment that is being written. It alone writes to the active memtable and to the windows. It ends with an error when a
// committed group cannot be read: what comes behind it must not be answered as if it were there.
func (l *Log) index(ctx context.Context) error {
	ticker := time.NewTicker(l.cfg.MemtableAge / 10)
	defer ticker.Stop()
	var looks <-chan time.Time
	if l.cluster != nil {
		often := time.NewTicker(pollEvery)
		defer often.Stop()
		l.cluster.running = true
		looks = often.C
	}
	for {
		select {
		case g, open := <-l.groups:
			if !open {
				<-l.written
				return nil
			}
			err := l.takeCommitted(ctx, g)
			g.settle()
			if err != nil {
				return err
			}
		case <-l.others():
			if err := l.follow(ctx); err != nil {
				return err
			}
		case <-looks:
			l.cluster.look()
		case <-l.wakeIndexer:
		case <-ticker.C:
		}
		l.rotate(ctx)
	}
}

// takeCommitted indexes a group that this process committed, and before it whatever the stream holds in between: a group
// whose acknowledgement was lost is committed all the same.
func (l *Log) takeCommitted(ctx context.Context, g *group) error {
	if l.cluster != nil {
		return l.takeOwn(ctx, g)
	}
	for seq := l.next(); seq < g.seq; seq++ {
		missed, err := l.readGap(seq)
		if err != nil {
			g.fail(fmt.Errorf("%w: %w", logbridge.ErrUnavailable, err))
			return err
		}
		if missed == nil { // nothing but a purge takes groups away, and that ends where segments end
			l.log.Error("a group is missing in the commit log: what it held is lost", "seq", seq)
			continue
		}
		l.indexGroup(missed)
	}
	l.indexGroup(g)
	return nil
}

// readGap reads a group back, and tries again while that fails.
func (l *Log) readGap(seq uint64) (*group, error) {
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
		g, err := readGroup(ctx, l.stream, seq)
		cancel()
		if err == nil {
			return g, nil
		}
		if try == gapTries {
			return nil, fmt.Errorf("a committed group cannot be read, start again: %w", err)
		}
		l.log.Error("a committed group cannot be read, trying again", "err", err)
		time.Sleep(gapPause)
	}
}

// next is the sequence that the indexer expects.
func (l *Log) next() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return max(l.last.Seq+1, l.first)
}

// indexGroup judges a group, puts it into the memtable, counts it, answers its appends and wakes the tails that it concerns. A group that
// cannot be read leaves no trace.
func (l *Log) indexGroup(g *group) {
	p := &l.parsed
	err := p.parse(g.raw)
	if err != nil {
		// The bytes are ours and were synced: only a damaged disk or a defect gets here.
		l.log.Error("a committed group cannot be indexed and is passed over", "seq", g.seq, "err", err)
	} else {
		l.duplicates.judge(p)
		l.active.add(g, p)
		l.noteErasures(g.seq, p)
		l.ledger.take(p)
	}
	if l.began.IsZero() {
		l.began = time.Now()
	}
	l.mu.Lock()
	l.last = logbridge.Position{Seq: g.seq, Index: math.MaxUint32}
	l.mu.Unlock()
	if err != nil {
		g.fail(err)
		return
	}
	g.answer(p)
	l.sleepers.committed(g.seq, p)
}

// answer tells the appends of a group what became of them. They stand in it in their order, and reports behind them.
func (g *group) answer(p *parsed) {
	for i, u := range p.uploads {
		if i == len(g.members) {
			return // a group that this process did not commit
		}
		g.members[i].done <- result{receipt: logbridge.Receipt{Stored: u.stored, Duplicate: u.records - u.stored}}
	}
}

// rotate freezes the active memtable when it is full or old and has it written as a segment. While the one before is
// still being written the active one may grow to its size; then the indexer waits, and with it the appends.
func (l *Log) rotate(ctx context.Context) {
	_, size := l.active.size()
	full := size >= l.cfg.MemtableBytes
	old := !l.began.IsZero() && time.Since(l.began) >= l.cfg.MemtableAge || l.overdue()
	if !full && !old {
		return
	}
	select {
	case <-l.written:
	default:
		if !full {
			return
		}
		select {
		case <-l.written:
		case <-ctx.Done():
			return // closing: the commit log has it all
		}
	}
	if ctx.Err() != nil {
		return
	}
	fr, written := l.freeze(), make(chan struct{})
	l.written = written
	go func() {
		l.writeSegment(ctx, fr)
		close(written)
		select { // another may have to be written
		case l.wakeIndexer <- struct{}{}:
		default:
		}
	}()
}

func (l *Log) freeze() *frozen {
	last := l.next() - 1
	fr := &frozen{table: l.active, last: last, gone: l.erasing(), window: l.duplicates.freeze(last), ledger: l.ledger.state()}
	l.mu.Lock()
	defer l.mu.Unlock()
	fr.first = l.first
	l.frozen = fr
	rows := len(l.active.rows)
	l.active, l.began = newMemtable(rows+rows/memtableSpare), time.Time{} // the next one will be much like it
	l.first = fr.last + 1
	return fr
}

// join makes ready for what a cluster's commit log holds behind sequence last, the end of the segments; Run then indexes it.
func (l *Log) join(ctx context.Context, last uint64) (err error) {
	c := l.cluster
	info, err := l.stream.Info(ctx)
	if err != nil {
		return err
	}
	if info.State.LastSeq < last {
		if info.State.Msgs > 0 {
			return fmt.Errorf("%w: the commit log of the cluster ends at %d and this node's segments at %d: they are not of one cluster, or the cluster has lost acknowledged groups",
				logbridge.ErrInvalid, info.State.LastSeq, last)
		}
		l.log.Error("the commit log is empty, going on behind the segments", "commit_log", info.State.LastSeq, "segments", last)
		if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(last+1)); err != nil {
			return err
		}
	}
	from := last + 1
	if last > 0 {
		l.last = logbridge.Position{Seq: last, Index: math.MaxUint32}
		_, err := os.Stat(filepath.Join(l.cfg.Dir, ledgerName(last)))
		c.stateless = errors.Is(err, fs.ErrNotExist)
	}
	if (c.stateless || info.State.FirstSeq > from) && l.alone(ctx) {
		// Nobody has anything to copy: the same as with an embedded server (recover).
		all, err := checkpoints(l.cfg.Dir)
		if err != nil {
			return err
		}
		if n := len(all); n > 0 {
			from = max(from, all[n-1]+1)
		}
		c.stateless, from = false, max(from, info.State.FirstSeq)
	}
	l.first = from
	if l.duplicates, err = loadDuplicates(l.cfg.Dir, from-1, windowEntries, l.log); err != nil {
		return err
	}
	if l.ledger, err = loadLedger(l.cfg.Dir, from-1, maxLedgerStreams, l.log); err != nil {
		return err
	}
	c.target = info.State.LastSeq
	c.behind.Store(from <= info.State.LastSeq || c.stateless)
	c.lag.Store(info.State.LastSeq + 1 - min(from, info.State.LastSeq+1))
	l.followAtStart(ctx)
	c.look()
	return nil
}

// recover indexes what the commit log holds behind sequence last, the end of the segments.
func (l *Log) recover(ctx context.Context, last uint64) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return err
	}
	if info.State.LastSeq < last {
		// New groups would get sequences that the segments have used.
		l.log.Error("the commit log is older than the segments, going on behind them", "commit_log", info.State.LastSeq, "segments", last)
		if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(last+1)); err != nil {
			return err
		}
	}
	// What is in neither has left the segments, set aside or expired: no segment may be named as if it held it.
	l.first = max(last+1, info.State.FirstSeq)
	l.last = logbridge.Position{Seq: last, Index: math.MaxUint32}
	if last == 0 {
		l.last = logbridge.Position{}
	}
	from := max(last+1, info.State.FirstSeq)
	// What is before that is in segments, or was in one that is damaged now: it was counted and remembered all the same.
	if l.duplicates, err = loadDuplicates(l.cfg.Dir, from-1, windowEntries, l.log); err != nil {
		return err
	}
	if l.ledger, err = loadLedger(l.cfg.Dir, from-1, maxLedgerStreams, l.log); err != nil {
		return err
	}
	missing := 0
	for seq := from; seq <= info.State.LastSeq; seq++ {
		g, err := readGroup(ctx, l.stream, seq)
		if err != nil {
			return err
		}
		if g == nil {
			missing++
			continue
		}
		l.indexGroup(g)
	}
	if missing > 0 {
		l.log.Error("groups are missing in the commit log: what they held is lost", "groups", missing, "from", from, "to", info.State.LastSeq)
	}
	if n := len(l.active.rows); n > 0 {
		l.log.Info("indexed the commit log", "records", n, "from", from, "to", info.State.LastSeq)
	}
	return nil
}
