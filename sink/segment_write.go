package sink

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	// textPage is the size at which a page of texts is full, in bytes before compression: a larger one compresses better
	// and costs more to read one row of. With the lengths of the texts it stays below the 128 KiB of one zstd block, which
	// the encoder takes in one go, unless its last text is a long one.
	textPage = 112 << 10

	// textPageRows is how many rows such a page has at most.
	textPageRows = 16 << 10

	// attrPageRows is how many rows a page of attributes has at most: few enough that the lines of one device, which have one
	// or two short ones, do not need much more than themselves to be read.
	attrPageRows = 4096

	// fieldPageRows is how many rows a page of a frequent attribute has.
	fieldPageRows = 16 << 10

	// maxPage bounds a page of data before compression, in bytes: a full one and the largest record.
	maxPage = 4 << 20

	// maxDictionary bounds a dictionary, in bytes: that of the streams is the largest, and no query reads it.
	maxDictionary = 1 << 30

	// zstdWindow: few pages are larger, and a small window keeps the encoder's tables in the cache.
	zstdWindow = 256 << 10
)

const parquetMagic = "PAR1"

// rowFeed gives the rows of a new segment in their order, one column after the other. Each column is asked for once, from
// the first row to the last.
type rowFeed interface {
	// streams says how many rows each stream has.
	streams() *streamTable
	// ints gives the next values of colTime, colObserved (µs), colSeq or colIndex.
	ints(column int, dst []int64) error
	// codes gives the next values of colQuality, colSource or colSeverity.
	codes(column int, dst []int32) error
	// bodies adds the next values until dst has rows values or is full.
	bodies(dst *texts, rows int) error
	// attributes adds the next rows until dst has so many or is full.
	attributes(dst *attrRows, rows int) error
}

// texts is a page of texts in one piece.
type texts struct {
	data    []byte
	offsets []uint32 // begin of each text, and the end of the last one
}

func (t *texts) reset() { t.data, t.offsets = t.data[:0], append(t.offsets[:0], 0) }

func (t *texts) add(b []byte) {
	t.data = append(t.data, b...)
	t.offsets = append(t.offsets, uint32(len(t.data)))
}

// addAll adds the texts [from, to) of another page.
func (t *texts) addAll(o *texts, from, to int) {
	shift := uint32(len(t.data)) - o.offsets[from]
	t.data = append(t.data, o.data[o.offsets[from]:o.offsets[to]]...)
	for _, end := range o.offsets[from+1 : to+1] {
		t.offsets = append(t.offsets, end+shift)
	}
}

// room is how many texts of another page, from one on, can be added until this one is full, at least one.
func (t *texts) room(o *texts, from int) int {
	most := min(len(o.offsets)-1-from, textPageRows-t.len())
	left := uint32(max(textPage-len(t.data), 1))
	return 1 + sort.Search(most-1, func(i int) bool { return o.offsets[from+i+1]-o.offsets[from] >= left })
}

func (t *texts) len() int { return len(t.offsets) - 1 }

func (t *texts) at(i int) []byte { return t.data[t.offsets[i]:t.offsets[i+1]] }

func (t *texts) full() bool { return len(t.data) >= textPage || t.len() >= textPageRows }

// attrRows is a page of attributes: keys and values, and for each row how many it has.
type attrRows struct {
	keys, values texts
	counts       []uint32
}

func (a *attrRows) reset() {
	a.keys.reset()
	a.values.reset()
	a.counts = a.counts[:0]
}

func (a *attrRows) full() bool {
	return len(a.values.data) >= textPage || len(a.keys.data) >= textPage || len(a.counts) >= attrPageRows
}

// segmentInfo is what the footer says of a segment, as JSON under metaSegment.
type segmentInfo struct {
	Format      int            `json:"format"`
	FirstSeq    uint64         `json:"first_seq"`
	LastSeq     uint64         `json:"last_seq"`
	MinTime     int64          `json:"min_time"` // ns
	MaxTime     int64          `json:"max_time"`
	MinObserved int64          `json:"min_observed"` // ns
	MaxObserved int64          `json:"max_observed"`
	Severities  [levels]uint64 `json:"severities"` // rows of each
	Sources     []uint64       `json:"sources"`
	IndexOffset int64          `json:"index_offset"`
	IndexLength int64          `json:"index_length"`
	IndexSum    uint32         `json:"index_crc32c"`
}

