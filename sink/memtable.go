package sink

import (
	"sort"
	"sync"
	"unsafe"

	"github.com/logbridge/logbridge"
)

// memtable holds the newest records as the groups they came in, with one pointer-free reference for each record, so
// that the garbage collector has nothing to look through. One writer appends; readers work on snapshots.
type memtable struct {
	mu      sync.RWMutex
	groups  []memGroup
	rows    []rowRef
	streams []string

	// Only the writer uses these.
	streamID map[string]uint32
	bytes    int
}

type memGroup struct {
	seq uint64
	raw []byte
}

// rowRef is one record: what queries look at first, and where the rest is.
type rowRef struct {
	time     int64
	group    uint32
	offset   uint32 // of the record in the group
	index    uint32 // in the group, duplicates included
	stream   uint32
	severity logbridge.Level
	source   uint8
	attrs    uint32 // where its attributes are in the group; 0 when it has none
}

func newMemtable() *memtable { return &memtable{streamID: map[string]uint32{}} }

// add indexes the records of a group that are kept; p is the group taken apart.
func (m *memtable) add(g *group, p *parsed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, before := uint32(len(m.groups)), len(m.rows)
	for i := range p.rows {
		r := &p.rows[i]
		if r.kept {
			m.rows = append(m.rows, rowRef{
				time: r.time, group: at, offset: r.offset, index: uint32(i),
				stream: m.stream(r.stream), severity: r.severity, source: r.source, attrs: attrsAt(g.raw, &r.row),
			})
		}
	}
	m.groups = append(m.groups, memGroup{g.seq, g.raw})
	m.bytes += len(g.raw) + (len(m.rows)-before)*int(unsafe.Sizeof(rowRef{}))
}

// attrsAt is where the attributes of a record of raw are; 0 when it has none.
func attrsAt(raw []byte, r *row) uint32 {
	if r.attrs[0] == 0 {
		return 0
	}
	return uint32(cap(raw) - cap(r.attrs)) // both end together
}

// size gives the records and the bytes held.
func (m *memtable) size() (rows, bytes int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.rows), m.bytes
}

func (m *memtable) stream(name []byte) uint32 {
	if id, ok := m.streamID[string(name)]; ok {
		return id
	}
	id := uint32(len(m.streams))
	m.streams = append(m.streams, string(name))
	m.streamID[m.streams[id]] = id
	return id
}

// snapshot is the memtable as it is now; later appends do not show in it.
func (m *memtable) snapshot() memSnapshot {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return memSnapshot{groups: m.groups, rows: m.rows, streams: m.streams}
}

type memSnapshot struct {
	groups  []memGroup
	rows    []rowRef
	streams []string
}

func (s memSnapshot) position(r *rowRef) logbridge.Position {
	return logbridge.Position{Seq: s.groups[r.group].seq, Index: r.index}
}

// decode reads a record in full. The bytes were checked when they were added.
func (s memSnapshot) decode(r *rowRef) row {
	full, _, err := readRow(s.groups[r.group].raw[r.offset:])
	if err != nil {
		panic("sink: a group changed in memory")
	}
	return full
}

// matching calls fn for each row that answers q.
func (s memSnapshot) matching(q *plan, fn func(i int) error) error {
	wanted, exact := make([]bool, len(s.streams)), q.exactStream()
	for i, name := range s.streams {
		wanted[i] = exact == "" && q.MatchStream(logbridge.Stream(name)) || name == exact
	}
	first := sort.Search(len(s.rows), func(i int) bool { return s.position(&s.rows[i]).Compare(q.After) > 0 })
	for i := first; i < len(s.rows); i++ {
		if i%blockRows == 0 {
			if err := q.ctx.Err(); err != nil {
				return err
			}
		}
		r := &s.rows[i]
		if !wanted[r.stream] || !q.matchHead(r.time, r.severity, r.source) {
			continue
		}
		if q.content {
			full := s.decode(r)
			if !q.matchRow(&full) {
				continue
			}
		}
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

// open selects the rows that answer q, best first.
func (s memSnapshot) open(q *plan) (cursor, error) {
	var hits []hit
	err := s.matching(q, func(i int) error {
		p := s.position(&s.rows[i])
		hits = append(hits, hit{time: s.rows[i].time, seq: p.Seq, index: p.Index, row: uint32(i)})
		return nil
	})
	return &memCursor{s: s, hits: q.best(hits)}, err
}

type memCursor struct {
	s    memSnapshot
	hits []hit
}

func (c *memCursor) head() (hit, bool) {
	if len(c.hits) == 0 {
		return hit{}, false
	}
	return c.hits[0], true
}

func (c *memCursor) take() (logbridge.Record, error) {
	r := &c.s.rows[c.hits[0].row]
	c.hits = c.hits[1:]
	full := c.s.decode(r)
	return full.record(c.s.position(r)), nil
}
