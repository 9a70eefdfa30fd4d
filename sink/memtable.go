package sink

import (
	"math"
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
	rest    []restOfRow // of the rows
	streams []string

	streamID map[string]uint32
	latest   []uint32 // by stream: the number behind its newest row; 0 is none

	bytes int // only the writer uses it without the lock
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
	quality  logbridge.TimeQuality
	attrs    uint32 // where its attributes are in the group; 0 when it has none
	before   uint32 // the number behind the row before it in its stream; 0 is none
}

// restOfRow is what a segment needs of a record beside its rowRef, so that none is decoded a second time. Queries pass over it.
type restOfRow struct {
	observed int64  // µs
	body     uint32 // where its body is in the group
	length   uint32 // of the body
}

// rowBytes is what a record takes in a memtable beside its group.
const rowBytes = int(unsafe.Sizeof(rowRef{}) + unsafe.Sizeof(restOfRow{}))

// newMemtable makes one with room for so many rows: without it they are copied again and again while they become more.
func newMemtable(rows int) *memtable {
	return &memtable{rows: make([]rowRef, 0, rows), rest: make([]restOfRow, 0, rows), streamID: map[string]uint32{}}
}

// add indexes the records of a group that are kept; p is the group taken apart.
func (m *memtable) add(g *group, p *parsed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, before := uint32(len(m.groups)), len(m.rows)
	for i := range p.rows {
		r := &p.rows[i]
		if r.kept {
			stream := m.stream(r.stream)
			m.rows = append(m.rows, rowRef{
				time: r.time, group: at, offset: r.offset, index: uint32(i), before: m.latest[stream],
				stream: stream, severity: r.severity, source: r.source, quality: r.quality, attrs: attrsAt(g.raw, &r.row),
			})
			m.rest = append(m.rest, restOfRow{observed: r.observed / micro, body: placeIn(g.raw, r.body), length: uint32(len(r.body))})
			m.latest[stream] = uint32(len(m.rows))
		}
	}
	m.groups = append(m.groups, memGroup{g.seq, g.raw})
	m.bytes += len(g.raw) + (len(m.rows)-before)*rowBytes
}

// attrsAt is where the attributes of a record of raw are; 0 when it has none.
func attrsAt(raw []byte, r *row) uint32 {
	if r.attrs[0] == 0 {
		return 0
	}
	return placeIn(raw, r.attrs)
}

// placeIn is where a part of raw begins in it: both have the same end of their room.
func placeIn(raw, part []byte) uint32 { return uint32(cap(raw) - cap(part)) }

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
	m.streams, m.latest = append(m.streams, string(name)), append(m.latest, 0)
	m.streamID[m.streams[id]] = id
	return id
}

// snapshot is the memtable as it is now; later appends do not show in it.
func (m *memtable) snapshot() memSnapshot {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return memSnapshot{groups: m.groups, rows: m.rows, rest: m.rest, streams: m.streams}
}

