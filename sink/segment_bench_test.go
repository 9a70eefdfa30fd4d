package sink

import (
	"os"
	"testing"

	"github.com/logbridge/logbridge"
)

// benchMemtable is one full memtable of the store benchmark's records, in groups as large as the committer makes them.
func benchMemtable(tb testing.TB) memSnapshot {
	tb.Helper()
	var cfg Config
	cfg.setDefaults()
	// So many records pass between two segments that the devices' uploads lie as in the middle of a long run.
	g := newStoreData(10_000_000)
	m := newMemtable(0)
	full := func() bool { _, size := m.size(); return size >= cfg.MemtableBytes }
	for seq := uint64(1); !full(); seq++ {
		raw := []byte{groupVersion}
		for range 64 {
			b, _ := g.next()
			uploads, err := encodeBatch(b)
			if err != nil {
				tb.Fatal(err)
			}
			for _, u := range uploads {
				raw = append(append(raw, u.head...), u.body...)
			}
		}
		var p parsed
		if err := p.parse(raw); err != nil {
			tb.Fatal(err)
		}
		m.add(&group{seq: seq, raw: raw}, &p)
	}
	return m.snapshot()
}

// BenchmarkWriteSegment writes a full memtable as a segment.
func BenchmarkWriteSegment(b *testing.B) {
	m := benchMemtable(b)
	dir := b.TempDir()
	last := m.groups[len(m.groups)-1].seq
	var size int64
	b.ReportAllocs()
	for b.Loop() {
		path, err := writeSegment(dir, m, 1, last)
		if err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		size = info.Size()
	}
	rows := float64(len(m.rows))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/record")
	b.ReportMetric(float64(size)/rows, "B/record")
}

// BenchmarkStoreData makes the records alone: what the store benchmark subtracts.
func BenchmarkStoreData(b *testing.B) {
	g := newStoreData(10_000_000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		var batch logbridge.Batch
		if batch, _ = g.next(); len(batch.Records) == 0 {
			b.Fatal("out of records")
		}
		n += len(batch.Records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}
