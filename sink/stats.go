package sink

import "time"

// Stats are numbers for the metrics.
type Stats struct {
	Segments      int
	SegmentBytes  int64
	MemtableBytes int
	MemtableRows  int
	// OldestTime is the event time of the oldest record in a segment, OldestReceived the earliest time of receipt; zero
	// without segments.
	OldestTime, OldestReceived time.Time
	// SetAside and SetAsideRecords count the segments that were found damaged since the start, and their records, which no
	// query finds any more.
	SetAside, SetAsideRecords uint64
	// ExpiredByAge and ExpiredByBytes count the records that retention has removed since the start.
	ExpiredByAge, ExpiredByBytes uint64
	// Erased counts the records that were taken out of segments since the start, and Erasures the streams of which some may still be there.
	Erased   uint64
	Erasures int
	// Merges counts the merged segments that were written since the start.
	Merges uint64
	// Queries are being answered now, tails not counted. QueriesRefused counts those that were too many.
	Queries        int
	QueriesRefused uint64
	// Tails are open now. TailDropped counts the records that tails passed over since the start, their readers being too slow.
	Tails       int
	TailDropped uint64
	// ForgottenKeys counts uploads, messages and lines that the bounded windows forgot before their time: a repetition of one
	// would be stored again.
	ForgottenKeys uint64

	// CommitWaiting is how long the commit log has been waited for now, CommitLongest the longest since the start: on a
	// cluster that is the election of a leader. CommitRepeats counts publishes that were repeated, as their outcome was not known.
	CommitWaiting, CommitLongest time.Duration
	CommitRepeats                uint64
	// Of a node of a cluster: groups of the commit log that it has not indexed, whether it is so far behind that it neither takes nor
	// answers, and what it has copied from other nodes since the start.
	Lag            uint64
	Behind         bool
	CopiedSegments uint64
	CopiedBytes    uint64
}

// Stats counts what is there now.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{
		Segments: len(l.segments.list), ForgottenKeys: l.duplicates.forgotten(),
		SetAside: l.segments.aside.Load(), SetAsideRecords: l.segments.asideRows.Load(),
		ExpiredByAge: l.expiredByAge.Load(), ExpiredByBytes: l.expiredByBytes.Load(), Merges: l.merges.Load(),
		Erased: l.erased.Load(), Erasures: len(l.erasures),
		Queries: int(l.queries.there.Load()), QueriesRefused: uint64(l.queries.refused.Load()),
		Tails: int(l.sleepers.there.Load()), TailDropped: l.tailDropped.Load(),
	}
	s.CommitWaiting, s.CommitLongest = l.commit.flight.waiting(), l.commit.flight.worst()
	if c := l.cluster; c != nil {
		s.Lag, s.Behind = c.lag.Load(), c.behind.Load()
		s.CommitRepeats, s.CopiedSegments, s.CopiedBytes = c.writer.repeats.Load(), c.copied.Load(), c.copiedBytes.Load()
	}
	for _, seg := range l.segments.list {
		s.SegmentBytes += seg.size
		if seg.rows == 0 {
			continue
		}
		if at := time.Unix(0, seg.minTime); s.OldestTime.IsZero() || at.Before(s.OldestTime) {
			s.OldestTime = at
		}
		if at := time.Unix(0, seg.minObserved); s.OldestReceived.IsZero() || at.Before(s.OldestReceived) {
			s.OldestReceived = at
		}
	}
	tables := []*memtable{l.active}
	if l.frozen != nil {
		tables = append(tables, l.frozen.table)
	}
	for _, m := range tables {
		rows, size := m.size()
		s.MemtableRows += rows
		s.MemtableBytes += size
	}
	return s
}
