package sink

import (
	"slices"

	"github.com/logbridge/logbridge"
)

// verdict says of a block which of its rows match.
type verdict uint8

const (
	someMatch verdict = iota
	allMatch
	noneMatch
)

func (sc *scanner) filterTime() error {
	q := sc.q
	if q.matchTime(sc.s.minTime) && q.matchTime(sc.s.maxTime) {
		return nil
	}
	blocks := sc.x.blocks[sc.sel.at(0)/blockRows : sc.sel.at(sc.sel.len()-1)/blockRows+1]
	if sc.sel.dense && onlyAll(blocks, func(b *block) verdict {
		if q.matchTime(b.minTime) && q.matchTime(b.maxTime) {
			return allMatch
		}
		return someMatch
	}) {
		return nil
	}
	return sc.keepTimes()
}

// keepTimes keeps the rows whose time matches, and their times, which are needed again.
func (sc *scanner) keepTimes() error {
	q, kept, times := sc.q, sc.buffer[:0], sc.times[:0] // what is kept is never longer than what was read
	err := sc.pages(colTime, func(n, last, first, i, end int) error {
		if b := &sc.x.blocks[n]; b.maxTime < q.since || b.minTime > q.until {
			return nil
		}
		values, err := sc.intPage(colTime, n, last)
		if err != nil {
			return err
		}
		for ; i < end; i++ {
			row := sc.sel.at(i)
			if at := values[int(row)-first]; q.matchTime(at) {
				kept, times = append(kept, row), append(times, at)
			}
		}
		return nil
	})
	sc.times = times
	sc.keep(kept)
	sc.timed = err == nil
	return err
}

func (sc *scanner) filterSeverity() error {
	wanted := uint8(sc.q.Levels)
	if wanted == 0 {
		return nil
	}
	return filterBlocks(sc, colSeverity, func(b *block) verdict { return maskVerdict(b.severities, wanted) },
		sc.codePage, func(c int32) bool { return wanted&(1<<c) != 0 })
}

func (sc *scanner) filterSource() error {
	wanted := uint8(sc.q.Sources)
	if wanted == 0 {
		return nil
	}
	return filterBlocks(sc, colSource, func(b *block) verdict { return maskVerdict(b.sources, wanted) },
		sc.codePage, func(c int32) bool { return wanted&(1<<c) != 0 })
}

func maskVerdict(has, wanted uint8) verdict {
	switch {
	case has&wanted == 0:
		return noneMatch
	case has&^wanted == 0:
		return allMatch
	}
	return someMatch
}

// filterBlocks keeps the rows whose value matches, in a column whose pages are the blocks.
func filterBlocks[T any](sc *scanner, column int, judge func(*block) verdict, read func(column, n, last int) ([]T, error), match func(T) bool) error {
	n := sc.sel.len()
	last := int(sc.sel.at(n-1)) / blockRows
	if sc.sel.dense && onlyAll(sc.x.blocks[sc.sel.from/blockRows:last+1], judge) {
		return nil
	}
	kept := sc.buffer[:0] // rows are read before they are written: what is kept is never longer
	for i := 0; i < n; {
		at := int(sc.sel.at(i)) / blockRows
		end := uint32(at+1) * blockRows
		what := judge(&sc.x.blocks[at])
		var values []T
		if what == someMatch {
			var err error
			if values, err = read(column, at, last); err != nil {
				return err
			}
		}
		for ; i < n && sc.sel.at(i) < end; i++ {
			row := sc.sel.at(i)
			if what == allMatch || what == someMatch && match(values[row%blockRows]) {
				kept = append(kept, row)
			}
		}
	}
	sc.keep(kept)
	return nil
}

func onlyAll(blocks []block, judge func(*block) verdict) bool {
	for i := range blocks {
		if judge(&blocks[i]) != allMatch {
			return false
		}
	}
	return true
}

func (sc *scanner) keep(rows []uint32) {
	sc.sel.dense, sc.sel.rows, sc.buffer, sc.timed = false, rows, rows, false
}

// filterAfter keeps the rows behind a position.
func (sc *scanner) filterAfter() error {
	after := sc.q.After
	if after.IsZero() || sc.s.first > after.Seq {
		return nil
	}
	seqs, err := sc.gather(colSeq, &sc.values)
	if err != nil {
		return err
	}
	found := grow(sc.found, len(seqs))
	sc.found = found
	atBorder := false
	for i, seq := range seqs {
		found[i] = uint64(seq) > after.Seq
		atBorder = atBorder || uint64(seq) == after.Seq
	}
	if atBorder {
		border := slices.Clone(seqs)
		indexes, err := sc.gather(colIndex, &sc.values)
		if err != nil {
			return err
		}
		for i, index := range indexes {
			found[i] = found[i] || uint64(border[i]) == after.Seq && uint32(index) > after.Index
		}
	}
	sc.keepFound(found)
	return nil
}