const (
	metaSegment   = "logbridge.segment"
	segmentFormat = 2
)

// packer compresses pages. A new segment gets Snappy, which costs little, for it is soon merged; what a merge writes stays,
// and gets zstd.
type packer interface {
	pack(dst, page []byte) []byte
	codec() format.CompressionCodec
}

type snappyPacker struct{}

func (snappyPacker) pack(dst, page []byte) []byte   { return s2.EncodeSnappy(dst[:cap(dst)], page) }
func (snappyPacker) codec() format.CompressionCodec { return format.Snappy }

type zstdPacker struct{ *zstd.Encoder }

func (z *zstdPacker) pack(dst, page []byte) []byte   { return z.EncodeAll(page, dst[:0]) }
func (z *zstdPacker) codec() format.CompressionCodec { return format.Zstd }

// zstdPackers keeps encoders, whose tables are large.
var zstdPackers = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return &zstdPacker{e}
}}

// segmentWriter writes the file from front to back.
type segmentWriter struct {
	out    *bufio.Writer
	offset int64
	packer packer
	cols   []column
	index  segmentIndex
	info   segmentInfo
	chunks []format.ColumnChunk
	rows   int

	raw, packed []byte
	head        bytes.Buffer
	ints        []int64
	small       []int32
	codes       []int32
	levels      []uint8
}

// writeRows writes a segment and returns its path. It is there whole, synced and under its final name, or not at all.
func writeRows(dir string, feed rowFeed, first, last uint64, pack packer) (path string, err error) {
	return replaceFile(dir, fmt.Sprintf("segment-%016x-%016x", first, last), func(f *os.File) (string, error) {
		w := &segmentWriter{out: bufio.NewWriterSize(f, 1<<20), packer: pack}
		w.index.streams = *feed.streams()
		w.rows = int(w.index.rows())
		w.info = segmentInfo{Format: segmentFormat, FirstSeq: first, LastSeq: last, Sources: make([]uint64, len(sourceNames()))}
		if w.rows > maxSegmentRows {
			return "", fmt.Errorf("a segment of %d rows, at most %d", w.rows, maxSegmentRows)
		}
		if err := w.write(feed); err != nil {
			return "", err
		}
		tail, sum, err := w.finish()
		if err != nil {
			return "", err
		}
		name := segmentName{first: first, last: last, tail: tail, sum: sum}
		return name.String(), w.out.Flush()
	})
}

// write writes all columns, in the order of the schema.
func (w *segmentWriter) write(feed rowFeed) error {
	if err := w.bytes([]byte(parquetMagic)); err != nil {
		return err
	}
	w.cols = columns(nil)
	w.index.blocks = make([]block, (w.rows+blockRows-1)/blockRows)
	var fields []*fieldBuilder
	for i := range w.cols {
		var err error
		switch {
		case i == colStream:
			err = w.streamColumn()
		case i == colAttrKey:
			fields, err = w.attributeColumns(feed)
		case i == colAttrValue: // written with its keys
		case w.cols[i].kind == kindInts:
			err = w.intColumn(i, feed)
		case w.cols[i].kind == kindCodes:
			err = w.codeColumn(i, feed)
		default:
			err = w.bodyColumn(feed)
		}
		if err != nil {
			return fmt.Errorf("column %v: %w", w.cols[i].path, err)
		}
	}
	return w.fieldColumns(fields)
}

func (w *segmentWriter) bytes(b []byte) error {
	n, err := w.out.Write(b)
	w.offset += int64(n)
	return err
}

