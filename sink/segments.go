package sink

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// damagedSuffix and overlapSuffix are put behind the names of files that are set aside: they are no segments any more,
	// and nobody but an operator touches them.
	damagedSuffix = ".damaged"
	overlapSuffix = ".overlap"
)

// segmentSet is the segment files that queries look at. Their list changes under Log.mu together with the memtables, so
// that a query sees each record in exactly one place. Whoever reads a segment holds it: a file that left the set is
// removed when the last of those lets go.
type segmentSet struct {
	dir   string
	log   *slog.Logger
	cache *indexCache[*segment] // by path

	list []*member // oldest first, without overlap; guarded by Log.mu, replaced and never changed in place

	aside, asideRows atomic.Uint64
}

// member is a segment that is in the set, or was and is still read. Its own file is closed; set.open opens it.
type member struct {
	*segment
	users  atomic.Int32 // who holds it, the set included
	remove bool         // the file goes with the last of them; written once, before the set lets go
}

func newMember(s *segment) *member {
	_ = s.Close() // it was only read
	m := &member{segment: s}
	m.users.Store(1)
	return m
}

// hold needs Log.mu, and that m is in the list, or another hold on it.
func (s *segmentSet) hold(m *member) *member {
	m.users.Add(1)
	return m
}

// release ends a hold, the set's own too.
func (s *segmentSet) release(m *member) {
	if m.users.Add(-1) > 0 || !m.remove {
		return
	}
	s.cache.forget(m.path)
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("segment not removed, the next start will do it", "file", filepath.Base(m.path), "err", err)
	}
}

// opened gives the segment of a held member ready for reading, until done is called.
func (s *segmentSet) opened(m *member) (_ *segment, done func(), err error) {
	return s.cache.get(m.path, func() (*segment, int64, error) { return openIndexed(m.path) })
}

// open gives a cursor over a held member, which is valid until done is called.
func (s *segmentSet) open(m *member, p *plan) (c cursor, done func(), err error) {
	open, done, err := s.opened(m)
	if err != nil {
		return nil, nil, err
	}
	if c, err = open.open(p); err != nil {
		done()
		return nil, nil, err
	}
	return c, done, nil
}

// count adds the rows of a held member.
func (s *segmentSet) count(m *member, c *counter) error {
	open, done, err := s.opened(m)
	if err != nil {
		return err
	}
	defer done()
	return open.count(c)
}

// replace puts out in the place of in, which are neighbours; either may be nothing. It reports false, and does nothing,
// when one of in has left the set meanwhile. It needs Log.mu; the caller then lets go of what left.
func (s *segmentSet) replace(in []*member, out ...*member) bool {
	at := len(s.list)
	if len(in) > 0 {
		at = slices.Index(s.list, in[0])
	}
	if at < 0 || at+len(in) > len(s.list) || !slices.Equal(s.list[at:at+len(in)], in) {
		return false
	}
	s.list = slices.Concat(s.list[:at], out, s.list[at+len(in):])
	return true
}

// swap is replace for whoever does not hold Log.mu; the files of in are removed when their last reader is done.
func (l *Log) swap(in []*member, out ...*member) bool {
	l.mu.Lock()
	ok := l.segments.replace(in, out...)
	l.mu.Unlock()
	if ok {
		l.discard(in...)
	}
	return ok
}

// discard ends the set's hold on segments that have left it, or that did not get in.
func (l *Log) discard(out ...*member) {
	for _, m := range out {
		m.remove = true
		l.segments.release(m)
	}
}

// held gives all segments there are, each held once more.
func (l *Log) held() []*member {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := slices.Clone(l.segments.list)
	for _, m := range list {
		l.segments.hold(m)
	}
	return list
}

func (l *Log) letGo(held []*member) {
	for _, m := range held {
		l.segments.release(m)
	}
}

// tend begins a merge or a removal, which no copy from another node may meet, and gives its end.
func (l *Log) tend() (end func()) {
	if l.cluster == nil {
		return func() {}
	}
	l.cluster.tending.RLock()
	return l.cluster.tending.RUnlock
}

// has reports whether a segment is in the set.
func (l *Log) has(m *member) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Contains(l.segments.list, m)
}

// setAside takes a damaged segment out of the set and renames its file, so that the rest can be served. What is not in the
// set any more is left alone.
func (l *Log) setAside(m *member, cause error) {
	l.mu.Lock()
	was := l.segments.replace([]*member{m})
	l.mu.Unlock()
	if !was {
		return
	}
	l.segments.putAside(m.segment, damagedSuffix, cause)
	l.segments.release(m)
}

