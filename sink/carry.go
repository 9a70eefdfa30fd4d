package sink

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// The audit stream has a retention of its own, longer than that of the rest, while its records lie in the same segments. So a
// segment that goes before its audit records may leaves a smaller one in its place: of the same sequences, with those alone,
// at their positions. It is written and synced first, then the set changes in one step, then the file of the whole one goes.
// A crash in between leaves two files of the same sequences: a start keeps the one with more records, the whole one, and
// retention does it again.
//
// A segment without audit records leaves an empty one when older ones stay: a gap in the sequences would keep the small ones
// apart for ever. Both are merged with their neighbours like others (mergePolicy), audit records over longer times.

// auditMergeRun is how many neighbours that hold audit records alone are merged at least, if nothing else can join them: each
// segment that expires adds one, and what they were merged to before should not be written again for that.
const auditMergeRun = 16

// auditOnly reports that a segment has records of the audit stream and its markers in the streams of devices, and no others.
func (s *segment) auditOnly() bool { return s.rows > 0 && s.auditRows() == uint64(s.rows) }

// auditRows is how many records of a segment are of the audit's source, markers in the streams of devices among them.
func (s *segment) auditRows() uint64 {
	if at := slices.Index(logbridge.Sources, logbridge.SourceAudit); at < len(s.info.Sources) {
		return s.info.Sources[at]
	}
	return 0
}

// carry writes what a segment has of the audit stream as a segment of the same sequences; nil when that is nothing.
func (l *Log) carry(ctx context.Context, m *member) (*member, error) {
	open, done, err := l.segments.opened(m)
	if err != nil {
		return nil, err
	}
	defer done()
	path, err := carrySegment(ctx, l.cfg.Dir, open)
	if err != nil || path == "" {
		return nil, err
	}
	s, err := openSegment(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return newMember(s), nil
}

// carrySegment writes the rows of the audit stream. They are the first: no other stream's name is before it, for those begin
// with cls, device, otlp or sls.
func carrySegment(ctx context.Context, dir string, s *segment) (path string, err error) {
	x, err := s.index()
	if err != nil || x.streams.len() == 0 || string(x.streams.name(0)) != string(logbridge.AuditStream) {
		return "", err
	}
	rows := x.streams.row(1)
	f := &mergeFeed{plan: newPlan(ctx, logbridge.Query{}), in: []*segment{s}, index: []*segmentIndex{x}, column: -1, runs: []mergeRun{{0, rows}}}
	defer f.release()
	f.table.add(x.streams.name(0), rows)
	z := zstdPackers.Get().(*zstdPacker)
	defer zstdPackers.Put(z)
	return writeRows(dir, f, s.first, s.last, z)
}

// keeping is what retention keeps beyond the bounds of the rest: audit records received from a time on, in ns.
type keeping int64

// keep gives what is kept; an age of 0 is nothing, a negative one all of it.
func (l *Log) keep(age time.Duration) keeping {
	switch {
	case age == 0:
		return keeping(1<<63 - 1)
	case age < 0:
		return keeping(-1 << 63)
	}
	return keeping(l.cfg.Now().Add(-age).UnixNano())
}

// all reports that nothing of a segment may go.
func (k keeping) all(m *member) bool { return m.auditOnly() && m.maxObserved >= int64(k) }

// part reports that some of it may stay.
func (k keeping) part(m *member) bool { return m.auditRows() > 0 && m.maxObserved >= int64(k) }

// stand writes what stands in for a segment that is removed: its audit records, or an empty one where there must be one of its
// sequences; nil for nothing.
func (l *Log) stand(ctx context.Context, m *member, k keeping, must bool) (*member, error) {
	if k.part(m) {
		out, err := l.carry(ctx, m)
		if errors.Is(err, errDamaged) {
			out, err = l.carry(ctx, m)
		}
		if errors.Is(err, errDamaged) {
			l.setAside(m, err)
		}
		if err != nil || out != nil {
			return out, err
		}
	}
	if !must {
		return nil, nil
	}
	path, err := writeSegment(l.cfg.Dir, memSnapshot{}, m.first, m.last)
	if err != nil {
		return nil, err
	}
	empty, err := openSegment(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return newMember(empty), nil
}

// unlink removes the file of a segment whose place another one has taken, although it may be read: its readers take a new
// look. A file that stayed for them until a crash would have more records than what the other one is merged to by then, and a
// start would keep the wrong one (withoutOverlap).
func (l *Log) unlink(m *member) {
	err := os.Remove(m.path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = syncDir(l.cfg.Dir)
	}
	if err != nil {
		l.log.Warn("segment not removed, the next start will do it", "file", filepath.Base(m.path), "err", err)
	}
}
