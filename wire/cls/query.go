package cls

import (
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// DecodeQuery reads the GET forms (5.3): topic_id names the topic, the other pairs, in their order (loose.Query), are the
// fields of one log. Without a field there is no log. *Error InvalidParam without a topic, LogSizeExceed beyond MaxQuery.
func DecodeQuery(rawQuery string) (topicID string, g Group, err error) {
	if len(rawQuery) > MaxQuery {
		return "", Group{}, LogSizeExceed("query is %d bytes, at most %d", len(rawQuery), MaxQuery)
	}
	fields := make([]logbridge.Attr, 0, strings.Count(rawQuery, "&")+1)
	for key, value := range loose.Query(rawQuery) {
		if key == "topic_id" {
			topicID = value
			continue
		}
		fields = append(fields, logbridge.Attr{Key: key, Value: value})
	}
	if topicID == "" {
		return "", Group{}, InvalidParam("topic_id is missing")
	}
	if len(fields) > 0 {
		g.Logs = []Log{{Fields: fields}}
	}
	return topicID, g, nil
}