// chunk begins the next column.
func (w *segmentWriter) chunk(c column) {
	w.index.columns = append(w.index.columns, columnIndex{first: []uint32{0}})
	encoding := map[columnKind]format.Encoding{
		kindInts: format.DeltaBinaryPacked, kindCodes: format.RLEDictionary, kindFields: format.RLEDictionary,
		kindTexts: format.DeltaLengthByteArray, kindAttrs: format.DeltaLengthByteArray,
	}[c.kind]
	used := []format.Encoding{encoding}
	if c.kind == kindCodes || c.kind == kindFields {
		used = append(used, format.Plain, format.RLE)
	}
	if c.kind == kindAttrs {
		used = append(used, format.RLE)
	}
	w.chunks = append(w.chunks, format.ColumnChunk{MetaData: format.ColumnMetaData{
		Type: c.typ, Encoding: used, PathInSchema: c.path, Codec: w.packer.codec(),
	}})
}

// page compresses what encode left in w.raw and writes it to a column; entries counts values and nulls, values only values.
func (w *segmentWriter) page(column, rows, entries, values int, encoding format.Encoding) error {
	w.packed = w.packer.pack(w.packed, w.raw)
	return w.packedPage(column, heldPage{packed: w.packed, raw: len(w.raw), rows: rows, entries: entries, values: values}, encoding)
}

// heldPage is a page that is compressed already.
type heldPage struct {
	packed                     []byte
	raw, rows, entries, values int
}

func (w *segmentWriter) packedPage(column int, h heldPage, encoding format.Encoding) error {
	header := format.PageHeader{Type: format.DataPage}
	header.DataPageHeader.Set(format.DataPageHeader{
		NumValues: int32(h.entries), Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
	})
	meta := &w.chunks[column].MetaData
	if len(w.index.columns[column].pages) == 0 {
		meta.DataPageOffset = w.offset
	}
	p, err := w.put(column, &header, h)
	if err != nil {
		return err
	}
	w.index.columns[column].add(p, h.rows)
	meta.NumValues += int64(h.entries)
	return nil
}

// put writes a page's header and body.
func (w *segmentWriter) put(column int, header *format.PageHeader, h heldPage) (page, error) {
	header.UncompressedPageSize, header.CompressedPageSize = int32(h.raw), int32(len(h.packed))
	header.CRC = int32(crc32.ChecksumIEEE(h.packed))
	w.head.Reset()
	if err := thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.head)).Encode(header); err != nil {
		return page{}, err
	}
	head := w.head.Bytes()
	p := page{
		offset: w.offset, length: uint32(len(head) + len(h.packed)), header: uint32(len(head)), raw: uint32(h.raw),
		values: uint32(h.values), sum: crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, h.packed),
	}
	meta := &w.chunks[column].MetaData
	meta.TotalCompressedSize += int64(p.length)
	meta.TotalUncompressedSize += int64(len(head) + h.raw)
	if err := w.bytes(head); err != nil {
		return page{}, err
	}
	return p, w.bytes(h.packed)
}

// dictionary writes what is in w.raw as the dictionary of a column.
func (w *segmentWriter) dictionary(column, values int) error {
	if len(w.raw) > maxDictionary {
		return fmt.Errorf("a dictionary of %d bytes, at most %d", len(w.raw), maxDictionary)
	}
	header := format.PageHeader{Type: format.DictionaryPage}
	header.DictionaryPageHeader.Set(format.DictionaryPageHeader{NumValues: int32(values), Encoding: format.Plain})
	w.chunks[column].MetaData.DictionaryPageOffset = w.offset
	w.packed = w.packer.pack(w.packed, w.raw)
	p, err := w.put(column, &header, heldPage{packed: w.packed, raw: len(w.raw), values: values})
	w.index.columns[column].dictionary = p
	return err
}

// appendPlain adds a text as a dictionary has it.
func appendPlain(dst, text []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...)
}