// snapshotOf is snapshot for a query, which needs only the rows of one stream if it asks for one.
func (m *memtable) snapshotOf(q *plan) memSnapshot {
	exact := q.exactStream()
	if exact == "" {
		return m.snapshot()
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := memSnapshot{groups: m.groups, rows: m.rows, streams: m.streams, one: true}
	if id, ok := m.streamID[exact]; ok {
		s.latest = m.latest[id]
	}
	return s
}

type memSnapshot struct {
	groups  []memGroup
	rows    []rowRef
	rest    []restOfRow // only a whole snapshot has it
	streams []string

	one    bool   // only one stream's rows are asked for:
	latest uint32 // the number behind its newest

	gone erasures // hides rows
}

// least gives the first sequence that is not erased, by stream; nil when nothing is.
func (s memSnapshot) least() (seqs []uint64) {
	if len(s.gone) == 0 {
		return nil
	}
	seqs = make([]uint64, len(s.streams))
	for i, name := range s.streams {
		seqs[i] = s.gone.least(name)
	}
	return seqs
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

// matching calls fn for each row that answers q, in any order.
func (s memSnapshot) matching(q *plan, fn func(i int) error) error {
	if s.one {
		return s.matchingOne(q, fn)
	}
	first := sort.Search(len(s.rows), func(i int) bool { return s.position(&s.rows[i]).Compare(q.After) > 0 })
	end := len(s.rows)
	if q.newest != math.MaxUint64 {
		end = sort.Search(end, func(i int) bool { return s.position(&s.rows[i]).Seq > q.newest })
	}
	if first >= end {
		return nil
	}
	wanted, any, err := s.wanted(q, s.rows[first:end])
	if err != nil || !any {
		return err
	}
	least := s.least()
	for i := first; i < end; i++ {
		if i%blockRows == 0 {
			if err := q.scanned(0); err != nil {
				return err
			}
		}
		if r := &s.rows[i]; wanted[r.stream] && (least == nil || s.position(r).Seq >= least[r.stream]) && s.matches(q, r) {
			if err := fn(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted says of each stream of these rows whether the query asks for it. A tail that comes to see what is new meets few of all
// streams.
func (s memSnapshot) wanted(q *plan, rows []rowRef) (wanted []bool, any bool, err error) {
	defer predicateFailed(&err)
	wanted = make([]bool, len(s.streams))
	asked := make([]bool, len(s.streams))
	ask := func(n uint32) {
		asked[n], wanted[n] = true, q.MatchStream(logbridge.Stream(s.streams[n]))
		any = any || wanted[n]
	}
	if len(rows) >= len(s.streams) { // it is not worth a look at the rows
		for n := range s.streams {
			ask(uint32(n))
		}
		return wanted, any, nil
	}
	for i := range rows {
		if n := rows[i].stream; !asked[n] {
			ask(n)
		}
	}
	return wanted, any, nil
}

// matchingOne is matching for a query that asks for one stream: it goes back from row to row of that.
func (s memSnapshot) matchingOne(q *plan, fn func(i int) error) error {
	looked := 0
	for n := s.latest; n > 0; n = s.rows[n-1].before {
		if looked++; looked%blockRows == 0 {
			if err := q.scanned(0); err != nil {
				return err
			}
		}
		r := &s.rows[n-1]
		at := s.position(r)
		if at.Compare(q.After) <= 0 || at.Seq < s.gone.least(s.streams[r.stream]) {
			return nil
		}
		if at.Seq <= q.newest && s.matches(q, r) {
			if err := fn(int(n - 1)); err != nil {
				return err
			}
		}
	}
	return q.ctx.Err()
}

// matches reports whether a row of a wanted stream answers q.
func (s memSnapshot) matches(q *plan, r *rowRef) bool {
	if !q.matchHead(r.time, r.severity, r.source) {
		return false
	}
	if !q.content {
		return true
	}
	full := s.decode(r)
	return q.matchRow(&full)
}

// open selects the rows that answer q, best first.
func (s memSnapshot) open(q *plan) (cursor, error) {
	var hits []hit
	err := s.matching(q, func(i int) error {
		p := s.position(&s.rows[i])
		hits = append(hits, hit{time: s.rows[i].time, seq: p.Seq, index: p.Index, row: uint32(i)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	c := &memCursor{hitList: hitList{q.best(hits)}, s: s}
	c.readFew()
	return c, nil
}

type memCursor struct {
	hitList
	s     memSnapshot
	ready []logbridge.Record // all that there are, when there are few: then s is empty
}

// readFew reads the records at once when they are few: what looks for something rare finds little here, and may be busy with
// segments long after this memtable was replaced. Many such queries would keep many memtables.
func (c *memCursor) readFew() {
	if len(c.hits) > takeNow {
		return
	}
	ready, size := make([]logbridge.Record, len(c.hits)), 0
	for i, h := range c.hits {
		if ready[i] = c.record(h); size > takeBytesNow {
			return
		}
		size += memorySize(&ready[i])
	}
	c.ready, c.s = ready, memSnapshot{}
}

func (c *memCursor) record(h hit) logbridge.Record {
	r := &c.s.rows[h.row]
	full := c.s.decode(r)
	return full.record(c.s.position(r))
}

func (c *memCursor) take() (r logbridge.Record, err error) {
	if len(c.ready) > 0 {
		r, c.ready = c.ready[0], c.ready[1:]
	} else {
		r = c.record(c.hits[0])
	}
	c.hits = c.hits[1:]
	return r, nil
}
