package sink

import (
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// takeNow is how few hits are read with the opening of the segment.
	takeNow = 256
	// takeFirst is how many records a cursor over a segment reads at first: most readers want a screen or a page of them.
	takeFirst = 1024
	// takeAtOnce bounds how many it reads then, and so what it holds in memory.
	takeAtOnce = 16 << 10
	// takeBytes is about how many bytes of text it reads at once, and takeBytesNow with the opening: of long records fewer.
	takeBytes, takeBytesNow = 16 << 20, takeBytes / maxAhead
)

// open selects the rows that answer q, best first.
func (s *segment) open(q *plan) (cursor, error) {
	var hits []hit
	visit := func(sc *scanner) error { return sc.collect() }
	merge := func(sc *scanner) {
		if hits == nil {
			hits = sc.hits
		} else {
			hits = append(hits, sc.hits...)
		}
		sc.hits = nil
	}
	if err := s.scan(q, visit, merge); err != nil {
		return nil, err
	}
	c := &segmentCursor{hitList: hitList{q.best(hits)}, s: s, q: q, next: takeFirst}
	if len(c.hits) == 0 {
		return c, nil
	}
	x, err := s.index()
	if err != nil {
		return nil, err
	}
	if q.narrow() && x.together(c.hits, takeNow, takeBytesNow) == len(c.hits) {
		// Several segments are opened together: so these are read together, too.
		if c.ready, err = s.records(q, c.hits); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// collect adds the selected rows to the hits.
func (sc *scanner) collect() error {
	times, err := sc.gatherTimes()
	if err != nil {
		return err
	}
	if sc.cutByTime(times) {
		if times, err = sc.gatherTimes(); err != nil {
			return err
		}
	}
	start := len(sc.hits)
	for i, t := range times {
		sc.hits = append(sc.hits, hit{time: t, row: sc.sel.at(i)})
	}
	hits := sc.hits[start:]
	seqs, err := sc.gather(colSeq, &sc.values)
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		hits[i].seq = uint64(seq)
	}
	indexes, err := sc.gather(colIndex, &sc.values)
	if err != nil {
		return err
	}
	for i, index := range indexes {
		hits[i].index = uint32(index)
	}
	if limit := sc.q.Limit; limit > 0 && len(sc.hits) > 2*limit {
		sc.hits = sc.q.best(sc.hits)
	}
	return nil
}

// cutByTime drops the rows that a limit leaves out by their time alone, and reports whether it did.
func (sc *scanner) cutByTime(times []int64) bool {
	q := sc.q
	if q.Limit == 0 || q.Order == logbridge.ByPosition || len(times) <= q.Limit || q.bounded() {
		return false
	}
	sorted := append(sc.sorted[:0], times...)
	sc.sorted = sorted
	slices.Sort(sorted)
	worst := sorted[len(sorted)-q.Limit]
	if q.Order == logbridge.OldestFirst {
		worst = sorted[q.Limit-1]
	}
	sc.found = grow(sc.found, len(times))
	for i, t := range times {
		sc.found[i] = t >= worst
		if q.Order == logbridge.OldestFirst {
			sc.found[i] = t <= worst
		}
	}
	sc.keepFound(sc.found)
	return true
}

// segmentCursor reads the records of its hits a bounded number at a time.
type segmentCursor struct {
	hitList
	s     *segment
	q     *plan
	ready []logbridge.Record // of the first hits
	next  int
}

func (c *segmentCursor) cut(n int) {
	c.hitList.cut(n)
	c.ready = c.ready[:min(len(c.ready), n)]
}

func (c *segmentCursor) take() (logbridge.Record, error) {
	if len(c.ready) == 0 {
		x, err := c.s.index()
		if err != nil {
			return logbridge.Record{}, err
		}
		ready, err := c.s.records(c.q, c.hits[:x.together(c.hits, c.next, takeBytes)])
		if err != nil {
			return logbridge.Record{}, err
		}
		c.ready, c.next = ready, takeAtOnce
	}
	r := c.ready[0]
	c.ready, c.hits = c.ready[1:], c.hits[1:]
	return r, nil
}

// together gives how many of the first hits may be read together: at least one, at most most, and only so many that they
// have about so many bytes of text, by the mean of their pages.
func (x *segmentIndex) together(hits []hit, most, bytes int) int {
	n := min(len(hits), most)
	if n*x.longest() <= bytes {
		return n
	}
	size := 0
	for i := range n {
		for _, column := range textColumns {
			c := &x.columns[column]
			size += c.mean(c.find(hits[i].row))
		}
		if size > bytes {
			return max(i, 1)
		}
	}
	return n
}

var textColumns = [...]int{colBody, colAttrKey, colAttrValue}

// longest bounds the mean text of a record in any page.
func (x *segmentIndex) longest() (n int) {
	for _, column := range textColumns {
		c, most := &x.columns[column], 0
		for i := range c.pages {
			most = max(most, c.mean(i))
		}
		n += most
	}
	return n
}

// mean is how many bytes a row of a page has, before compression.
func (c *columnIndex) mean(page int) int {
	rows := int(c.first[page+1] - c.first[page])
	return int(c.pages[page].raw)/max(rows, 1) + 1
}

// records reads hits in full, in their order.
func (s *segment) records(q *plan, hits []hit) ([]logbridge.Record, error) {
	x, err := s.index()
	if err != nil {
		return nil, err
	}
	sc := &scanner{pageReader: newPageReader(q, s, x)}
	defer sc.release()
	place := make([]int32, len(hits)) // row order to hit order
	for i := range place {
		place[i] = int32(i)
	}
	slices.SortFunc(place, func(a, b int32) int { return int(hits[a].row) - int(hits[b].row) })
	sc.sel.rows = make([]uint32, len(hits))
	out := make([]logbridge.Record, len(hits))
	for i, p := range place {
		sc.sel.rows[i] = hits[p].row
		out[p].Time = time.Unix(0, hits[p].time).UTC()
		out[p].Position = logbridge.Position{Seq: hits[p].seq, Index: hits[p].index}
	}
	if len(hits) == 0 {
		return out, nil
	}
	return out, sc.fill(out, place)
}

// fill reads what hits do not have; row i of the selection is record place[i].
func (sc *scanner) fill(out []logbridge.Record, place []int32) error {
	observed, err := sc.gather(colObserved, &sc.values)
	if err != nil {
		return err
	}
	for i, t := range observed {
		out[place[i]].ObservedTime = time.UnixMicro(t).UTC()
	}
	for _, column := range [...]int{colQuality, colSource, colSeverity} {
		codes, err := sc.gatherCodes(column)
		if err != nil {
			return err
		}
		for i, c := range codes {
			switch r := &out[place[i]]; column {
			case colQuality:
				r.TimeQuality = logbridge.TimeQuality(c)
			case colSource:
				r.Source = logbridge.Sources[min(int(c), len(logbridge.Sources)-1)]
			default:
				r.Severity = logbridge.Level(c)
			}
		}
	}
	sc.fillStreams(out, place)
	if err := sc.fillBodies(out, place); err != nil {
		return err
	}
	return sc.attributes(func(i int, keys, values *texts, from, to uint32) {
		attrs := make([]logbridge.Attr, 0, to-from)
		for v := int(from); v < int(to); v++ {
			attrs = append(attrs, logbridge.Attr{Key: string(keys.at(v)), Value: string(values.at(v))})
		}
		out[place[i]].Attributes = attrs
	})
}

// fillStreams shares one string among the rows of a stream.
func (sc *scanner) fillStreams(out []logbridge.Record, place []int32) {
	end, stream := uint32(0), logbridge.Stream("")
	for i, p := range place {
		if row := sc.sel.rows[i]; row >= end {
			at := sc.x.streams.of(row)
			stream, end = logbridge.Stream(sc.x.streams.name(at)), sc.x.streams.row(at+1)
		}
		out[p].Stream = stream
	}
}

func (sc *scanner) fillBodies(out []logbridge.Record, place []int32) error {
	return sc.pages(colBody, func(n, last, first, i, end int) error {
		t, err := sc.bodyPage(n, last)
		if err != nil {
			return err
		}
		for ; i < end; i++ {
			out[place[i]].Body = string(t.at(int(sc.sel.at(i)) - first))
		}
		return nil
	})
}
