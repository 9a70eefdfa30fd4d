package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// The fields of each message, by number and wire type (collector/logs/v1, logs/v1, common/v1 and resource/v1).
const (
	first  = 1<<3 | loose.Bytes // the one field of lists, the first of others
	second = 2<<3 | loose.Bytes

	resourceDropped = 2<<3 | loose.Varint

	scopeAttributes = 3<<3 | loose.Bytes
	scopeDropped    = 4<<3 | loose.Varint

	recordTime         = 1<<3 | loose.Fixed64
	recordSeverity     = 2<<3 | loose.Varint
	recordSeverityText = 3<<3 | loose.Bytes
	recordBody         = 5<<3 | loose.Bytes
	recordAttributes   = 6<<3 | loose.Bytes
	recordDropped      = 7<<3 | loose.Varint
	recordFlags        = 8<<3 | loose.Fixed32
	recordTraceID      = 9<<3 | loose.Bytes
	recordSpanID       = 10<<3 | loose.Bytes
	recordObserved     = 11<<3 | loose.Fixed64
	recordEventName    = 12<<3 | loose.Bytes

	valueString = 1<<3 | loose.Bytes
	valueBool   = 2<<3 | loose.Varint
	valueInt    = 3<<3 | loose.Varint
	valueDouble = 4<<3 | loose.Fixed64
	valueArray  = 5<<3 | loose.Bytes
	valueList   = 6<<3 | loose.Bytes
	valueBytes  = 7<<3 | loose.Bytes
)

// DecodeProto reads a body of type application/x-protobuf. received becomes the ObservedTime of all records. Errors:
// ErrInvalid, and ErrTooLarge beyond a bound of the request.
func DecodeProto(body []byte, received time.Time) (Request, error) {
	if err := checkBody(body); err != nil {
		return Request{}, err
	}
	d := protoDecoder{builder{received: received.UTC()}}
	err := loose.Each(string(body), func(f loose.Field) error {
		if f.Tag == first {
			return d.resourceLogs(f.Raw)
		}
		return nil
	})
	if err != nil {
		return Request{}, err
	}
	return d.Request, nil
}

func checkBody(body []byte) error {
	if len(body) > MaxBody {
		return fmt.Errorf("%w: body of %d bytes, at most %d are taken", logbridge.ErrTooLarge, len(body), MaxBody)
	}
	return nil
}

type protoDecoder struct{ builder }

func (d *protoDecoder) resourceLogs(message string) error {
	var resource part
	err := loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case first:
			return d.resource(f.Raw, &resource)
		case second:
			return d.scopeLogs(f.Raw)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.endResource(&resource)
}

func (d *protoDecoder) resource(message string, to *part) error {
	return loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case first:
			return d.keyValue(f.Raw, &to.Attributes)
		case resourceDropped:
			to.dropped = f.Uint
		}
		return nil
	})
}

func (d *protoDecoder) scopeLogs(message string) error {
	var scope part
	err := loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case first:
			return d.scope(f.Raw, &scope)
		case second:
			return d.logRecord(f.Raw)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.endScope(&scope)
	return nil
}

func (d *protoDecoder) scope(message string, to *part) error {
	return loose.Each(message, func(f loose.Field) error {
		switch f.Tag {
		case first:
			to.name = f.Text()
		case second:
			to.version = f.Text()
		case scopeAttributes:
			return d.keyValue(f.Raw, &to.Attributes)
		case scopeDropped:
			to.dropped = f.Uint
		}
		return nil
	})
}

func (d *protoDecoder) logRecord(message string) error {
	if err := d.Begin(); err != nil {
		return err
	}
	var r logRecord
	err := loose.Each(message, func(f loose.Field) (err error) {
		switch f.Tag {
		case recordTime:
			r.time = f.Uint
		case recordObserved:
			r.observed = f.Uint
		case recordSeverity:
			r.number = int64(int32(f.Uint))
		case recordSeverityText:
			r.severityText = f.Text()
		case recordBody:
			r.body, err = d.value(f.Raw, 0)
		case recordAttributes:
			err = d.keyValue(f.Raw, &d.Own)
		case recordDropped:
			r.dropped = f.Uint
		case recordFlags:
			r.flags = f.Uint
		case recordTraceID:
			r.traceID = id(f.Raw)
		case recordSpanID:
			r.spanID = id(f.Raw)
		case recordEventName:
			r.eventName = f.Text()
		}
		return err
	})
	if err != nil {
		return err
	}
	d.end(&r)
	return nil
}

// id writes a trace's or span's id; all zeros are none.
func id(raw string) string {
	for i := range len(raw) {
		if raw[i] != 0 {
			return hex.EncodeToString([]byte(raw))
		}
	}
	return ""
}

// pair reads a KeyValue.
func (d *protoDecoder) pair(message string, depth int) (key string, v value, err error) {
	err = loose.Each(message, func(f loose.Field) (err error) {
		switch f.Tag {
		case first:
			key = f.Text()
		case second:
			v, err = d.value(f.Raw, depth)
		}
		return err
	})
	return key, v, err
}

func (d *protoDecoder) keyValue(message string, to *loose.Attributes) error {
	key, v, err := d.pair(message, 0)
	if err != nil {
		return err
	}
	return d.list(to, key, v)
}

// value reads an AnyValue that is inside of depth others.
func (d *protoDecoder) value(message string, depth int) (v value, err error) {
	err = loose.Each(message, func(f loose.Field) (err error) {
		switch f.Tag {
		case valueString:
			v = text(f.Text())
		case valueBool:
			v = boolean(f.Uint != 0)
		case valueInt:
			v = integer(int64(f.Uint))
		case valueDouble:
			v = double(math.Float64frombits(f.Uint))
		case valueBytes:
			v = text(base64.StdEncoding.EncodeToString([]byte(f.Raw)))
		case valueArray:
			v, err = d.composite('[', f.Raw, depth+1)
		case valueList:
			v, err = d.composite('{', f.Raw, depth+1)
		}
		return err
	})
	return v, err
}

func (d *protoDecoder) composite(open byte, message string, depth int) (value, error) {
	if depth > maxDepth {
		return value{}, errDepth()
	}
	c := newComposite(open)
	err := loose.Each(message, func(f loose.Field) (err error) {
		if f.Tag != first {
			return nil
		}
		var key string
		var v value
		if open == '{' {
			key, v, err = d.pair(f.Raw, depth)
		} else {
			v, err = d.value(f.Raw, depth)
		}
		c.add(key, v)
		return err
	})
	return c.value(), err
}

func errDepth() error {
	return fmt.Errorf("%w: a value is nested more than %d deep", logbridge.ErrInvalid, maxDepth)
}
