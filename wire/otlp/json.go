package otlp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// DecodeJSON reads a body of type application/json, the JSON form of protobuf with the protocol's own deviations: names in
// lowerCamelCase only, ids of traces and spans in hex, enumerations as integers (their names are taken too), 64-bit
// integers as strings (numbers are taken too); unknown members are passed over, and null is as if a member were not there.
// received becomes the ObservedTime of all records. Errors: ErrInvalid, and ErrTooLarge beyond a bound of the request.
func DecodeJSON(body []byte, received time.Time) (Request, error) {
	if err := checkBody(body); err != nil {
		return Request{}, err
	}
	d := jsonDecoder{builder: builder{received: received.UTC()}, in: loose.NewScanner(loose.Repair(body))}
	d.members(func(key string) {
		if key == "resourceLogs" {
			d.elements(d.resourceLogs)
			return
		}
		d.in.Raw()
	})
	if err := d.in.End(); err != nil {
		if errors.Is(err, logbridge.ErrTooLarge) || errors.Is(err, logbridge.ErrInvalid) {
			return Request{}, err
		}
		return Request{}, fmt.Errorf("%w: %w", logbridge.ErrInvalid, err)
	}
	return d.Request, nil
}

type jsonDecoder struct {
	builder
	in loose.Scanner
}

// null passes over a null.
func (d *jsonDecoder) null() bool {
	if d.in.Peek() != 'n' {
		return false
	}
	d.in.Raw()
	return true
}

// members calls use for each member of an object; it must consume the value.
func (d *jsonDecoder) members(use func(key string)) {
	if d.null() {
		return
	}
	for d.in.Enter('{'); d.in.Next(); {
		use(d.in.Key())
	}
}

// elements calls use for each element of an array; it must consume it.
func (d *jsonDecoder) elements(use func()) {
	if d.null() {
		return
	}
	for d.in.Enter('['); d.in.Next(); {
		use()
	}
}

func (d *jsonDecoder) check(err error) {
	if err != nil {
		d.in.Fail(err)
	}
}

func (d *jsonDecoder) resourceLogs() {
	var resource part
	d.members(func(key string) {
		switch key {
		case "resource":
			d.part(&resource)
		case "scopeLogs":
			d.elements(d.scopeLogs)
		default:
			d.in.Raw()
		}
	})
	if d.in.Err() == nil {
		d.check(d.endResource(&resource))
	}
}

func (d *jsonDecoder) scopeLogs() {
	var scope part
	d.members(func(key string) {
		switch key {
		case "scope":
			d.part(&scope)
		case "logRecords":
			d.elements(d.logRecord)
		default:
			d.in.Raw()
		}
	})
	d.endScope(&scope)
}

// part reads a resource or a scope; only a scope has a name and a version.
func (d *jsonDecoder) part(to *part) {
	d.members(func(key string) {
		switch key {
		case "name":
			to.name = d.in.Optional()
		case "version":
			to.version = d.in.Optional()
		case "attributes":
			d.attributes(&to.Attributes)
		case "droppedAttributesCount":
			to.dropped = d.unsigned()
		default:
			d.in.Raw()
		}
	})
}

func (d *jsonDecoder) logRecord() {
	d.check(d.Begin())
	var r logRecord
	d.members(func(key string) {
		switch key {
		case "timeUnixNano":
			r.time = d.unsigned()
		case "observedTimeUnixNano":
			r.observed = d.unsigned()
		case "severityNumber":
			d.severityNumber(&r)
		case "severityText":
			r.severityText = d.in.Optional()
		case "body":
			r.body = d.value(0)
		case "attributes":
			d.attributes(&d.Own)
		case "droppedAttributesCount":
			r.dropped = d.unsigned()
		case "flags":
			r.flags = d.unsigned()
		case "traceId":
			r.traceID = d.id()
		case "spanId":
			r.spanID = d.id()
		case "eventName":
			r.eventName = d.in.Optional()
		default:
			d.in.Raw()
		}
	})
	if d.in.Err() == nil {
		d.end(&r)
	}
}

// severityNumber reads an integer, or a name of the enumeration in place of a missing text.
func (d *jsonDecoder) severityNumber(r *logRecord) {
	said := d.in.Optional()
	if n, err := strconv.ParseInt(said, 10, 32); err == nil {
		r.number = n
		return
	}
	if r.severityText == "" {
		r.severityText = said
	}
}

// id reads an id in hex, which is kept in lower case; all zeros are none.
func (d *jsonDecoder) id() string {
	s := strings.ToLower(d.in.Optional())
	if strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// unsigned reads an integer, as a string or a number.
func (d *jsonDecoder) unsigned() uint64 {
	s := d.in.Optional()
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		d.check(fmt.Errorf("%w: a time, a count or flags are no integer from 0 on", logbridge.ErrInvalid))
	}
	return n
}

func (d *jsonDecoder) attributes(to *loose.Attributes) {
	d.elements(func() {
		key, v := d.pair(0)
		if d.in.Err() == nil {
			d.check(d.list(to, key, v))
		}
	})
}

// pair reads a KeyValue.
func (d *jsonDecoder) pair(depth int) (key string, v value) {
	d.members(func(name string) {
		switch name {
		case "key":
			key = d.in.Optional()
		case "value":
			v = d.value(depth)
		default:
			d.in.Raw()
		}
	})
	return key, v
}

// value reads an AnyValue that is inside of depth others.
func (d *jsonDecoder) value(depth int) (v value) {
	d.members(func(name string) {
		if d.null() {
			return
		}
		switch name {
		case "stringValue":
			v = text(d.in.Text())
		case "boolValue":
			v = boolean(d.in.Text() == "true")
		case "intValue":
			v = d.integer()
		case "doubleValue":
			v = d.double()
		case "bytesValue":
			v = text(standardBase64(d.in.Text()))
		case "arrayValue":
			v = d.composite('[', depth+1)
		case "kvlistValue":
			v = d.composite('{', depth+1)
		default:
			d.in.Raw()
		}
	})
	return v
}

func (d *jsonDecoder) integer() value {
	n, err := strconv.ParseInt(d.in.Text(), 10, 64)
	if err != nil {
		d.check(fmt.Errorf("%w: an intValue is no 64-bit integer", logbridge.ErrInvalid))
	}
	return integer(n)
}

func (d *jsonDecoder) double() value {
	f, err := strconv.ParseFloat(d.in.Text(), 64)
	if err != nil && !math.IsInf(f, 0) { // beyond a double's range is infinite
		d.check(fmt.Errorf("%w: a doubleValue is no number", logbridge.ErrInvalid))
	}
	return double(f)
}

// standardBase64 is s in the standard alphabet with padding, if it was in the URL's or without; what is no base64 stays.
func standardBase64(s string) string {
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil {
		return s
	}
	return base64.StdEncoding.EncodeToString(b)
}

// composite reads an ArrayValue or a KeyValueList, which have one member: values.
func (d *jsonDecoder) composite(open byte, depth int) value {
	if depth > maxDepth {
		d.check(errDepth())
		return value{}
	}
	c := newComposite(open)
	d.members(func(name string) {
		if name != "values" {
			d.in.Raw()
			return
		}
		d.elements(func() {
			var key string
			var v value
			if open == '{' {
				key, v = d.pair(depth)
			} else {
				v = d.value(depth)
			}
			c.add(key, v)
		})
	})
	return c.value()
}
