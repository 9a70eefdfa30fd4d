package logbridge

// Counts is one line of the ledger, in log lines; an undecodable request counts as one line. Received is always the sum
// of the rest.
type Counts struct {
	Received  uint64            `json:"received"`
	Stored    uint64            `json:"stored"`
	Duplicate uint64            `json:"duplicate"`
	Refused   map[string]uint64 `json:"refused"`
	Dropped   map[string]uint64 `json:"dropped"`
}

// Ledger says what became of everything that came in: in all, by source, and by stream. Streams that do not exist count
// as "unknown".
type Ledger struct {
	Total   Counts            `json:"total"`
	Sources map[Source]Counts `json:"sources"`
	Streams []StreamCounts    `json:"streams"`
}

// StreamCounts is the ledger of one stream.
type StreamCounts struct {
	Stream Stream `json:"stream"`
	Counts
}

// UnknownStream is where the ledger counts what names no existing stream.
const UnknownStream Stream = "unknown"
