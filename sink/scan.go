package sink

import (
	"sync"

	"github.com/logbridge/logbridge"
)

// unitRows is how many rows of a segment are looked at together: enough that two workers share a segment evenly, few
// enough that what is known of them stays in the processor's cache.
const unitRows = 16 * blockRows

// selection is a part of the rows of a segment, in order: all of [from, to), or those in rows.
type selection struct {
	from, to uint32
	dense    bool
	rows     []uint32
}

func (s *selection) len() int {
	if s.dense {
		return int(s.to - s.from)
	}
	return len(s.rows)
}

func (s *selection) at(i int) uint32 {
	if s.dense {
		return s.from + uint32(i)
	}
	return s.rows[i]
}

// rowRange is the rows [from, to).
type rowRange struct{ from, to uint32 }

// scanner looks through a segment for one query. Several share the work.
type scanner struct {
	*pageReader
	sel selection

	buffer []uint32 // of sel.rows
	values []int64
	times  []int64 // of the selected rows, if they are known
	timed  bool
	sorted []int64
	picked []int32
	found  []bool

	hits    []hit     // of a query
	counts  histogram // of a count,
	counted values    // whose codes these are
}

// scan gives visit the rows that answer q, in parts. It is called by several workers at a time, each with a scanner of
// its own; merge is called by one at a time, when a worker has come to its end.
func (s *segment) scan(q *plan, visit func(*scanner) error, merge func(*scanner)) error {
	x, err := s.index()
	if err != nil {
		return err
	}
	ranges, err := s.streamRanges(q, x)
	if err != nil || len(ranges) == 0 {
		return err
	}
	units := cutUnits(ranges)
	var mu sync.Mutex
	return q.share(len(units), func(q *plan, next func() (int, bool)) error {
		sc := &scanner{pageReader: newPageReader(q, s, x)}
		defer sc.release()
		for i, ok := next(); ok; i, ok = next() {
			if err := sc.unit(units[i]); err != nil {
				return err
			}
			if sc.sel.len() == 0 {
				continue
			}
			if err := visit(sc); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		merge(sc)
		return nil
	})
}

// streamRanges gives the rows of the streams that a query can match.
func (s *segment) streamRanges(q *plan, x *segmentIndex) (ranges []rowRange, err error) {
	low, high := streamBounds(&q.Query)
	a, b := 0, x.streams.len()
	if low != "" {
		a, b = x.streams.search(low), x.streams.search(high)
	}
	if a >= b {
		return nil, nil
	}
	if low == "" && q.everyStream() || low != "" && q.streamPrefix() {
		return []rowRange{{x.streams.row(a), x.streams.row(b)}}, nil
	}
	defer predicateFailed(&err)
	for i := a; i < b; i++ {
		if !q.MatchStream(logbridge.Stream(x.streams.name(i))) {
			continue
		}
		from, to := x.streams.row(i), x.streams.row(i+1)
		if n := len(ranges); n > 0 && ranges[n-1].to == from {
			ranges[n-1].to = to
		} else {
			ranges = append(ranges, rowRange{from, to})
		}
	}
	return ranges, nil
}

// cutUnits cuts ranges into units of about unitRows rows.
func cutUnits(ranges []rowRange) (units [][]rowRange) {
	var unit []rowRange
	room := uint32(unitRows)
	for _, r := range ranges {
		for r.from < r.to {
			n := min(r.to-r.from, room)
			if len(unit) == 0 { // units end where pages end
				n = min(r.to, (r.from/unitRows+1)*unitRows) - r.from
			}
			unit = append(unit, rowRange{r.from, r.from + n})
			r.from += n
			if room -= min(n, room); room == 0 || r.from < r.to {
				units, unit, room = append(units, unit), nil, unitRows
			}
		}
	}
	if len(unit) > 0 {
		units = append(units, unit)
	}
	return units
}

// unit selects the rows of a unit that answer the query, column by column, the cheapest first.
func (sc *scanner) unit(ranges []rowRange) error {
	sc.sel, sc.timed = selection{from: ranges[0].from, to: ranges[0].to, dense: true}, false
	if len(ranges) > 1 {
		sc.sel.dense, sc.sel.rows = false, sc.buffer[:0]
		for _, r := range ranges {
			for row := r.from; row < r.to; row++ {
				sc.sel.rows = append(sc.sel.rows, row)
			}
		}
		sc.buffer = sc.sel.rows
	}
	for _, filter := range []func() error{sc.filterTime, sc.filterSeverity, sc.filterSource, sc.filterAfter, sc.filterNeedle, sc.filterFields} {
		if err := filter(); err != nil || sc.sel.len() == 0 {
			return err
		}
	}
	return nil
}

// pages calls fn for each page of a column that holds selected rows: its number, that of the last page that will be
// needed, its first row, and which part [i, end) of the selection it holds.
func (sc *scanner) pages(column int, fn func(n, last, first, i, end int) error) error {
	c := &sc.x.columns[column]
	total := sc.sel.len()
	last := c.find(sc.sel.at(total - 1))
	for i := 0; i < total; {
		n := c.find(sc.sel.at(i))
		border := c.first[n+1]
		end := i + 1
		if sc.sel.dense {
			end = int(min(border, sc.sel.to) - sc.sel.from)
		} else {
			for end < total && sc.sel.rows[end] < border {
				end++
			}
		}
		ahead := last
		if !sc.sel.dense {
			ahead = n // the next rows may be far away
			if end < total && c.find(sc.sel.at(end)) == n+1 {
				ahead = n + 1
			}
		}
		if err := fn(n, ahead, int(c.first[n]), i, end); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// gather gives the values of the selected rows in a column of numbers.
func (sc *scanner) gather(column int, into *[]int64) ([]int64, error) {
	*into = grow(*into, sc.sel.len())
	out := *into
	return out, sc.pages(column, func(n, last, first, i, end int) error {
		values, err := sc.intPage(column, n, last)
		return pick(sc, out, values, err, first, i, end)
	})
}

// gatherTimes is gather for the times, which a filter may have read already.
func (sc *scanner) gatherTimes() ([]int64, error) {
	if sc.timed {
		return sc.times, nil
	}
	times, err := sc.gather(colTime, &sc.times)
	sc.timed = err == nil
	return times, err
}

// gatherCodes is gather for a column of codes.
func (sc *scanner) gatherCodes(column int) ([]int32, error) {
	sc.picked = grow(sc.picked, sc.sel.len())
	out := sc.picked
	read := sc.codePage
	if column >= colFields {
		read = sc.fieldPage
	}
	return out, sc.pages(column, func(n, last, first, i, end int) error {
		if code, ok := sc.onlyCode(column, n); ok {
			for ; i < end; i++ {
				out[i] = code
			}
			return nil
		}
		values, err := read(column, n, last)
		return pick(sc, out, values, err, first, i, end)
	})
}

func pick[T any](sc *scanner, out, values []T, err error, first, i, end int) error {
	if err != nil {
		return err
	}
	if sc.sel.dense {
		copy(out[i:end], values[int(sc.sel.from)+i-first:])
		return nil
	}
	for ; i < end; i++ {
		out[i] = values[int(sc.sel.rows[i])-first]
	}
	return nil
}

// attributes calls fn for each selected row that has some: they are the texts [from, to).
func (sc *scanner) attributes(fn func(i int, keys, values *texts, from, to uint32)) error {
	return sc.pages(colAttrKey, func(n, last, first, i, end int) error {
		if sc.x.columns[colAttrKey].pages[n].values == 0 {
			return nil
		}
		if err := sc.attrPages(n); err != nil {
			return err
		}
		for ; i < end; i++ {
			row := int(sc.sel.at(i)) - first
			if from, to := sc.starts[row], sc.starts[row+1]; from < to {
				fn(i, &sc.keys, &sc.text, from, to)
			}
		}
		return nil
	})
}
