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
		q.Order, q.Limit, q.After = logbridge.ByPosition, tailStretch, from
		for {
			changed := l.onChange()
			reached, sent, more := l.stretch(ctx, &q, yield)
			if !more || ctx.Err() != nil {
				return
			}
			if sent == tailStretch {
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

// tailStretch is how many records a tail looks for at a time: what it keeps in memory of their places.
const tailStretch = 4096

// stretch gives the next records, moving q.After along, and the position that they were looked for up to.
func (l *Log) stretch(ctx context.Context, q *logbridge.Query, yield func(logbridge.Record, error) bool) (reached logbridge.Position, sent int, more bool) {
	r := l.newReading(ctx, *q, l.tails)
	r.follow = true
	defer r.end()
	more = r.give(func(record logbridge.Record, err error) bool {
		if err != nil {
			return ctx.Err() == nil && yield(record, err)
		}
		q.After = record.Position // may be behind reached: a group shows in the memtable just before it counts
		return yield(record, nil)
	})
	return r.reached, r.sent, more
}

// onChange gives a channel that is closed when records arrive after this call.
func (l *Log) onChange() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}