// intColumn writes numbers, and takes the statistics of the times.
func (w *segmentWriter) intColumn(number int, feed rowFeed) error {
	w.chunk(w.cols[number])
	for start := 0; start < w.rows; start += blockRows {
		n := min(blockRows, w.rows-start)
		w.ints = grow(w.ints, n)
		if err := feed.ints(number, w.ints); err != nil {
			return err
		}
		low, high := bounds(w.ints)
		w.noteInts(number, start/blockRows, low, high)
		var err error
		if w.cols[number].typ == format.Int32 {
			w.small = grow(w.small, n)
			for i, v := range w.ints {
				w.small[i] = int32(v)
			}
			w.raw, err = new(delta.BinaryPackedEncoding).EncodeInt32(w.raw, w.small)
		} else {
			w.raw, err = new(delta.BinaryPackedEncoding).EncodeInt64(w.raw, w.ints)
		}
		if err != nil {
			return err
		}
		if err := w.page(number, n, n, 0, format.DeltaBinaryPacked); err != nil {
			return err
		}
	}
	return nil
}

func bounds(values []int64) (low, high int64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// noteInts keeps the least and the greatest value, for us and for other readers.
func (w *segmentWriter) noteInts(number, at int, low, high int64) {
	firstPage := at == 0
	switch number {
	case colTime:
		w.index.blocks[at].minTime, w.index.blocks[at].maxTime = low, high
		if firstPage {
			w.info.MinTime, w.info.MaxTime = low, high
		}
		w.info.MinTime, w.info.MaxTime = min(w.info.MinTime, low), max(w.info.MaxTime, high)
		low, high = w.info.MinTime, w.info.MaxTime
	case colObserved:
		const micro = 1000
		if firstPage {
			w.info.MinObserved, w.info.MaxObserved = low*micro, high*micro
		}
		w.info.MinObserved, w.info.MaxObserved = min(w.info.MinObserved, low*micro), max(w.info.MaxObserved, high*micro)
		low, high = w.info.MinObserved/micro, w.info.MaxObserved/micro
	default:
		return
	}
	s := &w.chunks[len(w.chunks)-1].MetaData.Statistics
	s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(low))
	s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(high))
}

// codeColumn writes the columns with a fixed dictionary, and takes their statistics.
func (w *segmentWriter) codeColumn(number int, feed rowFeed) error {
	w.chunk(w.cols[number])
	names := qualityNames()
	if number == colSource {
		names = sourceNames()
	}
	w.raw = w.raw[:0]
	if number == colSeverity {
		for l := range levels {
			w.raw = binary.LittleEndian.AppendUint32(w.raw, uint32(l))
		}
		names = make([]string, levels)
	} else {
		for _, n := range names {
			w.raw = appendPlain(w.raw, []byte(n))
		}
	}
	if err := w.dictionary(number, len(names)); err != nil {
		return err
	}
	for start := 0; start < w.rows; start += blockRows {
		w.codes = grow(w.codes, min(blockRows, w.rows-start))
		if err := feed.codes(number, w.codes); err != nil {
			return err
		}
		w.noteCodes(number, start/blockRows, len(names))
		if err := w.codePage(number, len(w.codes), nil); err != nil {
			return err
		}
	}
	return nil
}

// noteCodes counts the codes of a block.
func (w *segmentWriter) noteCodes(number, at, names int) {
	counts := make([]uint64, names)
	for _, c := range w.codes {
		counts[c]++
	}
	mask := uint8(0)
	for c, n := range counts {
		if n == 0 {
			continue
		}
		mask |= 1 << c
		switch number {
		case colSeverity:
			w.info.Severities[c] += n
		case colSource:
			w.info.Sources[c] += n
		}
	}
	k := &w.index.blocks[at]
	switch number {
	case colSeverity:
		k.severities = mask
	case colSource:
		k.sources = mask
	case colQuality:
		k.qualities = mask
	}
}

// codePage writes w.codes as a page of rows; levels are those of an optional field, nil for a required one.
func (w *segmentWriter) codePage(column, rows int, levels []uint8) error {
	w.raw = w.raw[:0]
	if levels != nil {
		if err := w.appendLevels(levels); err != nil {
			return err
		}
	}
	packed, err := new(rle.DictionaryEncoding).EncodeInt32(w.packed, w.codes)
	if err != nil {
		return err
	}
	w.raw = append(w.raw, packed...)
	w.packed = packed
	return w.page(column, rows, rows, len(w.codes), format.RLEDictionary)
}

