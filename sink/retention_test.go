package sink

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// expire is expireBut without a retention for the audit stream.
func (l *Log) expire(age time.Duration, bytes int64) {
	l.expireBut(context.Background(), age, bytes, 0)
}

// clocked is a sink whose clock a test sets. Lines carry the time of receipt that it shows.
func clocked(t *testing.T, cfg Config) (*env, *atomic.Int64) {
	var now atomic.Int64
	now.Store(epoch.UnixNano())
	cfg.Now = func() time.Time { return time.Unix(0, now.Load()) }
	cfg.MemtableBytes = 16 << 10
	return newEnv(t, cfg), &now
}

// receive appends n lines that are received now, by devices whose clocks are all over the place.
func receive(e *env, now *atomic.Int64, first, n int) {
	for i := first; i < first+n; i++ {
		r := line("dev", fmt.Sprint(i, " ", strings.Repeat("x", 2000)))
		r.ObservedTime = time.Unix(0, now.Load())
		r.Time = r.ObservedTime.Add(time.Duration(i%5-2) * 24 * 365 * time.Hour)
		e.append(logbridge.Batch{Records: []logbridge.Record{r}})
	}
	e.settle()
}

// TestRetentionByAge: segments go when all their records were received long enough ago, and not before.
func TestRetentionByAge(t *testing.T) {
	const age = 30 * 24 * time.Hour
	e, now := clocked(t, Config{})
	receive(e, now, 0, 40)
	now.Add(int64(age / 2))
	receive(e, now, 40, 43)
	e.log.expire(age, 0)
	once(t, "in the middle", numbers(t, e.query(logbridge.Query{})), 0, 82, none)

	now.Add(int64(age/2) + 1)
	old := map[int]bool{}
	for i, m := range e.log.segments.list {
		if lines := e.linesOf(m); !lines[82] && m.maxObserved == epoch.UnixNano() {
			for n := range lines {
				old[n] = true
			}
			if i < 2 && len(lines) == 0 {
				t.Fatal("an empty segment")
			}
		}
	}
	if len(old) < 20 || len(old) > 40 {
		t.Fatalf("%d lines of old segments: this test wants some", len(old))
	}
	before := e.log.Stats()
	e.log.expire(age, 0)
	after := e.log.Stats()
	found := numbers(t, e.query(logbridge.Query{}))
	once(t, "after the age", found, 0, 82, func(i int) bool { return old[i] })
	if len(found) != 83-len(old) || after.ExpiredByAge != uint64(len(old)) || after.Segments >= before.Segments {
		t.Errorf("%d lines are left, %d segments of %d, %d records removed, want %d", len(found), after.Segments, before.Segments, after.ExpiredByAge, len(old))
	}
	if !after.OldestReceived.After(epoch) && !after.OldestReceived.Equal(epoch) {
		t.Errorf("oldest received %s", after.OldestReceived)
	}
	if files := e.files("*.parquet"); len(files) != after.Segments {
		t.Errorf("%d files of %d segments", len(files), after.Segments)
	}
	expireAll(t, e, now, age)
}

