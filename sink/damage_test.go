package sink

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestDamageWhileRunning flips a byte at many places of a segment of a running log. All other records are found exactly
// once by whatever asks first, and those of the segment once or, when the damage was seen, not at all.
func TestDamageWhileRunning(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 60)
	if got := len(e.log.segments.list); got < 3 {
		t.Fatalf("%d segments: this test wants several", got)
	}
	victim := e.log.segments.list[1]
	lost := e.linesOf(victim)
	good, err := os.ReadFile(victim.path)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for at := 5; at < len(good); at += max(1, len(good)/40) {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		if err := os.WriteFile(victim.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, cached := range []bool{true, false} {
			if !cached {
				e.log.segments.cache.clear()
			}
			for name, found := range e.answers() {
				once(t, fmt.Sprintf("byte %d of %d, %s", at, len(good), name), found, 0, 59, func(i int) bool { return lost[i] })
			}
		}
		if !e.log.has(victim) {
			seen++
			if n := len(e.files("*" + damagedSuffix)); n != 1 {
				t.Fatalf("%d files set aside", n)
			}
			if err := os.Remove(victim.path + damagedSuffix); err != nil {
				t.Fatal(err)
			}
		} // else it is in a page that these queries need not read
		victim = e.putBack(victim, good)
	}
	if got := e.log.Stats(); seen < 20 || got.SetAside != uint64(seen) || got.SetAsideRecords != uint64(seen*len(lost)) || e.log.Ready() != nil {
		t.Errorf("%+v after %d times, ready: %v", got, seen, e.log.Ready())
	}
	for name, found := range e.answers() {
		once(t, name, found, 0, 59, none)
	}
	e.restart()
	for name, found := range e.answers() {
		once(t, "after the restart, "+name, found, 0, 59, none)
	}
}

// putBack makes a segment that was set aside part of the set again, as a restart would.
func (e *env) putBack(m *member, content []byte) *member {
	e.t.Helper()
	if err := os.WriteFile(m.path, content, 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.log.segments.cache.forget(m.path)
	if e.log.has(m) {
		return m
	}
	s, err := openSegment(m.path)
	if err != nil {
		e.t.Fatal(err)
	}
	back := newMember(s)
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	list := append(slices.Clone(e.log.segments.list), back)
	slices.SortFunc(list, func(a, b *member) int { return int(a.first) - int(b.first) })
	e.log.segments.list = list
	return back
}

// TestDamageThatPasses: a read that goes wrong once is done again, and nothing is set aside.
func TestDamageThatPasses(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 20)
	m := e.log.segments.list[0]
	tries := 0
	err := e.log.attempt(m, func() error {
		if tries++; tries == 1 {
			return fmt.Errorf("%w: once", errDamaged)
		}
		return nil
	})
	if err != nil || tries != 2 || !e.log.has(m) {
		t.Errorf("%v after %d tries, in the set: %v", err, tries, e.log.has(m))
	}
	system := errors.New("input/output error")
	if err := e.log.attempt(m, func() error { return system }); !errors.Is(err, system) || !e.log.has(m) {
		t.Errorf("%v, in the set: %v", err, e.log.has(m))
	}
	if err := e.log.attempt(m, func() error { return errDamaged }); !errors.Is(err, errOutdated) || e.log.has(m) {
		t.Errorf("%v, in the set: %v", err, e.log.has(m))
	}
}

// TestSystemErrorFailsTheQuery: a segment that cannot be opened now is no damage.
func TestSystemErrorFailsTheQuery(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 40)
	e.log.segments.cache.clear()
	m := e.log.segments.list[1]
	aside := m.path + ".aside"
	if err := errors.Join(os.Rename(m.path, aside), os.Symlink(m.path, m.path)); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range e.log.Query(t.Context(), logbridge.Query{}) {
		last = err
	}
	if last == nil || errors.Is(last, errDamaged) || !e.log.has(m) {
		t.Errorf("the query ends with %v, the segment is in the set: %v", last, e.log.has(m))
	}
	if err := os.Rename(aside, m.path); err != nil {
		t.Fatal(err)
	}
	once(t, "afterwards", numbers(t, e.query(logbridge.Query{})), 0, 39, none)
}

// TestNewestSetAside: what comes after it is written under names that leave its place open, so that a good copy of it can
// be put back.
func TestNewestSetAside(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 60)
	newest := e.log.newest()
	lost := e.linesOf(newest)
	copied, err := os.ReadFile(newest.path)
	if err != nil {
		t.Fatal(err)
	}
	e.log.setAside(newest, errDamaged)
	e.restart()
	e.fill(60, 60)
	missing := func(i int) bool { return lost[i] }
	once(t, "without it", numbers(t, e.query(logbridge.Query{})), 0, 119, missing)
	e.stop()
	if err := os.WriteFile(newest.path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	once(t, "put back", numbers(t, e.query(logbridge.Query{})), 0, 119, none)
	if got := e.log.Stats(); got.SetAside != 0 {
		t.Errorf("%+v", got)
	}
}

// TestFlipInCommitLogOnEmbedded: a group that JetStream finds damaged is lost alone, and the sink goes on behind it.
func TestFlipInCommitLogOnEmbedded(t *testing.T) {
	const groups = 20
	e := newEnv(t, Config{})
	for i := range groups {
		e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, strings.Repeat(" x", 100)))}})
	}
	e.stop()
	blocks, err := filepath.Glob(filepath.Join(e.dir, "nats", "jetstream", "*", "streams", streamName, "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatal(blocks, err)
	}
	b, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x10
	if err := os.WriteFile(blocks[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	if got := len(e.query(logbridge.Query{})); got != groups-1 {
		t.Errorf("%d records of %d, want all but one", got, groups)
	}
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "behind it")}})
	e.restart()
	if got := len(e.query(logbridge.Query{})); got != groups {
		t.Errorf("%d records after another, want %d", got, groups)
	}
}
