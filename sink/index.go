package sink

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

// index takes the committed groups in stream order until the committer has closed the hand-over, and then waits for the
// segment that is being written. It alone writes to the active memtable and to the window. It ends with an error when a
// committed group cannot be read: what comes behind it must not be answered as if it were there.
func (l *Log) index(ctx context.Context) error {
	ticker := time.NewTicker(l.cfg.MemtableAge / 10)
	defer ticker.Stop()
	for {
		select {
		case g, open := <-l.groups:
			if !open {
				<-l.written
				return nil
			}
			err := l.takeCommitted(g)
			g.settle()
			if err != nil {
				return err
			}
		case <-ticker.C:
		}
		l.rotate(ctx)
	}
}

// takeCommitted indexes a group that this process committed, and before it whatever the stream holds in between: a group
// whose acknowledgement was lost is committed all the same.
func (l *Log) takeCommitted(g *group) error {
	for seq := l.next(); seq < g.seq; seq++ {
		missed, err := l.readGap(seq)
		if err != nil {
			g.fail(fmt.Errorf("%w: %w", logbridge.ErrUnavailable, err))
			return err
		}
		if missed != nil {
			l.indexGroup(missed)
		}
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

// indexGroup puts a group into the memtable, answers its appends and wakes the tails.
func (l *Log) indexGroup(g *group) {
	receipts := make([]logbridge.Receipt, 0, len(g.members))
	keep := func(u uploadHead) bool {
		if len(u.key) > 0 && l.window.repeats(u.key, g.seq, u.received, u.delivery) {
			receipts = append(receipts, logbridge.Receipt{Duplicate: u.records})
			return false
		}
		receipts = append(receipts, logbridge.Receipt{Stored: u.records})
		return true
	}
	err := l.active.add(g, keep, l.ledger.counter(len(g.members) > 0))
	if err != nil {
		// The bytes are ours and were synced: only a damaged disk or a defect gets here.
		l.log.Error("a committed group cannot be indexed and is passed over", "seq", g.seq, "err", err)
	}
	if l.began.IsZero() {
		l.began = time.Now()
	}
	l.mu.Lock()
	l.last = logbridge.Position{Seq: g.seq, Index: math.MaxUint32}
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	if err != nil {
		g.fail(err)
		return
	}
	for i, w := range g.members {
		w.done <- result{receipt: receipts[i]}
	}
}

// rotate freezes the active memtable when it is full or old and has it written as a segment. While the one before is
// still being written the active one may grow to its size; then the indexer waits, and with it the appends.
func (l *Log) rotate(ctx context.Context) {
	_, size := l.active.size()
	full := size >= l.cfg.MemtableBytes
	old := !l.began.IsZero() && time.Since(l.began) >= l.cfg.MemtableAge
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
		defer close(written)
		l.writeSegment(ctx, fr)
	}()
}

func (l *Log) freeze() *frozen {
	l.mu.Lock()
	defer l.mu.Unlock()
	fr := &frozen{table: l.active, first: l.first, last: l.last.Seq, window: l.window.encode()}
	l.frozen = fr
	l.active, l.began = newMemtable(), time.Time{}
	l.first = fr.last + 1
	return fr
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
	for seq := from; seq <= info.State.LastSeq; seq++ {
		g, err := readGroup(ctx, l.stream, seq)
		if err != nil {
			return err
		}
		if g != nil {
			l.indexGroup(g)
		}
	}
	if n := len(l.active.rows); n > 0 {
		l.log.Info("indexed the commit log", "records", n, "from", from, "to", info.State.LastSeq)
	}
	return nil
}
