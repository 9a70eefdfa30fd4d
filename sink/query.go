package sink

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/logbridge/logbridge"
)

// plan is a query made ready for many rows.
type plan struct {
	logbridge.Query
	since, until int64 // ns
	source       int   // its number, -1 for any
	content      bool  // body or attributes must be looked at
	needle       []byte
	ctx          context.Context
	work         *work // nil: not bounded

	newest uint64 // no group behind it
	after  *hit   // no hit up to it; nil is no bound
}

func newPlan(ctx context.Context, q logbridge.Query) *plan {
	p := &plan{Query: q, since: math.MinInt64, until: math.MaxInt64, source: -1, ctx: ctx, newest: math.MaxUint64}
	if !q.Since.IsZero() && q.Since.After(minTime) {
		p.since = math.MaxInt64
		if q.Since.Before(maxTime) {
			p.since = q.Since.UnixNano()
		}
	}
	if !q.Until.IsZero() && q.Until.Before(maxTime) {
		p.until = math.MinInt64
		if q.Until.After(minTime) {
			p.until = q.Until.UnixNano()
		}
	}
	if q.Source != "" {
		p.source = sourceNumber(q.Source)
		if p.source < 0 {
			p.source = math.MaxInt // no record has it
		}
	}
	p.needle = []byte(q.Contains)
	p.content = len(p.needle) > 0 || len(q.Fields) > 0
	return p
}

// matchHead looks at the fixed part of a record.
func (p *plan) matchHead(at int64, l logbridge.Level, source uint8) bool {
	return p.MatchLevel(l) && p.matchTime(at) && (p.source < 0 || int(source) == p.source)
}

// matchTime: until is exclusive, except that the last nanosecond that can be said stands for no end.
func (p *plan) matchTime(at int64) bool {
	return at >= p.since && (at < p.until || p.until == math.MaxInt64)
}

// matchRow is Query.MatchContent on bytes.
func (p *plan) matchRow(r *row) bool {
	for _, want := range p.Fields {
		found := false
		r.eachAttr(func(k, v []byte) bool {
			found = string(k) == want.Key && string(v) == want.Value
			return !found
		})
		if !found {
			return false
		}
	}
	if len(p.needle) == 0 || bytes.Contains(r.body, p.needle) {
		return true
	}
	found := false
	r.eachAttr(func(_, v []byte) bool {
		found = bytes.Contains(v, p.needle)
		return !found
	})
	return found
}

// hit is a row that answers a query, with what orders it.
type hit struct {
	time  int64
	seq   uint64
	index uint32
	row   int32
}

// compare orders hits as the query wants its answer.
func (p *plan) compare(a, b hit) int {
	position := cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.index, b.index))
	switch p.Order {
	case logbridge.ByPosition:
		return position
	case logbridge.OldestFirst:
		return cmp.Or(cmp.Compare(a.time, b.time), position)
	default:
		return -cmp.Or(cmp.Compare(a.time, b.time), position)
	}
}

// behind is the plan for what is left when sent hits were given and last is the last of them.
func (p *plan) behind(last hit, sent int) *plan {
	rest := *p
	rest.after = &last
	if rest.Limit > 0 {
		rest.Limit -= sent
	}
	switch p.Order {
	case logbridge.ByPosition:
		rest.After = logbridge.Position{Seq: last.seq, Index: last.index}
	case logbridge.OldestFirst:
		rest.since = max(rest.since, last.time)
	default:
		if last.time < math.MaxInt64 {
			rest.until = min(rest.until, last.time+1)
		}
	}
	return &rest
}

// best sorts the hits and keeps as many as can be wanted. What newest and after exclude must be gone before the limit
// counts.
func (p *plan) best(hits []hit) []hit {
	if p.after != nil || p.newest != math.MaxUint64 {
		hits = slices.DeleteFunc(hits, func(h hit) bool {
			return h.seq > p.newest || p.after != nil && p.compare(h, *p.after) <= 0
		})
	}
	slices.SortFunc(hits, p.compare)
	if p.Limit > 0 && len(hits) > p.Limit {
		hits = hits[:p.Limit:p.Limit]
	}
	return hits
}

// cursor gives the matching records of one table, best first. A take that fails changes nothing: it may be tried again.
// Errors that are errDamaged say that the table's bytes are wrong.
type cursor interface {
	head() (hit, bool)
	take() (logbridge.Record, error)
}
