package sink

import (
	"testing"

	"github.com/logbridge/logbridge"
)

// TestNamesWithSlashes: a memtable and its segment say the same to names that are none.
func TestNamesWithSlashes(t *testing.T) {
	var records []logbridge.Record
	for _, s := range []logbridge.Stream{"device/A/B/C", "device/A/B", "device/A", "device/", "device//", "sls/a/b/c", "sls/a/b", "sls/a", "cls/a/b", "cls/", "audit"} {
		r := line("x", string(s))
		r.Stream = s
		records = append(records, r)
	}
	m := tableOf(t, 1, records)
	path, err := writeSegment(t.TempDir(), m, 1, 1)
	s := mustOpen(t, path, err)
	defer s.Close()
	for _, q := range []logbridge.Query{
		{Product: "A/B"}, {Product: "A"}, {Product: "A", Device: "B/C"}, {Product: "A/B", Device: "C"}, {Device: "B/C"}, {Device: "B*"},
		{Product: "A", Device: "B/*"}, {Product: "/"}, {Product: "A/"}, {Project: "a/b"}, {Project: "a/b", Logstore: "c"}, {Project: "a", Logstore: "b/c"},
		{Logstore: "b"}, {Logstore: "b/c"}, {Topic: "a/b"}, {Topic: "a"}, {Stream: "device/A/B", Product: "A"}, {Stream: "device/A/B", Topic: "x"},
		{Stream: "device/A/B", Product: "A", Device: "B"}, {Product: "A", Project: "a"}, {Stream: "device/A"}, {Stream: "device/A\x00"},
	} {
		want := 0
		for i := range records {
			if q.Match(&records[i]) {
				want++
			}
		}
		for name, open := range map[string]func(*plan) (cursor, error){"memtable": m.open, "segment": s.open} {
			if got, err := answer(t, open, q); err != nil || len(got) != want {
				t.Errorf("%s, %+v: %d records, want %d; %v", name, q, len(got), want, err)
			}
		}
	}
}
