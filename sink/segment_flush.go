package sink

import "slices"

// writeSegment writes a frozen memtable as a segment and returns its path.
func writeSegment(dir string, m memSnapshot, first, last uint64) (path string, err error) {
	return writeRows(dir, newMemFeed(m), first, last, snappyPacker{})
}

// memFeed gives the rows of a memtable by stream, time and position.
type memFeed struct {
	m     memSnapshot
	order []int32
	table streamTable

	// What is not in rowRef, in order: each record is decoded once.
	rest []restOfRow

	next [colFields]int // row, by column
}

// restOfRow is where the parts of a record are in its group.
type restOfRow struct {
	observed    int64 // µs
	body, attrs uint32
	bodyLen     uint32
	quality     uint8
}

func newMemFeed(m memSnapshot) *memFeed {
	f := &memFeed{m: m, order: sortedRows(m)}
	f.rest = make([]restOfRow, len(f.order))
	for i := 0; i < len(f.order); {
		stream := m.rows[f.order[i]].stream
		end := i
		for ; end < len(f.order) && m.rows[f.order[end]].stream == stream; end++ {
			f.rest[end] = m.rest(&m.rows[f.order[end]])
		}
		f.table.add([]byte(m.streams[stream]), uint32(end-i))
		i = end
	}
	return f
}

// rest decodes what rowRef does not have.
func (s memSnapshot) rest(r *rowRef) restOfRow {
	const micro = 1000
	full := s.decode(r)
	raw := s.groups[r.group].raw
	out := restOfRow{observed: full.observed / micro, bodyLen: uint32(len(full.body)), quality: uint8(full.quality)}
	out.body = uint32(cap(raw) - cap(full.body)) // both are parts of raw
	out.attrs = uint32(cap(raw) - cap(full.attrs))
	return out
}

func (f *memFeed) streams() *streamTable { return &f.table }

// rows gives the next n rows of a column and their first number.
func (f *memFeed) rows(column, n int) (order []int32, at int) {
	at = f.next[column]
	f.next[column] += n
	return f.order[at:f.next[column]], at
}

func (f *memFeed) ints(column int, dst []int64) error {
	order, at := f.rows(column, len(dst))
	for i, row := range order {
		r := &f.m.rows[row]
		switch column {
		case colTime:
			dst[i] = r.time
		case colObserved:
			dst[i] = f.rest[at+i].observed
		case colSeq:
			dst[i] = int64(f.m.groups[r.group].seq)
		default:
			dst[i] = int64(r.index)
		}
	}
	return nil
}

func (f *memFeed) codes(column int, dst []int32) error {
	order, at := f.rows(column, len(dst))
	for i, row := range order {
		switch column {
		case colQuality:
			dst[i] = int32(f.rest[at+i].quality)
		case colSource:
			dst[i] = int32(f.m.rows[row].source)
		default:
			dst[i] = int32(f.m.rows[row].severity)
		}
	}
	return nil
}

func (f *memFeed) bodies(dst *texts, rows int) error {
	for range rows {
		if dst.full() {
			break
		}
		at := f.next[colBody]
		f.next[colBody]++
		rest := &f.rest[at]
		raw := f.m.groups[f.m.rows[f.order[at]].group].raw
		dst.add(raw[rest.body : rest.body+rest.bodyLen])
	}
	return nil
}

func (f *memFeed) attributes(dst *attrRows, rows int) error {
	for range rows {
		if dst.full() {
			break
		}
		at := f.next[colAttrKey]
		f.next[colAttrKey]++
		raw := f.m.groups[f.m.rows[f.order[at]].group].raw
		r := row{attrs: raw[f.rest[at].attrs:]}
		count := uint32(0)
		r.eachAttr(func(k, v []byte) bool {
			dst.keys.add(k)
			dst.values.add(v)
			count++
			return true
		})
		dst.counts = append(dst.counts, count)
	}
	return nil
}

// sortedRows orders the rows by stream, time and position.
func sortedRows(m memSnapshot) []int32 {
	rank := streamRanks(m.streams)
	// Counting by stream first leaves short runs to sort, most of which are in order already: devices send in order.
	start := make([]int32, len(m.streams)+1)
	least := m.least()
	erased := func(r *rowRef) bool { return least != nil && m.position(r).Seq < least[r.stream] }
	for i := range m.rows {
		if !erased(&m.rows[i]) {
			start[rank[m.rows[i].stream]+1]++
		}
	}
	for i := 1; i < len(start); i++ {
		start[i] += start[i-1]
	}
	order := make([]int32, start[len(start)-1])
	next := slices.Clone(start)
	for i := range m.rows {
		if erased(&m.rows[i]) {
			continue
		}
		at := &next[rank[m.rows[i].stream]]
		order[*at] = int32(i)
		*at++
	}
	for i := range len(m.streams) {
		run := order[start[i]:start[i+1]]
		byTime := func(a, b int32) int {
			x, y := m.rows[a].time, m.rows[b].time
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return int(a) - int(b) // rows stand in position order
		}
		if !slices.IsSortedFunc(run, byTime) {
			slices.SortFunc(run, byTime)
		}
	}
	return order
}

func streamRanks(streams []string) []int32 {
	ids := make([]int32, len(streams))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortFunc(ids, func(a, b int32) int {
		if streams[a] < streams[b] {
			return -1
		}
		return 1
	})
	rank := make([]int32, len(streams))
	for place, id := range ids {
		rank[id] = int32(place)
	}
	return rank
}
