package cls

import (
	"bytes"
	"errors"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// The limits of one request. tracklog's own are not published; these are those of the structured upload (5.3).
const (
	// MaxBody bounds a body, compressed and not.
	MaxBody = 6 << 20
	// MaxGroups bounds the groups of a structured upload; a tracklog is one.
	MaxGroups = 10
	// MaxLogs bounds the logs of a group.
	MaxLogs = 10000
	// MaxValues bounds all values of a structured upload together.
	MaxValues = 5 << 20
	// MaxValue bounds one key or value.
	MaxValue = 1 << 20
	// MaxQuery bounds the query of the GET forms.
	MaxQuery = 16 << 10
)

// maxFields bounds the fields of a request, 26 a log at the full number of logs: each costs 32 bytes of memory and may be 5
// bytes of body.
const maxFields = 1 << 18

// usualField is the size from which fields are counted ahead: "k":"v" with its comma. A body of shorter ones makes the slice
// grow; a body of colons must not reserve 32 bytes for each.
const usualField = 8

// Group is logs that have something in common: all of a tracklog, or a part of a structured upload. Hostname and Tags are of
// the latter only.
type Group struct {
	Source, Filename, ContextFlow, Hostname string
	Tags                                    []logbridge.Attr
	Logs                                    []Log

	room *loose.Room // that Logs are in; nil if they are in none
}

// Release lets another request use the memory of the group and of its records, neither of which may be used any more: their texts may.
// It is for whoever used the group last, and need not be called.
func (g *Group) Release() {
	g.room.Release()
	*g = Group{}
}

// Log is one event: a Time, zero if none was sent or none that could be read, and Fields.
type Log = loose.Event

// DecodeJSON reads the body of POST /tracklog (5.1, 5.3): an object with logs, an array of objects with contents and time,
// and optionally source, filename and contextflow; other members, such as the length that mini-programs add to a log, are
// ignored at both levels (5.2). Values that are no strings become text: numbers as sent, null as "null", objects and arrays as their JSON. time is a Unix time of any unit (loose.UnixTime); what
// cannot be read as one becomes the field logbridge.TimeRawKey. Errors are *Error: MissingContent, InvalidContent, or
// LogSizeExceed beyond a limit.
func DecodeJSON(body []byte) (Group, error) {
	switch {
	case len(body) == 0:
		return Group{}, MissingContent()
	case len(body) > MaxBody:
		return Group{}, LogSizeExceed("body is %d bytes, at most %d", len(body), MaxBody)
	}
	logs := min(bytes.Count(body, []byte("{"))/2, MaxLogs) // two for each log
	fields := min(bytes.Count(body, []byte(":")), len(body)/usualField+1, maxFields)
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
	hasLogs bool
}

func (d *decoder) decode() error {
	d.read()
	if err := d.in.End(); err != nil {
		if own := (*Error)(nil); errors.As(err, &own) {
			return own
		}
		return InvalidContent("body is not valid JSON of the form {\"logs\":[{\"contents\":{},\"time\":0}]}")
	}
	if !d.hasLogs {
		return InvalidContent("logs is missing")
	}
	d.group.Logs, d.group.room = d.room.Events, d.room
	return d.group.checkSpread()
}

func (d *decoder) read() {
	for d.in.Enter('{'); d.in.Next(); {
		switch d.in.Key() {
		case "logs":
			d.hasLogs = true
			for d.in.Enter('['); d.in.Next(); {
				d.readLog()
			}
		case "source":
			d.group.Source = d.in.Optional()
		case "filename":
			d.group.Filename = d.in.Optional()
		case "contextflow":
			d.group.ContextFlow = d.in.Optional()
		default:
			d.in.Raw()
		}
	}
}

func (d *decoder) readLog() {
	if len(d.room.Events) == MaxLogs {
		d.in.Fail(LogSizeExceed("more than %d logs", MaxLogs))
		return
	}
	var log Log
	start, hasContents := len(d.room.Fields), false
	for d.in.Enter('{'); d.in.Next(); {
		switch d.in.Key() {
		case "contents":
			hasContents = true
			d.readContents()
		case "time":
			log.Time = d.readTime()
		default:
			d.in.Raw()
		}
	}
	if !hasContents {
		d.in.Fail(InvalidContent("contents is missing"))
	}
	log.Fields = d.room.Fields[start:len(d.room.Fields):len(d.room.Fields)]
	d.room.Events = append(d.room.Events, log)
}

// readTime reads a time; zero for null and 0, which say that there is none, and for what is no time, which is kept as a field.
func (d *decoder) readTime() time.Time {
	text := d.in.Text()
	t, strange := sentTime(text)
	if strange {
		d.appendField(logbridge.TimeRawKey, text)
	}
	return t
}

// sentTime reads a time; strange is one that was sent and cannot be read.
func sentTime(text string) (t time.Time, strange bool) {
	t, ok := loose.UnixTime(text)
	return t, !ok && text != "" && text != "0" && text != "null"
}

func (d *decoder) readContents() {
	for d.in.Enter('{'); d.in.Next(); {
		key := d.in.Key()
		d.appendField(key, d.in.Text())
	}
}

func (d *decoder) appendField(key, value string) {
	if len(key) > MaxValue || len(value) > MaxValue {
		d.in.Fail(LogSizeExceed("a key or value is over %d bytes", MaxValue))
	}
	if len(d.room.Fields) == maxFields {
		d.in.Fail(LogSizeExceed("more than %d fields", maxFields))
		return
	}
	d.room.Fields = append(d.room.Fields, logbridge.Attr{Key: key, Value: value})
}

// checkSpread bounds source, filename and contextflow, and what they cost once they stand in each record: as much as a body
// may be, so that they cannot blow a small request up.
func (g *Group) checkSpread() error {
	if max(len(g.Source), len(g.Filename), len(g.ContextFlow)) > MaxValue {
		return LogSizeExceed("source, filename or contextflow is over %d bytes", MaxValue)
	}
	return checkSpread((len(g.Source) + len(g.Filename) + len(g.ContextFlow)) * len(g.Logs))
}

// checkSpread bounds the bytes of what groups have in common, in each of their records.
func checkSpread(size int) error {
	if size > MaxBody {
		return LogSizeExceed("what logs have in common is %d bytes in all of them, at most %d", size, MaxBody)
	}
	return nil
}
