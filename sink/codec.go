package sink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// An encoded record, as it lies in an upload of a group (group.go):
//
//	record  uvarint length of the rest
//	        int64 time  int64 observed time (little endian, ns since 1970)
//	        byte severity | quality<<3   byte source
//	        text stream  text body  uvarint attributes  (text key text value)…
//	text    uvarint length, bytes
//
// The indexer keeps the bytes as they are and refers to records by offset.

// MaxRecord bounds one encoded record in bytes: a group must fit into a message of 1 MiB, which an outside NATS takes by
// default.
const MaxRecord = maxGroup - 8192

// maxGroup bounds a group before compression, which can add a little.
const maxGroup = 1<<20 - 32<<10

// maxReplayKey bounds a replay key in bytes: names, nonce and signature are far below.
const maxReplayKey = 2048

// recordHead is the size of the fixed part of a record.
const recordHead = 18

var errCorrupt = errors.New("corrupt group")

// encodeBatch encodes a batch as uploads, each of which fits into a group. A batch that needs several gets a replay key
// for each of them.
func encodeBatch(b logbridge.Batch) ([]upload, error) {
	if b.Delivery > logbridge.Redelivery {
		return nil, fmt.Errorf("%w: delivery %d", logbridge.ErrInvalid, b.Delivery)
	}
	if len(b.ReplayKey) > maxReplayKey {
		return nil, fmt.Errorf("%w: replay key of %d bytes, at most %d", logbridge.ErrTooLarge, len(b.ReplayKey), maxReplayKey)
	}
	var done []upload
	var room *[]byte
	var body []byte
	n := 0
	cut := func() {
		if n == 0 {
			return
		}
		key := b.ReplayKey
		if key != "" && len(done) > 0 {
			key = fmt.Sprintf("%s#%d", key, len(done))
		}
		head := uploadHead{
			key: []byte(key), delivery: b.Delivery, received: b.Records[0].ObservedTime.UnixNano(),
			part: uint32(len(done)), records: n,
		}.encode()
		done = append(done, upload{head: head, body: body, records: n, room: room})
		body, n = nil, 0
	}
	var few [32]int // most batches are small: no allocation for their sizes
	sizes, left, err := batchSizes(few[:0], b.Records)
	if err != nil {
		return nil, err
	}
	for i, size := range sizes {
		if room := maxGroup - maxReplayKey - 64; len(body)+size > room {
			cut()
		}
		if body == nil {
			room = takeBody(min(left, maxGroup))
			body = *room
		}
		body = appendRecord(body, &b.Records[i], size)
		left -= size + binary.MaxVarintLen32
		n++
	}
	cut()
	return done, nil
}

// upload is an encoded batch, or a part of one.
type upload struct {
	head, body []byte
	records    int
	room       *[]byte // that the body is in; nil if it is of nobody else
}

func (u upload) size() int { return len(u.head) + len(u.body) }

// batchSizes adds the recordSize of each record to sizes, and gives about what they take encoded.
func batchSizes(sizes []int, records []logbridge.Record) (_ []int, total int, err error) {
	for i := range records {
		size, err := recordSize(&records[i])
		if err != nil {
			return nil, 0, err
		}
		sizes = append(sizes, size)
		total += size + binary.MaxVarintLen32
	}
	return sizes, total, nil
}

// recordSize is the length of a record behind its length prefix; it checks what the codec relies on.
func recordSize(r *logbridge.Record) (int, error) {
	if r.Stream == "" || sourceNumber(r.Source) < 0 || !r.Severity.Valid() || r.TimeQuality > logbridge.TimeReceived {
		return 0, fmt.Errorf("%w: record without stream, source, severity or time quality", logbridge.ErrInvalid)
	}
	n := recordHead + textSize(string(r.Stream)) + textSize(r.Body) + uvarintSize(uint64(len(r.Attributes)))
	for _, a := range r.Attributes {
		n += textSize(a.Key) + textSize(a.Value)
	}
	if n > MaxRecord {
		return 0, fmt.Errorf("%w: record of %d bytes, at most %d", logbridge.ErrTooLarge, n, MaxRecord)
	}
	return n, nil
}

func textSize(s string) int { return uvarintSize(uint64(len(s))) + len(s) }

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendRecord(b []byte, r *logbridge.Record, size int) []byte {
	b = binary.AppendUvarint(b, uint64(size))
	at, quality := eventTime(r)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.ObservedTime.Truncate(time.Microsecond).UnixNano())) // as segments have it
	b = append(b, byte(r.Severity)|byte(quality)<<3, byte(sourceNumber(r.Source)))
	b = appendText(b, string(r.Stream))
	b = appendText(b, r.Body)
	b = binary.AppendUvarint(b, uint64(len(r.Attributes)))
	for _, a := range r.Attributes {
		b = appendText(b, a.Key)
		b = appendText(b, a.Value)
	}
	return b
}

