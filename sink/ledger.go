package sink

import (
	"cmp"
	"slices"
	"sync"

	"github.com/logbridge/logbridge"
)

// ledger counts what became of everything that came in since the start: received = stored + duplicate + refused +
// dropped. Its size is bounded by the streams that exist, for callers name only those.
type ledger struct {
	mu      sync.Mutex
	entries map[ledgerKey]*logbridge.Counts
}

type ledgerKey struct {
	source logbridge.Source
	stream logbridge.Stream
}

func newLedger() *ledger { return &ledger{entries: map[ledgerKey]*logbridge.Counts{}} }

// entry needs the lock.
func (l *ledger) entry(source logbridge.Source, stream logbridge.Stream) *logbridge.Counts {
	if stream == "" {
		stream = logbridge.UnknownStream
	}
	k := ledgerKey{source, stream}
	c := l.entries[k]
	if c == nil {
		c = &logbridge.Counts{}
		l.entries[k] = c
	}
	return c
}

// counter gives a function that counts the records of one group; live is false for groups that were counted when they
// came in.
func (l *ledger) counter(live bool) func(r *row, kept bool) {
	if !live {
		return func(*row, bool) {}
	}
	var last *logbridge.Counts // uploads are mostly of one stream
	var lastKey ledgerKey
	return func(r *row, kept bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if source := logbridge.Sources[r.source]; last == nil || lastKey.source != source || string(lastKey.stream) != string(r.stream) {
			lastKey = ledgerKey{source, logbridge.Stream(r.stream)}
			last = l.entry(source, lastKey.stream)
		}
		last.Received++
		if kept {
			last.Stored++
		} else {
			last.Duplicate++
		}
	}
}

// reasonUnavailable counts what Append could not store: the sender was told to try again.
const reasonUnavailable = "unavailable"

// refuseBatch counts a batch that was not taken.
func (l *ledger) refuseBatch(records []logbridge.Record) {
	for i := range records {
		l.refuse(records[i].Source, records[i].Stream, reasonUnavailable, 1)
	}
}

// refuseGroup counts a group that the commit log did not take.
func (l *ledger) refuseGroup(g *group) {
	// The bytes were encoded a moment ago: there is no error.
	_ = decodeGroup(g.raw, func(uploadHead) {}, func(_ int, _ uint32, r row) {
		l.refuse(logbridge.Sources[r.source], logbridge.Stream(r.stream), reasonUnavailable, 1)
	})
}

func (l *ledger) refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.entry(source, stream)
	c.Received += uint64(lines)
	if c.Refused == nil {
		c.Refused = map[string]uint64{}
	}
	c.Refused[reason] += uint64(lines)
}

// Refuse counts lines that were refused before Append: the sender was told. stream is empty when it names none that
// exists. What Append itself refuses as unavailable is counted by Append, when its outcome is known.
func (l *Log) Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.ledger.refuse(source, stream, reason, lines)
}

// Drop counts lines that were acknowledged and not stored, since their sender would repeat them for ever.
func (l *Log) Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	c := l.ledger.entry(source, stream)
	c.Received += uint64(lines)
	if c.Dropped == nil {
		c.Dropped = map[string]uint64{}
	}
	c.Dropped[reason] += uint64(lines)
}

// Ledger gives the counts since the start: in all, by source and by stream.
func (l *Log) Ledger() logbridge.Ledger {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	out := logbridge.Ledger{Total: emptyCounts(), Sources: map[logbridge.Source]logbridge.Counts{}}
	streams := map[logbridge.Stream]logbridge.Counts{}
	for k, c := range l.ledger.entries {
		out.Total = addCounts(out.Total, c)
		out.Sources[k.source] = addCounts(out.Sources[k.source], c)
		streams[k.stream] = addCounts(streams[k.stream], c)
	}
	out.Streams = []logbridge.StreamCounts{}
	for s, c := range streams {
		out.Streams = append(out.Streams, logbridge.StreamCounts{Stream: s, Counts: c})
	}
	slices.SortFunc(out.Streams, func(a, b logbridge.StreamCounts) int { return cmp.Compare(a.Stream, b.Stream) })
	return out
}

func emptyCounts() logbridge.Counts {
	return logbridge.Counts{Refused: map[string]uint64{}, Dropped: map[string]uint64{}}
}

func addCounts(sum logbridge.Counts, c *logbridge.Counts) logbridge.Counts {
	if sum.Refused == nil {
		sum = emptyCounts()
	}
	sum.Received += c.Received
	sum.Stored += c.Stored
	sum.Duplicate += c.Duplicate
	for reason, n := range c.Refused {
		sum.Refused[reason] += n
	}
	for reason, n := range c.Dropped {
		sum.Dropped[reason] += n
	}
	return sum
}
