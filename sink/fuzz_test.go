package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
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
		l := newLedger(16)
		l.lose(true, logbridge.SourceMQTT, "", "malformed", 3)
		l.lose(false, logbridge.SourceSLS, "sls/p/s", "too_large", 1)
		f.Add(s2.Encode(nil, joinGroup(append(members, l.report(maxGroup)))))
		f.Add(s2.Encode(nil, raw))
	}
	f.Add([]byte{})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(s2.Encode(nil, []byte{groupVersion, kindReport, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff, 0x0f}))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := decompress(1, data)
		if err != nil {
			return
		}
		var p parsed
		if p.parse(g.raw) != nil {
			return
		}
		d, l := newDuplicates(16), newLedger(16)
		d.judge(&p)
		l.take(&p)
		if got := l.answer().Total; got.Received < uint64(len(p.rows)) || got.Stored+got.Duplicate != uint64(len(p.rows)) {
			t.Fatalf("ledger %+v of %d rows", got, len(p.rows))
		}
		m := newMemtable(0)
		m.add(g, &p)
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

// FuzzWindow feeds the decoder of the windows' files; what it accepts is as long as it says.
func FuzzWindow(f *testing.F) {
	d := newDuplicates(16)
	f.Add(withoutSum(d.freeze(1).body))
	for i := range 3 {
		d.repeats(&uploadHead{key: []byte{byte(i)}, delivery: logbridge.Delivery(i), received: int64(i) * 1e9})
	}
	f.Add(withoutSum(d.freeze(2).body))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = binary.LittleEndian.AppendUint32(bytes.Clone(data), crc32.Checksum(data, castagnoli)) // or nothing would get behind it
		c, err := decodeWindow(data)
		if err != nil {
			return
		}
		size := len(windowMagic) + 4
		for i := range windowKinds {
			size += windowHeadSize + len(c.entries[i])*windowRowSize
		}
		if size != len(data) {
			t.Fatalf("%d bytes of %d", size, len(data))
		}
	})
}

// FuzzLedger feeds the decoder of the ledger's checkpoints; what it accepts comes out again as it went in.
func FuzzLedger(f *testing.F) {
	l := newLedger(16)
	f.Add(withoutSum(encoded(l.state())))
	for _, s := range []logbridge.Stream{"device/P/a", "device/P/ab", "sls/p/s", ""} {
		l.lose(true, logbridge.SourceMQTT, s, "malformed", 3)
		l.lose(false, logbridge.SourceSLS, s, "too_large", 1)
	}
	l.takeReport(l.report(maxGroup).report)
	f.Add(withoutSum(encoded(l.state())))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = binary.LittleEndian.AppendUint32(bytes.Clone(data), crc32.Checksum(data, castagnoli))
		s, err := decodeLedger(data)
		if err != nil {
			return
		}
		again, err := decodeLedger(encoded(s))
		if err != nil || len(again.entries) != len(s.entries) || again.since != s.since {
			t.Fatalf("%d entries became %d: %v", len(s.entries), len(again.entries), err)
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

// withoutSum cuts off the checksum, which the fuzz targets add.
func withoutSum(b []byte) []byte { return b[:len(b)-4] }
