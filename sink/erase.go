package sink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// Erasing a stream removes what it holds, not what it will. That it is erased is an entry of the commit log, at a sequence: what
// is before that is hidden from then on, left out when its memtable is written, and then taken out of the segments, each of which is
// written anew without it, under the same sequences. An erasure that is not done is in a file, which is written before the segment whose
// end lets the commit log forget the entry: a new start hides the same, and goes on.
//
// A segment without the erased rows has fewer than the whole one beside it, so that a start after a crash between the two keeps the
// whole one (withoutOverlap), and erases it again. Merges wait meanwhile, for their sum would have fewer than its parts.
//
// Each node of a cluster erases for itself. The list keeps what was done, too: a node that comes back when the commit log has dropped the
// entry learns of it from the one that it copies from (copy_take.go).
const (
	// erasuresFile lists the erasures that are not done, and on a cluster the last ones that are.
	erasuresFile = "erasures"

	// erasureHistory bounds those that are done. A node that was away for more of them keeps what the oldest erased.
	erasureHistory = 1000

	// maxErasures bounds those, and so what each query has to look at.
	maxErasures = 1000

	// maxErasuresFile bounds the list that is read: long names, and room.
	maxErasuresFile = 8 << 20

	// eraseRetry is how long a segment that cannot be written anew waits for the next try.
	eraseRetry = 5 * time.Second
)

// erasure says that the rows of a stream before a sequence are erased.
type erasure struct {
	Seq    uint64           `json:"seq"`
	Stream logbridge.Stream `json:"stream"`
	Done   bool             `json:"done,omitempty"`
}

// erasures are those that are not done, by sequence. The list is replaced and never changed in place.
type erasures []erasure

// before gives those that concern rows up to a sequence.
func (e erasures) before(last uint64) erasures {
	at := slices.IndexFunc(e, func(one erasure) bool { return one.Seq > last })
	if at < 0 {
		return nil
	}
	return e[at:]
}

// hide reports whether the rows of a stream are erased that are before the first of e.
func (e erasures) hide(s logbridge.Stream) bool {
	return slices.ContainsFunc(e, func(one erasure) bool { return one.Stream == s })
}

// least gives the first sequence of a stream whose rows are not erased.
func (e erasures) least(s string) (seq uint64) {
	for _, one := range e {
		if string(one.Stream) == s {
			seq = one.Seq
		}
	}
	return seq
}

// but is the plan without the streams that are hidden in a table.
func (p *plan) but(hidden erasures) *plan {
	if len(hidden) == 0 {
		return p
	}
	rest, asked := *p, p.Streams
	rest.Streams = func(s logbridge.Stream) bool { return !hidden.hide(s) && (asked == nil || asked(s)) }
	return &rest
}

// Erase removes what a stream holds now. When it returns nil, the records are found no more, and will not be after a power cut; their
// bytes leave the segments soon after that, and the commit log with the next segment, or on a cluster when it is shortened. What the
// stream gets later is kept. The ledger goes on counting what was stored, and a line that comes again within ten minutes is a duplicate as
// before. ErrForbidden for the audit stream; ErrUnavailable as for Append, or while 1000 erasures are not done.
func (l *Log) Erase(ctx context.Context, s logbridge.Stream) error {
	switch {
	case s == "" || len(s) > maxReplayKey:
		return fmt.Errorf("%w: erase: no stream has this name", logbridge.ErrInvalid)
	case s == logbridge.AuditStream:
		return fmt.Errorf("%w: the audit stream cannot be erased", logbridge.ErrForbidden)
	case len(l.erasing()) >= maxErasures:
		return fmt.Errorf("%w: %d erasures are not done yet", logbridge.ErrUnavailable, maxErasures)
	}
	if err := l.current(); err != nil {
		return err
	}
	defer l.turns.append()()
	members, err := l.commit.enqueue([]upload{{head: encodeErasure(s, l.cfg.Now())}})
	if err != nil {
		return err
	}
	select {
	case r := <-members[0].done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: erase: %w", logbridge.ErrUnavailable, context.Cause(ctx))
	}
}

func encodeErasure(s logbridge.Stream, at time.Time) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{kindErasure}, uint64(at.UnixNano()))
	return appendText(b, string(s))
}

// parseErasure reads one as an upload without records.
func (p *parsed) parseErasure(b []byte) ([]byte, error) {
	if len(b) < 8 {
		return nil, errCorrupt
	}
	u := uploadHead{received: int64(binary.LittleEndian.Uint64(b))}
	var ok bool
	if u.erases, b, ok = cutText(b[8:]); !ok || len(u.erases) == 0 {
		return nil, errCorrupt
	}
	p.uploads = append(p.uploads, u)
	return b, nil
}

// erasing gives the erasures that are not done.
func (l *Log) erasing() erasures {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.erasures
}

// noteErasures takes those of a group in: its own rows, and what comes, are not concerned.
func (l *Log) noteErasures(seq uint64, p *parsed) {
	for _, u := range p.uploads {
		if len(u.erases) == 0 {
			continue
		}
		one := erasure{Seq: seq, Stream: logbridge.Stream(u.erases)}
		l.mu.Lock()
		if !slices.Contains(l.erasures, one) {
			l.erasures = append(slices.Clip(l.erasures), one)
		}
		l.mu.Unlock()
		l.log.Info("a stream is erased", "stream", one.Stream, "before", seq)
	}
}