func (sc *scanner) keepFound(found []bool) {
	kept := sc.buffer[:0]
	for i, yes := range found {
		if row := sc.sel.at(i); yes {
			kept = append(kept, row)
		}
	}
	sc.keep(kept)
}

// filterNeedle keeps the rows whose body holds the needle, and those of which an attribute does as Query.Where has it. What
// it is looked for in first is the page as it is: most pages hold it nowhere, and need not be taken apart.
func (sc *scanner) filterNeedle() error {
	if len(sc.q.needle.text) == 0 {
		return nil
	}
	sc.found = grow(sc.found, sc.sel.len())
	clear(sc.found)
	columns := []int{colAttrValue}
	if sc.q.Where == logbridge.InLine {
		columns = append(columns, colAttrKey)
	}
	for _, column := range columns {
		if err := sc.pages(column, func(n, last, first, i, end int) error { return sc.findInAttrs(column, n, last, first, i, end) }); err != nil {
			return err
		}
	}
	if err := sc.pages(colBody, sc.findInBodies); err != nil {
		return err
	}
	sc.keepFound(sc.found)
	return nil
}

// findInAttrs finds the rows [i, end) of the selection that have the needle in page n of the keys or of the values.
func (sc *scanner) findInAttrs(column, n, last, first, i, end int) error {
	values := int(sc.x.columns[column].pages[n].values)
	if values == 0 {
		return nil
	}
	if err := sc.loadPage(column, n, last); err != nil || !sc.q.needle.in(sc.raw) {
		return err
	}
	if err := sc.decodeAttrs(&sc.text, sc.pageRows(column, n), values); err != nil {
		return err
	}
	for ; i < end; i++ {
		row := int(sc.sel.at(i)) - first
		for v := sc.starts[row]; v < sc.starts[row+1] && !sc.found[i]; v++ {
			sc.found[i] = sc.q.needle.in(sc.text.at(int(v)))
		}
	}
	return nil
}

// findInBodies finds the rows that have the needle in their body. Those that were found by their attributes are not
// found if that does not count for what has a body.
func (sc *scanner) findInBodies(n, last, first, i, end int) error {
	if err := sc.loadPage(colBody, n, last); err != nil {
		return err
	}
	bodiless := sc.q.Where == logbridge.InLine
	if !sc.q.needle.in(sc.raw) {
		if !bodiless || !slices.Contains(sc.found[i:end], true) {
			return nil
		}
		lengths, err := sc.decodeLengths(sc.raw, sc.pageRows(colBody, n))
		if err != nil {
			return err
		}
		for ; i < end; i++ {
			sc.found[i] = sc.found[i] && lengths[int(sc.sel.at(i))-first] == 0
		}
		return nil
	}
	if err := sc.decodeTexts(&sc.text, sc.raw, sc.pageRows(colBody, n)); err != nil {
		return err
	}
	for ; i < end; i++ {
		body := sc.text.at(int(sc.sel.at(i)) - first)
		if sc.found[i] && bodiless {
			sc.found[i] = len(body) == 0
		}
		sc.found[i] = sc.found[i] || sc.q.needle.in(body)
	}
	return nil
}

// filterFields keeps the rows that have all the wanted attributes.
func (sc *scanner) filterFields() error {
	for _, want := range sc.q.Fields {
		if sc.sel.len() == 0 {
			return nil
		}
		if err := sc.filterField(want); err != nil {
			return err
		}
	}
	return nil
}

func (sc *scanner) filterField(want logbridge.Attr) error {
	sc.found = grow(sc.found, sc.sel.len())
	clear(sc.found)
	if at := slices.Index(sc.x.fields, want.Key); at >= 0 {
		names, err := sc.fieldNames(colFields + at)
		if err != nil {
			return err
		}
		if code := int32(slices.Index(names, want.Value)); code >= 0 {
			codes, err := sc.gatherCodes(colFields + at)
			if err != nil {
				return err
			}
			for i, c := range codes {
				sc.found[i] = c == code
			}
		}
		sc.keepFound(sc.found)
		return nil
	}
	err := sc.attributes(func(i int, keys, values *texts, from, to uint32) {
		for v := from; v < to && !sc.found[i]; v++ {
			sc.found[i] = string(keys.at(int(v))) == want.Key && string(values.at(int(v))) == want.Value
		}
	})
	if err != nil {
		return err
	}
	sc.keepFound(sc.found)
	return nil
}
