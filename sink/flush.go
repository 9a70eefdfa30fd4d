package sink

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge/natsd"
)

// flushRetry is how long a failed segment waits for the next try: long enough for a full disk to be noticed in peace.
const flushRetry = 2 * time.Second

// writeSegment repeats until the segment is there or ctx ends. What is not written then is indexed from the commit log
// at the next start.
func (l *Log) writeSegment(ctx context.Context, fr *frozen) {
	for {
		s, err := l.writeFrozen(fr) // a merge may be writing too, but never the same sequences
		if err == nil {
			l.stuck.Store(nil)
			l.install(s)
			l.duplicates.wrote(&fr.window)
			l.dropCommitted(ctx, fr)
			return
		}
		l.stuck.Store(&err)
		l.log.Error("segment not written, trying again", "in", flushRetry, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(flushRetry):
		}
	}
}

// writeFrozen writes windows, ledger, erasures and segment, in this order, and opens the segment: a segment that is there says that
// all before its end is dealt with.
func (l *Log) writeFrozen(fr *frozen) (*segment, error) {
	if err := saveWindow(l.cfg.Dir, &fr.window); err != nil {
		return nil, err
	}
	var encoded []byte
	encoded, l.ledgerOrder = fr.ledger.encode(l.ledgerOrder)
	if err := saveLedger(l.cfg.Dir, fr.last, encoded); err != nil {
		return nil, err
	}
	if err := l.saveErasures(); err != nil {
		return nil, err
	}
	if fr.path == "" {
		rows := fr.table.snapshot()
		rows.gone = fr.gone
		path, err := writeSegment(l.cfg.Dir, rows, fr.first, fr.last)
		if err != nil {
			return nil, err
		}
		fr.path = path
	}
	s, err := openSegment(fr.path)
	if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) { // else it is there, and only to be opened
		err = errors.Join(err, os.Remove(fr.path))
		fr.path = ""
	}
	return s, err
}

// install puts the segment in the place of the frozen memtable; a query sees the one or the other.
func (l *Log) install(s *segment) {
	m := newMember(s)
	l.mu.Lock()
	l.segments.replace(nil, m)
	l.frozen = nil
	l.mu.Unlock()
	for _, wake := range []chan struct{}{l.wakeMerge, l.wakeRetention, l.wakeEraser} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// dropCommitted lets the commit log forget what is in segments, and then removes the files of windows and ledger that a
// restart could need only together with what was dropped. When it fails, the next segment does it again. When the disk is
// too full to try, the files go all the same, so that they do not fill it further: a restart would need them only if it found
// the newest segment damaged as well.
func (l *Log) dropCommitted(ctx context.Context, fr *frozen) {
	if l.cluster != nil {
		l.leaveCommitted()
	} else if !l.purgeCommitted(ctx, fr) {
		return
	}
	l.stateFiles.Lock()
	defer l.stateFiles.Unlock()
	if err := errors.Join(l.duplicates.removeOld(l.cfg.Dir, &fr.window), removeOldLedgers(l.cfg.Dir, fr.last)); err != nil {
		l.log.Warn("old files not removed", "err", err)
	}
}

// leaveCommitted leaves it to keeping what the nodes do not need any more.
func (l *Log) leaveCommitted() {
	select {
	case l.cluster.flushed <- struct{}{}:
	default:
	}
}

// purgeCommitted reports whether older files may go.
func (l *Log) purgeCommitted(ctx context.Context, fr *frozen) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	// The purge may write a block anew, and JetStream must not meet a full disk.
	if err := l.room.free(natsd.Reserve / 2); err != nil {
		l.log.Warn("commit log not shortened", "err", err)
	} else if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(fr.last+1)); err != nil {
		l.log.Warn("commit log not shortened", "err", err)
		return false
	}
	return true
}
