package cls

import (
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Records makes one record of each log, with the time that was sent or, without one, the time of receipt. Attributes are the
// log's fields, then __filename__ if there is one, and __source__, for which the client's address stands in. The body is
// empty; the severity is loose.Severity's.
func Records(g Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record {
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
			Time: log.Time, ObservedTime: received, TimeQuality: logbridge.TimeDevice,
			Source: logbridge.SourceCLS, Stream: stream, Severity: loose.Severity(log.Fields),
			Attributes: attrs[start:len(attrs):len(attrs)],
		}
		if log.Time.IsZero() {
			recs[i].Time, recs[i].TimeQuality = received, logbridge.TimeReceived
		}
	}
	return recs
}

// common are the attributes that every record of the group has.
func (g *Group) common(clientIP string) []logbridge.Attr {
	attrs := make([]logbridge.Attr, 0, 2)
	if g.Filename != "" {
		attrs = append(attrs, logbridge.Attr{Key: "__filename__", Value: g.Filename})
	}
	source := g.Source
	if source == "" {
		source = clientIP
	}
	if source != "" {
		attrs = append(attrs, logbridge.Attr{Key: "__source__", Value: source})
	}
	return attrs
}
