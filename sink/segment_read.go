package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/logbridge/logbridge"
)

// takeAtOnce bounds how many records a cursor over a segment holds in memory.
const takeAtOnce = 16 << 10

// open selects the rows that answer q, best first. It reads only the columns and pages that the query needs: rows are
// narrowed down column by column.
func (s *segment) open(q *plan) (c cursor, err error) {
	defer recoverDamage(s, &err)
	from, to := s.rowRange(&q.Query)
	rows := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, int32(i))
	}
	if rows, err = s.filterStream(q, rows); err != nil {
		return nil, err
	}
	if rows, err = s.filterHead(q, rows); err != nil {
		return nil, err
	}
	if q.content {
		if rows, err = s.filterContent(q, rows); err != nil {
			return nil, err
		}
	}
	hits, err := s.hits(q, rows)
	if err != nil {
		return nil, err
	}
	return &segmentCursor{s: s, q: q, hits: q.best(hits)}, nil
}

// recoverDamage turns a panic of the library over damaged pages into an error.
func recoverDamage(s *segment, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("segment %016x: %w: %v", s.first, errDamaged, p)
	}
}

func (s *segment) filterStream(q *plan, rows []int32) ([]int32, error) {
	last, wanted := "", false
	return s.filter(q, colStream, rows, func(v parquet.Value) bool {
		if b := v.ByteArray(); last == "" || string(b) != last {
			last = string(b)
			wanted = q.MatchStream(logbridge.Stream(last))
		}
		return wanted
	})
}

