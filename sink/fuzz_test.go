package sink

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/logbridge/logbridge"
)

// FuzzGroup feeds the commit log's decoder. What it accepts is well formed enough to be read again in full.
func FuzzGroup(f *testing.F) {
	for _, b := range []logbridge.Batch{
		{Records: []logbridge.Record{line("dev_01", "hello")}},
		{ReplayKey: "key", Records: []logbridge.Record{line("dev_01", ""), {Source: logbridge.SourceCLS, Stream: "cls/t", Attributes: []logbridge.Attr{{Key: "a", Value: "b"}, {}}}}},
	} {
		uploads, err := encodeBatch(b)
		if err != nil {
			f.Fatal(err)
		}
		var members []*waiting
		for _, u := range uploads {
			members = append(members, &waiting{upload: u})
		}
		raw := joinGroup(members)
		f.Add(s2.Encode(nil, raw))
	}
	f.Add([]byte{})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := decompress(1, data)
		if err != nil {
			return
		}
		m := newMemtable()
		all := func(uploadHead) bool { return true }
		if err := m.add(g, all, func(*row, bool) {}); err != nil {
			if len(m.rows) != 0 {
				t.Fatal("rows of a refused group stay")
			}
			return
		}
		s := m.snapshot()
		for i := range s.rows {
			full := s.decode(&s.rows[i])
			r := full.record(s.position(&s.rows[i]))
			if string(r.Stream) != s.streams[s.rows[i].stream] {
				t.Fatal("stream differs")
			}
		}
	})
}

// FuzzWindow feeds the decoder of the replay window; what it accepts comes out as it went in.
func FuzzWindow(f *testing.F) {
	w := newWindow()
	f.Add(w.encode())
	w.repeats([]byte("key"), 7, 1000, logbridge.SignedUpload)
	w.repeats([]byte("other"), 8, 2000, logbridge.FirstDelivery)
	f.Add(w.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := decodeWindow(data)
		if err == nil && !bytes.Equal(w.encode(), data) {
			t.Fatal("a window does not survive")
		}
	})
}

// FuzzSegment damages a segment in front of its footer and reads it whole: an error that says so, or exactly what was
// written. The footer has a checksum of its own, which TestEveryFlippedByteIsSeen looks at.
func FuzzSegment(f *testing.F) {
	m := tableOf(f, 1, []logbridge.Record{
		line("dev_01", "hello"), line("dev_02", "world"),
		{Time: epoch, ObservedTime: epoch, Source: logbridge.SourceSLS, Stream: "sls/p/s", Severity: logbridge.LevelInfo, Attributes: []logbridge.Attr{{Key: "k", Value: "v"}, {Key: "k", Value: "w"}}},
	})
	path, err := writeSegment(f.TempDir(), m, 1, 1)
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	name, ok := parseSegmentName(filepath.Base(path))
	if !ok {
		f.Fatal(path)
	}
	front, tail := good[:len(good)-int(name.tail)], good[len(good)-int(name.tail):]
	f.Add(front)
	for at := 0; at < len(front); at += 37 {
		bad := bytes.Clone(front)
		bad[at] ^= 0x40
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = append(bytes.Clone(data[:min(len(data), len(front))]), front[min(len(data), len(front)):]...)
		data = append(data, tail...)
		s, err := readSegment(bytes.NewReader(data), int64(len(data)), name)
		if err != nil {
			t.Fatal(err) // the footer is right
		}
		for _, q := range []logbridge.Query{{}, {Product: "ABCDE12345", Contains: "o"}, {Fields: []logbridge.Attr{{Key: "k", Value: "w"}}}} {
			want, err := answer(t, m.open, q)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := answer(t, s.open, q); err == nil && !reflect.DeepEqual(got, want) || err != nil && !errors.Is(err, errDamaged) {
				t.Fatalf("query %+v: %d records, should be %d: %v", q, len(got), len(want), err)
			}
		}
	})
}
