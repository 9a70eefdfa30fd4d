package loki

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// MaxPush bounds the body of a push, before and after decompression.
const MaxPush = loose.MaxUpload

// Push is what one push request brings.
type Push = loose.Upload

// Unsnap decompresses the snappy block that a protobuf push is in, into dst if that is large enough. The size that the block
// says is checked before anything is allocated. Errors: ErrInvalid, and ErrTooLarge for more than MaxPush.
func Unsnap(dst, body []byte) ([]byte, error) {
	size, err := snappy.DecodedLen(body)
	switch {
	case err != nil:
		return nil, errSnappy()
	case size > MaxPush:
		return nil, fmt.Errorf("%w: body of %d bytes after decompression, at most %d are taken", logbridge.ErrTooLarge, size, MaxPush)
	}
	out, err := snappy.Decode(dst[:cap(dst)], body)
	if err != nil {
		return nil, errSnappy()
	}
	return out, nil
}

// UnsnappedSize is what Unsnap would give, or 0 for a block that it would refuse.
func UnsnappedSize(body []byte) int {
	if size, err := snappy.DecodedLen(body); err == nil && size <= MaxPush {
		return size
	}
	return 0
}

func errSnappy() error {
	return fmt.Errorf("%w: body is not a snappy block", logbridge.ErrInvalid)
}

// DecodePushJSON reads {"streams":[{"stream":{label:value},"values":[["unix nanoseconds","line",{name:value}]]}]}; other
// members are passed over. received becomes the ObservedTime of all records. Errors: ErrInvalid, and ErrTooLarge beyond a
// bound of the request.
//
// What becomes of an entry: its line is the Body, its structured metadata and then the labels are the attributes. The stream is
// logbridge.ServiceStream of the labels service_namespace or namespace, and service_name or else the first that is there of
// those by which Loki discovers it. The level is what metadata or label level, detected_level, severity or another of Loki's
// names says, or the line as logfmt or JSON; else info. What the record says already is no attribute: the labels service_name
// and service_namespace where the stream has them as they are, and level and detected_level where they are the name of
// the record's level.
func DecodePushJSON(body []byte, received time.Time) (Push, error) {
	if err := checkPush(body); err != nil {
		return Push{}, err
	}
	d := pushDecoder{received: received.UTC()}
	in := loose.NewScanner(loose.Repair(body))
	for in.Enter('{'); in.Next(); {
		if in.Key() != "streams" {
			in.Raw()
			continue
		}
		for in.Enter('['); in.Next(); {
			d.jsonStream(&in)
		}
	}
	if err := in.End(); err != nil {
		if errors.Is(err, logbridge.ErrTooLarge) || errors.Is(err, logbridge.ErrInvalid) {
			return Push{}, err
		}
		return Push{}, fmt.Errorf("%w: %w", logbridge.ErrInvalid, err)
	}
	return d.Push, nil
}

func checkPush(body []byte) error {
	if len(body) > MaxPush {
		return fmt.Errorf("%w: body of %d bytes, at most %d are taken", logbridge.ErrTooLarge, len(body), MaxPush)
	}
	return nil
}

// pushDecoder makes records of entries.
type pushDecoder struct {
	Push
	received time.Time
}

// jsonStream reads one stream. Entries that stand before their labels wait for them.
func (d *pushDecoder) jsonStream(in *loose.Scanner) {
	var labels loose.Attributes
	var s *pushStream
	var waiting []string
	for in.Enter('{'); in.Next(); {
		switch key := in.Key(); {
		case key == "stream":
			d.jsonPairs(in, &labels)
			s = newPushStream(&labels)
		case key == "values" && s == nil:
			waiting = append(waiting, in.Raw())
		case key == "values":
			d.jsonEntries(in, s)
		default:
			in.Raw()
		}
	}
	if s == nil {
		s = newPushStream(&labels)
	}
	for _, values := range waiting {
		late := loose.NewScanner(values)
		d.jsonEntries(&late, s)
		fail(in, late.End())
	}
	if in.Err() == nil {
		fail(in, d.endStream(s))
	}
}

func fail(in *loose.Scanner, err error) {
	if err != nil {
		in.Fail(err)
	}
}

func (d *pushDecoder) jsonPairs(in *loose.Scanner, to *loose.Attributes) {
	if in.Peek() == 'n' {
		in.Raw()
		return
	}
	for in.Enter('{'); in.Next(); {
		key := in.Key()
		value := in.Text()
		if in.Err() == nil {
			fail(in, d.List(to, key, value))
		}
	}
}

