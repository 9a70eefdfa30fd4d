package otlp

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
)

// The bounds of one request.
const (
	// MaxBody bounds a body, before and after decompression; the OpenTelemetry Collector's own receiver takes as much.
	MaxBody = 20 << 20
	// MaxRecords bounds the log records of a request, eight batches of the Collector's: an empty one is two bytes on the
	// wire and 160 in memory.
	MaxRecords = 1 << 16
	// MaxRecord bounds the text of one record with all its attributes; a longer one is rejected and the rest is stored. The
	// log takes a little more than that.
	MaxRecord = 900 << 10
	// maxAttributes bounds the attributes of all records, scopes and resources, each counted once: eight for each record at
	// their full number. Each costs 32 bytes of memory and may be two on the wire.
	maxAttributes = 8 * MaxRecords
	// maxSize bounds what the records are together, since each of them has the attributes of its resource and its scope.
	maxSize = 32 << 20
	// maxDepth bounds arrays and objects within each other: JSON needs four levels for each, of 64 that the scanner reads.
	maxDepth = 12
)

// What a record and an attribute cost beside their text, in memory and in maxSize.
const (
	recordSize    = 160
	attributeSize = 32
)

// observedTolerance: most senders observe a record as soon as it happens, and then its observed time says nothing more.
const observedTolerance = time.Second

// Request is what one ExportLogsServiceRequest brings.
type Request struct {
	Records []logbridge.Record
	// Rejected says how many records of which stream are longer than MaxRecord.
	Rejected []Rejected
	// Size is about what the records take in memory.
	Size int
	// Timed reports whether all records have a time of their sender's.
	Timed bool
}

// Rejected is a number of records that are not among those of a request.
type Rejected struct {
	Stream  logbridge.Stream
	Records int
}

// attributes are attributes and about what they take.
type attributes struct {
	list []logbridge.Attr
	size int
}

func (a *attributes) add(key string, v value) {
	a.size += v.excess() + len(key) + len(v.text) + attributeSize
	a.list = append(a.list, logbridge.Attr{Key: key, Value: v.text})
}

func (a *attributes) count(key string, n uint64) {
	if n > 0 {
		a.add(key, text(strconv.FormatUint(n, 10)))
	}
}

func (a *attributes) text(key, s string) {
	if s != "" {
		a.add(key, text(s))
	}
}

// logRecord is a log record while it is read.
type logRecord struct {
	time, observed          uint64
	number                  int64
	severityText, eventName string
	body                    value
	traceID, spanID         string // hex
	flags, dropped          uint64
}

// part is a resource or a scope while it is read.
type part struct {
	attributes
	name, version string // of a scope
	dropped       uint64
}

// pending is a record whose scope and resource are not known yet: they may stand behind it.
type pending struct {
	record     logbridge.Record
	begin, end int // of its own attributes
	size       int
	scope      int
}

// builder makes records of what a decoder reads.
type builder struct {
	received time.Time
	request  Request
	read     int // records
	listed   int // attributes

	// Of the resource at hand.
	own     attributes
	pending []pending
	scopes  []attributes
}

func newBuilder(received time.Time) builder {
	return builder{received: received.UTC(), request: Request{Timed: true}}
}

// begin makes room for one more record.
func (b *builder) begin() error {
	if b.read++; b.read > MaxRecords {
		return fmt.Errorf("%w: more than %d log records in a request", logbridge.ErrTooLarge, MaxRecords)
	}
	return nil
}

// list adds an attribute to the record, scope or resource at hand.
func (b *builder) list(to *attributes, key string, v value) error {
	if b.listed++; b.listed > maxAttributes {
		return fmt.Errorf("%w: more than %d attributes in a request", logbridge.ErrTooLarge, maxAttributes)
	}
	to.add(key, v)
	return nil
}

// end takes a record whose own attributes are those of b.own from begin on; sizeBefore is what b.own had before.
func (b *builder) end(r *logRecord, begin, sizeBefore int) {
	own := &b.own
	level := r.severity(own)
	at, quality := r.when(b.received, own)
	if quality == logbridge.TimeReceived {
		b.request.Timed = false
	}
	own.text("event_name", r.eventName)
	own.text("trace_id", r.traceID)
	own.text("span_id", r.spanID)
	own.count("flags", r.flags)
	own.count("dropped_attributes_count", r.dropped)
	size := own.size - sizeBefore + len(r.body.text) + r.body.excess()
	b.pending = append(b.pending, pending{
		record: logbridge.Record{
			Time: at, ObservedTime: b.received, TimeQuality: quality, Source: logbridge.SourceOTLP, Severity: level, Body: r.body.text,
		},
		begin: begin, end: len(own.list), size: size, scope: len(b.scopes),
	})
}

