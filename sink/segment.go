package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// segment is an open segment file. It is immutable.
type segment struct {
	path             string
	file             io.ReaderAt
	closer           io.Closer // of the file, nil when it is somebody else's
	rows             int64
	size             int64
	first, last      uint64 // stream sequences it covers
	minTime, maxTime int64
	// Times of receipt.
	minObserved, maxObserved int64

	fresh bool // compressed with Snappy: a merge has yet to come
	info  segmentInfo
	index func() (*segmentIndex, error)
}

// Close gives file and side index back; what the other fields say stays.
func (s *segment) Close() error {
	s.file, s.index = nil, nil
	return s.closer.Close()
}

// maxSegmentRows bounds what a footer may claim, and what a merge makes: rows are numbered with 32 bits, and a query takes
// some bytes for each.
const maxSegmentRows = 16 << 20

// maxTail bounds the footer of a segment, in bytes: it grows with the columns, not with the rows.
const maxTail = 1 << 20

// maxIndex bounds a side index, in bytes: a few for each page and stream.
const maxIndex = 256 << 20

// errDamaged is a segment whose bytes are not those that were written.
var errDamaged = errors.New("damaged")

// errFormat is a segment that is whole and cannot be read all the same.
var errFormat = errors.New("written by another version")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentName is what the name of a segment's file says: the stream sequences it covers, and length and CRC-32C of its
// footer, which holds the sum of the side index, which holds those of the pages.
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

// openSegment opens a file that loadSegments found or writeSegment wrote. It reads the footer only.
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

// openIndexed is openSegment with the side index, and gives the memory that both take.
func openIndexed(path string) (*segment, int64, error) {
	s, err := openSegment(path)
	if err != nil || s.rows == 0 {
		return s, 0, err
	}
	x, err := s.index()
	if err != nil {
		s.Close()
		return nil, 0, err
	}
	return s, int64(x.size()), nil
}

// readSegment checks that r is a segment of ours and reads what its footer says. Nothing is believed before its checksum
// was seen to be right; that of the side index and those of the pages are looked at when they are read.
func readSegment(r io.ReaderAt, size int64, name segmentName) (s *segment, err error) {
	const ending = 4 + len(parquetMagic)
	if int64(name.tail) > size || name.tail > maxTail || int(name.tail) < ending {
		return nil, fmt.Errorf("%w: shorter than its footer", errDamaged)
	}
	tail := make([]byte, name.tail)
	if _, err := r.ReadAt(tail, size-int64(name.tail)); err != nil {
		return nil, err
	}
	if crc32.Checksum(tail, castagnoli) != name.sum {
		return nil, fmt.Errorf("%w: checksum of the footer is wrong", errDamaged)
	}
	var meta format.FileMetaData
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), tail[:len(tail)-ending], &meta); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	s = &segment{file: r, rows: meta.NumRows, size: size, first: name.first, last: name.last}
	for _, kv := range meta.KeyValueMetadata {
		if kv.Key != metaSegment {
			continue
		}
		if err := json.Unmarshal([]byte(kv.Value), &s.info); err != nil {
			return nil, fmt.Errorf("footer: %w", err)
		}
	}
	if s.info.Format != segmentFormat {
		return nil, fmt.Errorf("%w: format %d, this version reads %d", errFormat, s.info.Format, segmentFormat)
	}
	if s.rows < 0 || s.rows > maxSegmentRows {
		return nil, fmt.Errorf("%d rows, at most %d", s.rows, maxSegmentRows)
	}
	if s.rows > 0 {
		if s.fresh, err = isFresh(&meta); err != nil {
			return nil, err
		}
	}
	s.minTime, s.maxTime = s.info.MinTime, s.info.MaxTime
	s.minObserved, s.maxObserved = s.info.MinObserved, s.info.MaxObserved
	s.index = sync.OnceValues(s.loadIndex)
	return s, nil
}

// isFresh looks at the compression of a segment.
func isFresh(meta *format.FileMetaData) (bool, error) {
	if len(meta.RowGroups) != 1 || len(meta.RowGroups[0].Columns) < colFields {
		return false, errors.New("not the columns of a segment")
	}
	switch codec := meta.RowGroups[0].Columns[0].MetaData.Codec; codec {
	case format.Snappy:
		return true, nil
	case format.Zstd:
		return false, nil
	default:
		return false, fmt.Errorf("compressed with %s", codec)
	}
}

// readAt fills b; a file that ends too early is damaged.
func (s *segment) readAt(b []byte, at int64) error {
	_, err := s.file.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the file is too short", errDamaged)
	}
	if err != nil {
		return fmt.Errorf("segment %016x: %w", s.first, err)
	}
	return nil
}

// loadIndex reads the side index.
func (s *segment) loadIndex() (*segmentIndex, error) {
	at, n := s.info.IndexOffset, s.info.IndexLength
	if at < 0 || n < 0 || n > maxIndex || at > s.size-n {
		return nil, fmt.Errorf("segment %016x: %w: side index", s.first, errDamaged)
	}
	b := make([]byte, n)
	if err := s.readAt(b, at); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != s.info.IndexSum {
		return nil, fmt.Errorf("segment %016x: %w: checksum of the side index is wrong", s.first, errDamaged)
	}
	x, err := decodeIndex(b, at, s.rows)
	if err != nil {
		return nil, fmt.Errorf("segment %016x: %w", s.first, err)
	}
	return x, nil
}
