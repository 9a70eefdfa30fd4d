package sls

import (
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// MaxGroupLogs bounds the logs of a protobuf body: the largest batch that a vendor's producer makes, that of the Java one. The
// vendor counts bytes only by now (4.3), but a log is two bytes on the wire at least and a record in memory.
const MaxGroupLogs = 40960

// maxGroupFields bounds its fields and tags, sixteen a log at the full number of logs: each costs 32 bytes of memory and is
// six bytes of body or more.
const maxGroupFields = 16 * MaxGroupLogs

// The fields of the messages (4.7), number and wire type.
const (
	groupLogs        = 1<<3 | loose.Bytes
	groupTopic       = 3<<3 | loose.Bytes
	groupSource      = 4<<3 | loose.Bytes
	groupMachineUUID = 5<<3 | loose.Bytes
	groupTags        = 6<<3 | loose.Bytes
	logTime          = 1<<3 | loose.Varint
	logContents      = 2<<3 | loose.Bytes
	logTimeNs        = 4<<3 | loose.Fixed32
	pairKey          = 1<<3 | loose.Bytes
	pairValue        = 2<<3 | loose.Bytes
)

// DecodeProtobuf reads a body of PutLogs (4.7): one LogGroup.
//
//	LogGroup { repeated Log Logs = 1; string Topic = 3, Source = 4, MachineUUID = 5; repeated LogTag LogTags = 6 }
//	Log      { required uint32 Time = 1 (seconds); repeated Content Contents = 2; fixed32 Time_ns = 4 }
//	Content and LogTag { required string Key = 1, Value = 2 }
//
// A log's Time is Time and Time_ns, zero if Time is 0; a Time_ns of a second or more is ignored. Fields that are not named here
// are passed over. Everything is counted before memory is taken for it. Errors are *Error: PostBodyInvalid for what is no such
// message or lacks a required field, PostBodyTooLarge beyond a limit.
func DecodeProtobuf(body []byte) (Group, error) {
	if len(body) > MaxBody {
		return Group{}, PostBodyTooLarge(len(body))
	}
	message := string(body) // of which all texts are parts
	logs, fields, tags, err := countGroup(message)
	if err != nil {
		return Group{}, err
	}
	g := Group{room: loose.NewRoom(logs, fields)}
	if err := g.read(message, tags); err != nil {
		g.Release()
		return Group{}, err
	}
	return g, nil
}

// read reads a group that countGroup has seen into its room.
func (g *Group) read(message string, tags int) (err error) {
	if tags > 0 {
		g.Tags = make([]logbridge.Attr, 0, tags)
	}
	for f := loose.FieldsOf(message); f.Next(); {
		switch f.Tag {
		case groupLogs:
			var log Log
			log, g.room.Fields, err = readLog(f.Raw, g.room.Fields)
			g.room.Events = append(g.room.Events, log)
		case groupTags:
			g.Tags, err = appendPair(g.Tags, f.Raw)
		case groupTopic:
			g.Topic = f.Text()
		case groupSource:
			g.Source = f.Text()
		case groupMachineUUID:
			g.MachineUUID = f.Text()
		}
		if err != nil {
			return err
		}
	}
	g.Logs = g.room.Events
	return g.checkSpread()
}

// countGroup goes over a group and its logs, but not into pairs: how much there is, and whether that is within the limits.
func countGroup(message string) (logs, fields, tags int, err error) {
	f := loose.FieldsOf(message)
	for f.Next() {
		switch f.Tag {
		case groupTags:
			tags++
		case groupLogs:
			if logs++; logs > MaxGroupLogs {
				return 0, 0, 0, tooLarge("Log count", logs, MaxGroupLogs)
			}
			l := loose.FieldsOf(f.Raw)
			for l.Next() {
				if l.Tag == logContents {
					fields++
				}
			}
			if l.Err() != nil {
				return 0, 0, 0, invalidProtobuf()
			}
		}
		if fields+tags > maxGroupFields {
			return 0, 0, 0, tooLarge("Field count", fields+tags, maxGroupFields)
		}
	}
	if f.Err() != nil {
		return 0, 0, 0, invalidProtobuf()
	}
	return logs, fields, tags, nil
}

// readLog reads a Log whose wire form countGroup has seen; its fields are appended to all, which has room for them.
func readLog(message string, all []logbridge.Attr) (Log, []logbridge.Attr, error) {
	var (
		seconds, nanos uint64
		timed          bool
		start          = len(all)
		err            error
	)
	for f := loose.FieldsOf(message); f.Next() && err == nil; {
		switch f.Tag {
		case logTime:
			seconds, timed = uint64(uint32(f.Uint)), true
		case logTimeNs:
			nanos = f.Uint
		case logContents:
			all, err = appendPair(all, f.Raw)
		}
	}
	if err == nil && !timed {
		err = invalidProtobuf()
	}
	log := Log{Fields: all[start:len(all):len(all)]}
	if seconds > 0 {
		if nanos >= uint64(time.Second) {
			nanos = 0
		}
		log.Time = time.Unix(int64(seconds), int64(nanos)).UTC()
	}
	return log, all, err
}

// appendPair reads a Content or a LogTag.
func appendPair(to []logbridge.Attr, message string) ([]logbridge.Attr, error) {
	var (
		pair            logbridge.Attr
		hasKey, hasText bool
	)
	f := loose.FieldsOf(message)
	for f.Next() {
		switch f.Tag {
		case pairKey:
			pair.Key, hasKey = f.Text(), true
		case pairValue:
			pair.Value, hasText = f.Text(), true
		}
	}
	if f.Err() != nil || !hasKey || !hasText {
		return to, invalidProtobuf()
	}
	if n := max(len(pair.Key), len(pair.Value)); n > MaxValue {
		return to, tooLarge("Value size", n, MaxValue)
	}
	return append(to, pair), nil
}
