package sink

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"

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
