package sink

import (
	"cmp"
	"slices"
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
	whole := c.everyStream() && !c.content && c.Levels == 0 && c.Sources == 0 && c.by.Step == 0 &&
		c.matchTime(s.minTime) && c.matchTime(s.maxTime) && (c.After.IsZero() || s.first > c.After.Seq)
	if !whole {
		return false, nil
	}
	switch c.by.Field {
	case "":
		return true, c.add(0, "", uint64(s.rows))
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

// countRows counts the selected rows.
func (sc *scanner) countRows(c *counter, key string) error {
	if column := sc.codeColumn(c.by.Field, key); column >= 0 && c.by.Step == 0 && sc.sel.dense {
		return sc.countPages(column)
	}
	codes, err := sc.valueCodes(c.by.Field, key)
	if err != nil {
		return err
	}
	if sc.counts.groups > maxCounts || len(sc.counted.names) > maxCounts {
		return c.tooMany()
	}
	sc.counts.intervals = intervalsOf(c.by)
	if c.by.Step == 0 {
		for _, code := range codes {
			sc.counts.add(0, code)
		}
		return nil
	}
	times, err := sc.gather(colTime, &sc.values)
	if err != nil {
		return err
	}
	for i, code := range codes {
		sc.counts.add(times[i], code)
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
	case "":
		sc.picked = grow(sc.picked, sc.sel.len())
		one := sc.counted.of(nil)
		for i := range sc.picked {
			sc.picked[i] = one
		}
		return sc.picked, nil
	case "stream", "product":
		return sc.streamCodes(field == "product"), nil
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

func (sc *scanner) streamCodes(product bool) []int32 {
	sc.picked = grow(sc.picked, sc.sel.len())
	end, code := uint32(0), int32(0)
	for i := range sc.picked {
		if row := sc.sel.at(i); row >= end {
			at := sc.x.streams.of(row)
			name := sc.x.streams.name(at)
			if end = sc.x.streams.row(at + 1); product {
				name = productOf(string(name))
			}
			code = sc.counted.of(name)
		}
		sc.picked[i] = code
	}
	return sc.picked
}

func severityNames() (names []string) {
	for l := range logbridge.Level(levels) {
		names = append(names, l.String())
	}
	return names
}
