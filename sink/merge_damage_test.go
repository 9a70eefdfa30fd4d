package sink

import (
	"os"
	"testing"
)

// TestMergeWithDamageThatQueriesPassOver: a page of codes that are all alike is not read by queries, for the index says the
// code. A merge does not read it either, or it would fail from then on and nobody would set the segment aside.
func TestMergeWithDamageThatQueriesPassOver(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 100)
	victim := e.log.segments.list[1]
	s, err := openSegment(victim.path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.index()
	if err != nil {
		t.Fatal(err)
	}
	p := x.columns[colSource].pages[0]
	s.Close()
	b, err := os.ReadFile(victim.path)
	if err != nil {
		t.Fatal(err)
	}
	b[p.offset+int64(p.length)-1] ^= 1
	if err := os.WriteFile(victim.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, found := range e.answers() {
		once(t, "before the merge, "+name, found, 0, 99, none)
	}
	e.mergeAll(eager)
	if got := e.log.Stats(); got.SetAside != 0 || got.Merges == 0 || e.log.has(victim) {
		t.Errorf("%+v", got)
	}
	for name, found := range e.answers() {
		once(t, name, found, 0, 99, none)
	}
}
