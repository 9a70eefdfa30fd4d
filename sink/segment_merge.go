package sink

import (
	"context"
	"math"

	"github.com/logbridge/logbridge"
)

// mergeSegments writes neighbours, oldest first, as one segment and returns its path. It is there whole, synced and under
// its final name, or not at all. It works column by column, so it holds pages in memory, not rows.
func mergeSegments(ctx context.Context, dir string, in []*segment) (path string, err error) {
	f := &mergeFeed{plan: newPlan(ctx, logbridge.Query{}), in: in, column: -1}
	defer f.release()
	for _, s := range in {
		x := &segmentIndex{columns: make([]columnIndex, colFields)}
		if s.rows > 0 {
			if x, err = s.index(); err != nil {
				return "", err
			}
		}
		f.index = append(f.index, x)
	}
	if err := f.order(); err != nil {
		return "", err
	}
	f.column = -1 // the times are read again
	z := zstdPackers.Get().(*zstdPacker)
	defer zstdPackers.Put(z)
	return writeRows(dir, f, in[0].first, in[len(in)-1].last, z)
}

// mergeFeed gives the rows of several segments by stream, time and position.
type mergeFeed struct {
	plan  *plan
	in    []*segment
	index []*segmentIndex
	from  []uint32 // the first row of each that is read; nil is all of them
	table streamTable
	runs  []mergeRun // whose rows come next

	// The column that is being read.
	column  int
	run     int // the next one,
	used    uint32
	readers []*columnReader
}

// mergeRun is some rows that stand behind each other in one input.
type mergeRun struct {
	input uint32
	rows  uint32
}

// columnReader reads a column of one segment from front to back.
type columnReader struct {
	*pageReader
	page  int // the next one
	at, n int // in the page that is loaded
	skip  int // rows of the first page

	ints  []int64
	codes []int32
	text  *texts
}

func (f *mergeFeed) release() {
	for _, r := range f.readers {
		r.release()
	}
	f.readers = nil
}

// begin makes column the one that is read.
func (f *mergeFeed) begin(column int) {
	if f.column == column {
		return
	}
	f.release()
	f.column, f.run, f.used = column, 0, 0
	for i, s := range f.in {
		r := &columnReader{pageReader: newPageReader(f.plan, s, f.index[i])}
		if f.from != nil {
			c := &r.x.columns[column]
			r.page = c.find(f.from[i])
			r.skip = int(f.from[i] - c.first[r.page])
		}
		f.readers = append(f.readers, r)
	}
}

// next gives an input and how many of its rows come next, at most most.
func (f *mergeFeed) next(most int) (*columnReader, int) {
	run := f.runs[f.run]
	n := min(run.rows-f.used, uint32(most))
	if f.used += n; f.used == run.rows {
		f.run, f.used = f.run+1, 0
	}
	return f.readers[run.input], int(n)
}

// order finds the order of the rows.
func (f *mergeFeed) order() error {
	f.begin(colTime)
	next := make([]int, len(f.in)) // stream, by input
	times := make([][]int64, len(f.in))
	for {
		var name []byte
		for i, x := range f.index {
			if next[i] < x.streams.len() {
				if n := x.streams.name(next[i]); name == nil || string(n) < string(name) {
					name = n
				}
			}
		}
		if name == nil {
			return nil
		}
		total := uint32(0)
		for i, x := range f.index {
			times[i] = times[i][:0]
			if next[i] == x.streams.len() || string(x.streams.name(next[i])) != string(name) {
				continue
			}
			rows := x.streams.row(next[i]+1) - x.streams.row(next[i])
			next[i]++
			total += rows
			times[i] = grow(times[i], int(rows))
			if err := f.readers[i].readInts(colTime, times[i]); err != nil {
				return err
			}
		}
		f.table.add(name, total)
		f.mergeTimes(times)
	}
}

