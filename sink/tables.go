package sink

import (
	"math"

	"github.com/logbridge/logbridge"
)

// table is something that can be searched: a memtable or a segment. bound is what no hit of it can be better than.
type table struct {
	bound hit
	bytes int     // read when it is opened; a segment counts for itself
	held  *member // nil for a memtable
	open  func(*plan) (c cursor, done func(), err error)
	count func(*counter) error
}

// tables gives what a query must look at, held, and the position that it reaches to.
func (l *Log) tables(p *plan) ([]table, logbridge.Position) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []table
	memtables := []*memtable{l.active}
	if l.frozen != nil {
		memtables = append(memtables, l.frozen.table)
	}
	for _, m := range memtables {
		snapshot := m.snapshotOf(p)
		snapshot.gone = l.erasures
		_, size := m.size()
		all = append(all, table{bound: p.bestOf(math.MinInt64, math.MaxInt64, 0), bytes: size, open: func(p *plan) (cursor, func(), error) {
			c, err := snapshot.open(p)
			return c, nil, err
		}, count: snapshot.count})
	}
	for _, s := range l.segments.list {
		if s.rows == 0 || p.given(s.last) || s.maxTime < p.since || s.minTime >= p.until && p.until != math.MaxInt64 {
			continue
		}
		held, hidden := l.segments.hold(s), l.erasures.before(s.last)
		all = append(all, table{bound: p.bestOf(s.minTime, s.maxTime, s.first), held: held, open: func(p *plan) (cursor, func(), error) {
			return l.segments.open(held, p.but(hidden))
		}, count: func(c *counter) error {
			part := *c
			part.plan = c.plan.but(hidden)
			return l.segments.count(held, &part)
		}})
	}
	return all, l.last
}

// given reports that no record up to the end of a group is asked for.
func (p *plan) given(group uint64) bool {
	return group < p.After.Seq || group == p.After.Seq && p.After.Index == math.MaxUint32
}

// bestOf is a bound for hits whose time and sequence begin or end there.
func (p *plan) bestOf(low, high int64, first uint64) hit {
	switch p.Order {
	case logbridge.ByPosition:
		return hit{seq: first}
	case logbridge.OldestFirst:
		return hit{time: low}
	default:
		return hit{time: high, seq: math.MaxUint64, index: math.MaxUint32}
	}
}