// putAside renames a file, reports and counts it. When the rename fails the next start looks at the file again.
func (s *segmentSet) putAside(seg *segment, suffix string, cause error) {
	err := os.Rename(seg.path, seg.path+suffix)
	if err == nil {
		err = syncDir(s.dir)
	}
	s.cache.forget(seg.path)
	s.aside.Add(1)
	s.asideRows.Add(uint64(seg.rows))
	s.log.Error("segment set aside: its records are not found any more", "file", filepath.Base(seg.path)+suffix, "records", seg.rows,
		"from", stamp(seg.minTime), "to", stamp(seg.maxTime), "cause", cause)
	if err != nil {
		s.log.Error("a segment that is set aside has kept its name: the next start looks at it again", "file", filepath.Base(seg.path), "err", err)
	}
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

// loadSegments finds the segments of a folder, and removes what an interrupted write or merge left behind. A file that
// cannot be read is set aside under another name and reported: the rest is served. One of another version's format is an
// error. last is the end of what the readable
// ones hold; what a damaged newest one held is indexed again if the commit log still has it.
func loadSegments(dir string, log *slog.Logger) (s *segmentSet, last uint64, err error) {
	s = &segmentSet{dir: dir, log: log, cache: newIndexCache[*segment](cacheBytes, cacheFiles)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	var all []*segment
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), tmpSuffix) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, 0, err
			}
			continue
		}
		if _, ok := parseSegmentName(e.Name()); !ok {
			continue
		}
		one, err := openSegment(path)
		if system := (*fs.PathError)(nil); errors.As(err, &system) && system.Op == "open" {
			return nil, 0, err // not the file's fault: too many open files, no permission
		}
		if errors.Is(err, errFormat) {
			return nil, 0, err // nor is this: the other version would miss what is set aside here
		}
		if err != nil {
			log.Error("segment set aside: its footer cannot be read, so nobody knows how many records it has", "file", e.Name()+damagedSuffix, "err", err)
			s.aside.Add(1)
			if err := errors.Join(os.Rename(path, path+damagedSuffix), syncDir(dir)); err != nil {
				return nil, 0, err
			}
			continue
		}
		all = append(all, newMember(one).segment)
	}
	kept, err := s.withoutOverlap(all)
	for _, one := range kept {
		m := &member{segment: one}
		m.users.Store(1)
		s.list = append(s.list, m)
		last = max(last, one.last)
	}
	return s, last, err
}

// withoutOverlap leaves each stream sequence in one segment only, or its records would be found twice.
//
// A merge that was interrupted leaves its parts beside their sum: those lie within its sequences and hold no record that
// it has not, and are removed. So do parts of parts, which queries may have held until the end. Anything else that overlaps was put there by somebody else, and cannot be told apart
// by its name: of two such files the one with more records stays, the other is set aside.
func (s *segmentSet) withoutOverlap(all []*segment) (kept []*segment, err error) {
	slices.SortFunc(all, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.first, b.first), -cmp.Compare(a.last, b.last), -cmp.Compare(a.rows, b.rows))
	})
	overlap := errors.New("another segment has some of its sequences")
	for i := 0; i < len(all); {
		outer, parts, rows, counted := all[i], i+1, int64(0), (*segment)(nil)
		for ; parts < len(all) && all[parts].last <= outer.last; parts++ {
			if part := all[parts]; counted == nil || part.last > counted.last { // else it is a part of that one
				rows, counted = rows+part.rows, part
			}
		}
		if rows > outer.rows {
			s.putAside(outer, overlapSuffix, overlap)
			i++
			continue
		}
		for _, part := range all[i+1 : parts] {
			s.log.Info("segment removed: a merged one has its records", "file", filepath.Base(part.path), "merged", filepath.Base(outer.path))
			if err := os.Remove(part.path); err != nil {
				return nil, err
			}
		}
		i = parts
		kept = append(kept, outer)
		for n := len(kept); n > 1 && kept[n-1].first <= kept[n-2].last; n = len(kept) {
			less := n - 1
			if kept[n-2].rows < kept[n-1].rows {
				less = n - 2
			}
			s.putAside(kept[less], overlapSuffix, overlap)
			kept = slices.Delete(kept, less, less+1)
		}
	}
	return kept, nil
}