// jsonEntries reads [["time","line",{metadata}],…]; a client may leave the metadata out.
func (d *pushDecoder) jsonEntries(in *loose.Scanner, s *pushStream) {
	for in.Enter('['); in.Next(); {
		fail(in, d.Begin())
		at, line := time.Time{}, ""
		n := 0
		for in.Enter('['); in.Next(); n++ {
			switch n {
			case 0:
				at = entryTime(in)
			case 1:
				line = in.Text()
			case 2:
				d.jsonPairs(in, &d.Own)
			default:
				in.Raw()
			}
		}
		if n < 2 {
			fail(in, fmt.Errorf("%w: an entry is not of the form [\"time\",\"line\"]", logbridge.ErrInvalid))
		}
		if in.Err() == nil {
			d.entry(s, at, line)
		}
	}
}

func entryTime(in *loose.Scanner) time.Time {
	n, err := strconv.ParseInt(in.Text(), 10, 64)
	if err != nil {
		fail(in, fmt.Errorf("%w: the time of an entry is not in unix nanoseconds", logbridge.ErrInvalid))
	}
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// The fields of PushRequest, StreamAdapter, EntryAdapter, LabelPairAdapter (loki/pkg/push/push.proto) and Timestamp.
const (
	pushStreams   = 1<<3 | loose.Bytes
	pushLabels    = 1<<3 | loose.Bytes
	pushEntries   = 2<<3 | loose.Bytes
	entryStamp    = 1<<3 | loose.Bytes
	entryLine     = 2<<3 | loose.Bytes
	entryMetadata = 3<<3 | loose.Bytes
	pairName      = 1<<3 | loose.Bytes
	pairValue     = 2<<3 | loose.Bytes
	stampSeconds  = 1<<3 | loose.Varint
	stampNanos    = 2<<3 | loose.Varint
)

// DecodePushProto reads a logproto.PushRequest after decompression, as DecodePushJSON does its own form.
func DecodePushProto(body []byte, received time.Time) (Push, error) {
	if err := checkPush(body); err != nil {
		return Push{}, err
	}
	d := pushDecoder{received: received.UTC()}
	err := loose.Each(string(body), func(f loose.Field) error {
		if f.Tag == pushStreams {
			return d.protoStream(f.Raw)
		}
		return nil
	})
	if err != nil {
		return Push{}, err
	}
	return d.Push, nil
}

// protoStream goes over the stream twice: the labels may stand behind the entries.
func (d *pushDecoder) protoStream(message string) error {
	var labels loose.Attributes
	err := loose.Each(message, func(f loose.Field) error {
		if f.Tag == pushLabels {
			return d.parseLabels(f.Text(), &labels)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s := newPushStream(&labels)
	err = loose.Each(message, func(f loose.Field) error {
		if f.Tag == pushEntries {
			return d.protoEntry(f.Raw, s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.endStream(s)
}

func (d *pushDecoder) protoEntry(message string, s *pushStream) error {
	if err := d.Begin(); err != nil {
		return err
	}
	var seconds, nanos int64
	line := ""
	err := loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case entryStamp:
			return loose.Each(f.Raw, func(f loose.Field) error {
				switch f.Tag {
				case stampSeconds:
					seconds = int64(f.Uint)
				case stampNanos:
					nanos = int64(int32(f.Uint))
				}
				return nil
			})
		case entryLine:
			line = f.Text()
		case entryMetadata:
			return d.protoPair(f.Raw)
		}
		return nil
	})
	if err != nil {
		return err
	}
	at := time.Time{}
	if seconds > 0 && seconds < math.MaxInt64/int64(time.Second) {
		at = time.Unix(seconds, nanos).UTC()
	}
	d.entry(s, at, line)
	return nil
}

func (d *pushDecoder) protoPair(message string) error {
	var name, value string
	err := loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case pairName:
			name = f.Text()
		case pairValue:
			value = f.Text()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.List(&d.Own, name, value)
}

// parseLabels reads labels in their text form: {name="value", …}, with Go's escapes in the values.
func (d *pushDecoder) parseLabels(text string, to *loose.Attributes) error {
	const form = `%w: the labels of a stream are not of the form {name="value"}`
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "{")
	if !ok {
		return fmt.Errorf(form, logbridge.ErrInvalid)
	}
	for rest = strings.TrimSpace(rest); rest != "}"; {
		name, after, found := strings.Cut(rest, "=")
		after = strings.TrimSpace(after)
		quoted, err := strconv.QuotedPrefix(after)
		if !found || err != nil {
			return fmt.Errorf(form, logbridge.ErrInvalid)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return fmt.Errorf(form, logbridge.ErrInvalid)
		}
		if err := d.List(to, strings.TrimSpace(name), strings.ToValidUTF8(value, "\uFFFD")); err != nil {
			return err
		}
		rest = strings.TrimSpace(after[len(quoted):])
		if next, more := strings.CutPrefix(rest, ","); more {
			rest = strings.TrimSpace(next)
		} else if rest != "}" {
			return fmt.Errorf(form, logbridge.ErrInvalid)
		}
	}
	return nil
}
