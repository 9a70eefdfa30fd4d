package sls

import (
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Records makes one record of each log of an anonymous request. Its time is the time of receipt: the service overwrites what
// an anonymous sender says (4.2). Attributes are the log's fields, then the tags as __tag__:key, __topic__ if there is one,
// and __source__, for which the client's address stands in (2.4, 4.6). The body is empty; the severity is loose.Severity's.
func Records(g Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record {
	return records(g, stream, received, clientIP, false)
}

// SignedRecords is Records for a signed request, whose times are kept (3.2); a log without one has the time of receipt.
func SignedRecords(g Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record {
	return records(g, stream, received, clientIP, true)
}

func records(g Group, stream logbridge.Stream, received time.Time, clientIP string, sentTime bool) []logbridge.Record {
	if len(g.Logs) == 0 {
		return nil
	}
	common := g.common(clientIP)
	size := len(common) * len(g.Logs)
	for _, log := range g.Logs {
		size += len(log.Fields)
	}
	attrs := make([]logbridge.Attr, 0, size)
	recs := make([]logbridge.Record, len(g.Logs))
	for i, log := range g.Logs {
		start := len(attrs)
		attrs = append(append(attrs, log.Fields...), common...)
		recs[i] = logbridge.Record{
			Time: received, ObservedTime: received, TimeQuality: logbridge.TimeReceived,
			Source: logbridge.SourceSLS, Stream: stream, Severity: loose.Severity(log.Fields),
			Attributes: attrs[start:len(attrs):len(attrs)],
		}
		if sentTime && !log.Time.IsZero() {
			recs[i].Time, recs[i].TimeQuality = log.Time, logbridge.TimeDevice
		}
	}
	return recs
}

// common are the attributes that every record of the group has.
func (g *Group) common(clientIP string) []logbridge.Attr {
	attrs := make([]logbridge.Attr, 0, len(g.Tags)+2)
	for _, t := range g.Tags {
		attrs = append(attrs, logbridge.Attr{Key: tagPrefix + t.Key, Value: t.Value})
	}
	if g.Topic != "" {
		attrs = append(attrs, logbridge.Attr{Key: keyTopic, Value: g.Topic})
	}
	source := g.Source
	if source == "" {
		source = clientIP
	}
	if source != "" {
		attrs = append(attrs, logbridge.Attr{Key: keySource, Value: source})
	}
	return attrs
}
