package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// maxCounts bounds the groups of one answer: what a chart can show, and what a count by a field that is different in each
// record may cost in memory.
const maxCounts = 100_000

// Count counts the records that answer q, in groups; q.Order and q.Limit are not looked at. The answer is sorted by time
// and value. It is ErrTooLarge when there are more than 100 000 groups, and else bounded as Query is.
func (l *Log) Count(ctx context.Context, q logbridge.Query, by logbridge.CountBy) ([]logbridge.Count, error) {
	err := cmp.Or(q.Validate(), by.Validate(), l.current())
	if err == nil {
		err = l.queries.enter()
	}
	if err != nil {
		return nil, err
	}
	defer l.queries.leave()
	q.Order, q.Limit = logbridge.ByPosition, 0
	p := newPlan(ctx, q)
	p.turn = l.turns.of(&l.cfg)
	c, _, err := l.countAll(p, by)
	if err != nil {
		return nil, err
	}
	out := make([]logbridge.Count, 0, len(c.groups))
	for g, n := range c.groups {
		count := logbridge.Count{Value: g.value, Records: n}
		if by.Step > 0 {
			count.Time = time.Unix(0, g.at).UTC()
		}
		out = append(out, count)
	}
	slices.SortFunc(out, func(a, b logbridge.Count) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Value, b.Value))
	})
	return out, nil
}

// countAll counts what answers p up to the newest position, which it gives.
func (l *Log) countAll(p *plan, by logbridge.CountBy) (c *counter, to logbridge.Position, err error) {
	for {
		c, to, err = l.countOnce(p, by)
		if !errors.Is(err, errOutdated) {
			return c, to, err
		}
	}
}

