package sink

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
)

// A segment's side index says where each page is and what it holds, so that a query goes straight to the bytes it needs.
// It stands in the file between the pages and the Parquet footer, which gives its place and its CRC-32C:
//
//	index    uvarint columns  column…  streams  blocks
//	column   uvarint offset of the first byte  page of the dictionary (rows 0 when there is none)  uvarint pages  page…
//	page     uvarint rows  uvarint values  uvarint length  uvarint length of the header  uvarint length of the decoded bytes
//	         CRC-32C(4, little endian) of header and body
//	streams  uvarint streams  (uvarint bytes shared with the name before  text rest  uvarint rows)…
//	blocks   uvarint blocks   (varint min time, varint max − min  byte mask of severities  byte mask of sources  byte mask
//	         of qualities)…, one for each blockRows rows
//	fields   uvarint fields   text key…
//
// The pages of a column follow each other without a gap.
type segmentIndex struct {
	columns []columnIndex
	streams streamTable
	blocks  []block
	fields  []string // keys of the columns from colFields on
}

type columnIndex struct {
	dictionary page
	pages      []page
	first      []uint32 // first row of each page, and behind the last one
}

// page is where a page is in the file.
type page struct {
	offset int64
	length uint32 // header and body
	header uint32 // the Parquet page header
	raw    uint32 // the body, decoded
	values uint32 // of a repeated or optional field: how many there are
	sum    uint32
}

// block is what blockRows rows have in common.
type block struct {
	minTime, maxTime int64
	severities       uint8 // bit masks
	sources          uint8
	qualities        uint8
}

// blockRows is how many rows a page of small values holds. All columns but the texts are cut at its multiples.
const blockRows = 4096

func (c *columnIndex) add(p page, rows int) {
	if len(c.first) == 0 {
		c.first = append(c.first, 0)
	}
	c.pages = append(c.pages, p)
	c.first = append(c.first, c.first[len(c.first)-1]+uint32(rows))
}

// find gives the page that holds a row.
func (c *columnIndex) find(row uint32) int {
	return sort.Search(len(c.pages), func(i int) bool { return c.first[i+1] > row })
}

// streamTable holds the names of a segment's streams in order, and where the rows of each end. It is free of pointers:
// there may be a hundred thousand.
type streamTable struct {
	names   []byte
	nameEnd []uint32
	rowEnd  []uint32
}

func (t *streamTable) add(name []byte, rows uint32) {
	t.names = append(t.names, name...)
	t.nameEnd = append(t.nameEnd, uint32(len(t.names)))
	t.rowEnd = append(t.rowEnd, t.row(len(t.rowEnd))+rows)
}

func (t *streamTable) len() int { return len(t.nameEnd) }

// name is valid as long as the table.
func (t *streamTable) name(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = t.nameEnd[i-1]
	}
	return t.names[start:t.nameEnd[i]]
}

// row is the first row of stream i; of len(), the number of rows.
func (t *streamTable) row(i int) uint32 {
	if i == 0 {
		return 0
	}
	return t.rowEnd[i-1]
}

// search gives the first stream whose name is not before name.
func (t *streamTable) search(name string) int {
	return sort.Search(t.len(), func(i int) bool { return string(t.name(i)) >= name })
}

// of gives the stream that a row belongs to.
func (t *streamTable) of(row uint32) int {
	return sort.Search(len(t.rowEnd), func(i int) bool { return t.rowEnd[i] > row })
}

func (x *segmentIndex) rows() uint32 { return x.streams.row(x.streams.len()) }

// size is about how many bytes the index takes in memory.
func (x *segmentIndex) size() int {
	n := len(x.streams.names) + 8*x.streams.len() + 24*len(x.blocks)
	for _, c := range x.columns {
		n += 36*len(c.pages) + 128
	}
	return n + 512
}

func (x *segmentIndex) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(x.columns)))
	for i := range x.columns {
		b = x.columns[i].encode(b)
	}
	b = x.streams.encode(b)
	b = binary.AppendUvarint(b, uint64(len(x.blocks)))
	for _, k := range x.blocks {
		b = binary.AppendVarint(b, k.minTime)
		b = binary.AppendUvarint(b, uint64(k.maxTime)-uint64(k.minTime))
		b = append(b, k.severities, k.sources, k.qualities)
	}
	b = binary.AppendUvarint(b, uint64(len(x.fields)))
	for _, f := range x.fields {
		b = appendText(b, f)
	}
	return b
}

func (c *columnIndex) encode(b []byte) []byte {
	start := c.dictionary.offset
	if c.dictionary.length == 0 && len(c.pages) > 0 {
		start = c.pages[0].offset
	}
	b = binary.AppendUvarint(b, uint64(start))
	b = c.dictionary.encode(b, 0)
	b = binary.AppendUvarint(b, uint64(len(c.pages)))
	for i, p := range c.pages {
		b = p.encode(b, c.first[i+1]-c.first[i])
	}
	return b
}

