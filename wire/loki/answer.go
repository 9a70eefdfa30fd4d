package loki

import (
	"math"
	"strconv"
	"time"

	"github.com/logbridge/logbridge/wire/loose"
)

// Entry is one line of an answer.
type Entry struct {
	Time time.Time
	Line string
	// Metadata and Parsed are written by answers with categorized labels only; in others the stream's labels hold them.
	Metadata, Parsed []Label
}

// Stream is a set of labels with its lines.
type Stream struct {
	Labels  []Label
	Entries []Entry
}

// Sample is a value at a time.
type Sample struct {
	Time  time.Time
	Value float64
}

// Series is a set of labels with its values.
type Series struct {
	Labels  []Label
	Samples []Sample
}

// ResultType is what a query's answer holds.
type ResultType string

// The types of an answer.
const (
	Streams ResultType = "streams"
	Matrix  ResultType = "matrix"
	Vector  ResultType = "vector"
	Scalar  ResultType = "scalar"
)

// Answer writes the answer of a query piece by piece: Open, any number of elements of one kind, Close. Each appends to b and
// returns the extended slice, so that a caller may send what there is and go on with an empty one.
//
//	{"status":"success","data":{"resultType":"streams","result":[…],"stats":{}}}
type Answer struct {
	Type ResultType
	// Categorized: labels are kept apart as the header X-Loki-Response-Encoding-Flags: categorize-labels asks for. It is of use for
	// streams only, and must then be so for all of them: readers stumble over a mixture.
	Categorized bool

	elements int
}

// flags is what an answer or frame with categorized labels says of itself.
const flags = `"encodingFlags":["categorize-labels"]`

// Open begins the answer.
func (a *Answer) Open(b []byte) []byte {
	b = append(b, `{"status":"success","data":{"resultType":"`...)
	b = append(b, a.Type...)
	b = append(b, '"', ',')
	if a.Categorized {
		b = append(b, flags...)
		b = append(b, ',')
	}
	b = append(b, `"result":`...)
	if a.Type != Scalar {
		b = append(b, '[')
	}
	return b
}

// Stream writes an element of a streams answer.
func (a *Answer) Stream(b []byte, s Stream) []byte {
	return appendStream(a.element(b), s, a.Categorized)
}

// Series writes an element of a matrix answer.
func (a *Answer) Series(b []byte, s Series) []byte {
	b = append(a.element(b), `{"metric":`...)
	b = appendLabels(b, s.Labels)
	b = append(b, `,"values":`...)
	return append(appendList(b, s.Samples, appendSample), '}')
}

// Sample writes an element of a vector answer, or the one of a scalar answer, which has no labels.
func (a *Answer) Sample(b []byte, labels []Label, s Sample) []byte {
	if a.Type == Scalar {
		return appendSample(b, s)
	}
	b = append(a.element(b), `{"metric":`...)
	b = appendLabels(b, labels)
	b = append(b, `,"value":`...)
	return append(appendSample(b, s), '}')
}

// Close ends the answer.
func (a *Answer) Close(b []byte) []byte {
	if a.Type != Scalar {
		b = append(b, ']')
	}
	return append(b, `,"stats":{}}}`...)
}

func (a *Answer) element(b []byte) []byte {
	if a.elements++; a.elements > 1 {
		b = append(b, ',')
	}
	return b
}

func appendStream(b []byte, s Stream, categorized bool) []byte {
	b = append(b, `{"stream":`...)
	b = appendLabels(b, s.Labels)
	b = append(b, `,"values":`...)
	b = appendList(b, s.Entries, func(b []byte, e Entry) []byte { return appendEntry(b, &e, categorized) })
	return append(b, '}')
}

// appendList writes an array.
func appendList[T any](b []byte, items []T, item func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, items[i])
	}
	return append(b, ']')
}