// mergeTimes adds the runs of one stream. Of equal times that of the older segment comes first: its positions are lower.
func (f *mergeFeed) mergeTimes(times [][]int64) {
	at := make([]int, len(times))
	for {
		best, limit := -1, int64(math.MaxInt64)
		for i, t := range times {
			if at[i] < len(t) && (best < 0 || t[at[i]] < times[best][at[best]]) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		older := false // the one with the limit comes before best
		for i, t := range times {
			if i != best && at[i] < len(t) && (t[at[i]] < limit || limit == math.MaxInt64) {
				limit, older = t[at[i]], i < best
			}
		}
		start := at[best]
		for t := times[best]; at[best] < len(t) && (t[at[best]] < limit || t[at[best]] == limit && !older); {
			at[best]++
		}
		f.add(uint32(best), uint32(at[best]-start))
	}
}

func (f *mergeFeed) add(input, rows uint32) {
	if n := len(f.runs); n > 0 && f.runs[n-1].input == input {
		f.runs[n-1].rows += rows
		return
	}
	f.runs = append(f.runs, mergeRun{input, rows})
}

func (f *mergeFeed) streams() *streamTable { return &f.table }

func (f *mergeFeed) ints(column int, dst []int64) error {
	f.begin(column)
	for len(dst) > 0 {
		r, n := f.next(len(dst))
		if err := r.readInts(column, dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

func (f *mergeFeed) codes(column int, dst []int32) error {
	f.begin(column)
	for len(dst) > 0 {
		r, n := f.next(len(dst))
		if err := r.readCodes(column, dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

func (f *mergeFeed) bodies(dst *texts, rows int) error {
	f.begin(colBody)
	for rows > 0 && !dst.full() {
		r := f.readers[f.runs[f.run].input]
		if r.at == r.n {
			var err error
			if r.text, err = r.bodyPage(r.page, r.lastPage(colBody)); err != nil {
				return err
			}
			r.turn(colBody)
		}
		_, n := f.next(min(rows, r.n-r.at, dst.room(r.text, r.at)))
		dst.addAll(r.text, r.at, r.at+n)
		r.at, rows = r.at+n, rows-n
	}
	return nil
}

func (f *mergeFeed) attributes(dst *attrRows, rows int) error {
	f.begin(colAttrKey)
	for ; rows > 0 && !dst.full(); rows-- {
		r, _ := f.next(1)
		if r.at == r.n {
			if err := r.attrPages(r.page); err != nil {
				return err
			}
			r.turn(colAttrKey)
		}
		from, to := r.starts[r.at], r.starts[r.at+1]
		for i := from; i < to; i++ {
			dst.keys.add(r.keys.at(int(i)))
			dst.values.add(r.pageReader.text.at(int(i)))
		}
		dst.counts = append(dst.counts, to-from)
		r.at++
	}
	return nil
}

func (r *columnReader) lastPage(column int) int { return len(r.x.columns[column].pages) - 1 }

// turn makes the page that was read the current one.
func (r *columnReader) turn(column int) {
	r.at, r.n, r.skip = r.skip, r.pageRows(column, r.page), 0
	r.page++
}

func (r *columnReader) readInts(column int, dst []int64) (err error) {
	for len(dst) > 0 {
		if r.at == r.n {
			if r.ints, err = r.intPage(column, r.page, r.lastPage(column)); err != nil {
				return err
			}
			r.turn(column)
		}
		n := copy(dst, r.ints[r.at:r.n])
		dst, r.at = dst[n:], r.at+n
	}
	return nil
}

func (r *columnReader) readCodes(column int, dst []int32) (err error) {
	for len(dst) > 0 {
		if r.at == r.n {
			if r.codes, err = r.codePage(column, r.page, r.lastPage(column)); err != nil {
				return err
			}
			r.turn(column)
		}
		n := copy(dst, r.codes[r.at:r.n])
		dst, r.at = dst[n:], r.at+n
	}
	return nil
}