// appendLevels adds repetition or definition levels of at most 1 as a page of version 1 has them.
func (w *segmentWriter) appendLevels(levels []uint8) error {
	packed, err := (&rle.Encoding{BitWidth: 1}).EncodeLevels(w.packed, levels)
	if err != nil {
		return err
	}
	w.raw = binary.LittleEndian.AppendUint32(w.raw, uint32(len(packed)))
	w.raw = append(w.raw, packed...)
	w.packed = packed
	return nil
}

// streamColumn writes the names from the stream table; our own queries use that.
func (w *segmentWriter) streamColumn() error {
	w.chunk(w.cols[colStream])
	t := &w.index.streams
	w.raw = w.raw[:0]
	for i := range t.len() {
		w.raw = appendPlain(w.raw, t.name(i))
	}
	if err := w.dictionary(colStream, t.len()); err != nil {
		return err
	}
	if t.len() > 0 {
		s := &w.chunks[len(w.chunks)-1].MetaData.Statistics
		s.MinValue, s.MaxValue = t.name(0), t.name(t.len()-1)
	}
	stream := 0
	for start := 0; start < w.rows; start += blockRows {
		w.codes = grow(w.codes, min(blockRows, w.rows-start))
		for i := range w.codes {
			for t.row(stream+1) <= uint32(start+i) {
				stream++
			}
			w.codes[i] = int32(stream)
		}
		if err := w.codePage(colStream, len(w.codes), nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *segmentWriter) bodyColumn(feed rowFeed) error {
	w.chunk(w.cols[colBody])
	var t texts
	for row := 0; row < w.rows; {
		t.reset()
		if err := feed.bodies(&t, w.rows-row); err != nil {
			return err
		}
		if t.len() == 0 {
			return io.ErrUnexpectedEOF
		}
		var err error
		if w.raw, err = new(delta.LengthByteArrayEncoding).EncodeByteArray(w.raw, t.data, t.offsets); err != nil {
			return err
		}
		if err := w.page(colBody, t.len(), t.len(), t.len(), format.DeltaLengthByteArray); err != nil {
			return err
		}
		row += t.len()
	}
	return nil
}

// finish writes the side index and the footer, and gives length and CRC-32C of the latter.
func (w *segmentWriter) finish() (length, sum uint32, err error) {
	index := w.index.encode()
	w.info.IndexOffset, w.info.IndexLength = w.offset, int64(len(index))
	w.info.IndexSum = crc32.Checksum(index, castagnoli)
	if err := w.bytes(index); err != nil {
		return 0, 0, err
	}
	info, err := json.Marshal(w.info)
	if err != nil {
		return 0, 0, err
	}
	group := format.RowGroup{Columns: w.chunks, NumRows: int64(w.rows)}
	meta := format.FileMetaData{
		Version: 2, NumRows: int64(w.rows), CreatedBy: fmt.Sprintf("logbridge version %d", segmentFormat),
		Schema: schemaElements(w.cols), KeyValueMetadata: []format.KeyValue{{Key: metaSegment, Value: string(info)}},
	}
	for _, c := range w.chunks {
		group.TotalByteSize += c.MetaData.TotalUncompressedSize
		group.TotalCompressedSize += c.MetaData.TotalCompressedSize
		meta.ColumnOrders = append(meta.ColumnOrders, format.ColumnOrder{Value: new(format.TypeDefinedOrder)})
	}
	if w.rows > 0 {
		meta.RowGroups = []format.RowGroup{group}
	}
	tail, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		return 0, 0, err
	}
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(tail)))
	tail = append(tail, parquetMagic...)
	return uint32(len(tail)), crc32.Checksum(tail, castagnoli), w.bytes(tail)
}

// grow gives a slice of length n, the old one if it is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
