package sink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// readAhead is how many bytes a scan reads at a time, when it needs pages that follow each other.
const readAhead = 256 << 10

// decodeSlack is how much room behind the page lets the decoder take its fast path.
const decodeSlack = 32

// decoder decompresses pages, as many at a time as there are processors.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// pageReader reads pages of one segment. What it gives is valid until the next page of the same kind.
type pageReader struct {
	q *plan
	s *segment
	x *segmentIndex

	buffer   []byte // bytes of the file
	bufferAt int64
	raw      []byte // the page

	ints   []int64
	small  []int32
	codes  []int32
	levels []uint8
	more   []uint8
	starts []uint32
	text   texts
	keys   texts
}

var pageReaders = sync.Pool{New: func() any { return new(pageReader) }}

// newPageReader gives a reader, which release takes back.
func newPageReader(q *plan, s *segment, x *segmentIndex) *pageReader {
	r := pageReaders.Get().(*pageReader)
	r.q, r.s, r.x = q, s, x
	r.buffer = r.buffer[:0]
	return r
}

func (r *pageReader) release() {
	const most = 4 * readAhead // a huge page's buffers are not worth keeping
	r.q, r.s, r.x = nil, nil, nil
	if cap(r.raw) <= most && cap(r.buffer) <= most {
		pageReaders.Put(r)
	}
}

func (r *pageReader) damaged(what string, err error) error {
	if err != nil {
		return fmt.Errorf("segment %016x: %w: %s: %w", r.s.first, errDamaged, what, err)
	}
	return fmt.Errorf("segment %016x: %w: %s", r.s.first, errDamaged, what)
}

// load reads a page, checks and decompresses it into r.raw. Up to the offset until, the bytes behind it will be needed,
// too.
func (r *pageReader) load(p page, until int64) error {
	if err := r.q.scanned(int(p.length)); err != nil {
		return err
	}
	end := p.offset + int64(p.length)
	if p.offset < r.bufferAt || end > r.bufferAt+int64(len(r.buffer)) {
		n := max(end, min(until, p.offset+readAhead)) - p.offset
		r.buffer = grow(r.buffer, int(n))
		if err := r.s.readAt(r.buffer, p.offset); err != nil {
			r.buffer = r.buffer[:0]
			return err
		}
		r.bufferAt = p.offset
	}
	b := r.buffer[p.offset-r.bufferAt:][:p.length]
	if crc32.Checksum(b, castagnoli) != p.sum {
		return r.damaged(fmt.Sprintf("checksum of the page at byte %d is wrong", p.offset), nil)
	}
	raw, err := r.unpack(b[p.header:], int(p.raw))
	if err != nil || len(raw) != int(p.raw) {
		return r.damaged(fmt.Sprintf("page at byte %d", p.offset), err)
	}
	r.raw = raw
	return nil
}

// unpack decompresses a page of n bytes.
func (r *pageReader) unpack(b []byte, n int) ([]byte, error) {
	room := grow(r.raw, n+decodeSlack)
	if !r.s.fresh {
		return decoder().DecodeAll(b, room[:0])
	}
	if decoded, err := s2.DecodedLen(b); err != nil || decoded != n {
		return nil, errors.Join(err, errors.New("another length"))
	}
	return s2.Decode(room, b)
}

// loadPage is load for page number n of a column, of which the pages before last are needed, too.
func (r *pageReader) loadPage(column, n, last int) error {
	c := &r.x.columns[column]
	end := c.pages[max(n, last)]
	return r.load(c.pages[n], end.offset+int64(end.length))
}

func (r *pageReader) pageRows(column, n int) int {
	c := &r.x.columns[column]
	return int(c.first[n+1] - c.first[n])
}

// intPage gives the values of a page of numbers.
func (r *pageReader) intPage(column, n, last int) ([]int64, error) {
	if err := r.loadPage(column, n, last); err != nil {
		return nil, err
	}
	rows := r.pageRows(column, n)
	var err error
	if column == colIndex {
		if r.small, err = new(delta.BinaryPackedEncoding).DecodeInt32(r.small, r.raw); err == nil {
			r.ints = grow(r.ints, len(r.small))
			for i, v := range r.small {
				r.ints[i] = int64(v)
			}
		}
	} else {
		r.ints, err = new(delta.BinaryPackedEncoding).DecodeInt64(r.ints, r.raw)
	}
	if err != nil || len(r.ints) != rows {
		return nil, r.damaged("numbers", err)
	}
	return r.ints, nil
}

// onlyCode gives the code that all rows of a page have, when the block says that there is one.
func (r *pageReader) onlyCode(column, n int) (int32, bool) {
	mask := uint8(0)
	switch column {
	case colSeverity:
		mask = r.x.blocks[n].severities
	case colSource:
		mask = r.x.blocks[n].sources
	case colQuality:
		mask = r.x.blocks[n].qualities
	}
	return int32(bits.TrailingZeros8(mask)), bits.OnesCount8(mask) == 1
}

// codePage gives the codes of a page of a required column. A page that the index says all of is not read, by nobody: else a
// merge would fail again and again for a damage that no query sees.
func (r *pageReader) codePage(column, n, last int) ([]int32, error) {
	if code, ok := r.onlyCode(column, n); ok {
		r.codes = grow(r.codes, r.pageRows(column, n))
		for i := range r.codes {
			r.codes[i] = code
		}
		return r.codes, nil
	}
	if err := r.loadPage(column, n, last); err != nil {
		return nil, err
	}
	return r.decodeCodes(r.raw, r.pageRows(column, n))
}

