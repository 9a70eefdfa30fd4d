package sink

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/logbridge/logbridge"
)

// writeBatch is how many rows go to a column at a time; pages are cut at these borders.
const writeBatch = 256

// writeSegment writes a frozen memtable as a segment and returns its path. It is there whole, synced and under its final
// name, or not at all.
func writeSegment(dir string, m memSnapshot, first, last uint64) (path string, err error) {
	order := sortedRows(m)
	return replaceFile(dir, fmt.Sprintf("segment-%016x-%016x", first, last), func(f *os.File) (string, error) {
		buffered := bufio.NewWriterSize(f, 1<<20)
		out := &blockSums{w: buffered}
		w := parquet.NewGenericWriter[any](out, writerConfig(segmentMeta(m, first, last))...)
		if err := writeColumns(w, m, order); err != nil {
			return "", err
		}
		if err := w.Flush(); err != nil { // the pages
			return "", err
		}
		w.SetKeyValueMetadata(metaBlocks, out.startTail())
		if err := w.Close(); err != nil { // page index and footer
			return "", err
		}
		name := segmentName{first: first, last: last, tail: out.length, sum: out.sum}
		return name.String(), buffered.Flush()
	})
}

func segmentMeta(m memSnapshot, first, last uint64) map[string]string {
	low, high := timeRange(m.rows)
	firstSeen, lastSeen := m.observedRange()
	return map[string]string{
		metaFormat:   segmentFormat,
		metaFirstSeq: strconv.FormatUint(first, 10),
		metaLastSeq:  strconv.FormatUint(last, 10),
		metaMinTime:  strconv.FormatInt(low, 10),
		metaMaxTime:  strconv.FormatInt(high, 10),

		metaMinObserved: strconv.FormatInt(firstSeen, 10),
		metaMaxObserved: strconv.FormatInt(lastSeen, 10),
	}
}

// observedRange is the range of the times of receipt.
func (s memSnapshot) observedRange() (low, high int64) {
	for i := range s.rows {
		at := s.decode(&s.rows[i]).observed
		if i == 0 {
			low, high = at, at
		}
		low, high = min(low, at), max(high, at)
	}
	return low, high
}

func timeRange(rows []rowRef) (low, high int64) {
	for i, r := range rows {
		if i == 0 {
			low, high = r.time, r.time
		}
		low, high = min(low, r.time), max(high, r.time)
	}
	return low, high
}

// sortedRows orders the rows by stream, time and position.
func sortedRows(m memSnapshot) []int32 {
	rank := streamRanks(m.streams)
	order := make([]int32, len(m.rows))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := &m.rows[a], &m.rows[b]
		switch {
		case x.stream != y.stream:
			return int(rank[x.stream]) - int(rank[y.stream])
		case x.time != y.time:
			if x.time < y.time {
				return -1
			}
			return 1
		default:
			return int(a) - int(b) // rows stand in position order
		}
	})
	return order
}

func streamRanks(streams []string) []int32 {
	ids := make([]int32, len(streams))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortFunc(ids, func(a, b int32) int {
		if streams[a] < streams[b] {
			return -1
		}
		return 1
	})
	rank := make([]int32, len(streams))
	for place, id := range ids {
		rank[id] = int32(place)
	}
	return rank
}

// writeColumns writes one column after the other; the writer puts them together on Close.
func writeColumns(w *parquet.GenericWriter[any], m memSnapshot, order []int32) error {
	leaf, ok := leafIndex(w.Schema())
	if !ok {
		return fmt.Errorf("segment schema misses a column")
	}
	columns := w.ColumnWriters()
	streams := make([]parquet.Value, len(m.streams))
	for i, s := range m.streams {
		streams[i] = parquet.ByteArrayValue([]byte(s))
	}
	qualities := []parquet.Value{}
	for q := logbridge.TimeDevice; q <= logbridge.TimeReceived; q++ {
		qualities = append(qualities, parquet.ByteArrayValue([]byte(q.String())))
	}
	flat := map[string]func(*rowRef) parquet.Value{
		colTime:     func(r *rowRef) parquet.Value { return parquet.Int64Value(r.time) },
		colObserved: func(r *rowRef) parquet.Value { return parquet.Int64Value(m.decode(r).observed) },
		colQuality:  func(r *rowRef) parquet.Value { return qualities[m.decode(r).quality] },
		colSource:   func(r *rowRef) parquet.Value { return sourceValues[r.source] },
		colStream:   func(r *rowRef) parquet.Value { return streams[r.stream] },
		colSeverity: func(r *rowRef) parquet.Value { return parquet.Int32Value(int32(r.severity)) },
		colBody:     func(r *rowRef) parquet.Value { return parquet.ByteArrayValue(m.decode(r).body) },
		colSeq:      func(r *rowRef) parquet.Value { return parquet.Int64Value(int64(m.groups[r.group].seq)) },
		colIndex:    func(r *rowRef) parquet.Value { return parquet.Int32Value(int32(r.index)) },
	}
	for name, value := range flat {
		number := leaf[name]
		err := writeColumn(columns[number], m, order, func(b []parquet.Value, r *rowRef) []parquet.Value {
			return append(b, value(r).Level(0, 0, number))
		})
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
	}
	for part, name := range []string{colAttrs + ".key", colAttrs + ".value"} {
		number := leaf[name]
		err := writeColumn(columns[number], m, order, func(b []parquet.Value, r *rowRef) []parquet.Value {
			return appendAttrs(b, m.decode(r), part, number)
		})
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
	}
	return nil
}

// appendAttrs adds the keys (part 0) or values (part 1) of a row, with the levels of a repeated field: an empty map is
// one null at definition level 0.
func appendAttrs(b []parquet.Value, full row, part, column int) []parquet.Value {
	repetition := 0
	full.eachAttr(func(k, v []byte) bool {
		text := [2][]byte{k, v}[part]
		b = append(b, parquet.ByteArrayValue(text).Level(repetition, 1, column))
		repetition = 1
		return true
	})
	if repetition == 0 {
		b = append(b, parquet.Value{}.Level(0, 0, column))
	}
	return b
}

func writeColumn(w *parquet.ColumnWriter, m memSnapshot, order []int32, add func([]parquet.Value, *rowRef) []parquet.Value) error {
	values := make([]parquet.Value, 0, writeBatch)
	for batch := range slices.Chunk(order, writeBatch) {
		values = values[:0]
		for _, i := range batch {
			values = add(values, &m.rows[i])
		}
		if _, err := w.WriteRowValues(values); err != nil {
			return err
		}
	}
	return nil
}