// when is the time of a record.
func (r *logRecord) when(received time.Time, own *attributes) (time.Time, logbridge.TimeQuality) {
	at, ok := unixNano(r.time)
	observed, seen := unixNano(r.observed)
	switch {
	case ok && seen && observed.Sub(at).Abs() >= observedTolerance:
		own.count("observed_timestamp", r.observed)
	case !ok && seen:
		at, ok = observed, true
	}
	if r.time > math.MaxInt64 { // no time, but something was said
		own.count(logbridge.TimeRawKey, r.time)
	}
	if !ok {
		return received, logbridge.TimeReceived
	}
	return at, logbridge.TimeDevice
}

// unixNano reads a time; 0 is none, and beyond an int64 nothing can hold it.
func unixNano(n uint64) (time.Time, bool) {
	if n == 0 || n > math.MaxInt64 {
		return time.Time{}, false
	}
	return time.Unix(0, int64(n)).UTC(), true
}

// endScope says what the records since the last scope have in common.
func (b *builder) endScope(s *part) {
	all := attributes{}
	all.text("scope_name", s.name)
	all.text("scope_version", s.version)
	all.list, all.size = append(all.list, s.list...), all.size+s.size
	all.count("scope_dropped_attributes_count", s.dropped)
	b.scopes = append(b.scopes, all)
}

// endResource finishes the records of a resource: their stream, their attributes, and their times, which are of one clock.
func (b *builder) endResource(resource *part) error {
	stream, common := service(resource)
	total, rejected := 0, 0
	for i := range b.pending {
		p := &b.pending[i]
		p.size += b.scopes[p.scope].size + common.size
		if p.size > MaxRecord {
			rejected++
			continue
		}
		total += p.end - p.begin + len(b.scopes[p.scope].list) + len(common.list)
		if b.request.Size += p.size + recordSize; b.request.Size > maxSize {
			return fmt.Errorf("%w: records of more than %d bytes, with the attributes of their resources", logbridge.ErrTooLarge, maxSize)
		}
	}
	first := len(b.request.Records)
	b.request.Records = slices.Grow(b.request.Records, len(b.pending)-rejected)
	attrs := make([]logbridge.Attr, 0, total)
	for i := range b.pending {
		p := &b.pending[i]
		if p.size > MaxRecord {
			continue
		}
		begin := len(attrs)
		attrs = append(append(append(attrs, b.own.list[p.begin:p.end]...), b.scopes[p.scope].list...), common.list...)
		p.record.Stream, p.record.Attributes = stream, attrs[begin:len(attrs):len(attrs)]
		b.request.Records = append(b.request.Records, p.record)
	}
	logbridge.RepairTimes(b.request.Records[first:], time.Time{}, nil)
	if rejected > 0 {
		b.request.Rejected = append(b.request.Rejected, Rejected{stream, rejected})
	}
	b.own, b.pending, b.scopes = attributes{list: b.own.list[:0]}, b.pending[:0], b.scopes[:0]
	return nil
}

// service gives the stream of a resource, and the attributes that its records have of it.
func service(resource *part) (logbridge.Stream, attributes) {
	const namespaceKey, nameKey = "service.namespace", "service.name"
	find := func(key string) string {
		i := slices.IndexFunc(resource.list, func(a logbridge.Attr) bool { return a.Key == key })
		if i < 0 {
			return ""
		}
		return resource.list[i].Value
	}
	stream := logbridge.ServiceStream(find(namespaceKey), find(nameKey))
	namespace, name, _ := stream.Service()
	common := attributes{list: make([]logbridge.Attr, 0, len(resource.list)+1), size: resource.size}
	for _, a := range resource.list {
		if a.Key == namespaceKey && a.Value == namespace || a.Key == nameKey && a.Value == name {
			common.size -= len(a.Key) + len(a.Value) + attributeSize
			continue
		}
		common.list = append(common.list, a)
	}
	common.count("resource_dropped_attributes_count", resource.dropped)
	return stream, common
}
