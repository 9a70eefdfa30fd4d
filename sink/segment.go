package sink

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/logbridge/logbridge"
)

// errDamaged marks errors that say that the bytes of a segment are not what was written, as against errors of the system,
// which may pass.
var errDamaged = errors.New("damaged")

// segment is an open segment file. It is immutable.
type segment struct {
	path             string
	file             *parquet.File
	closer           io.Closer // of the file below, nil once closed
	rows             int64
	size             int64
	first, last      uint64 // stream sequences it covers
	minTime, maxTime int64
	// Times of receipt.
	minObserved, maxObserved int64

	tail        int64 // bytes of page index and footer
	leaf        map[string]int
	streamPages []pageRange // by page of the stream column
}

// Close gives the file back; what the fields say stays.
func (s *segment) Close() error {
	s.file, s.leaf, s.streamPages = nil, nil, nil
	return s.closer.Close()
}

// footprint estimates the memory that an open segment takes: the decoded footer is some times as large as the encoded.
func (s *segment) footprint() int64 { return 4*s.tail + 16<<10 }

// maxSegmentRows bounds what a footer may claim: a query takes four bytes for each row.
const maxSegmentRows = 16 << 20

// pageRange is what a page of the stream column holds.
type pageRange struct {
	low, high string // streams; high may be cut short and then padded
	row       int64  // first row
}

// segmentName is what the name of a segment's file says: the stream sequences it covers, and length and CRC-32C of its
// tail, the page index and the footer, which holds the sums of all that is before it (blocks.go).
type segmentName struct {
	first, last uint64
	tail, sum   uint32
}

const segmentNameFormat = "%016x-%016x-%08x-%08x.parquet"

// String sorts by sequence.
func (n segmentName) String() string {
	return fmt.Sprintf(segmentNameFormat, n.first, n.last, n.tail, n.sum)
}

func parseSegmentName(s string) (n segmentName, ok bool) {
	_, err := fmt.Sscanf(s, segmentNameFormat, &n.first, &n.last, &n.tail, &n.sum)
	return n, err == nil && n.first <= n.last && s == n.String()
}

// openSegment opens a file that loadSegments found or writeSegment wrote.
func openSegment(path string) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	name, ok := parseSegmentName(filepath.Base(path))
	if !ok {
		err = errors.New("not a segment's name")
	}
	var s *segment
	var info fs.FileInfo
	if err == nil {
		info, err = f.Stat()
	}
	if err == nil {
		s, err = readSegment(f, info.Size(), name)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("segment %s: %w", filepath.Base(path), err)
	}
	s.path, s.closer = path, f
	return s, nil
}

// readSegment checks that r is a segment of ours and reads what queries need of its footer. Nothing is believed before
// the checksum was seen to be right.
func readSegment(r io.ReaderAt, size int64, name segmentName) (s *segment, err error) {
	if int64(name.tail) > size {
		return nil, fmt.Errorf("%w: shorter than its tail", errDamaged)
	}
	tail := make([]byte, name.tail)
	if _, err := r.ReadAt(tail, size-int64(name.tail)); err != nil {
		return nil, err
	}
	if crc32.Checksum(tail, castagnoli) != name.sum {
		return nil, fmt.Errorf("%w: checksum of the footer is wrong", errDamaged)
	}
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	pages := &blockReader{r: r, end: size - int64(name.tail)}
	file, err := parquet.OpenFile(pages, size, parquet.SkipMagicBytes(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(pageSize))
	if err != nil {
		return nil, err
	}
	sums, _ := file.Lookup(metaBlocks)
	if err := pages.setSums(sums); err != nil {
		return nil, err
	}
	s = &segment{file: file, rows: file.NumRows(), size: size, first: name.first, last: name.last, tail: int64(name.tail)}
	if v, _ := file.Lookup(metaFormat); v != segmentFormat {
		return nil, fmt.Errorf("format %q, this version reads %s", v, segmentFormat)
	}
	if s.rows == 0 { // only duplicates came; the file says that their sequences are dealt with
		return s, nil
	}
	var ok bool
	if s.leaf, ok = leafIndex(file.Schema()); !ok || len(file.RowGroups()) != 1 || s.rows > maxSegmentRows {
		return nil, errors.New("not the schema of a segment")
	}
	for key, to := range map[string]*int64{
		metaMinTime: &s.minTime, metaMaxTime: &s.maxTime, metaMinObserved: &s.minObserved, metaMaxObserved: &s.maxObserved,
	} {
		v, _ := file.Lookup(key)
		if *to, err = strconv.ParseInt(v, 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, s.readStreamPages()
}

func (s *segment) column(name string) parquet.ColumnChunk {
	return s.file.RowGroups()[0].ColumnChunks()[s.leaf[name]]
}

func (s *segment) readStreamPages() error {
	chunk := s.column(colStream)
	bounds, err := chunk.ColumnIndex()
	if err != nil {
		return err
	}
	offsets, err := chunk.OffsetIndex()
	if err != nil {
		return err
	}
	if bounds.NumPages() != offsets.NumPages() {
		return errors.New("page indexes disagree")
	}
	for i := range bounds.NumPages() {
		s.streamPages = append(s.streamPages, pageRange{
			low:  string(bounds.MinValue(i).ByteArray()),
			high: string(bounds.MaxValue(i).ByteArray()),
			row:  offsets.FirstRowIndex(i),
		})
	}
	return nil
}

// rowRange gives the rows [from, to) outside of which no stream can match, by the page index.
func (s *segment) rowRange(q *logbridge.Query) (from, to int64) {
	low, high := streamBounds(q)
	if low == "" {
		return 0, s.rows
	}
	a, _ := slices.BinarySearchFunc(s.streamPages, low, func(p pageRange, want string) int { return strings.Compare(p.high, want) })
	b, _ := slices.BinarySearchFunc(s.streamPages, high, func(p pageRange, want string) int { return strings.Compare(p.low, want) })
	if a >= b {
		return 0, 0
	}
	from, to = s.streamPages[a].row, s.rows
	if b < len(s.streamPages) {
		to = s.streamPages[b].row
	}
	return from, to
}

// streamBounds gives the range [low, high) of stream names that a query can match; empty when it is not one range.
func streamBounds(q *logbridge.Query) (low, high string) {
	prefix := ""
	switch {
	case q.Stream != "":
		return string(q.Stream), string(q.Stream) + "\x00"
	case q.Product != "" && q.Device != "" && !logbridge.IsGlob(q.Device):
		exact := string(logbridge.DeviceID{Product: q.Product, Device: q.Device}.Stream())
		return exact, exact + "\x00"
	case q.Product != "":
		prefix = "device/" + q.Product + "/"
	case q.Device != "":
		prefix = "device/"
	case q.Project != "" && q.Logstore != "":
		exact := string(logbridge.SLSStream(q.Project, q.Logstore))
		return exact, exact + "\x00"
	case q.Project != "":
		prefix = "sls/" + q.Project + "/"
	case q.Logstore != "":
		prefix = "sls/"
	case q.Topic != "":
		exact := string(logbridge.CLSStream(q.Topic))
		return exact, exact + "\x00"
	default:
		return "", ""
	}
	return prefix, prefix[:len(prefix)-1] + "0" // "0" is the character after "/"
}
