package sink

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// maxLedgerStreams bounds the streams of the ledger, each once for every source it has lines from: those beyond are counted
// as "other". A stream that was deleted stays.
const maxLedgerStreams = 100_000

// reasonUnavailable counts what Append could not store: the sender was told to try again.
const reasonUnavailable = "unavailable"

// ledger counts what became of everything that came in: received = stored + duplicate + refused + dropped.
//
// What is counted is a function of the commit log. The indexer counts stored and duplicate as it takes a group, live or at a
// restart. What was refused and dropped is in no upload: it is collected here and rides as a report in the next group, or
// in one of its own, and counts for good when the indexer takes that. A checkpoint beside each segment holds the counts at
// its end (ledger_file.go). So a crash loses the refusals since the last report, of a second, or of the time that the commit
// log took nothing: they then never came in at all, and the equation stays exact.
type ledger struct {
	bound int

	mu      sync.Mutex
	index   []map[string]uint32 // by source: stream to place in entries
	entries []ledgerEntry
	sources []tally // by source
	since   int64   // when the first line was counted, ns since 1970; 0 before

	pending map[lostKey]uint64 // not in a report yet
	flying  map[uint64]*report // reports on their way through the commit log, by id
}

// ledgerEntry is what one stream has by one source.
type ledgerEntry struct {
	source uint8
	stream string
	tally
}

// tally is what became of lines. The lines of lost are never changed in place: a copy of the tally stays as it is.
type tally struct {
	stored, duplicate uint64
	lost              []lostLines
}

type lostLines struct {
	reason  string
	dropped bool
	lines   uint64
}

func newLedger(bound int) *ledger {
	l := &ledger{
		bound: bound, sources: make([]tally, len(logbridge.Sources)), index: make([]map[string]uint32, len(logbridge.Sources)),
		pending: map[lostKey]uint64{}, flying: map[uint64]*report{},
	}
	for i := range l.index {
		l.index[i] = map[string]uint32{}
	}
	return l
}

// entry finds or makes the entry of a stream. It needs the lock.
func (l *ledger) entry(source uint8, stream []byte) *ledgerEntry {
	if i, ok := l.index[source][string(stream)]; ok {
		return &l.entries[i]
	}
	if len(l.entries) >= l.bound && string(stream) != string(logbridge.OtherStreams) && string(stream) != string(logbridge.UnknownStream) {
		return l.entry(source, []byte(logbridge.OtherStreams))
	}
	name := string(stream)
	l.index[source][name] = uint32(len(l.entries))
	l.entries = append(l.entries, ledgerEntry{source: source, stream: name})
	return &l.entries[len(l.entries)-1]
}

// take counts a group whose rows were judged.
func (l *ledger) take(p *parsed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range p.uploads {
		l.began(u.received)
	}
	for rest := p.rows; len(rest) > 0; { // uploads are mostly of one stream
		source, stream := rest[0].source, rest[0].stream
		n, stored := 0, uint64(0)
		for n < len(rest) && rest[n].source == source && string(rest[n].stream) == string(stream) {
			if rest[n].kept {
				stored++
			}
			n++
		}
		e := l.entry(source, stream)
		for _, t := range []*tally{&e.tally, &l.sources[source]} {
			t.stored += stored
			t.duplicate += uint64(n) - stored
		}
		rest = rest[n:]
	}
	for i := range p.reports {
		l.takeReport(&p.reports[i])
	}
}

func (l *ledger) began(at int64) {
	if l.since == 0 {
		l.since = at
	}
}

// takeReport counts a report of this process or another one.
func (l *ledger) takeReport(r *report) {
	l.began(r.time)
	delete(l.flying, r.id)
	for _, c := range r.lost {
		l.entry(c.source, []byte(c.stream)).lose(c.lostKey, c.lines)
		l.sources[c.source].lose(c.lostKey, c.lines)
	}
}

// lose counts lines under a reason.
func (t *tally) lose(k lostKey, lines uint64) {
	t.lost = slices.Clone(t.lost)
	for i := range t.lost {
		if c := &t.lost[i]; c.reason == k.reason && c.dropped == k.dropped {
			c.lines += lines
			return
		}
	}
	t.lost = append(t.lost, lostLines{k.reason, k.dropped, lines})
}

// lose collects what is in no upload.
func (l *ledger) lose(dropped bool, source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	number := sourceNumber(source)
	if number < 0 || lines <= 0 {
		return
	}
	if stream == "" {
		stream = logbridge.UnknownStream
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := lostKey{uint8(number), dropped, stream, reason}
	if _, known := l.pending[k]; !known && len(l.pending) >= l.bound {
		k.stream = logbridge.OtherStreams
	}
	l.pending[k] += uint64(lines)
}

// refuseBatch counts a batch that was not taken.
func (l *ledger) refuseBatch(records []logbridge.Record) {
	for i := range records {
		l.lose(false, records[i].Source, records[i].Stream, reasonUnavailable, 1)
	}
}

// refuseGroup counts a group that the commit log does not have, and takes back the report that was in it.
func (l *ledger) refuseGroup(members []*waiting) {
	for _, w := range members {
		if w.report != nil {
			l.takeBack(w.report)
			continue
		}
		var p parsed
		_ = p.parse(joinGroup([]*waiting{w})) // it was encoded a moment ago: there is no error
		for i := range p.rows {
			l.lose(false, logbridge.Sources[p.rows[i].source], logbridge.Stream(p.rows[i].stream), reasonUnavailable, 1)
		}
	}
}

// report moves pending counts into a report of at most room bytes; nil when there is nothing to report or no room.
func (l *ledger) report(room int) *waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &report{time: time.Now().UnixNano()}
	room -= reportHead
	for k, lines := range l.pending {
		c := lost{k, lines}
		if room -= c.size(); room < 0 {
			break
		}
		r.lost = append(r.lost, c)
		delete(l.pending, k)
	}
	if len(r.lost) == 0 {
		return nil
	}
	r.id = rand.Uint64()
	l.flying[r.id] = r
	return &waiting{upload: upload{head: r.encode()}, report: r, done: make(chan result, 1)}
}

// takeBack makes a report's counts pending again: the commit log has not got it.
func (l *ledger) takeBack(r *report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, r.id)
	for _, c := range r.lost {
		l.pending[c.lostKey] += c.lines
	}
}

// reported notes that a report is in the commit log, and counted with what came of that from another node.
func (l *ledger) reported(r *report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, r.id)
}

// become takes the counts of another ledger over; what is not in the commit log stays to be reported.
func (l *ledger) become(other *ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index, l.entries, l.sources, l.since = other.index, other.entries, other.sources, other.since
}

// owes reports whether something waits for a report.
func (l *ledger) owes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) > 0
}

// ledgerState is a copy of the counts that were committed.
type ledgerState struct {
	entries []ledgerEntry
	since   int64
}

func (l *ledger) state() ledgerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ledgerState{slices.Clone(l.entries), l.since}
}

// unreported are the counts that the commit log does not have, or not yet. It needs the lock.
func (l *ledger) unreported() []lost {
	var all []lost
	for k, n := range l.pending {
		all = append(all, lost{k, n})
	}
	for _, r := range l.flying {
		all = append(all, r.lost...)
	}
	return all
}