func (r *pageReader) decodeCodes(b []byte, n int) (_ []int32, err error) {
	// A run of bit-packed codes is a multiple of eight long: there may be more than there are rows.
	if r.codes, err = new(rle.DictionaryEncoding).DecodeInt32(r.codes, b); err != nil || len(r.codes) < n {
		return nil, r.damaged("codes", err)
	}
	return r.codes[:n], nil
}

// fieldPage gives the codes of a page of a frequent attribute: -1 where a row does not have it.
func (r *pageReader) fieldPage(column, n, last int) ([]int32, error) {
	rows, values := r.pageRows(column, n), int(r.x.columns[column].pages[n].values)
	if values == 0 {
		r.small = grow(r.small, rows)
		for i := range r.small {
			r.small[i] = -1
		}
		return r.small, nil
	}
	if err := r.loadPage(column, n, last); err != nil {
		return nil, err
	}
	levels, rest, err := r.decodeLevels(r.levels, r.raw)
	r.levels = levels
	if err != nil || len(levels) < rows {
		return nil, r.damaged("levels", err)
	}
	codes, err := r.decodeCodes(rest, values)
	if err != nil {
		return nil, err
	}
	r.small = grow(r.small, rows)
	for i, present := range levels[:rows] {
		r.small[i] = -1
		if present != 0 && len(codes) > 0 {
			r.small[i], codes = codes[0], codes[1:]
		}
	}
	return r.small, nil
}

// decodeLevels reads levels as a page of version 1 has them: their length in four bytes, then runs.
func (r *pageReader) decodeLevels(dst []uint8, b []byte) (levels []uint8, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return dst, nil, io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint32(b)
	levels, err = (&rle.Encoding{BitWidth: 1}).DecodeLevels(dst, b[4:4+n])
	return levels, b[4+n:], err
}

// bodyPage gives the texts of a page of bodies.
func (r *pageReader) bodyPage(n, last int) (*texts, error) {
	if err := r.loadPage(colBody, n, last); err != nil {
		return nil, err
	}
	return &r.text, r.decodeTexts(&r.text, r.raw, r.pageRows(colBody, n))
}

func (r *pageReader) decodeTexts(t *texts, b []byte, n int) (err error) {
	t.data, t.offsets, err = new(delta.LengthByteArrayEncoding).DecodeByteArray(t.data, b, t.offsets)
	if err != nil || t.len() != n {
		return r.damaged("texts", err)
	}
	return nil
}

// decodeLengths gives the lengths of a page of texts, which stand before them.
func (r *pageReader) decodeLengths(b []byte, n int) (_ []int32, err error) {
	r.small, err = new(delta.BinaryPackedEncoding).DecodeInt32(r.small, b)
	if err != nil || len(r.small) != n {
		return nil, r.damaged("lengths of texts", err)
	}
	return r.small, nil
}

// attrPage gives the keys or values of a page of attributes; those of row i are the texts from r.starts[i] up to
// r.starts[i+1].
func (r *pageReader) attrPage(column, n, last int, t *texts) error {
	rows, values := r.pageRows(column, n), int(r.x.columns[column].pages[n].values)
	if values == 0 {
		t.reset()
		r.starts = grow(r.starts, rows+1)
		clear(r.starts)
		return nil
	}
	if err := r.loadPage(column, n, last); err != nil {
		return err
	}
	return r.decodeAttrs(t, rows, values)
}

// decodeAttrs is attrPage for the page in r.raw.
func (r *pageReader) decodeAttrs(t *texts, rows, values int) (err error) {
	var rest []byte
	if r.levels, rest, err = r.decodeLevels(r.levels, r.raw); err == nil {
		r.more, rest, err = r.decodeLevels(r.more, rest)
	}
	if err != nil || len(r.levels) != len(r.more) {
		return r.damaged("levels", err)
	}
	r.starts = r.starts[:0]
	n := uint32(0)
	for i, repeated := range r.levels {
		if repeated == 0 {
			r.starts = append(r.starts, n)
		}
		n += uint32(r.more[i])
	}
	if r.starts = append(r.starts, n); len(r.starts) != rows+1 || int(n) != values {
		return r.damaged("levels", nil)
	}
	return r.decodeTexts(t, rest, values)
}

// attrPages gives keys and values of a page of attributes in r.keys and r.text.
func (r *pageReader) attrPages(n int) error {
	if err := r.attrPage(colAttrKey, n, n, &r.keys); err != nil {
		return err
	}
	if err := r.attrPage(colAttrValue, n, n, &r.text); err != nil {
		return err
	}
	if r.keys.len() != r.text.len() {
		return r.damaged("attributes without values", nil)
	}
	return nil
}

// fieldNames reads the dictionary of a frequent attribute.
func (r *pageReader) fieldNames(column int) ([]string, error) {
	p := r.x.columns[column].dictionary
	if p.raw > maxPage { // it holds maxFieldValues short texts
		return nil, r.damaged("dictionary", nil)
	}
	if err := r.load(p, 0); err != nil {
		return nil, err
	}
	var names []string
	for b := r.raw; len(b) > 0; {
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, r.damaged("dictionary", nil)
		}
		n := 4 + binary.LittleEndian.Uint32(b)
		names = append(names, string(b[4:n]))
		b = b[n:]
	}
	return names, nil
}
