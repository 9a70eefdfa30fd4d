package loose

import (
	"fmt"
	"time"

	"github.com/logbridge/logbridge"
)

// The bounds of an upload of services, which collectors send for many of them at once.
const (
	// MaxUpload bounds a body, before and after decompression; the OpenTelemetry Collector's own receiver takes as much.
	MaxUpload = 20 << 20
	// MaxRecords bounds the records of a request: a batch of Promtail is a megabyte of lines, of eight bytes at least then. An
	// empty record is two bytes on the wire and recordSize in memory.
	MaxRecords = 1 << 17
	// MaxRecord bounds the text of one record with all its attributes; a longer one is rejected and the rest is stored. The
	// log takes a little more than that.
	MaxRecord = 900 << 10
	// MaxAttributes bounds the attributes of a request, those that its records have in common counted once, four for each
	// record at their full number. Each costs 32 bytes of memory and may be two on the wire.
	MaxAttributes = 4 * MaxRecords
	// MaxRecordsSize bounds what the records are together, with what they have in common in each of them.
	MaxRecordsSize = 32 << 20
)

// What a record and an attribute cost beside their text, in memory and in MaxRecordsSize.
const (
	recordSize    = 160
	attributeSize = 32
)

// Attributes are attributes and about what they take.
type Attributes struct {
	List []logbridge.Attr
	Size int
}

// Add appends an attribute.
func (a *Attributes) Add(key, value string) {
	a.Size += len(key) + len(value) + attributeSize
	a.List = append(a.List, logbridge.Attr{Key: key, Value: value})
}

// AddText is Add, but not for an empty value.
func (a *Attributes) AddText(key, value string) {
	if value != "" {
		a.Add(key, value)
	}
}

// Rejected is a number of records of a stream that are longer than MaxRecord.
type Rejected struct {
	Stream  logbridge.Stream
	Records int
}

// Upload collects the records of one request, in parts that have attributes in common: several parts of one stream, and
// several streams. Its decoder calls Begin, List and End for each record, EndPart behind the records of a part, and
// EndStream behind the parts of a stream, so what is common may stand before or behind the records.
type Upload struct {
	// Records are those of all streams that have ended, and behind them those of the stream at hand, which are not complete.
	Records []logbridge.Record
	// Rejected are those that are not among them.
	Rejected []Rejected
	// Size is about what Records take in memory.
	Size int
	// Untimed reports whether a record has no time of its sender's.
	Untimed bool

	// Own are the attributes of the record at hand, behind those of the records before it.
	Own Attributes

	read, listed int // records and attributes of the request
	begin, size  int // of Own, where the record at hand began
	pending      []pending
	parts        []Attributes
}

// pending is what is missing of a record of the stream at hand.
type pending struct {
	begin, end int // of its own attributes
	size, part int
}

// Begin begins a record; ErrTooLarge when there are too many.
func (u *Upload) Begin() error {
	if u.read++; u.read > MaxRecords {
		return fmt.Errorf("%w: more than %d log records in a request", logbridge.ErrTooLarge, MaxRecords)
	}
	u.begin, u.size = len(u.Own.List), u.Own.Size
	return nil
}

// List adds an attribute that was sent; ErrTooLarge when there are too many.
func (u *Upload) List(to *Attributes, key, value string) error {
	if u.listed++; u.listed > MaxAttributes {
		return fmt.Errorf("%w: more than %d attributes in a request", logbridge.ErrTooLarge, MaxAttributes)
	}
	to.Add(key, value)
	return nil
}

// Metadata are the attributes of the record at hand.
func (u *Upload) Metadata() []logbridge.Attr { return u.Own.List[u.begin:] }

// DropOwn takes attributes of the record at hand away.
func (u *Upload) DropOwn(drop func(logbridge.Attr) bool) {
	kept := u.begin
	for _, a := range u.Own.List[u.begin:] {
		if drop(a) {
			u.Own.Size -= len(a.Key) + len(a.Value) + attributeSize
			continue
		}
		u.Own.List[kept] = a
		kept++
	}
	u.Own.List = u.Own.List[:kept]
}

// End takes the record at hand, without stream and attributes.
func (u *Upload) End(r logbridge.Record) {
	u.Untimed = u.Untimed || r.TimeQuality == logbridge.TimeReceived
	size := u.Own.Size - u.size + len(r.Body)
	u.Records = append(u.Records, r)
	u.pending = append(u.pending, pending{begin: u.begin, end: len(u.Own.List), size: size, part: len(u.parts)})
}

// EndPart says what the records since the last part have in common.
func (u *Upload) EndPart(common Attributes) { u.parts = append(u.parts, common) }

// EndStream finishes the records of a stream, which all are in parts: their own attributes, then those of their part, then
// common; and their times, which are taken as of one clock. ErrTooLarge when the records of the request are too much.
func (u *Upload) EndStream(stream logbridge.Stream, common Attributes) error {
	total, rejected := 0, 0
	for i := range u.pending {
		p := &u.pending[i]
		p.size += u.parts[p.part].Size + common.Size
		if p.size > MaxRecord {
			rejected++
			continue
		}
		total += p.end - p.begin + len(u.parts[p.part].List) + len(common.List)
		if u.Size += p.size + recordSize; u.Size > MaxRecordsSize {
			return fmt.Errorf("%w: records of more than %d bytes, with what they have in common in each", logbridge.ErrTooLarge, MaxRecordsSize)
		}
	}
	first := len(u.Records) - len(u.pending)
	kept := first
	attrs := make([]logbridge.Attr, 0, total)
	for i := range u.pending {
		p := &u.pending[i]
		if p.size > MaxRecord {
			continue
		}
		begin := len(attrs)
		attrs = append(append(append(attrs, u.Own.List[p.begin:p.end]...), u.parts[p.part].List...), common.List...)
		u.Records[kept] = u.Records[first+i]
		u.Records[kept].Stream, u.Records[kept].Attributes = stream, attrs[begin:len(attrs):len(attrs)]
		kept++
	}
	clear(u.Records[kept:]) // a long text shall not be held
	u.Records = u.Records[:kept]
	logbridge.RepairTimes(u.Records[first:], time.Time{}, nil)
	if rejected > 0 {
		u.Rejected = append(u.Rejected, Rejected{stream, rejected})
	}
	u.Own, u.pending, u.parts = Attributes{List: u.Own.List[:0]}, u.pending[:0], u.parts[:0]
	return nil
}
