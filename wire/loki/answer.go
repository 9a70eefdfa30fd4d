package loki

import "time"

// Entry is one line of an answer.
type Entry struct {
	Time time.Time
	Line string
	// Metadata and Parsed are written by answers with categorized labels only.
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

// Answer writes the answer of a query piece by piece: Open, any number of elements of one kind, Close. Each appends to b and
// returns the extended slice, so that a caller may send what there is and go on with an empty one.
type Answer struct {
	// Type is streams, matrix, vector or scalar.
	Type ResultType
	// Categorized: labels are kept apart as the header X-Loki-Response-Encoding-Flags: categorize-labels asks for.
	Categorized bool

	elements int
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

// Open begins the answer.
func (a *Answer) Open(b []byte) []byte { return b }

// Stream writes an element of a streams answer.
func (a *Answer) Stream(b []byte, s Stream) []byte { return b }

// Series writes an element of a matrix answer.
func (a *Answer) Series(b []byte, s Series) []byte { return b }

// Sample writes an element of a vector answer, or the one of a scalar answer, which has no labels.
func (a *Answer) Sample(b []byte, labels []Label, s Sample) []byte { return b }

// Close ends the answer.
func (a *Answer) Close(b []byte) []byte { return b }

// Dropped is one line that a tail passed over, or several: Labels say so.
type Dropped struct {
	Time   time.Time
	Labels []Label
}

// AppendFrame writes a frame of a tail: streams, and what was dropped. Both keys are left out when empty.
func AppendFrame(b []byte, streams []Stream, dropped []Dropped, categorized bool) []byte { return b }

// AppendStrings writes the answer of labels and of a label's values.
func AppendStrings(b []byte, values []string) []byte { return b }

// AppendSets writes the answer of series: sets of labels.
func AppendSets(b []byte, sets [][]Label) []byte { return b }

// AppendError writes the body of an answer that is an error: {"status":"error","errorType":…,"error":…,"message":…}. Grafana shows
// message, logcli the whole.
func AppendError(b []byte, kind, message string) []byte { return b }