// minTime and maxTime bound what nanoseconds since 1970 can say.
var (
	minTime = time.Unix(0, math.MinInt64)
	maxTime = time.Unix(0, math.MaxInt64)
)

// eventTime is the record's time in nanoseconds; one that cannot be said so becomes the time of receipt.
func eventTime(r *logbridge.Record) (int64, logbridge.TimeQuality) {
	at, quality := r.Time, r.TimeQuality
	if at.Before(minTime) || at.After(maxTime) {
		at, quality = r.ObservedTime, logbridge.TimeReceived
	}
	if quality != logbridge.TimeDevice { // as exact as the time of receipt, from which it comes, is kept
		at = at.Truncate(time.Microsecond)
	}
	return at.UnixNano(), quality
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func sourceNumber(s logbridge.Source) int { return slices.Index(logbridge.Sources, s) }

// row is a decoded record whose texts still lie in the group's bytes.
type row struct {
	time, observed int64
	severity       logbridge.Level
	quality        logbridge.TimeQuality
	source         uint8
	stream, body   []byte
	attrs          []byte // the encoded attributes, count first
	texts          []byte // stream, body and attributes, as they are encoded
}

// decodeRow reads and checks the record whose length prefix is at the start of b and returns what follows it.
func decodeRow(b []byte) (row, []byte, error) {
	r, rest, err := readRow(b)
	if err == nil {
		err = r.checkAttrs()
	}
	return r, rest, err
}

// readRow is decodeRow for a record that was checked before.
func readRow(b []byte) (row, []byte, error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size < recordHead || size > uint64(len(b)-n) {
		return row{}, nil, errCorrupt
	}
	rest := b[n+int(size):]
	b = b[n : n+int(size)]
	r := row{
		time:     int64(binary.LittleEndian.Uint64(b)),
		observed: int64(binary.LittleEndian.Uint64(b[8:])),
		severity: logbridge.Level(b[16] & 7),
		quality:  logbridge.TimeQuality(b[16] >> 3),
		source:   b[17],
	}
	if int(r.source) >= len(logbridge.Sources) || !r.severity.Valid() || r.quality > logbridge.TimeReceived {
		return row{}, nil, errCorrupt
	}
	var ok bool
	r.texts = b[recordHead:]
	if r.stream, b, ok = cutText(r.texts); !ok {
		return row{}, nil, errCorrupt
	}
	if r.body, b, ok = cutText(b); !ok {
		return row{}, nil, errCorrupt
	}
	r.attrs = b
	return r, rest, nil
}

// checkAttrs walks the attributes once, so that later readers need not check.
func (r *row) checkAttrs() error {
	count, n := binary.Uvarint(r.attrs)
	if n <= 0 || count > uint64(len(r.attrs)) {
		return errCorrupt
	}
	b, ok := r.attrs[n:], true
	for range 2 * count {
		if _, b, ok = cutText(b); !ok {
			return errCorrupt
		}
	}
	if len(b) != 0 {
		return errCorrupt
	}
	return nil
}

// eachAttr calls fn for each attribute until it returns false.
func (r *row) eachAttr(fn func(key, value []byte) bool) {
	count, n := binary.Uvarint(r.attrs)
	b := r.attrs[n:]
	var key, value []byte
	for range count {
		key, b, _ = cutText(b)
		value, b, _ = cutText(b)
		if !fn(key, value) {
			return
		}
	}
}

// attrOf finds the first value of a key in encoded attributes that were checked before.
func attrOf(b []byte, key string) (value []byte, ok bool) {
	count, n := binary.Uvarint(b)
	b = b[n:]
	for range count {
		size, n := binary.Uvarint(b)
		end := n + int(size)
		found := string(b[n:end]) == key
		b = b[end:]
		size, n = binary.Uvarint(b)
		end = n + int(size)
		if found {
			return b[n:end], true
		}
		b = b[end:]
	}
	return nil, false
}

func cutText(b []byte) (text, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

// record copies the row out.
func (r *row) record(at logbridge.Position) logbridge.Record {
	rec := logbridge.Record{
		Time:         time.Unix(0, r.time).UTC(),
		ObservedTime: time.Unix(0, r.observed).UTC(),
		TimeQuality:  r.quality,
		Source:       logbridge.Sources[r.source],
		Stream:       logbridge.Stream(r.stream),
		Severity:     r.severity,
		Body:         string(r.body),
		Position:     at,
	}
	if count, _ := binary.Uvarint(r.attrs); count > 0 {
		rec.Attributes = make([]logbridge.Attr, 0, count)
		r.eachAttr(func(k, v []byte) bool {
			rec.Attributes = append(rec.Attributes, logbridge.Attr{Key: string(k), Value: string(v)})
			return true
		})
	}
	return rec
}