func (p page) encode(b []byte, rows uint32) []byte {
	for _, v := range [...]uint32{rows, p.values, p.length, p.header, p.raw} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return binary.LittleEndian.AppendUint32(b, p.sum)
}

func (t *streamTable) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(t.len()))
	var before []byte
	for i := range t.len() {
		name := t.name(i)
		shared := 0
		for shared < min(len(name), len(before)) && name[shared] == before[shared] {
			shared++
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = appendText(b, string(name[shared:]))
		b = binary.AppendUvarint(b, uint64(t.row(i+1)-t.row(i)))
		before = name
	}
	return b
}

// indexReader reads varints until one is wrong; then it gives zeros and is bad.
type indexReader struct {
	b   []byte
	bad bool
}

func (r *indexReader) fail() { r.bad, r.b = true, nil }

func (r *indexReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *indexReader) uint32() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.fail()
		return 0
	}
	return uint32(v)
}

// count reads how many things follow, of which each takes at least so many bytes: more than can be there is wrong.
func (r *indexReader) count(least int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/least) {
		r.fail()
		return 0
	}
	return int(n)
}

// bytes gives the next n bytes: zeros when there are fewer.
func (r *indexReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return make([]byte, n)
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *indexReader) text() []byte { return r.bytes(r.count(1)) }

// decodeIndex reads what encode wrote and checks that the parts agree with each other, with the file, whose pages end at
// end, and with its number of rows.
func decodeIndex(b []byte, end int64, rows int64) (*segmentIndex, error) {
	r := &indexReader{b: b}
	x := &segmentIndex{}
	const leastColumn, leastBlock = 1 + 5 + 4 + 1, 2 + 3
	for range r.count(leastColumn) {
		x.columns = append(x.columns, r.column(end))
	}
	r.streams(&x.streams)
	x.blocks = make([]block, 0, r.count(leastBlock))
	for range cap(x.blocks) {
		v, n := binary.Varint(r.b)
		if n <= 0 {
			r.fail()
			break
		}
		r.b = r.b[n:]
		k := block{minTime: v}
		k.maxTime = int64(uint64(v) + r.uvarint())
		masks := r.bytes(3)
		if r.bad || k.maxTime < k.minTime {
			r.fail()
			break
		}
		k.severities, k.sources, k.qualities = masks[0], masks[1], masks[2]
		x.blocks = append(x.blocks, k)
	}
	for range r.count(1) {
		x.fields = append(x.fields, string(r.text()))
	}
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("%w: side index", errDamaged)
	}
	return x, x.check(rows)
}

func (r *indexReader) column(end int64) (c columnIndex) {
	const leastPage = 5 + 4
	offset := r.uvarint()
	c.dictionary, _ = r.page(&offset, end, maxDictionary)
	n := r.count(leastPage)
	c.pages, c.first = make([]page, 0, n), make([]uint32, 1, n+1)
	for range n {
		p, rows := r.page(&offset, end, maxPage)
		if uint64(c.first[len(c.first)-1])+uint64(rows) > maxSegmentRows {
			r.fail()
		}
		if r.bad {
			return c
		}
		c.add(p, int(rows))
	}
	return c
}

// page reads a page of at most most bytes before compression.
func (r *indexReader) page(offset *uint64, end int64, most uint32) (p page, rows uint32) {
	rows = r.uint32()
	p = page{offset: int64(*offset), values: r.uint32(), length: r.uint32(), header: r.uint32(), raw: r.uint32()}
	p.sum = binary.LittleEndian.Uint32(r.bytes(4))
	if *offset += uint64(p.length); *offset > uint64(end) || p.header > p.length || p.raw > most {
		r.fail()
	}
	return p, rows
}

func (r *indexReader) streams(t *streamTable) {
	const leastStream = 3
	n := r.count(leastStream)
	t.nameEnd, t.rowEnd = make([]uint32, 0, n), make([]uint32, 0, n)
	var name []byte
	for range n {
		shared, rest := r.uvarint(), []byte(nil)
		if shared > uint64(len(name)) {
			r.fail()
		}
		rest = r.text()
		rows := r.uint32()
		if r.bad || uint64(t.row(t.len()))+uint64(rows) > maxSegmentRows {
			r.fail()
			return
		}
		name = append(name[:shared:shared], rest...)
		t.add(name, rows)
	}
}

// check makes sure that every row has its place in every column.
func (x *segmentIndex) check(rows int64) error {
	ok := int64(x.rows()) == rows && len(x.columns) == colFields+len(x.fields) && int64(len(x.blocks)) == (rows+blockRows-1)/blockRows
	for i := range x.columns {
		c := &x.columns[i]
		ok = ok && int64(c.first[len(c.first)-1]) == rows && slices.IsSorted(c.first)
	}
	if !ok {
		return fmt.Errorf("%w: side index does not fit", errDamaged)
	}
	return nil
}
