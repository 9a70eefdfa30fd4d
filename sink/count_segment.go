package sink

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/logbridge/logbridge"
)

// count adds the rows of a segment: from its statistics if they say it all, else from the columns.
func (s *segment) count(c *counter) error {
	if s.rows == 0 {
		return nil
	}
	if done, err := s.countByStatistics(c); done || err != nil {
		return err
	}
	key := strings.TrimPrefix(c.by.Field, logbridge.FieldPrefix)
	var failed error
	err := s.scan(c.plan, func(sc *scanner) error {
		return sc.countRows(c, key)
	}, func(sc *scanner) {
		failed = cmp.Or(failed, sc.counts.each(func(at int64, code int, n uint64) error {
			return c.add(at, sc.counted.names[code], n)
		}))
	})
	return cmp.Or(err, failed)
}

// countByStatistics answers what the footer knows, when every row matches.
func (s *segment) countByStatistics(c *counter) (done bool, err error) {
	whole := !c.content && c.Levels == 0 && c.Sources == 0 && c.by.Step == 0 &&
		c.matchTime(s.minTime) && c.matchTime(s.maxTime) && (c.After.IsZero() || s.first > c.After.Seq)
	if !whole {
		return false, nil
	}
	if c.by.Field == "" && c.everyStream() {
		return true, c.add(0, "", uint64(s.rows))
	}
	switch c.by.Field {
	case "", "stream", "product":
		return true, s.countStreams(c)
	}
	if !c.everyStream() {
		return false, nil
	}
	switch c.by.Field {
	case "level":
		for l, n := range s.info.Severities {
			if n > 0 {
				err = cmp.Or(err, c.add(0, logbridge.Level(l).String(), n))
			}
		}
		return true, err
	case "source":
		for i, n := range s.info.Sources {
			if n > 0 {
				err = cmp.Or(err, c.add(0, sourceNames()[i], n))
			}
		}
		return true, err
	}
	return false, nil
}

// countStreams counts all rows of the streams that are asked for, from the side index.
func (s *segment) countStreams(c *counter) error {
	x, err := s.index()
	if err != nil {
		return err
	}
	ranges, err := s.streamRanges(c.plan, x)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if c.by.Field == "" {
			err = c.add(0, "", uint64(r.to-r.from))
		}
		for at := x.streams.of(r.from); c.by.Field != "" && err == nil && r.from < r.to; at++ {
			value, rows := x.streams.name(at), x.streams.row(at+1)-r.from
			if c.by.Field == "product" {
				value = productOf(string(value))
			}
			err = c.add(0, string(value), uint64(rows))
			r.from += rows
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// countRows counts the selected rows.
func (sc *scanner) countRows(c *counter, key string) error {
	if column := sc.codeColumn(c.by.Field, key); column >= 0 && c.by.Step == 0 && sc.sel.dense {
		return sc.countPages(column)
	}
	sc.counts.intervals = intervalsOf(c.by)
	if c.by.Step == 0 && (c.by.Field == "" || c.by.Field == "stream" || c.by.Field == "product") {
		sc.streamRuns(c.by.Field, func(code int32, _, rows int) { sc.counts.add(0, code, uint64(rows)) })
		return sc.checkGroups(c)
	}
	codes, err := sc.valueCodes(c.by.Field, key)
	if err != nil {
		return err
	}
	if c.by.Step == 0 {
		for _, code := range codes {
			sc.counts.add(0, code, 1)
		}
		return sc.checkGroups(c)
	}
	times, err := sc.gatherTimes()
	if err != nil {
		return err
	}
	sc.counts.addAll(times, codes)
	return sc.checkGroups(c)
}

func (sc *scanner) checkGroups(c *counter) error {
	if sc.counts.groups > maxCounts || len(sc.counted.names) > maxCounts {
		return c.tooMany()
	}
	return nil
}

// codeColumn gives the column whose codes are what is counted by; -1 when there is none.
func (sc *scanner) codeColumn(field, key string) int {
	switch field {
	case "level":
		return colSeverity
	case "source":
		return colSource
	case "", "stream", "product":
		return -1
	}
	if at := slices.Index(sc.x.fields, key); at >= 0 {
		return colFields + at
	}
	return -1
}

// countPages counts all rows of a dense selection, page by page.
func (sc *scanner) countPages(column int) error {
	if err := sc.nameCodes(column); err != nil {
		return err
	}
	counts := sc.counts.all(len(sc.counted.names))
	read := sc.codePage
	if column >= colFields {
		read = sc.fieldPage
	}
	return sc.pages(column, func(n, last, first, i, end int) error {
		if column >= colFields && sc.x.columns[column].pages[n].values == 0 {
			counts[0] += uint64(end - i)
			return nil
		}
		codes, err := read(column, n, last)
		if err != nil {
			return err
		}
		from := int(sc.sel.from) + i - first
		for _, code := range codes[from : from+end-i] {
			counts[code+1]++
		}
		return nil
	})
}

// nameCodes makes sc.counted hold the names of a column's codes, one higher: 0 is for rows without a value.
func (sc *scanner) nameCodes(column int) (err error) {
	if sc.counted.names != nil {
		return nil
	}
	var names []string
	switch column {
	case colSeverity:
		names = severityNames()
	case colSource:
		names = sourceNames()
	default:
		names, err = sc.fieldNames(column)
	}
	sc.counted.names = append([]string{""}, names...)
	return err
}

// valueCodes gives, for each selected row, the number in sc.counted of what it is counted under.
func (sc *scanner) valueCodes(field, key string) ([]int32, error) {
	switch field {
	case "", "stream", "product":
		sc.picked = grow(sc.picked, sc.sel.len())
		sc.streamRuns(field, func(code int32, i, rows int) {
			for end := i + rows; i < end; i++ {
				sc.picked[i] = code
			}
		})
		return sc.picked, nil
	}
	if column := sc.codeColumn(field, key); column >= 0 {
		return sc.namedCodes(column)
	}
	sc.picked = grow(sc.picked, sc.sel.len())
	none := sc.counted.of(nil)
	for i := range sc.picked {
		sc.picked[i] = none
	}
	return sc.picked, sc.attributes(func(i int, keys, values *texts, from, to uint32) {
		for v := int(from); v < int(to); v++ {
			if string(keys.at(v)) == key {
				sc.picked[i] = sc.counted.of(values.at(v))
				return
			}
		}
	})
}

// namedCodes gives a column's own codes, one higher.
func (sc *scanner) namedCodes(column int) ([]int32, error) {
	if err := sc.nameCodes(column); err != nil {
		return nil, err
	}
	codes, err := sc.gatherCodes(column)
	for i := range codes {
		codes[i]++
	}
	return codes, err
}

// streamRuns calls fn for each run of selected rows that are counted under the same for being of one stream: its code, its
// first row in the selection, and how many there are.
func (sc *scanner) streamRuns(field string, fn func(code int32, i, rows int)) {
	total := sc.sel.len()
	if field == "" {
		fn(sc.counted.of(nil), 0, total)
		return
	}
	for i := 0; i < total; {
		at := sc.x.streams.of(sc.sel.at(i))
		name, end := sc.x.streams.name(at), sc.x.streams.row(at+1)
		if field == "product" {
			name = productOf(string(name))
		}
		rows := sort.Search(total-i, func(n int) bool { return sc.sel.at(i+n) >= end })
		fn(sc.counted.of(name), i, rows)
		i += rows
	}
}

func severityNames() (names []string) {
	for l := range logbridge.Level(levels) {
		names = append(names, l.String())
	}
	return names
}
