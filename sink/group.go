package sink

import (
	"encoding/binary"
	"math"

	"github.com/logbridge/logbridge"
)

// A group is what one message of the commit log holds, before compression:
//
//	group   version(2) entry…
//	entry   kind(1) text key  byte delivery  int64 time of receipt  uvarint part  uvarint records  record…
//	        kind(2) uint64 id  int64 time  uvarint counts  count…
//	        kind(3) int64 time of receipt  text stream
//	count   byte source | dropped<<7  text stream  text reason  uvarint lines
//
// An entry of kind 1 is an upload, or the n-th part of one that needs several groups. One of kind 2 is a report: what was
// refused and dropped, which is in no upload, so that the ledger is a function of the commit log too (ledger.go). One of kind 3
// erases what a stream holds (erase.go).

const (
	groupVersion = 2
	kindUpload   = 1
	kindReport   = 2
	kindErasure  = 3

	// droppedBit marks lines that were acknowledged and not stored, as opposed to refused.
	droppedBit = 0x80
)

// uploadHead is what a group says of an upload before its records.
type uploadHead struct {
	key      []byte
	delivery logbridge.Delivery
	received int64 // ns since 1970
	part     uint32
	records  int
	stored   int    // how many of them are kept; the judge of a parsed group says it (duplicates.go)
	erases   []byte // the stream that an entry of kind 3 erases; then all else but received is empty
}

func (u uploadHead) encode() []byte {
	b := append(make([]byte, 0, len(u.key)+24), kindUpload)
	b = appendText(b, string(u.key))
	b = append(b, byte(u.delivery))
	b = binary.LittleEndian.AppendUint64(b, uint64(u.received))
	b = binary.AppendUvarint(b, uint64(u.part))
	return binary.AppendUvarint(b, uint64(u.records))
}

// lost is a number of lines that were refused or dropped.
type lost struct {
	lostKey
	lines uint64
}

type lostKey struct {
	source  uint8
	dropped bool
	stream  logbridge.Stream
	reason  string
}

// report is what one entry of kind 2 says.
type report struct {
	id   uint64 // random, so that the process that wrote it knows it again
	time int64  // ns since 1970
	lost []lost
}

func (r *report) encode() []byte {
	b := append(make([]byte, 0, 32+64*len(r.lost)), kindReport)
	b = binary.LittleEndian.AppendUint64(b, r.id)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.time))
	b = binary.AppendUvarint(b, uint64(len(r.lost)))
	for _, c := range r.lost {
		b = c.append(b)
	}
	return b
}

// reportHead bounds what is in a report before its counts.
const reportHead = 1 + 8 + 8 + binary.MaxVarintLen64

// size bounds what append adds.
func (c lost) size() int {
	return 1 + textSize(string(c.stream)) + textSize(c.reason) + binary.MaxVarintLen64
}

func (c lost) append(b []byte) []byte {
	head := c.source
	if c.dropped {
		head |= droppedBit
	}
	b = appendText(append(b, head), string(c.stream))
	return binary.AppendUvarint(appendText(b, c.reason), c.lines)
}

// parsed is a group taken apart. Its texts lie in the group's bytes; parse uses its slices again.
type parsed struct {
	uploads []uploadHead
	rows    []parsedRow // of all uploads; a record's index in the group is its index here
	reports []report
}

// parsedRow is a record of a group. kept is false for a duplicate, which has an index as well, so that a position never
// depends on what was one.
type parsedRow struct {
	row
	offset uint32 // of the record in the group
	kept   bool
}

// parse takes a group apart and checks all of it; every row is kept so far. After an error p is of no use.
func (p *parsed) parse(raw []byte) error {
	p.uploads, p.rows, p.reports = p.uploads[:0], p.rows[:0], nil
	if len(raw) == 0 || raw[0] != groupVersion {
		return errCorrupt
	}
	for b := raw[1:]; len(b) > 0; {
		var err error
		switch kind := b[0]; kind {
		case kindUpload:
			b, err = p.parseUpload(b[1:], len(raw))
		case kindReport:
			b, err = p.parseReport(b[1:])
		case kindErasure:
			b, err = p.parseErasure(b[1:])
		default:
			err = errCorrupt
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseUpload reads an upload at the start of b, which reaches to the end of a group of size bytes.
func (p *parsed) parseUpload(b []byte, size int) ([]byte, error) {
	key, b, ok := cutText(b)
	const fixed = 1 + 8
	if !ok || len(b) < fixed || logbridge.Delivery(b[0]) > logbridge.Redelivery {
		return nil, errCorrupt
	}
	u := uploadHead{key: key, delivery: logbridge.Delivery(b[0]), received: int64(binary.LittleEndian.Uint64(b[1:]))}
	part, n := binary.Uvarint(b[fixed:])
	if n <= 0 || part > math.MaxUint32 {
		return nil, errCorrupt
	}
	count, b, ok := cutCount(b[fixed+n:])
	if !ok {
		return nil, errCorrupt
	}
	u.part, u.records = uint32(part), count
	p.uploads = append(p.uploads, u)
	for range count {
		r := parsedRow{offset: uint32(size - len(b)), kept: true}
		var err error
		if r.row, b, err = decodeRow(b); err != nil {
			return nil, err
		}
		p.rows = append(p.rows, r)
	}
	return b, nil
}

func (p *parsed) parseReport(b []byte) ([]byte, error) {
	if len(b) < 16 {
		return nil, errCorrupt
	}
	r := report{id: binary.LittleEndian.Uint64(b), time: int64(binary.LittleEndian.Uint64(b[8:]))}
	count, b, ok := cutCount(b[16:])
	if !ok {
		return nil, errCorrupt
	}
	for range count {
		var c lost
		if c, b, ok = cutLost(b); !ok {
			return nil, errCorrupt
		}
		r.lost = append(r.lost, c)
	}
	p.reports = append(p.reports, r)
	return b, nil
}

func cutLost(b []byte) (c lost, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]&^droppedBit) >= len(logbridge.Sources) {
		return c, nil, false
	}
	c.source, c.dropped = b[0]&^droppedBit, b[0]&droppedBit != 0
	stream, b, ok1 := cutText(b[1:])
	reason, b, ok2 := cutText(b)
	lines, n := binary.Uvarint(b)
	if !ok1 || !ok2 || n <= 0 {
		return c, nil, false
	}
	c.stream, c.reason, c.lines = logbridge.Stream(stream), string(reason), lines
	return c, b[n:], true
}

// cutCount reads a number of things that follow; there cannot be more than bytes.
func cutCount(b []byte) (count int, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > uint64(len(b)-n) {
		return 0, nil, false
	}
	return int(v), b[n:], true
}
