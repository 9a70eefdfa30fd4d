// Package logbridge holds the nouns of the system: records and the streams they belong to, levels, devices and stores,
// queries, and the kinds of error. It is pure data on the standard library; every other package speaks in these terms
// and none of them imports another sideways (arch_test.go holds the table).
//
// Names follow the OpenTelemetry log data model where it has one.
package logbridge

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Source says through which surface a record came in.
type Source string

// The sources.
const (
	SourceMQTT      Source = "mqtt"
	SourceReportLog Source = "reportlog"
	SourceSLS       Source = "sls"
	SourceCLS       Source = "cls"
	SourceOTLP      Source = "otlp"
	SourceLoki      Source = "loki"
	SourceAudit     Source = "audit"
)

// Sources lists every source, in the order in which the sink numbers them on disk: append only.
var Sources = []Source{SourceMQTT, SourceReportLog, SourceSLS, SourceCLS, SourceOTLP, SourceLoki, SourceAudit}

// TimeQuality says how Record.Time was found.
type TimeQuality uint8

// The qualities, numbered as the sink writes them: append only.
const (
	// TimeDevice: as the sender said.
	TimeDevice TimeQuality = iota
	// TimeShifted: the sender's clock was wrong; its time moved by the skew of its batch.
	TimeShifted
	// TimeReceived: no usable time was sent; the time of receipt.
	TimeReceived
)

func (q TimeQuality) String() string {
	switch q {
	case TimeDevice:
		return "device"
	case TimeShifted:
		return "shifted"
	case TimeReceived:
		return "received"
	}
	return "unknown"
}

// MarshalText writes the name.
func (q TimeQuality) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// Attr is one attribute. Order is kept, and a key may occur twice, as senders do.
type Attr struct{ Key, Value string }

// Record is one log line or one web event. A device line has its text in Body; a web event has an empty Body and its
// fields in Attributes. Text is UTF-8.
type Record struct {
	// Time is the event time after repair, with TimeQuality saying how it was found.
	Time time.Time
	// ObservedTime is the time of receipt.
	ObservedTime time.Time
	TimeQuality  TimeQuality
	Source       Source
	Stream       Stream
	// Severity is LevelError to LevelDebug; a line without a level counts as info.
	Severity   Level
	Body       string
	Attributes []Attr
	// Position is where the sink put the record. Append ignores it; Query and Tail fill it in.
	Position Position
}

// Batch is what one request or message brought. Its records are appended together.
type Batch struct {
	Records []Record
	// ReplayKey, when set, names this very upload or message, so that a repetition is acknowledged and not stored again.
	// Empty means never merged.
	ReplayKey string
	// Delivery says which batches with this key it repeats.
	Delivery Delivery
}

// Delivery says how a batch came, as the sink writes it: append only.
type Delivery uint8

// The deliveries.
const (
	// SignedUpload carries its own nonce and signature: it repeats any earlier one with its key.
	SignedUpload Delivery = iota
	// FirstDelivery is an MQTT message without the DUP flag: it is always new, since its text may well be that of an
	// earlier one.
	FirstDelivery
	// Redelivery is one with the flag: it repeats a delivery of the last minutes. Uploads of services, whose clients send the
	// same bytes again when they have no answer, always are.
	Redelivery
)

// Receipt says what became of a batch.
type Receipt struct {
	Stored    int // records stored by this call
	Duplicate int // records that were stored before
	Dropped   int // records that will not be stored, since their device or product is over its quota
}

// Outcome is what became of one of several batches.
type Outcome struct {
	Receipt
	Err error
}

// Position is the place of a record in the order in which the sink accepted them: the sequence number of its commit and
// its index in there. Outside it is an opaque string.
type Position struct {
	Seq   uint64
	Index uint32
}

// IsZero reports whether p is before every record.
func (p Position) IsZero() bool { return p == Position{} }

// Compare orders positions.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Seq, o.Seq), cmp.Compare(p.Index, o.Index))
}

func (p Position) String() string {
	return strconv.FormatUint(p.Seq, 10) + "." + strconv.FormatUint(uint64(p.Index), 10)
}

// MarshalText is String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	a, b, ok := strings.Cut(s, ".")
	seq, err1 := strconv.ParseUint(a, 10, 64)
	index, err2 := strconv.ParseUint(b, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return Position{}, fmt.Errorf("%w: position %q is not one that a record's seq gave", ErrInvalid, clip(s))
	}
	return Position{Seq: seq, Index: uint32(index)}, nil
}
