package sls

import (
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Records makes one record of each log of an anonymous request. Its time is the time of receipt: the service overwrites what
// an anonymous sender says (4.2). Attributes are the log's fields, then the tags as __tag__:key, __topic__ if there is one,
// __machine_uuid__ likewise (our name
// for it: the vendor shows none), and __source__, for which the client's address stands in (2.4, 4.6). The body is empty; the severity is what a field named
// level, severity or __level__ says, else info.
func Records(g Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record {
	return loose.Records(g.room, g.Logs, like(stream, received), g.common(clientIP), false)
}

// SignedRecords is Records for a signed request, whose times are kept (3.2); a log without one has the time of receipt.
func SignedRecords(g Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record {
	return loose.Records(g.room, g.Logs, like(stream, received), g.common(clientIP), true)
}

func like(stream logbridge.Stream, received time.Time) logbridge.Record {
	return logbridge.Record{ObservedTime: received, Source: logbridge.SourceSLS, Stream: stream}
}

// common are the attributes that every record of the group has.
func (g *Group) common(clientIP string) []logbridge.Attr {
	attrs := make([]logbridge.Attr, 0, len(g.Tags)+3)
	for _, t := range g.Tags {
		attrs = append(attrs, logbridge.Attr{Key: tagPrefix + t.Key, Value: t.Value})
	}
	if g.Topic != "" {
		attrs = append(attrs, logbridge.Attr{Key: keyTopic, Value: g.Topic})
	}
	if g.MachineUUID != "" {
		attrs = append(attrs, logbridge.Attr{Key: keyUUID, Value: g.MachineUUID})
	}
	return loose.AppendSource(attrs, g.Source, clientIP)
}
