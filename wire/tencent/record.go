package tencent

import (
	"time"

	"github.com/logbridge/logbridge"
)

// attrTag is the attribute of a record that holds the source file or tag of its line.
const attrTag = "tag"

// Record is the line as a record of stream, received at that time. A line without a time has the time of receipt.
func (l Line) Record(source logbridge.Source, stream logbridge.Stream, received time.Time) logbridge.Record {
	r := logbridge.Record{
		Time: l.Time, ObservedTime: received, TimeQuality: logbridge.TimeDevice,
		Source: source, Stream: stream, Severity: l.Level, Body: l.Text, Attributes: l.Attrs,
	}
	if l.Time.IsZero() {
		r.Time, r.TimeQuality = received, logbridge.TimeReceived
	}
	if l.Tag != "" {
		r.Attributes = append([]logbridge.Attr{{Key: attrTag, Value: l.Tag}}, l.Attrs...)
	}
	return r
}