// expireAll: when everything in segments is old, an empty one remains as the mark of where the commit log begins, and the
// sink goes on as before, also after a restart, and after a crash before the old one was removed.
func expireAll(t *testing.T, e *env, now *atomic.Int64, age time.Duration) {
	now.Add(int64(365 * 24 * time.Hour))
	newest := e.log.newest()
	content, err := os.ReadFile(newest.path)
	if err != nil {
		t.Fatal(err)
	}
	unindexed := e.log.Stats().MemtableRows
	e.log.expire(age, 0)
	if got := len(e.query(logbridge.Query{})); got != unindexed || e.log.Stats().Segments != 1 || len(e.files("*.parquet")) != 1 {
		t.Errorf("%d records, %d segments, want the %d that are in no segment", got, e.log.Stats().Segments, unindexed)
	}
	e.stop()
	if err := os.WriteFile(newest.path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	e.log.expire(age, 0)
	if got := len(e.query(logbridge.Query{})); got != unindexed || len(e.files("*.parquet")) != 1 {
		t.Errorf("%d records after the restart, files %v", got, e.files("*"))
	}
	receive(e, now, 100, 30)
	e.restart()
	e.log.expire(age, 0)
	found := numbers(t, e.query(logbridge.Query{}))
	for i := 100; i < 130; i++ {
		if found[i] != 1 {
			t.Errorf("line %d is found %d times", i, found[i])
		}
	}
}

// TestRetentionByBytes: the oldest go until the rest fits; the newest segment and what is in none stay.
func TestRetentionByBytes(t *testing.T) {
	e, now := clocked(t, Config{})
	receive(e, now, 0, 83)
	all := e.log.Stats()
	if all.Segments < 6 || all.MemtableRows == 0 {
		t.Fatalf("%+v: this test wants several segments and a memtable", all)
	}
	e.log.expire(0, all.SegmentBytes/2)
	half := e.log.Stats()
	found := numbers(t, e.query(logbridge.Query{}))
	removed := 83 - len(found)
	if half.SegmentBytes > all.SegmentBytes/2 || half.SegmentBytes < all.SegmentBytes/4 || half.ExpiredByBytes != uint64(removed) {
		t.Errorf("%d bytes of %d, %d records removed, %d counted", half.SegmentBytes, all.SegmentBytes, removed, half.ExpiredByBytes)
	}
	once(t, "by bytes", found, removed, 82, none)
	e.log.expire(0, 1)
	if got := e.log.Stats(); got.Segments != 1 || got.MemtableRows != all.MemtableRows {
		t.Errorf("%+v", got)
	}
	e.restart()
	receive(e, now, 83, 40)
	once(t, "later", numbers(t, e.query(logbridge.Query{})), 0, 122, func(i int) bool { return i < 83 })
}

// TestRetentionRuns looks at the loop itself: it removes after a new segment, although nothing else asks for it.
func TestRetentionRuns(t *testing.T) {
	e, now := clocked(t, Config{RetentionBytes: 1})
	receive(e, now, 0, 40)
	deadline := time.Now().Add(time.Minute)
	for e.log.Stats().ExpiredByBytes == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing is removed")
		}
		receive(e, now, 40, 10)
	}
}

// TestRetentionWhenNothingCanBeWritten: room is made although no segment can be written.
func TestRetentionWhenNothingCanBeWritten(t *testing.T) {
	e, now := clocked(t, Config{})
	receive(e, now, 0, 80)
	before := e.log.Stats()
	for _, m := range e.log.segments.list { // whatever a segment is written to first is taken by a folder
		if err := os.Mkdir(fmt.Sprintf("%s/segment-%016x-%016x%s", e.cfg.Dir, m.first, m.last, tmpSuffix), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	now.Add(int64(2 * time.Hour))
	e.log.expire(time.Hour, 0)
	if got := e.log.Stats(); got.Segments != 1 || got.SegmentBytes >= before.SegmentBytes/2 {
		t.Errorf("%+v, before %+v: only the newest, which needs one in its place, may stay", got, before)
	}
	for _, f := range e.files("*" + tmpSuffix) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExpiredNewestIsNotHeld: its file goes although it is read, so that no start finds it within what its empty one was merged to.
func TestExpiredNewestIsNotHeld(t *testing.T) {
	e, now := clocked(t, Config{})
	receive(e, now, 0, 40)
	held := e.log.held()
	defer e.log.letGo(held)
	newest := held[len(held)-1].path
	now.Add(int64(2 * time.Hour))
	e.log.expire(time.Hour, 0)
	if _, err := os.Stat(newest); err == nil {
		t.Error("the file of the newest segment is still there")
	}
	if got := e.log.Stats(); got.Segments != 1 || got.SegmentBytes == 0 {
		t.Errorf("%+v: the empty segment is missing", got)
	}
}
