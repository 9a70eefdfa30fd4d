package httpapi

import (
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// appendRecord writes a record as one line of JSON:
//
//	{"seq","time","observed_time","time_quality","source","stream","product","device","level","body","attributes":{…}}
//
// Times are RFC 3339 in UTC; product and device are there for device streams only. It is written by hand because an export
// has up to a million lines.
func appendRecord(b []byte, r *logbridge.Record) []byte {
	b = append(b, `{"seq":"`...)
	b = strconv.AppendUint(b, r.Position.Seq, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(r.Position.Index), 10)
	b = append(b, `","time":"`...)
	b = r.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","observed_time":"`...)
	b = r.ObservedTime.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","time_quality":"`...)
	b = append(b, r.TimeQuality.String()...)
	b = append(b, `","source":`...)
	b = loose.AppendString(b, string(r.Source))
	b = append(b, `,"stream":`...)
	b = loose.AppendString(b, string(r.Stream))
	if id, ok := r.Stream.Device(); ok {
		b = append(b, `,"product":`...)
		b = loose.AppendString(b, id.Product)
		b = append(b, `,"device":`...)
		b = loose.AppendString(b, id.Device)
	}
	b = append(b, `,"level":"`...)
	b = append(b, r.Severity.String()...)
	b = append(b, `","body":`...)
	b = loose.AppendString(b, r.Body)
	b = append(b, `,"attributes":`...)
	b = appendAttributes(b, r.Attributes)
	return append(b, '}', '\n')
}

// appendLost writes the line that stands for records that their reader was too slow for; to go on behind it, after=seq:
//
//	{"dropped":N,"seq":"…"}
func appendLost(b []byte, l *logbridge.Lost) []byte {
	b = strconv.AppendUint(append(b, `{"dropped":`...), l.Records, 10)
	b = append(append(b, `,"seq":"`...), l.To.String()...)
	return append(b, '"', '}', '\n')
}

// appendAttributes writes attributes as an object. Senders repeat keys and JSON readers keep one of them at most, so the
// second value of key k is called k#2, the third k#3: nothing vanishes.
func appendAttributes(b []byte, attrs []logbridge.Attr) []byte {
	b = append(b, '{')
	var used map[string]bool
	if hasRepeat(attrs) {
		used = make(map[string]bool, len(attrs))
		for _, a := range attrs {
			used[a.Key] = false
		}
	}
	for i, a := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		key := a.Key
		if used != nil {
			key = freeKey(used, a.Key)
		}
		b = loose.AppendString(b, key)
		b = append(b, ':')
		b = loose.AppendString(b, a.Value)
	}
	return append(b, '}')
}

// hasRepeat reports whether a key may occur twice. Records have few attributes; for many, yes is said without looking.
func hasRepeat(attrs []logbridge.Attr) bool {
	const few = 32
	if len(attrs) > few {
		return true
	}
	for i := range attrs {
		for j := range i {
			if attrs[i].Key == attrs[j].Key {
				return true
			}
		}
	}
	return false
}

// freeKey is key if it was not written yet, else key#2, key#3 and so on. used holds the keys that records have, false, and
// those that are written, true.
func freeKey(used map[string]bool, key string) string {
	if !used[key] {
		used[key] = true
		return key
	}
	for n := 2; ; n++ {
		name := key + "#" + strconv.Itoa(n)
		if _, taken := used[name]; !taken {
			used[name] = true
			return name
		}
	}
}
