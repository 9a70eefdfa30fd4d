package cls

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// The fields of the messages (6): LogGroupList{1 groups}, LogGroup{1 logs, 2 contextFlow, 3 filename, 4 source, 5 logTags,
// 6 hostname}, Log{1 time, 2 contents}, and key and value of contents and logTags.
const (
	listGroup = 1<<3 | loose.Bytes

	groupLog         = 1<<3 | loose.Bytes
	groupContextFlow = 2<<3 | loose.Bytes
	groupFilename    = 3<<3 | loose.Bytes
	groupSource      = 4<<3 | loose.Bytes
	groupTag         = 5<<3 | loose.Bytes
	groupHostname    = 6<<3 | loose.Bytes

	logTime    = 1<<3 | loose.Varint
	logContent = 2<<3 | loose.Bytes

	pairKey   = 1<<3 | loose.Bytes
	pairValue = 2<<3 | loose.Bytes
)

// Decompress undoes x-cls-compress-type (6): none, lz4 (a raw block without its length), zstd, deflate (raw RFC 1951, not
// zlib as with SLS). The result is at most MaxBody bytes and uses dst's memory if that is large enough; without compression
// it is body itself. It takes at most loose.MaxUnpacked bytes. *Error InvalidCompressType, InvalidContent,
// LogSizeExceed.
func Decompress(dst []byte, compressType string, body []byte) ([]byte, error) {
	var unpack func(dst, packed []byte, most int) ([]byte, error)
	switch compressType {
	case "":
		return body, nil
	case "lz4":
		unpack = loose.UnpackLZ4
	case "zstd":
		unpack = loose.UnpackZstd
	case "deflate":
		unpack = loose.UnpackDeflate
	default:
		return nil, InvalidCompressType()
	}
	if len(body) == 0 {
		return nil, MissingContent()
	}
	plain, err := unpack(dst, body, MaxBody)
	switch {
	case errors.Is(err, logbridge.ErrTooLarge):
		return nil, LogSizeExceed("body is over %d bytes without its compression", MaxBody)
	case errors.Is(err, loose.ErrPacked):
		return nil, InvalidContent("body is not " + compressType)
	}
	return plain, err
}

// DecodeList reads a LogGroupList, the body of POST /structuredlog (6), whose every part is bounded before memory is taken for
// any. time is a Unix time of any unit (loose.UnixTime); what cannot be read as one becomes the field logbridge.TimeRawKey.
// Members that the schema does not have are ignored; collectTime is too. Errors are *Error: MissingContent, InvalidContent
// for what is no protobuf and for a list without a log, which is not an upload of this protocol; LogSizeExceed beyond a limit.
func DecodeList(body []byte) ([]Group, error) {
	switch {
	case len(body) == 0:
		return nil, MissingContent()
	case len(body) > MaxBody:
		return nil, LogSizeExceed("body is %d bytes, at most %d", len(body), MaxBody)
	}
	text := string(body)
	var size listSize
	if err := size.list(text); err != nil {
		if own := (*Error)(nil); errors.As(err, &own) {
			return nil, own
		}
		return nil, InvalidContent("body is not a protobuf message of the form LogGroupList")
	}
	if size.logs == 0 {
		return nil, InvalidContent("LogGroupList has no logs")
	}
	d := listDecoder{logs: make([]Log, 0, size.logs), attrs: make([]logbridge.Attr, 0, size.attrs)}
	groups := make([]Group, 0, size.groups)
	f := loose.FieldsOf(text)
	for f.Next() {
		if f.Tag == listGroup {
			groups = append(groups, d.group(f.Raw))
		}
	}
	return groups, nil
}

// listSize is what is in a list. It is taken before memory for any of it is.
type listSize struct {
	groups, logs int
	attrs        int // fields and tags, each once
	records      int // attributes of all records, with what they have in common in each
	values       int // bytes of all values
	spread       int // bytes of what logs have in common, in each of them
}

func (s *listSize) list(message string) error {
	return loose.Each(message, func(f loose.Field) error {
		if f.Tag != listGroup {
			return nil
		}
		if s.groups++; s.groups > MaxGroups {
			return LogSizeExceed("more than %d log groups", MaxGroups)
		}
		return s.group(f.Raw)
	})
}

