package sink

import "slices"

// writeSegment writes a frozen memtable as a segment and returns its path.
func writeSegment(dir string, m memSnapshot, first, last uint64) (path string, err error) {
	return writeRows(dir, newMemFeed(m), first, last, snappyPacker{})
}

// micro is the nanoseconds of the unit in which segments have times of receipt.
const micro = 1000

// memFeed gives the rows of a memtable by stream, time and position.
type memFeed struct {
	m     memSnapshot
	order []int32
	table streamTable

	next [colFields]int // row, by column
}

func newMemFeed(m memSnapshot) *memFeed {
	f := &memFeed{m: m, order: sortedRows(m)}
	for i := 0; i < len(f.order); {
		stream := m.rows[f.order[i]].stream
		end := i
		for end < len(f.order) && m.rows[f.order[end]].stream == stream {
			end++
		}
		f.table.add([]byte(m.streams[stream]), uint32(end-i))
		i = end
	}
	return f
}

func (f *memFeed) streams() *streamTable { return &f.table }

// rows gives the next n rows of a column.
func (f *memFeed) rows(column, n int) []int32 {
	at := f.next[column]
	f.next[column] += n
	return f.order[at:f.next[column]]
}

// raw gives the group of a row.
func (f *memFeed) raw(row int32) []byte { return f.m.groups[f.m.rows[row].group].raw }

func (f *memFeed) ints(column int, dst []int64) error {
	for i, row := range f.rows(column, len(dst)) {
		r := &f.m.rows[row]
		switch column {
		case colTime:
			dst[i] = r.time
		case colObserved:
			dst[i] = f.m.rest[row].observed
		case colSeq:
			dst[i] = int64(f.m.groups[r.group].seq)
		default:
			dst[i] = int64(r.index)
		}
	}
	return nil
}

func (f *memFeed) codes(column int, dst []int32) error {
	for i, row := range f.rows(column, len(dst)) {
		switch column {
		case colQuality:
			dst[i] = int32(f.m.rows[row].quality)
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
		row := f.order[f.next[colBody]]
		f.next[colBody]++
		rest := &f.m.rest[row]
		dst.add(f.raw(row)[rest.body : rest.body+rest.length])
	}
	return nil
}

func (f *memFeed) attributes(dst *attrRows, rows int) error {
	for range rows {
		if dst.full() {
			break
		}
		at := f.order[f.next[colAttrKey]]
		f.next[colAttrKey]++
		count := uint32(0)
		if attrs := f.m.rows[at].attrs; attrs > 0 { // most rows have none, and are not looked up in their group
			r := row{attrs: f.raw(at)[attrs:]}
			r.eachAttr(func(k, v []byte) bool {
				dst.keys.add(k)
				dst.values.add(v)
				count++
				return true
			})
		}
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
