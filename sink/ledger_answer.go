package sink

import (
	"cmp"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// Refuse counts lines that were refused before Append: the sender was told. stream is empty when it names none that
// exists. What Append itself refuses as unavailable is counted by Append, when its outcome is known.
func (l *Log) Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.ledger.lose(false, source, stream, reason, lines)
}

// Drop counts lines that were acknowledged and not stored, since their sender would repeat them for ever.
func (l *Log) Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	l.ledger.lose(true, source, stream, reason, lines)
}

// Ledger gives all counts: in all, by source and by stream.
func (l *Log) Ledger() logbridge.Ledger { return l.ledger.answer() }

// LedgerOf gives the sums of some streams, in their order; it costs the same however many others there are.
func (l *Log) LedgerOf(streams []logbridge.Stream) []logbridge.Sums { return l.ledger.of(streams) }

func (l *ledger) of(streams []logbridge.Stream) []logbridge.Sums {
	out := make([]logbridge.Sums, len(streams))
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range streams {
		for _, entries := range l.index {
			if at, ok := entries[string(s)]; ok {
				l.entries[at].sum(&out[i])
			}
		}
	}
	unreported := l.unreported()
	if len(unreported) == 0 {
		return out
	}
	place := make(map[logbridge.Stream]int, len(streams))
	for i, s := range streams {
		place[s] = i
	}
	for _, c := range unreported {
		if i, ok := place[c.stream]; ok {
			t := tally{lost: []lostLines{{c.reason, c.dropped, c.lines}}}
			t.sum(&out[i])
		}
	}
	return out
}

// LedgerLosses gives the sums of the streams of which lines were refused or dropped, in no order. Its cost is that of a look at
// each stream.
func (l *Log) LedgerLosses() map[logbridge.Stream]logbridge.Sums { return l.ledger.losses() }

func (l *ledger) losses() map[logbridge.Stream]logbridge.Sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[logbridge.Stream]logbridge.Sums{}
	for i := range l.entries {
		if e := &l.entries[i]; len(e.lost) > 0 {
			sums := out[logbridge.Stream(e.stream)]
			e.sum(&sums)
			out[logbridge.Stream(e.stream)] = sums
		}
	}
	for _, c := range l.unreported() {
		sums := out[c.stream]
		t := tally{lost: []lostLines{{c.reason, c.dropped, c.lines}}}
		t.sum(&sums)
		out[c.stream] = sums
	}
	return out
}

func (t *tally) sum(to *logbridge.Sums) {
	to.Stored += t.stored
	to.Duplicate += t.duplicate
	for _, l := range t.lost {
		if l.dropped {
			to.Dropped += l.lines
		} else {
			to.Refused += l.lines
		}
	}
}

// answer copies under the lock and sums without it: there may be many streams.
func (l *ledger) answer() logbridge.Ledger {
	l.mu.Lock()
	entries, sources := slices.Clone(l.entries), slices.Clone(l.sources)
	unreported, since := l.unreported(), l.since
	l.mu.Unlock()
	var out logbridge.Ledger
	if since != 0 {
		at := time.Unix(0, since).UTC()
		out.Since = &at
	}
	out.Sources, out.Total = sumSources(sources, unreported)
	out.Streams = sumStreams(entries, unreported)
	return out
}

// LedgerSources gives the counts by source, which costs the same however many streams there are.
func (l *Log) LedgerSources() map[logbridge.Source]logbridge.Counts {
	l.ledger.mu.Lock()
	sources, unreported := slices.Clone(l.ledger.sources), l.ledger.unreported()
	l.ledger.mu.Unlock()
	out, _ := sumSources(sources, unreported)
	return out
}

// sumSources gives the counts of each source that has any, and of all.
func sumSources(sources []tally, unreported []lost) (map[logbridge.Source]logbridge.Counts, logbridge.Counts) {
	for _, c := range unreported {
		sources[c.source].lose(c.lostKey, c.lines)
	}
	out, total := map[logbridge.Source]logbridge.Counts{}, newCounts()
	for i, t := range sources {
		c := newCounts()
		t.addTo(&c)
		t.addTo(&total)
		if c.Received > 0 {
			out[logbridge.Sources[i]] = c
		}
	}
	return out, total
}

// sumStreams gives the counts of each stream, sorted by name.
func sumStreams(entries []ledgerEntry, unreported []lost) []logbridge.StreamCounts {
	for _, c := range unreported {
		e := ledgerEntry{stream: string(c.stream)}
		e.lose(c.lostKey, c.lines)
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b ledgerEntry) int { return cmp.Compare(a.stream, b.stream) })
	out := []logbridge.StreamCounts{}
	for i, e := range entries {
		if i == 0 || entries[i-1].stream != e.stream {
			out = append(out, logbridge.StreamCounts{Stream: logbridge.Stream(e.stream), Counts: newCounts()})
		}
		e.addTo(&out[len(out)-1].Counts)
	}
	return out
}

func newCounts() logbridge.Counts {
	return logbridge.Counts{Refused: map[string]uint64{}, Dropped: map[string]uint64{}}
}

func (t *tally) addTo(c *logbridge.Counts) {
	c.Stored += t.stored
	c.Duplicate += t.duplicate
	c.Received += t.stored + t.duplicate
	for _, l := range t.lost {
		to := c.Refused
		if l.dropped {
			to = c.Dropped
		}
		to[l.reason] += l.lines
		c.Received += l.lines
	}
}