func (s *listSize) group(message string) error {
	logs, common, bytes := 0, 0, 0
	err := loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case groupLog:
			if logs++; logs > MaxLogs {
				return LogSizeExceed("more than %d logs in a group", MaxLogs)
			}
			return s.log(f.Raw)
		case groupContextFlow, groupFilename, groupSource, groupHostname:
			common++
			bytes += len(f.Raw)
			return checkValue(f.Raw)
		case groupTag:
			common++
			key, value, err := pair(f.Raw)
			bytes += len(tagPrefix) + len(key) + len(value)
			return errors.Join(err, s.attr(key, value))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.logs += logs
	s.spread += bytes * logs
	if s.records += common * logs; s.records > maxFields {
		return LogSizeExceed("more than %d fields", maxFields)
	}
	return checkSpread(s.spread)
}

func (s *listSize) log(message string) error {
	return loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case logTime: // a time that cannot be read is a field
			if _, strange := sentTime(unixText(f)); strange {
				s.records++
				return s.attr("", "")
			}
		case logContent:
			key, value, err := pair(f.Raw)
			s.records++
			return errors.Join(err, s.attr(key, value))
		}
		return nil
	})
}

func (s *listSize) attr(key, value string) error {
	if s.attrs++; s.attrs > maxFields {
		return LogSizeExceed("more than %d fields", maxFields)
	}
	if s.values += len(value); s.values > MaxValues {
		return LogSizeExceed("values are over %d bytes", MaxValues)
	}
	return errors.Join(checkValue(key), checkValue(value))
}

func checkValue(text string) error {
	if len(text) > MaxValue {
		return LogSizeExceed("a key or value is over %d bytes", MaxValue)
	}
	return nil
}

// unixText is a time as text, for the rules of the JSON form to be those of this one.
func unixText(f loose.Field) string { return strconv.FormatInt(int64(f.Uint), 10) }

// pair reads a content or a tag.
func pair(message string) (key, value string, err error) {
	f := loose.FieldsOf(message)
	for f.Next() {
		switch f.Tag {
		case pairKey:
			key = f.Raw
		case pairValue:
			value = f.Raw
		}
	}
	return key, value, f.Err()
}

// listDecoder makes groups of a list that was measured. All logs are in one slice, and all attributes.
type listDecoder struct {
	logs  []Log
	attrs []logbridge.Attr
}

func (d *listDecoder) group(message string) (g Group) {
	firstLog, firstTag := len(d.logs), len(d.attrs)
	for f := loose.FieldsOf(message); f.Next(); {
		if f.Tag == groupTag {
			d.pair(f.Raw)
		}
	}
	g.Tags = d.attrs[firstTag:len(d.attrs):len(d.attrs)]
	for f := loose.FieldsOf(message); f.Next(); {
		switch f.Tag {
		case groupLog:
			d.logs = append(d.logs, d.log(f.Raw))
		case groupContextFlow:
			g.ContextFlow = validText(f.Raw)
		case groupFilename:
			g.Filename = validText(f.Raw)
		case groupSource:
			g.Source = validText(f.Raw)
		case groupHostname:
			g.Hostname = validText(f.Raw)
		}
	}
	g.Logs = d.logs[firstLog:len(d.logs):len(d.logs)]
	return g
}

func (d *listDecoder) log(message string) (l Log) {
	first := len(d.attrs)
	for f := loose.FieldsOf(message); f.Next(); {
		switch f.Tag {
		case logTime:
			text, strange := unixText(f.Field), false
			if l.Time, strange = sentTime(text); strange {
				d.attrs = append(d.attrs, logbridge.Attr{Key: logbridge.TimeRawKey, Value: text})
			}
		case logContent:
			d.pair(f.Raw)
		}
	}
	l.Fields = d.attrs[first:len(d.attrs):len(d.attrs)]
	return l
}

func (d *listDecoder) pair(message string) {
	key, value, _ := pair(message)
	d.attrs = append(d.attrs, logbridge.Attr{Key: validText(key), Value: validText(value)})
}

// validText repairs what is not valid UTF-8, and shares the memory of what is.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return loose.Repair([]byte(s))
}
