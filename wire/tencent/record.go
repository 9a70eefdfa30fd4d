package tencent

import (
	"time"

	"github.com/logbridge/logbridge"
)

// attrTag is the attribute of a record that holds the source file or tag of its line.
const attrTag = "tag"

// Records makes one record of each line of an upload, in their order. A line without a time has the time of receipt;
// times that cannot be right are repaired (logbridge.RepairTimes). sent is the sender's clock at sending (Signature.Sent),
// zero if the upload does not tell.
func Records(lines []Line, source logbridge.Source, stream logbridge.Stream, received, sent time.Time) []logbridge.Record {
	records := make([]logbridge.Record, len(lines))
	like := logbridge.Record{ObservedTime: received, Source: source, Stream: stream}
	for i := range lines {
		records[i] = lines[i].record(like)
	}
	logbridge.RepairTimes(records, sent, func(i int) string { return lines[i].timeText })
	return records
}

func (l *Line) record(r logbridge.Record) logbridge.Record {
	r.Time, r.TimeQuality = l.Time, logbridge.TimeDevice
	r.Severity, r.Body, r.Attributes = l.Level, l.Text, l.Attrs
	if l.Time.IsZero() {
		r.Time, r.TimeQuality = r.ObservedTime, logbridge.TimeReceived
	}
	if l.Tag != "" {
		r.Attributes = append([]logbridge.Attr{{Key: attrTag, Value: l.Tag}}, l.Attrs...)
	}
	return r
}