// appendEntry writes ["ns","line"], and with categorized labels always a third element, be it empty.
func appendEntry(b []byte, e *Entry, categorized bool) []byte {
	b = append(b, '[', '"')
	b = strconv.AppendInt(b, e.Time.UnixNano(), 10)
	b = append(b, '"', ',')
	b = loose.AppendString(b, e.Line)
	if !categorized {
		return append(b, ']')
	}
	b = append(b, ',', '{')
	if len(e.Metadata) > 0 {
		b = append(b, `"structuredMetadata":`...)
		b = appendLabels(b, e.Metadata)
	}
	if len(e.Parsed) > 0 {
		if len(e.Metadata) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"parsed":`...)
		b = appendLabels(b, e.Parsed)
	}
	return append(b, '}', ']')
}

func appendLabels(b []byte, labels []Label) []byte {
	b = append(b, '{')
	for i, l := range labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = loose.AppendString(b, l.Name)
		b = append(b, ':')
		b = loose.AppendString(b, l.Value)
	}
	return append(b, '}')
}

// appendSample writes [seconds,"value"].
func appendSample(b []byte, s Sample) []byte {
	b = append(b, '[')
	b = appendSeconds(b, s.Time)
	b = append(b, ',', '"')
	b = appendValue(b, s.Value)
	return append(b, '"', ']')
}

// appendSeconds writes a time of a sample: seconds with a fraction down to milliseconds, as Prometheus does.
func appendSeconds(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if ms %= 1000; ms == 0 {
		return b
	}
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// appendValue writes a value as Prometheus and Loki do: never with an exponent, and +Inf, -Inf and NaN by their names.
func appendValue(b []byte, v float64) []byte {
	if math.IsInf(v, 1) {
		return append(b, "+Inf"...)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// Dropped says of a tail that lines of this time and these labels were passed over.
type Dropped struct {
	Time   time.Time
	Labels []Label
}

// AppendFrame writes a frame of a tail: {"streams":[…],"dropped_entries":[{"timestamp":"ns","labels":{…}}]}. A key of which there
// is nothing is left out.
func AppendFrame(b []byte, streams []Stream, dropped []Dropped, categorized bool) []byte {
	next := byte('{')
	key := func(text string) {
		b = append(append(b, next), text...)
		next = ','
	}
	if len(streams) > 0 {
		key(`"streams":`)
		b = appendList(b, streams, func(b []byte, s Stream) []byte { return appendStream(b, s, categorized) })
	}
	if len(dropped) > 0 {
		key(`"dropped_entries":`)
		b = appendList(b, dropped, appendDropped)
	}
	if categorized {
		key(flags)
	}
	if next == '{' {
		b = append(b, next)
	}
	return append(b, '}')
}

func appendDropped(b []byte, d Dropped) []byte {
	b = append(b, `{"timestamp":"`...)
	b = strconv.AppendInt(b, d.Time.UnixNano(), 10)
	b = append(b, `","labels":`...)
	return append(appendLabels(b, d.Labels), '}')
}

// listHead begins the answers that are lists alone.
const listHead = `{"status":"success","data":`

// AppendStrings writes the answer of labels and of a label's values: {"status":"success","data":[…]}.
func AppendStrings(b []byte, values []string) []byte {
	return append(appendList(append(b, listHead...), values, loose.AppendString), '}')
}

// AppendSets writes the answer of series: {"status":"success","data":[{…}]}.
func AppendSets(b []byte, sets [][]Label) []byte {
	return append(appendList(append(b, listHead...), sets, appendLabels), '}')
}

// AppendError writes the body of an answer that is an error: {"status":"error","errorType":…,"error":…,"message":…}. kind is one of
// Prometheus's, such as bad_data or timeout. Grafana shows message, or error for the API of Prometheus; logcli shows the whole.
func AppendError(b []byte, kind, message string) []byte {
	b = append(b, `{"status":"error","errorType":`...)
	b = loose.AppendString(b, kind)
	b = append(b, `,"error":`...)
	b = loose.AppendString(b, message)
	b = append(b, `,"message":`...)
	b = loose.AppendString(b, message)
	return append(b, '}')
}