// filterHead applies time, level, source and position, each only if it restricts.
func (s *segment) filterHead(q *plan, rows []int32) (_ []int32, err error) {
	if s.minTime < q.since || s.maxTime >= q.until {
		if rows, err = s.filter(q, colTime, rows, func(v parquet.Value) bool { return q.matchTime(v.Int64()) }); err != nil {
			return nil, err
		}
	}
	if q.Level != logbridge.LevelOff {
		match := func(v parquet.Value) bool { return q.MatchLevel(logbridge.Level(v.Int32())) }
		if rows, err = s.filter(q, colSeverity, rows, match); err != nil {
			return nil, err
		}
	}
	if q.Source != "" {
		match := func(v parquet.Value) bool { return string(v.ByteArray()) == string(q.Source) }
		if rows, err = s.filter(q, colSource, rows, match); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// filter keeps the rows whose value in a column matches.
func (s *segment) filter(q *plan, column string, rows []int32, match func(parquet.Value) bool) ([]int32, error) {
	kept := rows[:0]
	err := s.each(q, column, rows, func(i int, v []parquet.Value) {
		if match(v[0]) {
			kept = append(kept, rows[i])
		}
	})
	return kept, err
}

// filterContent looks at body and attributes: a row stays if the body holds the needle or an attribute's value does, and
// every wanted field is there.
func (s *segment) filterContent(q *plan, rows []int32) ([]int32, error) {
	found := make([]bool, len(rows))
	if len(q.needle) > 0 {
		for _, column := range []string{colBody, colAttrs + ".value"} {
			err := s.each(q, column, rows, func(i int, values []parquet.Value) {
				for _, v := range values {
					found[i] = found[i] || bytes.Contains(v.ByteArray(), q.needle)
				}
			})
			if err != nil {
				return nil, err
			}
		}
		rows = keep(rows, found)
	}
	if len(q.Fields) == 0 {
		return rows, nil
	}
	attrs, err := s.attributes(q, rows)
	if err != nil {
		return nil, err
	}
	found = make([]bool, len(rows))
	for i := range rows {
		fields := logbridge.Query{Fields: q.Fields}
		found[i] = fields.MatchContent("", attrs[i])
	}
	return keep(rows, found), nil
}

func keep(rows []int32, wanted []bool) []int32 {
	kept := rows[:0]
	for i, r := range rows {
		if wanted[i] {
			kept = append(kept, r)
		}
	}
	return kept
}

// hits reads what orders the rows, and applies After.
func (s *segment) hits(q *plan, rows []int32) ([]hit, error) {
	hits := make([]hit, len(rows))
	for i, r := range rows {
		hits[i].row = r
	}
	columns := map[string]func(h *hit, v parquet.Value){
		colTime:  func(h *hit, v parquet.Value) { h.time = v.Int64() },
		colSeq:   func(h *hit, v parquet.Value) { h.seq = uint64(v.Int64()) },
		colIndex: func(h *hit, v parquet.Value) { h.index = uint32(v.Int32()) },
	}
	for column, set := range columns {
		if err := s.each(q, column, rows, func(i int, v []parquet.Value) { set(&hits[i], v[0]) }); err != nil {
			return nil, err
		}
	}
	if q.After.IsZero() || s.first > q.After.Seq {
		return hits, nil
	}
	return slices.DeleteFunc(hits, func(h hit) bool {
		return logbridge.Position{Seq: h.seq, Index: h.index}.Compare(q.After) <= 0
	}), nil
}

// attributes reads the attributes of rows.
func (s *segment) attributes(q *plan, rows []int32) ([][]logbridge.Attr, error) {
	all := make([][]logbridge.Attr, len(rows))
	err := s.each(q, colAttrs+".key", rows, func(i int, keys []parquet.Value) {
		for _, k := range keys {
			if !k.IsNull() {
				all[i] = append(all[i], logbridge.Attr{Key: string(k.ByteArray())})
			}
		}
	})
	if err != nil {
		return nil, err
	}
	bad := false
	err = s.each(q, colAttrs+".value", rows, func(i int, values []parquet.Value) {
		if len(all[i]) == 0 {
			return
		}
		if bad = bad || len(values) != len(all[i]); bad {
			return
		}
		for n, v := range values {
			all[i][n].Value = string(v.ByteArray())
		}
	})
	if bad {
		err = errors.Join(err, fmt.Errorf("%w: attributes without values", errDamaged))
	}
	return all, err
}

// each calls fn for each of rows, which ascend, with the row's values in a column: one, or several in a repeated field.
// The values are only valid during the call.
func (s *segment) each(q *plan, column string, rows []int32, fn func(i int, values []parquet.Value)) error {
	if len(rows) == 0 {
		return nil
	}
	pages := s.column(column).Pages()
	defer pages.Close()
	var page parquet.Page
	release := func() {
		if page != nil {
			parquet.Release(page)
		}
	}
	defer func() { release() }()
	var values []parquet.Value
	end := int64(-1) // of the current page
	start := int64(0)
	for i := 0; i < len(rows); {
		row := int64(rows[i])
		if row >= end {
			if err := q.ctx.Err(); err != nil {
				return err
			}
			if row != end {
				if err := pages.SeekToRow(row); err != nil {
					return err
				}
			}
			release()
			page = nil
			p, err := pages.ReadPage()
			if err != nil {
				return fmt.Errorf("column %s at row %d: %w", column, row, err)
			}
			page, start, end = p, row, row+p.NumRows()
			if err := q.scanned(int(p.Size())); err != nil { // decoded: this library does not tell what it read
				return err
			}
		}
		run := 1
		for i+run < len(rows) && int64(rows[i+run]) == row+int64(run) && row+int64(run) < end {
			run++
		}
		var err error
		if values, err = readValues(values[:0], page.Slice(row-start, row-start+int64(run))); err != nil {
			return fmt.Errorf("column %s at row %d: %w", column, row, err)
		}
		if err := splitRows(values, run, i, fn); err != nil {
			return fmt.Errorf("column %s at row %d: %w", column, row, err)
		}
		i += run
	}
	return nil
}

func readValues(dst []parquet.Value, page parquet.Page) ([]parquet.Value, error) {
	n := int(page.NumValues())
	dst = slices.Grow(dst, n)[:n]
	r := page.Values()
	for read := 0; read < n; {
		k, err := r.ReadValues(dst[read:])
		read += k
		if err != nil && !(errors.Is(err, io.EOF) && read == n) {
			return nil, err
		}
	}
	return dst, nil
}

// splitRows cuts values where a new row begins, at repetition level 0.
func splitRows(values []parquet.Value, rows, first int, fn func(int, []parquet.Value)) error {
	for i := range rows {
		n := 1
		for n < len(values) && values[n].RepetitionLevel() > 0 {
			n++
		}
		if n > len(values) {
			return fmt.Errorf("%w: fewer values than rows", errDamaged)
		}
		fn(first+i, values[:n:n])
		values = values[n:]
	}
	return nil
}

// segmentCursor reads the records of its hits a bounded number at a time.
type segmentCursor struct {
	s     *segment
	q     *plan
	hits  []hit
	ready []logbridge.Record // of the first hits
}

func (c *segmentCursor) head() (hit, bool) {
	if len(c.hits) == 0 {
		return hit{}, false
	}
	return c.hits[0], true
}

func (c *segmentCursor) take() (logbridge.Record, error) {
	if len(c.ready) == 0 {
		var err error
		if c.ready, err = c.s.records(c.q, c.hits[:min(len(c.hits), takeAtOnce)]); err != nil {
			return logbridge.Record{}, err
		}
	}
	r := c.ready[0]
	c.ready, c.hits = c.ready[1:], c.hits[1:]
	return r, nil
}

// records reads hits in full, in their order.
func (s *segment) records(q *plan, hits []hit) (out []logbridge.Record, err error) {
	defer recoverDamage(s, &err)
	place := make([]int, len(hits)) // row order to hit order
	for i := range place {
		place[i] = i
	}
	slices.SortFunc(place, func(a, b int) int { return int(hits[a].row) - int(hits[b].row) })
	rows := make([]int32, len(hits))
	out = make([]logbridge.Record, len(hits))
	for i, p := range place {
		rows[i] = hits[p].row
		out[p].Time = time.Unix(0, hits[p].time).UTC()
		out[p].Position = logbridge.Position{Seq: hits[p].seq, Index: hits[p].index}
	}
	for column, set := range setters() {
		if err := s.each(q, column, rows, func(i int, v []parquet.Value) { set(&out[place[i]], v[0]) }); err != nil {
			return nil, err
		}
	}
	attrs, err := s.attributes(q, rows)
	if err != nil {
		return nil, err
	}
	for i, a := range attrs {
		out[place[i]].Attributes = a
	}
	return out, nil
}

// setters says how a column's value goes into a record.
func setters() map[string]func(*logbridge.Record, parquet.Value) {
	return map[string]func(*logbridge.Record, parquet.Value){
		colObserved: func(r *logbridge.Record, v parquet.Value) { r.ObservedTime = time.Unix(0, v.Int64()).UTC() },
		colQuality:  func(r *logbridge.Record, v parquet.Value) { r.TimeQuality = qualityOf(v.ByteArray()) },
		colSource:   func(r *logbridge.Record, v parquet.Value) { r.Source = logbridge.Source(v.ByteArray()) },
		colStream:   func(r *logbridge.Record, v parquet.Value) { r.Stream = logbridge.Stream(v.ByteArray()) },
		colSeverity: func(r *logbridge.Record, v parquet.Value) { r.Severity = logbridge.Level(v.Int32()) },
		colBody:     func(r *logbridge.Record, v parquet.Value) { r.Body = string(v.ByteArray()) },
	}
}

func qualityOf(name []byte) logbridge.TimeQuality {
	for q := logbridge.TimeDevice; q < logbridge.TimeReceived; q++ {
		if string(name) == q.String() {
			return q
		}
	}
	return logbridge.TimeReceived
}
