package sink

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/logbridge/logbridge"
)

// segment is an open segment file. It is immutable; queries that use it keep it readable even after its file is
// removed, since the file stays open until the last of them is gone.
type segment struct {
	path             string
	file             *parquet.File
	rows             int64
	size             int64
	first, last      uint64 // stream sequences it covers
	minTime, maxTime int64
	leaf             map[string]int
	streamPages      []pageRange // by page of the stream column
}

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

// openSegment opens a file that loadSegments or writeSegment named. It is closed by the garbage collector when nothing
// refers to the segment any more (os.File does that).
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
	s.path = path
	return s, nil
}

// readSegment checks that r is a segment of ours and reads what queries need of its footer. Nothing is believed before
// the checksum was seen to be right.
func readSegment(r io.ReaderAt, size int64, name segmentName) (s *segment, err error) {
	if int64(name.tail) > size {
		return nil, errors.New("shorter than its tail")
	}
	tail := make([]byte, name.tail)
	if _, err := r.ReadAt(tail, size-int64(name.tail)); err != nil {
		return nil, err
	}
	if crc32.Checksum(tail, castagnoli) != name.sum {
		return nil, errors.New("checksum of the footer is wrong")
	}
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("damaged: %v", p)
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
	s = &segment{file: file, rows: file.NumRows(), size: size, first: name.first, last: name.last}
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
	for key, to := range map[string]*int64{metaMinTime: &s.minTime, metaMaxTime: &s.maxTime} {
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

// loadSegments opens all segments of a folder, oldest first, and removes what an interrupted write left behind. A file
// that cannot be read is set aside under another name and reported: the rest is served. last is the end of what the
// readable ones hold; what a damaged newest one held is indexed again if the commit log still has it.
func loadSegments(dir string, log *slog.Logger) (segments []*segment, last uint64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), tmpSuffix) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, 0, err
			}
			continue
		}
		if _, ok := parseSegmentName(e.Name()); !ok {
			continue
		}
		s, err := openSegment(path)
		if system := (*fs.PathError)(nil); errors.As(err, &system) && system.Op == "open" {
			return nil, 0, err // not the file's fault: too many open files, no permission
		}
		if err != nil {
			log.Error("segment set aside: it cannot be read", "err", err)
			if err := os.Rename(path, path+".damaged"); err != nil {
				return nil, 0, err
			}
			continue
		}
		last = max(last, s.last)
		segments = append(segments, s)
	}
	return segments, last, nil
}