// countOnce looks at all tables, in turn with others; errOutdated says that it has to be done again.
func (l *Log) countOnce(p *plan, by logbridge.CountBy) (*counter, logbridge.Position, error) {
	if err := p.turn.begin(p.ctx); err != nil {
		return nil, logbridge.Position{}, err
	}
	defer p.turn.end()
	tables, to := l.tables(p)
	p.newest = to.Seq
	defer func() {
		for _, t := range tables {
			if t.held != nil {
				l.segments.release(t.held)
			}
		}
	}()
	total := newCounter(p, by)
	var mu sync.Mutex
	err := p.share(len(tables), func(p *plan, next func() (int, bool)) error {
		for i, ok := next(); ok; i, ok = next() {
			part, err := l.countTable(p, by, tables[i])
			if err != nil {
				return err
			}
			tables[i].open, tables[i].count = nil, nil // a memtable is not held until the others are counted
			mu.Lock()
			err = total.addAll(part)
			mu.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return total, to, err
}

// countTable counts one table; what a failed attempt has counted does not count.
func (l *Log) countTable(p *plan, by logbridge.CountBy, t table) (part *counter, err error) {
	if err := p.scanned(t.bytes); err != nil {
		return nil, err
	}
	err = l.attempt(t.held, func() error {
		part = newCounter(p, by)
		return t.count(part)
	})
	return part, err
}

// counter collects the groups of one Count. The query is in plan.
type counter struct {
	*plan
	by     logbridge.CountBy
	groups map[countGroup]uint64
}

type countGroup struct {
	at    int64 // ns
	value string
}

func newCounter(p *plan, by logbridge.CountBy) *counter {
	return &counter{plan: p, by: by, groups: map[countGroup]uint64{}}
}

func (c *counter) add(at int64, value string, n uint64) error {
	if c.by.Step == 0 {
		at = 0
	}
	g := countGroup{at, value}
	if _, known := c.groups[g]; !known && len(c.groups) == maxCounts {
		return fmt.Errorf("%w: more than %d groups", logbridge.ErrTooLarge, maxCounts)
	}
	c.groups[g] += n
	return nil
}

func (c *counter) addAll(part *counter) error {
	for g, n := range part.groups {
		if err := c.add(g.at, g.value, n); err != nil {
			return err
		}
	}
	return nil
}

// intervals are the stretches of time in which is counted: as long as step, one of them beginning at origin (from 0 to step).
type intervals struct{ step, origin int64 }

func intervalsOf(by logbridge.CountBy) intervals {
	n := intervals{step: int64(by.Step)}
	if n.step > 0 && !by.Origin.IsZero() {
		n.origin = euclid(by.Origin.UnixNano(), n.step)
	}
	return n
}

// euclid is a mod step, never below 0.
func euclid(a, step int64) int64 {
	if a %= step; a < 0 {
		a += step
	}
	return a
}

// of gives the begin of t's interval, before 1970 as well; 0 without a step. Below what can be said it is the least that can.
func (n intervals) of(t int64) int64 {
	if n.step == 0 {
		return 0
	}
	over := euclid(t, n.step) - n.origin
	if over < 0 {
		over += n.step
	}
	if t < math.MinInt64+over {
		return math.MinInt64
	}
	return t - over
}

// histogram counts codes in intervals of time. Rows of a stream come in order of time, so the interval seldom changes. Low
// codes, which most rows have, are counted in a slice for each interval; there may be many intervals and many codes, so the
// others are not, but for when there is one interval.
type histogram struct {
	intervals
	counts  map[int64][]uint64
	at      int64 // of current
	current []uint64
	// Times from the one and before the other are in the interval at; none, or fewer than there are, is right, too.
	from, until int64

	high   map[highCode]*uint64
	last   highCode // the one of n
	n      *uint64
	groups int // how many there are
}

// lowCodes is how many codes are counted in slices when there are many intervals.
const lowCodes = 32

type highCode struct {
	at   int64
	code int32
}

// addAll adds rows.
func (t *histogram) addAll(times []int64, codes []int32) {
	for i, code := range codes {
		at := times[i]
		if at >= t.from && at < t.until && int(code) < len(t.current) && t.current[code] > 0 {
			t.current[code]++
		} else {
			t.add(at, code, 1)
		}
	}
}

// add adds n rows.
func (t *histogram) add(time int64, code int32, n uint64) {
	if time < t.from || time >= t.until {
		t.enter(time)
	}
	if code >= lowCodes && t.step != 0 {
		t.addHigh(highCode{t.at, code}, n)
		return
	}
	for int(code) >= len(t.current) {
		t.current = append(t.current, 0)
	}
	if t.current[code] == 0 {
		t.groups++
	}
	t.current[code] += n
}

// enter makes a time's interval the current one.
func (t *histogram) enter(time int64) {
	if t.counts == nil {
		t.counts = map[int64][]uint64{}
	}
	if t.current != nil {
		t.counts[t.at] = t.current
	}
	t.at = t.of(time)
	t.current = t.counts[t.at]
	t.from, t.until = math.MinInt64, math.MaxInt64
	switch {
	case t.step == 0:
	case t.at == math.MinInt64: // or before that
		t.until = t.from
	default:
		if t.from = t.at; t.at < math.MaxInt64-t.step {
			t.until = t.at + t.step
		}
	}
}

func (t *histogram) addHigh(k highCode, rows uint64) {
	if t.n == nil || k != t.last {
		if t.high == nil {
			t.high = map[highCode]*uint64{}
		}
		n := t.high[k]
		if n == nil {
			n = new(uint64)
			t.high[k] = n
			t.groups++
		}
		t.last, t.n = k, n
	}
	*t.n += rows
}

// all gives the counts of the first n codes, to add to, when there is one interval only.
func (t *histogram) all(n int) []uint64 {
	if t.current == nil {
		t.enter(0)
	}
	if more := n - len(t.current); more > 0 {
		t.current = append(t.current, make([]uint64, more)...)
	}
	return t.current
}

// each gives all counts that are not zero.
func (t *histogram) each(fn func(at int64, code int, n uint64) error) error {
	if t.current != nil {
		t.counts[t.at] = t.current
	}
	for at, counts := range t.counts {
		for code, n := range counts {
			if n == 0 {
				continue
			}
			if err := fn(at, code, n); err != nil {
				return err
			}
		}
	}
	for k, n := range t.high {
		if err := fn(k.at, int(k.code), *n); err != nil {
			return err
		}
	}
	return nil
}

// values numbers what the rows are counted under.
type values struct {
	names  []string
	number map[string]int32
}

func (v *values) of(name []byte) int32 {
	code, known := v.number[string(name)]
	if !known {
		if v.number == nil {
			v.number = map[string]int32{}
		}
		code = int32(len(v.names))
		v.names = append(v.names, string(name))
		v.number[v.names[code]] = code
	}
	return code
}

// count adds the rows of a memtable.
func (s memSnapshot) count(c *counter) error {
	var v values
	code, name := s.valuesOf(c.by, &v)
	t := histogram{intervals: intervalsOf(c.by)}
	err := s.matching(c.plan, func(i int) error {
		t.add(s.rows[i].time, code(&s.rows[i]), 1)
		if t.groups > maxCounts || len(v.names) > maxCounts {
			return c.tooMany()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.each(func(at int64, code int, n uint64) error { return c.add(at, name(code), n) })
}

func (c *counter) tooMany() error {
	return fmt.Errorf("%w: more than %d groups", logbridge.ErrTooLarge, maxCounts)
}

// valuesOf gives a row's code in what is counted by, and the name of a code.
func (s memSnapshot) valuesOf(by logbridge.CountBy, v *values) (code func(*rowRef) int32, name func(int) string) {
	switch by.Field {
	case "":
		return func(*rowRef) int32 { return 0 }, func(int) string { return "" }
	case "level":
		return func(r *rowRef) int32 { return int32(r.severity) }, func(l int) string { return logbridge.Level(l).String() }
	case "source":
		return func(r *rowRef) int32 { return int32(r.source) }, func(n int) string { return string(logbridge.Sources[n]) }
	case "stream":
		return func(r *rowRef) int32 { return int32(r.stream) }, func(n int) string { return s.streams[n] }
	case "product":
		return s.productCode(v), func(n int) string { return v.names[n] }
	}
	key, none := strings.TrimPrefix(by.Field, logbridge.FieldPrefix), v.of(nil)
	return func(r *rowRef) int32 {
		if r.attrs == 0 {
			return none
		}
		if value, ok := attrOf(s.groups[r.group].raw[r.attrs:], key); ok {
			return v.of(value)
		}
		return none
	}, func(n int) string { return v.names[n] }
}

// productCode numbers products as they come: they are far fewer than their streams, whose number must not bound the count.
func (s memSnapshot) productCode(v *values) func(*rowRef) int32 {
	above := make([]int32, len(s.streams)) // by stream: one above its product's; 0 is not known yet
	return func(r *rowRef) int32 {
		if above[r.stream] == 0 {
			above[r.stream] = 1 + v.of(productOf(s.streams[r.stream]))
		}
		return above[r.stream] - 1
	}
}

func productOf(stream string) []byte {
	id, _ := logbridge.Stream(stream).Device()
	return []byte(id.Product)
}
