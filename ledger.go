package logbridge

import "time"

// Counts is one line of the ledger, in log lines; an undecodable request counts as one line. Received is always the sum
// of the rest.
type Counts struct {
	Received  uint64            `json:"received"`
	Stored    uint64            `json:"stored"`
	Duplicate uint64            `json:"duplicate"`
	Refused   map[string]uint64 `json:"refused"`
	Dropped   map[string]uint64 `json:"dropped"`
}

// Sums is Counts without reasons.
type Sums struct{ Stored, Duplicate, Refused, Dropped uint64 }

// Ledger says what became of everything that came in: in all, by source, and by stream. Streams that do not exist count
// as "unknown", and streams beyond the number that the ledger can keep apart as "other".
type Ledger struct {
	// Since is when the first line was counted, nil before.
	Since   *time.Time        `json:"since,omitempty"`
	Total   Counts            `json:"total"`
	Sources map[Source]Counts `json:"sources"`
	Streams []StreamCounts    `json:"streams"`
}

// StreamCounts is the ledger of one stream.
type StreamCounts struct {
	Stream Stream `json:"stream"`
	Counts
}

// The streams of the ledger that are none.
const (
	// UnknownStream is where the ledger counts what names no existing stream.
	UnknownStream Stream = "unknown"
	// OtherStreams is where it counts streams beyond the number that it can keep apart.
	OtherStreams Stream = "other"
)
