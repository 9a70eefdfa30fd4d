package bridge

import "sync/atomic"

// counters are what Stats reads. They only grow.
type counters struct {
	asked, timeAsked, malformed, ignored atomic.Uint64
	pushed, skipped, unheard, acked      atomic.Uint64
	reminded, resent                     atomic.Uint64
	reports, lines, duplicates           atomic.Uint64
}

// Stats are the numbers of a bridge. Connected is of now, the others count from the start.
type Stats struct {
	Connected int // devices with a session

	Asked     uint64 // questions for the level
	TimeAsked uint64 // questions for the time
	Malformed uint64 // messages on those topics that are no question
	Ignored   uint64 // messages on topics that mean nothing to us

	Pushed  uint64 // levels sent without a question
	Skipped uint64 // pushes of what the device had been told already
	Unheard uint64 // answers and pushes to devices that do not listen or are gone
	Acked   uint64 // levels acknowledged by PUBACK

	Reminded uint64 // devices that were to be told because they did not ask
	Resent   uint64 // pushes sent again because no PUBACK came

	Reports    uint64 // log reports appended
	Lines      uint64 // their lines
	Duplicates uint64 // redelivered reports that were appended before
}

// Stats reads the numbers.
func (b *Bridge) Stats() Stats {
	c := &b.counters
	b.mu.RLock()
	connected := len(b.links)
	b.mu.RUnlock()
	return Stats{
		Connected:  connected,
		Asked:      c.asked.Load(),
		TimeAsked:  c.timeAsked.Load(),
		Malformed:  c.malformed.Load(),
		Ignored:    c.ignored.Load(),
		Pushed:     c.pushed.Load(),
		Skipped:    c.skipped.Load(),
		Unheard:    c.unheard.Load(),
		Acked:      c.acked.Load(),
		Reminded:   c.reminded.Load(),
		Resent:     c.resent.Load(),
		Reports:    c.reports.Load(),
		Lines:      c.lines.Load(),
		Duplicates: c.duplicates.Load(),
	}
}
