package sink

import (
	"encoding/binary"
	"io"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// appendPlain adds a text as a dictionary has it.
func appendPlain(dst, text []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...)
}

// intColumn writes numbers, and takes the statistics of the times.
func (w *segmentWriter) intColumn(number int, feed rowFeed) error {
	w.chunk(w.cols[number])
	for start := 0; start < w.rows; start += blockRows {
		n := min(blockRows, w.rows-start)
		w.ints = grow(w.ints, n)
		if err := feed.ints(number, w.ints); err != nil {
			return err
		}
		low, high := bounds(w.ints)
		w.noteInts(number, start/blockRows, low, high)
		var err error
		if w.cols[number].typ == format.Int32 {
			w.small = grow(w.small, n)
			for i, v := range w.ints {
				w.small[i] = int32(v)
			}
			w.raw, err = new(delta.BinaryPackedEncoding).EncodeInt32(w.raw, w.small)
		} else {
			w.raw, err = new(delta.BinaryPackedEncoding).EncodeInt64(w.raw, w.ints)
		}
		if err != nil {
			return err
		}
		if err := w.page(number, n, n, 0, format.DeltaBinaryPacked); err != nil {
			return err
		}
	}
	return nil
}

func bounds(values []int64) (low, high int64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// noteInts keeps the least and the greatest value, for us and for other readers.
func (w *segmentWriter) noteInts(number, at int, low, high int64) {
	firstPage := at == 0
	switch number {
	case colTime:
		w.index.blocks[at].minTime, w.index.blocks[at].maxTime = low, high
		if firstPage {
			w.info.MinTime, w.info.MaxTime = low, high
		}
		w.info.MinTime, w.info.MaxTime = min(w.info.MinTime, low), max(w.info.MaxTime, high)
		low, high = w.info.MinTime, w.info.MaxTime
	case colObserved:
		if firstPage {
			w.info.MinObserved, w.info.MaxObserved = low*micro, high*micro
		}
		w.info.MinObserved, w.info.MaxObserved = min(w.info.MinObserved, low*micro), max(w.info.MaxObserved, high*micro)
		low, high = w.info.MinObserved/micro, w.info.MaxObserved/micro
	default:
		return
	}
	s := &w.chunks[len(w.chunks)-1].MetaData.Statistics
	s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(low))
	s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(high))
}

// codeColumn writes the columns with a fixed dictionary, and takes their statistics.
func (w *segmentWriter) codeColumn(number int, feed rowFeed) error {
	w.chunk(w.cols[number])
	names := qualityNames()
	if number == colSource {
		names = sourceNames()
	}
	w.raw = w.raw[:0]
	if number == colSeverity {
		for l := range levels {
			w.raw = binary.LittleEndian.AppendUint32(w.raw, uint32(l))
		}
		names = make([]string, levels)
	} else {
		for _, n := range names {
			w.raw = appendPlain(w.raw, []byte(n))
		}
	}
	if err := w.dictionary(number, len(names)); err != nil {
		return err
	}
	for start := 0; start < w.rows; start += blockRows {
		w.codes = grow(w.codes, min(blockRows, w.rows-start))
		if err := feed.codes(number, w.codes); err != nil {
			return err
		}
		w.noteCodes(number, start/blockRows, len(names))
		if err := w.codePage(number, len(w.codes), nil); err != nil {
			return err
		}
	}
	return nil
}

// noteCodes counts the codes of a block.
func (w *segmentWriter) noteCodes(number, at, names int) {
	counts := make([]uint64, names)
	for _, c := range w.codes {
		counts[c]++
	}
	mask := uint8(0)
	for c, n := range counts {
		if n == 0 {
			continue
		}
		mask |= 1 << c
		switch number {
		case colSeverity:
			w.info.Severities[c] += n
		case colSource:
			w.info.Sources[c] += n
		}
	}
	k := &w.index.blocks[at]
	switch number {
	case colSeverity:
		k.severities = mask
	case colSource:
		k.sources = mask
	case colQuality:
		k.qualities = mask
	}
}

// codePage writes w.codes as a page of rows; levels are those of an optional field, nil for a required one.
func (w *segmentWriter) codePage(column, rows int, levels []uint8) error {
	w.raw = w.raw[:0]
	if levels != nil {
		if err := w.appendLevels(levels); err != nil {
			return err
		}
	}
	packed, err := new(rle.DictionaryEncoding).EncodeInt32(w.packed, w.codes)
	if err != nil {
		return err
	}
	w.raw = append(w.raw, packed...)
	w.packed = packed
	return w.page(column, rows, rows, len(w.codes), format.RLEDictionary)
}

// appendLevels adds repetition or definition levels of at most 1 as a page of version 1 has them.
func (w *segmentWriter) appendLevels(levels []uint8) error {
	packed, err := (&rle.Encoding{BitWidth: 1}).EncodeLevels(w.packed, levels)
	if err != nil {
		return err
	}
	w.raw = binary.LittleEndian.AppendUint32(w.raw, uint32(len(packed)))
	w.raw = append(w.raw, packed...)
	w.packed = packed
	return nil
}

// streamColumn writes the names from the stream table; our own queries use that.
func (w *segmentWriter) streamColumn() error {
	w.chunk(w.cols[colStream])
	t := &w.index.streams
	w.raw = w.raw[:0]
	for i := range t.len() {
		w.raw = appendPlain(w.raw, t.name(i))
	}
	if err := w.dictionary(colStream, t.len()); err != nil {
		return err
	}
	if t.len() > 0 {
		s := &w.chunks[len(w.chunks)-1].MetaData.Statistics
		s.MinValue, s.MaxValue = t.name(0), t.name(t.len()-1)
	}
	stream := 0
	for start := 0; start < w.rows; start += blockRows {
		w.codes = grow(w.codes, min(blockRows, w.rows-start))
		for i := range w.codes {
			for t.row(stream+1) <= uint32(start+i) {
				stream++
			}
			w.codes[i] = int32(stream)
		}
		if err := w.codePage(colStream, len(w.codes), nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *segmentWriter) bodyColumn(feed rowFeed) error {
	w.chunk(w.cols[colBody])
	var t texts
	for row := 0; row < w.rows; {
		t.reset()
		if err := feed.bodies(&t, w.rows-row); err != nil {
			return err
		}
		if t.len() == 0 {
			return io.ErrUnexpectedEOF
		}
		var err error
		if w.raw, err = new(delta.LengthByteArrayEncoding).EncodeByteArray(w.raw, t.data, t.offsets); err != nil {
			return err
		}
		if err := w.page(colBody, t.len(), t.len(), t.len(), format.DeltaLengthByteArray); err != nil {
			return err
		}
		row += t.len()
	}
	return nil
}