// overdue reports whether a memtable has to become a segment so that an erasure can be done.
func (l *Log) overdue() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.erasures) > 0 && l.erasures[len(l.erasures)-1].Seq >= l.first && l.last.Seq >= l.first
}

// eraser takes the erased rows out of segments, one segment after the other, until ctx ends.
func (l *Log) eraser(ctx context.Context) {
	for {
		var again <-chan time.Time
		if err := l.eraseAll(ctx); err != nil && ctx.Err() == nil {
			l.log.Error("erased records are still on the disk, trying again", "in", eraseRetry, "err", err)
			again = time.After(eraseRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wakeEraser:
		case <-again:
		}
	}
}

// eraseAll does what can be done now. An erasure is done when all that was before it is in segments, and none of them has its stream.
func (l *Log) eraseAll(ctx context.Context) error {
	defer l.tend()()
	l.mu.RLock()
	pending, left := l.erasures, l.first
	if l.frozen != nil {
		left = l.frozen.first
	}
	l.mu.RUnlock()
	if len(pending) == 0 {
		return nil
	}
	l.rewriting.Lock() // a merge that began before the erasure came ends first: its sum is what has the rows then
	held := l.held()
	l.rewriting.Unlock()
	defer l.letGo(held)
	for _, m := range held {
		if err := l.eraseIn(ctx, m, pending.before(m.last)); err != nil {
			return err
		}
	}
	if err := l.removeErased(); err != nil {
		return err
	}
	l.mu.Lock()
	var rest erasures
	for _, e := range l.erasures {
		if e.Seq >= left || !slices.Contains(pending, e) {
			rest = append(rest, e)
		} else if e.Done = true; l.cluster != nil {
			l.erasuresDone = append(l.erasuresDone, e)
		}
	}
	l.erasures = rest
	l.erasuresDone = slices.Clone(l.erasuresDone[max(0, len(l.erasuresDone)-erasureHistory):])
	l.mu.Unlock()
	select { // it has waited
	case l.wakeMerge <- struct{}{}:
	default:
	}
	return l.saveErasures()
}

// eraseIn writes a segment anew if it has rows that are hidden.
func (l *Log) eraseIn(ctx context.Context, m *member, hidden erasures) error {
	if m.rows == 0 || len(hidden) == 0 {
		return nil
	}
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	open, done, err := l.segments.opened(m)
	if err != nil {
		return l.unlessGone(m, err)
	}
	defer done()
	if err := l.room.check(uint64(m.size)); err != nil {
		return err
	}
	path, err := eraseSegment(ctx, l.cfg.Dir, open, hidden)
	if errors.Is(err, errDamaged) {
		if path, err = eraseSegment(ctx, l.cfg.Dir, open, hidden); errors.Is(err, errDamaged) {
			l.setAside(m, err)
			return nil
		}
	}
	if err != nil || path == "" {
		return l.unlessGone(m, err)
	}
	s, err := openSegment(path)
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	out := newMember(s)
	if !l.swap([]*member{m}, out) { // it was set aside or has expired
		l.discard(out)
		return nil
	}
	l.erased.Add(uint64(m.rows - s.rows))
	l.erasedFiles = append(l.erasedFiles, m.path)
	return l.removeErased()
}

// removeErased removes the files of segments that were written anew, although they may be read: their readers take a new look. An
// erasure is not done before they are gone, for a start would keep them in the place of the others (withoutOverlap).
func (l *Log) removeErased() error {
	for len(l.erasedFiles) > 0 {
		if err := os.Remove(l.erasedFiles[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := syncDir(l.cfg.Dir); err != nil {
			return err
		}
		l.erasedFiles = l.erasedFiles[1:]
	}
	return nil
}

// unlessGone is the error of reading a segment, unless it has left the set.
func (l *Log) unlessGone(m *member, err error) error {
	if err != nil && !l.has(m) {
		return nil
	}
	return err
}

// eraseSegment writes a segment without the rows of streams that are hidden; "" when it has none. It reads it as if what is left
// were several segments.
func eraseSegment(ctx context.Context, dir string, s *segment, hidden erasures) (path string, err error) {
	x, err := s.index()
	if err != nil {
		return "", err
	}
	f := &mergeFeed{plan: newPlan(ctx, logbridge.Query{}), column: -1}
	defer f.release()
	found := false
	for i := range x.streams.len() {
		from, to := x.streams.row(i), x.streams.row(i+1)
		if hidden.hide(logbridge.Stream(x.streams.name(i))) {
			found = true
			continue
		}
		f.table.add(x.streams.name(i), to-from)
		if n := len(f.in); n > 0 && f.from[n-1]+f.runs[n-1].rows == from {
			f.runs[n-1].rows += to - from
			continue
		}
		f.runs = append(f.runs, mergeRun{uint32(len(f.in)), to - from})
		f.in, f.index, f.from = append(f.in, s), append(f.index, x), append(f.from, from)
	}
	switch {
	case !found:
		return "", nil
	case len(f.in) == 0:
		return writeSegment(dir, memSnapshot{}, s.first, s.last)
	}
	z := zstdPackers.Get().(*zstdPacker)
	defer zstdPackers.Put(z)
	return writeRows(dir, f, s.first, s.last, z)
}
