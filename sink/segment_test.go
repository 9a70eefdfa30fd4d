package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/logbridge/logbridge"
)

// tableOf is a memtable of these groups of records; one without records is left out.
func tableOf(t testing.TB, first uint64, groups ...[]logbridge.Record) memSnapshot {
	t.Helper()
	m := newMemtable(0)
	for i, records := range groups {
		uploads, err := encodeBatch(logbridge.Batch{Records: records})
		if err != nil {
			t.Fatal(err)
		}
		var members []*waiting
		for _, u := range uploads {
			members = append(members, &waiting{upload: u})
		}
		g := &group{seq: first + uint64(i), raw: joinGroup(members)}
		var p parsed
		if err := p.parse(g.raw); err != nil {
			t.Fatal(err)
		}
		m.add(g, &p)
	}
	return m.snapshot()
}

func mustOpen(t testing.TB, path string, err error) *segment {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSegment(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer reads all that a table has to say to q.
func answer(t testing.TB, open func(*plan) (cursor, error), q logbridge.Query) ([]logbridge.Record, error) {
	return answerPlan(open, newPlan(t.Context(), q))
}

func answerPlan(open func(*plan) (cursor, error), p *plan) (out []logbridge.Record, err error) {
	c, err := open(p)
	for err == nil {
		if _, more := c.head(); !more {
			return out, nil
		}
		var r logbridge.Record
		if r, err = c.take(); err == nil {
			out = append(out, r)
		}
	}
	return out, err
}

// manyRecords are enough for several pages and for columns of frequent attributes.
func manyRecords(rnd *rand.Rand, groups, each int) (all [][]logbridge.Record) {
	for range groups {
		var records []logbridge.Record
		for range each {
			records = append(records, randomRecord(rnd))
		}
		all = append(all, records)
	}
	return all
}

// TestSegmentSaysWhatTheMemtableSaid asks the memtable, its segment, and the merge of several segments the same.
func TestSegmentSaysWhatTheMemtableSaid(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	groups := manyRecords(rnd, 90, 100)
	whole := tableOf(t, 1, groups...)
	dir := t.TempDir()
	path, err := writeSegment(dir, whole, 1, 90)
	one := mustOpen(t, path, err)
	var parts []*segment
	for i := 0; i < 90; i += 30 {
		path, err := writeSegment(dir, tableOf(t, uint64(i+1), groups[i:i+30]...), uint64(i+1), uint64(i+30))
		parts = append(parts, mustOpen(t, path, err))
	}
	path, err = writeSegment(dir, tableOf(t, 91), 91, 91) // without a row
	parts = append(parts, mustOpen(t, path, err))
	path, err = mergeSegments(t.Context(), dir, parts)
	merged := mustOpen(t, path, err)
	if merged.first != 1 || merged.last != 91 || merged.rows != one.rows || merged.info.Severities != one.info.Severities {
		t.Fatalf("merged %+v of %+v", merged.info, one.info)
	}
	x, err := merged.index()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(x.fields, "k0") || slices.Contains(x.fields, "k1") { // k1 comes twice in some records
		t.Errorf("columns for %v", x.fields)
	}
	for _, q := range queries {
		want, err := answer(t, whole.open, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*segment{one, merged} {
			if got, err := answer(t, s.open, q); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, query %+v: %d records, the memtable has %d; %v", filepath.Base(s.path), q, len(got), len(want), err)
			}
		}
		compareCounts(t, q, whole, one, merged)
	}
}

func compareCounts(t *testing.T, q logbridge.Query, whole memSnapshot, segments ...*segment) {
	t.Helper()
	all, err := answer(t, whole.open, logbridge.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []logbridge.CountBy{{}, {Field: "level"}, {Field: "source"}, {Field: "stream"}, {Field: "product"}, {Field: "field.k0"},
		{Field: "field.k1"}, {Step: 7e11}, {Field: "level", Step: 7e11}, {Field: "field.k2", Step: 1e12}, {Field: "stream", Step: 7e11}, {Field: "product", Step: 7e11}, {Field: "source", Step: 1e9},
		{Field: "level", Step: 7e11, Origin: time.Unix(123, 45)}} {
		counts := func(count func(*counter) error) map[countGroup]uint64 {
			c := newCounter(newPlan(t.Context(), q), by)
			if err := count(c); err != nil {
				t.Fatal(err)
			}
			return c.groups
		}
		want := counts(whole.count)
		model := map[countGroup]uint64{}
		for _, r := range all {
			if q.Match(&r) {
				model[countGroup{intervalsOf(by).of(r.Time.UnixNano()), by.Of(&r)}]++
			}
		}
		if !reflect.DeepEqual(want, model) {
			t.Errorf("query %+v by %+v: %v, should be %v", q, by, want, model)
		}
		for _, s := range segments {
			if got := counts(s.count); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, query %+v by %+v: %v, the memtable says %v", filepath.Base(s.path), q, by, got, want)
			}
		}
	}
}

// TestSegmentForOtherReaders reads a new segment and a merged one with a Parquet library that knows nothing of our index.
func TestSegmentForOtherReaders(t *testing.T) {
	groups := manyRecords(rand.New(rand.NewPCG(3, 4)), 20, 500)
	dir := t.TempDir()
	path, err := writeSegment(dir, tableOf(t, 1, groups...), 1, 20)
	fresh := mustOpen(t, path, err)
	path, err = mergeSegments(t.Context(), dir, []*segment{fresh})
	merged := mustOpen(t, path, err)
	if !fresh.fresh || merged.fresh {
		t.Fatalf("fresh: %v, then %v", fresh.fresh, merged.fresh)
	}
	for _, s := range []*segment{fresh, merged} {
		readElsewhere(t, s)
	}
}

func readElsewhere(t *testing.T, s *segment) {
	t.Helper()
	want, err := answer(t, s.open, logbridge.Query{Order: logbridge.ByPosition})
	if err != nil {
		t.Fatal(err)
	}
	type parquetRow struct {
		Time       int64             `parquet:"time"`
		Observed   int64             `parquet:"observed_time"`
		Quality    string            `parquet:"time_quality"`
		Source     string            `parquet:"source"`
		Stream     string            `parquet:"stream"`
		Severity   int32             `parquet:"severity"`
		Body       string            `parquet:"body"`
		Attributes map[string]string `parquet:"attributes"`
		Seq        int64             `parquet:"seq"`
		Index      int32             `parquet:"seq_index"`
		K0         *string           `parquet:"field_k0,optional"`
	}
	rows, err := parquet.ReadFile[parquetRow](s.path)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(rows, func(a, b parquetRow) int {
		return logbridge.Position{Seq: uint64(a.Seq), Index: uint32(a.Index)}.Compare(logbridge.Position{Seq: uint64(b.Seq), Index: uint32(b.Index)})
	})
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i, r := range rows {
		w := want[i]
		attrs := map[string]string{}
		var k0 *string
		for _, a := range w.Attributes {
			if attrs[a.Key] = a.Value; a.Key == "k0" {
				k0 = &a.Value
			}
		}
		same := r.Time == w.Time.UnixNano() && r.Observed == w.ObservedTime.UnixMicro() && r.Quality == w.TimeQuality.String() &&
			r.Source == string(w.Source) && r.Stream == string(w.Stream) && r.Severity == int32(w.Severity) && r.Body == w.Body &&
			fmt.Sprint(r.Attributes) == fmt.Sprint(attrs) && (r.K0 == nil) == (k0 == nil) && (k0 == nil || *r.K0 == *k0)
		if !same {
			t.Fatalf("row %d is %+v, should be %+v", i, r, w)
		}
	}
}

// TestEveryFlippedByteIsSeen damages a segment at many places: an answer is right or an error that says damaged.
func TestEveryFlippedByteIsSeen(t *testing.T) {
	groups := manyRecords(rand.New(rand.NewPCG(5, 6)), 5, 200)
	path, err := writeSegment(t.TempDir(), tableOf(t, 1, groups...), 1, 5)
	s := mustOpen(t, path, err)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name, _ := parseSegmentName(filepath.Base(path))
	want, err := answer(t, s.open, logbridge.Query{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for at := 0; at < len(good); at += 1 + at%13 {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		s, err := readSegment(bytes.NewReader(bad), int64(len(bad)), name)
		var got []logbridge.Record
		if err == nil {
			got, err = answer(t, s.open, logbridge.Query{})
		}
		switch {
		case errors.Is(err, errDamaged):
			seen++
		case err != nil:
			t.Fatalf("byte %d: %v", at, err)
		case !reflect.DeepEqual(got, want):
			t.Fatalf("byte %d: another answer and no error", at)
		}
	}
	if seen == 0 {
		t.Fatal("nothing was seen")
	}
}

// TestShortFile: what is missing at the end of a file is damage, too; what the system cannot read is not.
func TestShortFile(t *testing.T) {
	path, err := writeSegment(t.TempDir(), tableOf(t, 1, manyRecords(rand.New(rand.NewPCG(1, 1)), 1, 100)...), 1, 1)
	s := mustOpen(t, path, err)
	s.file = readerFunc(func([]byte, int64) (int, error) { return 0, io.EOF })
	if _, err := answer(t, s.open, logbridge.Query{}); !errors.Is(err, errDamaged) {
		t.Error(err)
	}
	s = mustOpen(t, path, nil)
	s.file = readerFunc(func([]byte, int64) (int, error) { return 0, os.ErrPermission })
	if _, err := answer(t, s.open, logbridge.Query{}); err == nil || errors.Is(err, errDamaged) {
		t.Error(err)
	}
}

type readerFunc func([]byte, int64) (int, error)

func (f readerFunc) ReadAt(b []byte, at int64) (int, error) { return f(b, at) }

// FuzzIndex feeds the decoder of the side index. What it accepts fits the file, and comes out as it went in.
func FuzzIndex(f *testing.F) {
	path, err := writeSegment(f.TempDir(), tableOf(f, 1, manyRecords(rand.New(rand.NewPCG(9, 9)), 3, 400)...), 1, 3)
	s := mustOpen(f, path, err)
	x, err := s.index()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := decodeIndex(data, s.info.IndexOffset, s.rows)
		if err != nil {
			return
		}
		again, err := decodeIndex(x.encode(), s.info.IndexOffset, s.rows)
		if err != nil || !reflect.DeepEqual(again, x) {
			t.Fatalf("an index does not survive: %v", err)
		}
		for row := uint32(0); row < x.rows(); row += 97 {
			for i := range x.columns {
				c := &x.columns[i]
				if n := c.find(row); c.first[n] > row || c.first[n+1] <= row {
					t.Fatal("a row without a page")
				}
			}
		}
	})
}

// TestManyStreams: the names of a large fleet are a dictionary that is much larger than a page of data may be.
func TestManyStreams(t *testing.T) {
	const devices = 60_000
	var groups [][]logbridge.Record
	for i := 0; i < devices; i += 1000 {
		var records []logbridge.Record
		for n := range 1000 {
			records = append(records, line(fmt.Sprintf("%064d", i+n), "x"))
		}
		groups = append(groups, records)
	}
	path, err := writeSegment(t.TempDir(), tableOf(t, 1, groups...), 1, uint64(len(groups)))
	s := mustOpen(t, path, err)
	defer s.Close()
	found, err := answer(t, s.open, logbridge.Query{Device: fmt.Sprintf("%064d", devices-1), Product: "ABCDE12345"})
	if err != nil || len(found) != 1 {
		t.Errorf("%d records of one device, %v", len(found), err)
	}
}
