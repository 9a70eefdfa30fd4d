package sink

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// The store benchmark's records in a file, so that whoever appends them does not spend its time on making them. All numbers
// are little endian:
//
//	batch   uint32 length of the records   uint16 their number   uint16 number of their attributes   record…
//	record  int64 time   int64 observed time (ns since 1970)
//	        byte severity   byte quality   byte source   byte attributes
//	        text stream   text body   (text key   text value)…
//	text    uint16 length, bytes
const (
	packedBatchHead  = 8
	packedRecordHead = 20

	// storeBuffer holds any batch, and is small beside what the sink itself takes.
	storeBuffer = 256 << 10
)

// writeStore writes everything that g makes; it is on disk at the end, so that nothing is left to be written behind the back
// of a measurement.
func writeStore(path string, g *storeData) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, storeBuffer)
	var packed []byte
	for b, more := g.next(); more && err == nil; b, more = g.next() {
		if packed, err = appendPacked(packed[:0], b); err == nil {
			_, err = w.Write(packed)
		}
	}
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	return errors.Join(err, f.Close())
}

func appendPacked(p []byte, b logbridge.Batch) ([]byte, error) {
	if b.ReplayKey != "" || b.Delivery != 0 || len(b.Records) > math.MaxUint16 {
		return nil, errors.New("not a batch of the store benchmark")
	}
	p, attributes := append(p, make([]byte, packedBatchHead)...), 0
	var err error
	text := func(s string) {
		if len(s) > math.MaxUint16 {
			err = fmt.Errorf("a text of %d bytes", len(s))
		}
		p = append(binary.LittleEndian.AppendUint16(p, uint16(len(s))), s...)
	}
	for i := range b.Records {
		r := &b.Records[i]
		attributes += len(r.Attributes)
		p = binary.LittleEndian.AppendUint64(p, uint64(r.Time.UnixNano()))
		p = binary.LittleEndian.AppendUint64(p, uint64(r.ObservedTime.UnixNano()))
		p = append(p, byte(r.Severity), byte(r.TimeQuality), byte(sourceNumber(r.Source)), byte(len(r.Attributes)))
		text(string(r.Stream))
		text(r.Body)
		for _, a := range r.Attributes {
			text(a.Key)
			text(a.Value)
		}
	}
	if len(p) > storeBuffer {
		err = fmt.Errorf("a batch of %d bytes", len(p))
	}
	binary.LittleEndian.PutUint32(p, uint32(len(p)-packedBatchHead))
	binary.LittleEndian.PutUint16(p[4:], uint16(len(b.Records)))
	binary.LittleEndian.PutUint16(p[6:], uint16(attributes))
	return p, err
}

// storeFile gives the batches of a file to many readers.
type storeFile struct {
	mu sync.Mutex
	in *bufio.Reader
}

func newStoreFile(f io.Reader) *storeFile { return &storeFile{in: bufio.NewReaderSize(f, storeBuffer)} }

func openStoreFile(t testing.TB, path string) *storeFile {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return newStoreFile(f)
}

// packedBatch is a batch as it is in the file.
type packedBatch struct {
	records, attributes int
	data                string
}

// next gives the next batch, io.EOF behind the last one.
func (f *storeFile) next() (packedBatch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	head, err := f.in.Peek(packedBatchHead)
	if err != nil {
		if len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return packedBatch{}, err
	}
	size := packedBatchHead + int(binary.LittleEndian.Uint32(head))
	all, err := f.in.Peek(size)
	if err != nil {
		return packedBatch{}, fmt.Errorf("a batch of %d bytes: %w", size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	p := packedBatch{
		records: int(binary.LittleEndian.Uint16(all[4:])), attributes: int(binary.LittleEndian.Uint16(all[6:])),
		data: string(all[packedBatchHead:]),
	}
	_, err = f.in.Discard(size)
	return p, err
}

// storeRoom is where one uploader has the records of its present batch: Append keeps none of them.
type storeRoom struct {
	records    []logbridge.Record
	attributes []logbridge.Attr
}

// unpack gives the batch, good until the next call; its texts are parts of the packed one.
func (r *storeRoom) unpack(p packedBatch) logbridge.Batch {
	if cap(r.records) < p.records {
		r.records = make([]logbridge.Record, p.records)
	}
	if cap(r.attributes) < p.attributes {
		r.attributes = make([]logbridge.Attr, p.attributes)
	}
	r.records = r.records[:p.records]
	data, attributes := p.data, r.attributes[:p.attributes]
	text := func() string {
		end := 2 + int(data[0]) + int(data[1])<<8
		s := data[2:end]
		data = data[end:]
		return s
	}
	for i := range r.records {
		head := data[:packedRecordHead]
		data = data[packedRecordHead:]
		n := int(head[19])
		own := attributes[:n:n]
		attributes = attributes[n:]
		r.records[i] = logbridge.Record{
			Time: packedTime(head), ObservedTime: packedTime(head[8:]),
			Severity: logbridge.Level(head[16]), TimeQuality: logbridge.TimeQuality(head[17]), Source: logbridge.Sources[head[18]],
			Stream: logbridge.Stream(text()), Body: text(), Attributes: own,
		}
		for k := range own {
			own[k] = logbridge.Attr{Key: text(), Value: text()}
		}
	}
	return logbridge.Batch{Records: r.records}
}

func packedTime(s string) time.Time {
	_ = s[7]
	ns := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	return time.Unix(0, int64(ns)).UTC()
}

// TestStoreFile: what is read is what was made, to the last record.
func TestStoreFile(t *testing.T) {
	const records = 3000
	path := filepath.Join(t.TempDir(), "records")
	if err := writeStore(path, newStoreData(records)); err != nil {
		t.Fatal(err)
	}
	f, g := openStoreFile(t, path), newStoreData(records)
	var r storeRoom
	for want, more := g.next(); more; want, more = g.next() {
		packed, err := f.next()
		if err != nil {
			t.Fatalf("after %d records: %v", g.tally.Records-len(want.Records), err)
		}
		if got := r.unpack(packed); !reflect.DeepEqual(got, want) {
			t.Fatalf("read %+v\nmade %+v", got, want)
		}
	}
	if _, err := f.next(); err != io.EOF {
		t.Errorf("after the last batch: %v, want %v", err, io.EOF)
	}
}

// TestStoreLinesAreUnique: no device says the same twice with the same second of its own.
func TestStoreLinesAreUnique(t *testing.T) {
	type said struct {
		stream logbridge.Stream
		second int64
		body   string
	}
	g, lines := newStoreData(40_000), map[said]bool{}
	for b, more := g.next(); more; b, more = g.next() {
		for _, r := range b.Records {
			if r.TimeQuality == logbridge.TimeReceived {
				continue
			}
			line := said{r.Stream, r.Time.Unix(), r.Body}
			if lines[line] {
				t.Errorf("again: %+v", line)
			}
			lines[line] = true
		}
	}
}
