package sls

import (
	"bytes"
	"errors"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// The limits of one request (4.3). Of two vendor figures for the body the larger is accepted.
const (
	// MaxBody bounds a body, before and after decompression.
	MaxBody = 10 << 20
	// MaxLogs bounds the logs of a request.
	MaxLogs = 4096
	// MaxValue bounds one key or value.
	MaxValue = 1 << 20
	// MaxQuery bounds the query of the GET forms.
	MaxQuery = 16 << 10
)

// maxFields bounds the fields and tags of a request, 64 a log at the full number of logs: each costs 32 bytes of memory and
// may be 5 bytes of body.
const maxFields = 64 * MaxLogs

// maxGroupSize bounds Group.Size: a full batch of the Java producer with ten fields a log is 35 MB.
const maxGroupSize = 48 << 20

// usualField is the size from which fields are counted ahead: "k":"v" with its comma. A body of shorter ones makes the slice
// grow; a body of colons must not reserve 32 bytes for each.
const usualField = 8

// usualCommon is how many attributes most events have in common, topic and source: so much room is left behind the fields of each, so
// that its record need not copy them.
const usualCommon = 2

// Group is what one request brings.
type Group struct {
	Topic, Source string
	// MachineUUID is in protobuf bodies only.
	MachineUUID string
	Tags        []logbridge.Attr
	Logs        []Log

	room *loose.Room // that Logs are in; nil if they are in none
}

// Release lets another request use the memory of the group and of its records, neither of which may be used any more: their texts may.
// It is for whoever used the group last, and need not be called.
func (g *Group) Release() {
	g.room.Release()
	*g = Group{}
}

// What a log and a field cost in memory beside their text, as event and as record.
const (
	logSize   = 256
	fieldSize = 64
)

// Size is about what the group takes in memory together with its records, which have the tags in each; checkSpread bounds that.
func (g *Group) Size() int {
	fields := len(g.Logs) * (len(g.Tags) + 3)
	for _, l := range g.Logs {
		fields += len(l.Fields)
	}
	return len(g.Logs)*logSize + fields*fieldSize
}

// Log is one event: a Time, zero if none was sent or none that could be read, and Fields.
type Log = loose.Event

// The reserved names of a body and of a record's attributes (2.4, 4.6).
const (
	keyLogs   = "__logs__"
	keyTags   = "__tags__"
	keyTopic  = "__topic__"
	keySource = "__source__"
	keyUUID   = "__machine_uuid__"
	keyTime   = "__time__"
	tagPrefix = "__tag__:"
)

// DecodeJSON reads a body (2.4, 3.2): an object with __logs__, an array of objects that may be empty, and optionally
// __tags__, __topic__ and __source__; other members are ignored. Values that are no strings become text: numbers as sent,
// null as "null", objects and arrays as their JSON. A numeric __time__ of a log becomes its Time; any other __time__ stays a
// field, as anonymous senders have it. Errors are *Error: PostBodyInvalid, or PostBodyTooLarge beyond a limit.
func DecodeJSON(body []byte) (Group, error) {
	if len(body) > MaxBody {
		return Group{}, PostBodyTooLarge(len(body))
	}
	logs := min(bytes.Count(body, []byte("{")), MaxLogs)
	fields := min(bytes.Count(body, []byte(":")), len(body)/usualField+1, maxFields) + usualCommon*logs
	d := decoder{in: loose.ScanBody(body), room: loose.NewRoom(logs, fields)}
	if err := d.decode(); err != nil {
		d.room.Release()
		return Group{}, err
	}
	return d.group, nil
}

// decoder fills a group. All logs and all fields are in a room, sized once.
type decoder struct {
	in      loose.Scanner
	group   Group
	room    *loose.Room
	spare   int // of fields that are no fields
	hasLogs bool
}

func (d *decoder) decode() error {
	d.read()
	if err := d.in.End(); err != nil {
		if own := (*Error)(nil); errors.As(err, &own) {
			return own
		}
		return PostBodyInvalid()
	}
	if !d.hasLogs {
		return PostBodyInvalid()
	}
	d.group.Logs, d.group.room = d.room.Events, d.room
	return d.group.checkSpread()
}

func (d *decoder) read() {
	for d.in.Enter('{'); d.in.Next(); {
		switch d.in.Key() {
		case keyLogs:
			d.hasLogs = true
			for d.in.Enter('['); d.in.Next(); {
				d.readLog()
			}
		case keyTags:
			d.readTags()
		case keyTopic:
			d.group.Topic = d.in.Optional()
		case keySource:
			d.group.Source = d.in.Optional()
		default:
			d.in.Raw()
		}
	}
}

// text is the next value within its limit.
func (d *decoder) text() string {
	text := d.in.Text()
	if len(text) > MaxValue {
		d.in.Fail(tooLarge("Value size", len(text), MaxValue))
	}
	return text
}

func (d *decoder) readLog() {
	if len(d.room.Events) == MaxLogs {
		d.in.Fail(tooLarge("Log count", MaxLogs+1, MaxLogs))
		return
	}
	var log Log
	start := len(d.room.Fields)
	for d.in.Enter('{'); d.in.Next(); {
		key := d.in.Key()
		isNumber := key == keyTime && isNumberStart(d.in.Peek())
		value := d.text()
		if isNumber {
			if t, ok := loose.UnixTime(value); ok {
				log.Time = t
				continue
			}
		}
		d.room.Fields = d.appendAttr(d.room.Fields, key, value)
	}
	end := len(d.room.Fields)
	d.room.Fields = append(d.room.Fields, make([]logbridge.Attr, usualCommon)...)
	d.spare += usualCommon
	log.Fields = d.room.Fields[start:end:len(d.room.Fields)]
	d.room.Events = append(d.room.Events, log)
}

func isNumberStart(c byte) bool { return c == '-' || c >= '0' && c <= '9' }

func (d *decoder) readTags() {
	if d.in.Peek() == 'n' {
		d.in.Raw()
		return
	}
	for d.in.Enter('{'); d.in.Next(); {
		key := d.in.Key()
		d.group.Tags = d.appendAttr(d.group.Tags, key, d.text())
	}
}

func (d *decoder) appendAttr(attrs []logbridge.Attr, key, value string) []logbridge.Attr {
	if len(key) > MaxValue {
		d.in.Fail(tooLarge("Key size", len(key), MaxValue))
	}
	if len(d.room.Fields)-d.spare+len(d.group.Tags) == maxFields {
		d.in.Fail(tooLarge("Field count", maxFields+1, maxFields))
		return attrs
	}
	return append(attrs, logbridge.Attr{Key: key, Value: value})
}

// checkSpread bounds topic and source, and what they and the tags cost once they stand in each record: as much as a body may
// be, so that they cannot blow a small request up.
func (g *Group) checkSpread() error {
	if n := max(len(g.Topic), len(g.Source), len(g.MachineUUID)); n > MaxValue {
		return tooLarge("Value size", n, MaxValue)
	}
	const each = 16 // what a tag costs beside its text
	size := len(g.Topic) + len(g.Source) + len(g.MachineUUID)
	for _, t := range g.Tags {
		size += len(tagPrefix) + len(t.Key) + len(t.Value) + each
	}
	if n := len(g.Logs); n > 0 && size > MaxBody/n {
		return PostBodyTooLarge(size * n)
	}
	if n := g.Size(); n > maxGroupSize {
		return tooLarge("Log size", n, maxGroupSize)
	}
	return nil
}
