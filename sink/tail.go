package sink

import (
	"context"
	"iter"

	"github.com/logbridge/logbridge"
)

// Tail gives every record behind from that answers q, in the order of positions: first those that are there, then each
// new one when it has been stored, with no gap and no repeat in between, until ctx ends or the caller stops. Each record's
// Position is where a later Tail can go on. q.Order and q.Limit are not looked at.
//
// A tail reads the store and is only woken by new records, so a slow reader costs no more memory than one page
// of them and loses nothing.
func (l *Log) Tail(ctx context.Context, from logbridge.Position, q logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) {
		if err := q.Validate(); err != nil {
			yield(logbridge.Record{}, err)
			return
		}
		q.Order, q.Limit, q.After = logbridge.ByPosition, tailPage, from
		for {
			changed := l.onChange()
			page, reached, err := l.page(ctx, q)
			for _, r := range page {
				q.After = r.Position // may be behind reached: a group shows in the memtable just before it counts
				if !yield(r, nil) {
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(logbridge.Record{}, err)
				return
			}
			if len(page) == tailPage {
				continue
			}
			if q.After.Compare(reached) < 0 {
				q.After = reached
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// tailPage is how many records a tail reads at a time. While its reader is busy with them it holds nothing else: neither
// a memtable nor a segment.
const tailPage = 4096

// page reads the next records, and the position that they were looked for up to.
func (l *Log) page(ctx context.Context, q logbridge.Query) ([]logbridge.Record, logbridge.Position, error) {
	p := newPlan(ctx, q)
	tables, reached := l.tables(p)
	var page []logbridge.Record
	err := merge(p, tables, func(r logbridge.Record) bool {
		page = append(page, r)
		return true
	})
	return page, reached, err
}

// onChange gives a channel that is closed when records arrive after this call.
func (l *Log) onChange() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}
