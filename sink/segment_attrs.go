package sink

import (
	"bytes"
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
	recent [recentValues]uint16 // the code of the last value with each rough hash: most rows repeat one of few
	codes  []uint16             // of the rows that have one, in their order
	rows   []uint64             // a bit for each row, set in those
	gone   bool
}

const wordBits = 64

const (
	// maxFieldBuilders bounds how many keys are looked at.
	maxFieldBuilders = 256
	// recentValues is enough for most values of a column to be found without their map; a power of two.
	recentValues = 128
)

// fieldBuilders finds the keys that are worth a column while the attributes go by. Rows mostly have the keys of the row
// before in the same order, so the key that followed last time is looked at first.
type fieldBuilders struct {
	all  map[string]*fieldBuilder
	list []*fieldBuilder // those of the row before, and so of this one
	next int
}

func (b *fieldBuilders) of(key []byte) *fieldBuilder {
	if b.next < len(b.list) && b.list[b.next].key == string(key) {
		b.next++
		return b.list[b.next-1]
	}
	f := b.all[string(key)]
	if f == nil && len(b.all) < maxFieldBuilders {
		f = &fieldBuilder{key: string(key), number: map[string]uint16{}, gone: !fieldName(key)}
		b.all[f.key] = f
	}
	if f != nil {
		b.list = append(b.list[:b.next], f)
		b.next++
	}
	return f
}

// addRow takes the attributes [from, to) of a row.
func (b *fieldBuilders) addRow(row uint32, a *attrRows, from, to int) {
	b.next = 0
	for i := from; i < to; i++ {
		f := b.of(a.keys.at(i))
		if f != nil && !f.gone && !f.add(row, a.values.at(i)) {
			*f = fieldBuilder{key: f.key, gone: true}
		}
	}
}

// add reports whether the column can hold the value: it cannot hold a second one in a row, or too many different ones.
func (f *fieldBuilder) add(row uint32, value []byte) bool {
	if f.has(row) {
		return false
	}
	code, ok := f.code(value)
	if !ok {
		return false
	}
	f.codes = append(f.codes, code)
	for int(row/wordBits) >= len(f.rows) {
		f.rows = append(f.rows, 0)
	}
	f.rows[row/wordBits] |= 1 << (row % wordBits)
	return true
}

func (f *fieldBuilder) has(row uint32) bool {
	return int(row/wordBits) < len(f.rows) && f.rows[row/wordBits]>>(row%wordBits)&1 == 1
}

// code gives the value a number; ok is false when it can have none.
func (f *fieldBuilder) code(value []byte) (code uint16, ok bool) {
	recent := &f.recent[roughHash(value)%recentValues]
	if int(*recent) < len(f.names) && f.names[*recent] == string(value) {
		return *recent, true
	}
	code, known := f.number[string(value)]
	if !known {
		if len(f.names) == maxFieldValues || len(value) > maxFieldText {
			return 0, false
		}
		code = uint16(len(f.names))
		f.names = append(f.names, string(value))
		f.number[f.names[code]] = code
	}
	*recent = code
	return code, true
}

// roughHash tells short texts apart by their length and their ends.
func roughHash(text []byte) uint32 {
	n := len(text)
	if n == 0 {
		return 0
	}
	return uint32(n) ^ uint32(text[0])<<1 ^ uint32(text[n/2])<<2 ^ uint32(text[n-1])*5
}

// chosen gives the columns, most frequent first.
func (b *fieldBuilders) chosen() (list []*fieldBuilder) {
	for _, f := range b.all {
		if !f.gone && len(f.codes) >= minFieldRows {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(x, y *fieldBuilder) int {
		return cmp.Or(cmp.Compare(len(y.codes), len(x.codes)), cmp.Compare(x.key, y.key))
	})
	return list[:min(len(list), maxFields)]
}

// attributeColumns writes keys and values. Their chunks stand behind each other, so the keys, of which compression leaves
// little, wait in memory, in copies of that size: what compresses takes room for what it is given.
func (w *segmentWriter) attributeColumns(feed rowFeed) ([]*fieldBuilder, error) {
	w.chunk(w.cols[colAttrKey])
	w.chunk(w.cols[colAttrValue])
	builders := fieldBuilders{all: map[string]*fieldBuilder{}}
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
		w.packed = w.packer.pack(w.packed, w.raw)
		keys = append(keys, heldPage{
			packed: bytes.Clone(w.packed), raw: len(w.raw), rows: len(a.counts), entries: entries, values: a.keys.len(),
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

func (b *fieldBuilders) addRows(row uint32, a *attrRows) {
	n := 0
	for i, count := range a.counts {
		b.addRow(row+uint32(i), a, n, n+int(count))
		n += int(count)
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
		w.chunks[len(w.chunks)-1].MetaData.Statistics.NullCount = int64(w.rows - len(f.codes))
	}
	return nil
}

func (w *segmentWriter) fieldPages(column int, f *fieldBuilder) error {
	codes := f.codes
	for start := 0; start < w.rows; start += fieldPageRows {
		n := min(fieldPageRows, w.rows-start)
		w.levels, w.codes = grow(w.levels, n), w.codes[:0]
		for i := range w.levels {
			w.levels[i] = 0
			if f.has(uint32(start + i)) {
				w.levels[i] = 1
				w.codes = append(w.codes, int32(codes[len(w.codes)]))
			}
		}
		codes = codes[len(w.codes):]
		if err := w.codePage(column, n, w.levels); err != nil {
			return err
		}
	}
	return nil
}
