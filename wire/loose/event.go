package loose

import (
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// Event is one web event.
type Event struct {
	// Time is zero if none was sent, or none that could be read.
	Time   time.Time
	Fields []logbridge.Attr
}

// Records makes one record of each event: like, with the event's fields and then the common ones as attributes, and the
// severity that the fields tell. What is common is put behind an event's fields where these have the capacity, which is the event's own then. Time is like.ObservedTime unless keepTime is set and the event has its own. All attributes
// are in one slice, cut so that appending to one record's does not touch the next's. The records are in the room and go with it; a room
// is for one call, and may be nil.
func Records(room *Room, events []Event, like logbridge.Record, common []logbridge.Attr, keepTime bool) []logbridge.Record {
	if len(events) == 0 {
		return nil
	}
	size := 0
	for _, e := range events {
		if !hasRoom(e.Fields, common) {
			size += len(e.Fields) + len(common)
		}
	}
	attrs := make([]logbridge.Attr, 0, size)
	records := room.makeRecords(len(events))
	for i, e := range events {
		r := &records[i]
		*r = like
		if hasRoom(e.Fields, common) {
			r.Attributes = slices.Clip(append(e.Fields, common...))
		} else {
			start := len(attrs)
			attrs = append(append(attrs, e.Fields...), common...)
			r.Attributes = attrs[start:len(attrs):len(attrs)]
		}
		r.Severity = severity(e.Fields)
		r.Time, r.TimeQuality = like.ObservedTime, logbridge.TimeReceived
		if keepTime && !e.Time.IsZero() {
			r.Time, r.TimeQuality = e.Time, logbridge.TimeDevice
		}
	}
	return records
}

func hasRoom(fields, more []logbridge.Attr) bool { return cap(fields)-len(fields) >= len(more) }

// severity is the level that an event says of itself in its first field named level, severity or __level__ that can be read
// as one; info otherwise. Off is a wish about logging, not the severity of an event, and counts as info.
func severity(fields []logbridge.Attr) logbridge.Level {
	for _, f := range fields {
		switch f.Key {
		case "level", "severity", "__level__":
			if level, err := logbridge.ParseLevel(f.Value); err == nil && level != logbridge.LevelOff {
				return level
			}
		}
	}
	return logbridge.LevelInfo
}

// AppendSource ends the attributes of an event with __source__: what the sender says, or the client's address.
func AppendSource(attrs []logbridge.Attr, sent, clientIP string) []logbridge.Attr {
	if sent == "" {
		sent = clientIP
	}
	if sent == "" {
		return attrs
	}
	return append(attrs, logbridge.Attr{Key: "__source__", Value: sent})
}
