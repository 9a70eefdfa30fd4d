package sink

import (
	"cmp"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// fieldBuilder collects the values of one key, until it turns out not to be worth a column.
type fieldBuilder struct {
	key    string
	number map[string]uint16
	names  []string
	codes  []uint16
	rows   []uint32 // the row of each code
	gone   bool
}

// maxFieldBuilders bounds how many keys are looked at.
const maxFieldBuilders = 256

// fieldBuilders finds the keys that are worth a column while the attributes go by.
type fieldBuilders map[string]*fieldBuilder

func (all fieldBuilders) add(row uint32, key, value []byte) {
	f := all[string(key)]
	if f == nil {
		if len(all) == maxFieldBuilders {
			return
		}
		f = &fieldBuilder{key: string(key), number: map[string]uint16{}, gone: !fieldName(key)}
		all[f.key] = f
	}
	if !f.gone && !f.add(row, value) {
		*f = fieldBuilder{key: f.key, gone: true}
	}
}

// add reports whether the column can hold the value: it cannot hold a second one in a row, or too many different ones.
func (f *fieldBuilder) add(row uint32, value []byte) bool {
	if n := len(f.rows); n > 0 && f.rows[n-1] == row {
		return false
	}
	code, known := f.number[string(value)]
	if !known {
		if len(f.names) == maxFieldValues || len(value) > maxFieldText {
			return false
		}
		code = uint16(len(f.names))
		f.names = append(f.names, string(value))
		f.number[f.names[code]] = code
	}
	f.codes, f.rows = append(f.codes, code), append(f.rows, row)
	return true
}

// chosen gives the columns, most frequent first.
func (all fieldBuilders) chosen() (list []*fieldBuilder) {
	for _, f := range all {
		if !f.gone && len(f.rows) >= minFieldRows {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b *fieldBuilder) int {
		return cmp.Or(cmp.Compare(len(b.rows), len(a.rows)), cmp.Compare(a.key, b.key))
	})
	return list[:min(len(list), maxFields)]
}

// attributeColumns writes keys and values. Their chunks stand behind each other, so the keys, of which compression leaves
// little, wait in memory.
func (w *segmentWriter) attributeColumns(feed rowFeed) ([]*fieldBuilder, error) {
	w.chunk(w.cols[colAttrKey])
	w.chunk(w.cols[colAttrValue])
	builders := fieldBuilders{}
	var keys []heldPage
	var a attrRows
	for row := 0; row < w.rows; row += len(a.counts) {
		a.reset()
		if err := feed.attributes(&a, w.rows-row); err != nil {
			return nil, err
		}
		if len(a.counts) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		builders.addRows(uint32(row), &a)
		entries, err := w.encodeAttrs(&a, &a.keys)
		if err != nil {
			return nil, err
		}
		keys = append(keys, heldPage{
			packed: w.zstd.EncodeAll(w.raw, nil), raw: len(w.raw), rows: len(a.counts), entries: entries, values: a.keys.len(),
		})
		if _, err = w.encodeAttrs(&a, &a.values); err != nil {
			return nil, err
		}
		if err := w.page(colAttrValue, len(a.counts), entries, a.values.len(), format.DeltaLengthByteArray); err != nil {
			return nil, err
		}
	}
	for _, h := range keys {
		if err := w.packedPage(colAttrKey, h, format.DeltaLengthByteArray); err != nil {
			return nil, err
		}
	}
	return builders.chosen(), nil
}

func (all fieldBuilders) addRows(row uint32, a *attrRows) {
	n := 0
	for i, count := range a.counts {
		for range count {
			all.add(row+uint32(i), a.keys.at(n), a.values.at(n))
			n++
		}
	}
}

// encodeAttrs leaves a page of keys or values in w.raw and gives the number of its entries. A row begins at repetition
// level 0; one without attributes is an entry at definition level 0.
func (w *segmentWriter) encodeAttrs(a *attrRows, t *texts) (entries int, err error) {
	w.raw = w.raw[:0]
	for _, first := range [...]uint8{0, 1} { // repetition, then definition
		w.levels = w.levels[:0]
		for _, count := range a.counts {
			w.levels = append(w.levels, first*uint8(min(count, 1)))
			for range max(int(count), 1) - 1 {
				w.levels = append(w.levels, 1)
			}
		}
		if err := w.appendLevels(w.levels); err != nil {
			return 0, err
		}
	}
	if t.len() > 0 {
		if w.packed, err = new(delta.LengthByteArrayEncoding).EncodeByteArray(w.packed, t.data, t.offsets); err != nil {
			return 0, err
		}
		w.raw = append(w.raw, w.packed...)
	}
	return len(w.levels), nil
}

// fieldColumns writes the frequent attributes.
func (w *segmentWriter) fieldColumns(fields []*fieldBuilder) error {
	for _, f := range fields {
		w.index.fields = append(w.index.fields, f.key)
	}
	w.cols = columns(w.index.fields)
	for i, f := range fields {
		w.chunk(w.cols[colFields+i])
		w.raw = w.raw[:0]
		for _, name := range f.names {
			w.raw = appendPlain(w.raw, []byte(name))
		}
		if err := w.dictionary(colFields+i, len(f.names)); err != nil {
			return err
		}
		if err := w.fieldPages(colFields+i, f); err != nil {
			return err
		}
		w.chunks[len(w.chunks)-1].MetaData.Statistics.NullCount = int64(w.rows - len(f.rows))
	}
	return nil
}

func (w *segmentWriter) fieldPages(column int, f *fieldBuilder) error {
	next := 0
	for start := 0; start < w.rows; start += fieldPageRows {
		n := min(fieldPageRows, w.rows-start)
		w.levels, w.codes = grow(w.levels, n), w.codes[:0]
		clear(w.levels)
		for ; next < len(f.rows) && int(f.rows[next]) < start+n; next++ {
			w.levels[int(f.rows[next])-start] = 1
			w.codes = append(w.codes, int32(f.codes[next]))
		}
		if err := w.codePage(column, n, w.levels); err != nil {
			return err
		}
	}
	return nil
}
