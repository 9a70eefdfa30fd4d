package cls

import (
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Records makes one record of each log, with the time that was sent or, without one, the time of receipt. Attributes are the
// log's fields, then __filename__, __hostname__, __contextflow__ and __tag__:<key> where there are such, and __source__, for
// which the client's address stands in. The body is empty; the severity is what a field named level, severity or __level__
// says, else info.
func Records(g Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record {
	common := make([]logbridge.Attr, 0, len(g.Tags)+4)
	for _, a := range [...]logbridge.Attr{{Key: "__filename__", Value: g.Filename}, {Key: "__hostname__", Value: g.Hostname},
		{Key: "__contextflow__", Value: g.ContextFlow}} {
		if a.Value != "" {
			common = append(common, a)
		}
	}
	for _, t := range g.Tags {
		common = append(common, logbridge.Attr{Key: tagPrefix + t.Key, Value: t.Value})
	}
	common = loose.AppendSource(common, g.Source, clientIP)
	like := logbridge.Record{ObservedTime: received, Source: logbridge.SourceCLS, Stream: stream}
	return loose.Records(g.room, g.Logs, like, common, true)
}

// tagPrefix begins the names of attributes that were tags, as with SLS.
const tagPrefix = "__tag__:"
