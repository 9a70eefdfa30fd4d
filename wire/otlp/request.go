package otlp

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// MaxBody bounds a body, before and after decompression.
const MaxBody = loose.MaxUpload

// maxDepth bounds arrays and objects within each other: JSON needs four levels for each, of 64 that the scanner reads.
const maxDepth = 12

// observedTolerance: most senders observe a record as soon as it happens, and then its observed time says nothing more.
const observedTolerance = time.Second

// Request is what one ExportLogsServiceRequest brings.
type Request = loose.Upload

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
	loose.Attributes
	name, version string // of a scope
	dropped       uint64
}

// builder makes records of what a decoder reads.
type builder struct {
	Request
	received time.Time
}

// list adds an attribute to the record, scope or resource at hand.
func (b *builder) list(to *loose.Attributes, key string, v value) error {
	to.Size += v.excess()
	return b.List(to, key, v.text)
}

// end takes the record that Begin began.
func (b *builder) end(r *logRecord) {
	own := &b.Own
	level := r.severity(own)
	at, quality := r.when(b.received, own)
	own.AddText("event_name", r.eventName)
	own.AddText("trace_id", r.traceID)
	own.AddText("span_id", r.spanID)
	addCount(own, "flags", r.flags)
	addCount(own, "dropped_attributes_count", r.dropped)
	own.Size += r.body.excess()
	b.End(logbridge.Record{
		Time: at, ObservedTime: b.received, TimeQuality: quality, Source: logbridge.SourceOTLP, Severity: level, Body: r.body.text,
	})
}

func addCount(to *loose.Attributes, key string, n uint64) {
	if n > 0 {
		to.Add(key, strconv.FormatUint(n, 10))
	}
}

// when is the time of a record.
func (r *logRecord) when(received time.Time, own *loose.Attributes) (time.Time, logbridge.TimeQuality) {
	at, ok := unixNano(r.time)
	observed, seen := unixNano(r.observed)
	switch {
	case ok && seen && observed.Sub(at).Abs() >= observedTolerance:
		addCount(own, "observed_timestamp", r.observed)
	case !ok && seen:
		at, ok = observed, true
	}
	if r.time > math.MaxInt64 { // no time, but something was said
		addCount(own, logbridge.TimeRawKey, r.time)
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
	all := loose.Attributes{}
	all.AddText("scope_name", s.name)
	all.AddText("scope_version", s.version)
	all.List, all.Size = append(all.List, s.List...), all.Size+s.Size
	addCount(&all, "scope_dropped_attributes_count", s.dropped)
	b.EndPart(all)
}

// endResource finishes the records of a resource: its service is their stream, and it has one clock.
func (b *builder) endResource(resource *part) error { return b.EndStream(service(resource)) }

// service gives the stream of a resource, and the attributes that its records have of it.
func service(resource *part) (logbridge.Stream, loose.Attributes) {
	const namespaceKey, nameKey = "service.namespace", "service.name"
	find := func(key string) string {
		i := slices.IndexFunc(resource.List, func(a logbridge.Attr) bool { return a.Key == key })
		if i < 0 {
			return ""
		}
		return resource.List[i].Value
	}
	stream := logbridge.ServiceStream(find(namespaceKey), find(nameKey))
	namespace, name, _ := stream.Service()
	common := loose.Attributes{List: make([]logbridge.Attr, 0, len(resource.List)+1)}
	for _, a := range resource.List {
		if a.Key == namespaceKey && a.Value == namespace || a.Key == nameKey && a.Value == name {
			continue // the stream says it
		}
		common.Add(a.Key, a.Value)
	}
	if resource.Size > loose.MaxRecord { // a value that is too big is not in the list
		common.Size = resource.Size
	}
	addCount(&common, "resource_dropped_attributes_count", resource.dropped)
	return stream, common
}
