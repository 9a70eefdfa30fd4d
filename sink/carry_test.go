package sink

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// receiveMixed is receive with an audit record behind every fifth line, and its marker in the device's stream.
func receiveMixed(e *env, now *atomic.Int64, first, n int) {
	for i := first; i < first+n; i += 5 {
		receive(e, now, i, min(5, first+n-i))
		at := time.Unix(0, now.Load())
		record := logbridge.Record{Time: at, ObservedTime: at, TimeQuality: logbridge.TimeReceived, Source: logbridge.SourceAudit, Stream: logbridge.AuditStream,
			Severity: logbridge.LevelWarn, Body: fmt.Sprint(i, " changed"), Attributes: []logbridge.Attr{{Key: "action", Value: "level.set"}, {Key: "actor", Value: fmt.Sprint(i)}}}
		marker := record
		marker.Stream = line("dev", "").Stream
		e.append(logbridge.Batch{Records: []logbridge.Record{record, marker}})
	}
	e.settle()
}

// auditOf is the audit stream by position.
func auditOf(e *env) []logbridge.Record {
	return e.query(logbridge.Query{Stream: logbridge.AuditStream, Order: logbridge.ByPosition})
}

func sameAudit(t *testing.T, what string, got, want []logbridge.Record) {
	t.Helper()
	if len(want) < 10 {
		t.Fatalf("%s: %d audit records: this test wants some", what, len(want))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %d audit records, want %d\n%v\n%v", what, len(got), len(want), got, want)
	}
}

// TestAuditOutlivesItsNeighbours: lines expire by age and audit records stay, as they were and where they were; also after a
// crash with the file of a whole segment still there, after merges and restarts, until their own age is over.
func TestAuditOutlivesItsNeighbours(t *testing.T) {
	const age, keep = time.Hour, 400 * 24 * time.Hour
	e, now := clocked(t, Config{})
	receiveMixed(e, now, 0, 120)
	want, newest := auditOf(e), e.log.newest()
	first := e.log.held()[0]
	content, err := os.ReadFile(first.path)
	if err != nil {
		t.Fatal(err)
	}
	e.log.letGo([]*member{first})
	inMemory := e.log.Stats().MemtableRows
	now.Add(int64(2 * age))
	expire := func() { e.log.expireBut(t.Context(), age, 0, keep) }
	expire()
	sameAudit(t, "expired", auditOf(e), want)
	if n := len(e.query(logbridge.Query{Sources: logbridge.SourcesOf(line("dev", "").Source)})); n > inMemory {
		t.Errorf("%d lines are left, %d are in no segment", n, inMemory)
	}
	if _, err := os.Stat(newest.path); err == nil {
		t.Error("the file of the newest is still there")
	}
	files := len(e.files("*.parquet"))
	e.log.expireBut(t.Context(), age, 0, keep)
	if got := e.log.Stats(); got.Segments != files || len(e.files("*.parquet")) != files {
		t.Errorf("expired again: %d segments, %d files, before %d", got.Segments, len(e.files("*.parquet")), files)
	}

	e.stop() // a crash before the file of the whole segment was gone
	if err := os.WriteFile(first.path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	sameAudit(t, "after the crash", auditOf(e), want)
	expire()
	sameAudit(t, "expired once more", auditOf(e), want)
	if len(e.files("*.overlap")) > 0 {
		t.Errorf("%v", e.files("*"))
	}

	before := e.log.Stats().Segments
	e.mergeAll(newMergePolicy(age, keep))
	e.mergeAll(mergePolicy{rows: 1 << 20, bytes: 1 << 40, span: mergeSpan, audit: mergeAudit})
	sameAudit(t, "merged", auditOf(e), want)
	if got := e.log.Stats().Segments; before > auditMergeRun && got >= before {
		t.Errorf("%d segments of %d", got, before)
	}
	e.restart()
	sameAudit(t, "after a restart", auditOf(e), want)

	now.Add(int64(keep))
	receiveMixed(e, now, 200, 60)
	expire()
	later := auditOf(e)
	if len(later) == 0 || len(later) > 12+inMemory || !strings.HasPrefix(later[len(later)-1].Body, "255 ") {
		t.Errorf("%d audit records after their age", len(later))
	}
	e.restart()
	sameOrNone(t, auditOf(e), later)
}

func sameOrNone(t *testing.T, got, want []logbridge.Record) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d audit records, want %d", len(got), len(want))
	}
}

// TestAuditOutlivesTheBytesOfOthers: a bound of bytes costs lines first, and audit records when there is nothing else.
func TestAuditOutlivesTheBytesOfOthers(t *testing.T) {
	e, now := clocked(t, Config{})
	receiveMixed(e, now, 0, 160)
	want, all := auditOf(e), e.log.Stats()
	bound := all.SegmentBytes * 7 / 8 // a segment of a dozen records has mostly a footer, so that more is not to be had
	e.log.expireBut(t.Context(), 0, bound, -1)
	some := e.log.Stats()
	if some.SegmentBytes > bound || some.ExpiredByBytes == 0 {
		t.Errorf("%d bytes of %d, %d records removed", some.SegmentBytes, all.SegmentBytes, some.ExpiredByBytes)
	}
	sameAudit(t, "some", auditOf(e), want)
	e.restart()
	sameAudit(t, "after a restart", auditOf(e), want)
	lines := len(e.query(logbridge.Query{Product: "ABCDE12345"}))
	once(t, "the newest lines stay", numbers(t, e.query(logbridge.Query{Sources: logbridge.SourcesOf(line("dev", "").Source)})), 0, 159, func(i int) bool { return i < 159-lines/2 })

	e.log.expireBut(t.Context(), 0, 1, -1)
	sameAudit(t, "only audit", auditOf(e), want)
	for range 100 { // they alone are too many
		e.log.expireBut(t.Context(), 0, 1, -1)
	}
	if got := auditOf(e); len(got) >= len(want) || e.log.Stats().Segments != 1 {
		t.Errorf("%d audit records of %d, %d segments", len(got), len(want), e.log.Stats().Segments)
	}
}

// TestAuditIsKeptWhenItCannotBeCarried: a segment whose audit records cannot be written elsewhere stays whole, and what is newer
// does not go in its place.
func TestAuditIsKeptWhenItCannotBeCarried(t *testing.T) {
	e, now := clocked(t, Config{})
	receiveMixed(e, now, 0, 120)
	want, before := auditOf(e), e.log.Stats()
	for _, m := range e.log.segments.list { // whatever a segment is written to first is taken by a folder
		if err := os.Mkdir(fmt.Sprintf("%s/segment-%016x-%016x%s", e.cfg.Dir, m.first, m.last, tmpSuffix), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	e.log.expireBut(t.Context(), 0, 1, -1)
	e.log.expireBut(t.Context(), time.Nanosecond, 1, -1)
	if got := e.log.Stats(); got.SegmentBytes != before.SegmentBytes {
		t.Errorf("%d bytes of %d", got.SegmentBytes, before.SegmentBytes)
	}
	sameAudit(t, "kept", auditOf(e), want)
	for _, f := range e.files("*" + tmpSuffix) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	now.Add(int64(time.Hour))
	e.log.expireBut(t.Context(), time.Minute, 0, -1)
	sameAudit(t, "carried", auditOf(e), want)
}

// TestMergePolicyOfAudit: what years of audit leave behind, one small segment for each that expired, are few segments in the
// end, and none is written often.
func TestMergePolicyOfAudit(t *testing.T) {
	policy := newMergePolicy(7*24*time.Hour, -1)
	var list []*member
	written, clock := 0, epoch
	const days, each = 400, 3
	for i := range uint64(days * each) {
		clock = clock.Add(24 * time.Hour / each)
		m := described(i, i, 20, 10_000, clock, clock)
		m.minObserved, m.maxObserved = clock.UnixNano(), clock.UnixNano()
		if i%2 == 1 { // no change was made in this one
			m.rows = 0
		} else {
			m.info.Sources = make([]uint64, len(logbridge.Sources))
			m.info.Sources[len(logbridge.Sources)-1] = 20
		}
		final := described(i+1, i+1, mergeRows, mergeBytes, clock, clock)
		list = append(list, m)
		for {
			run := policy.pick(append(list[:len(list):len(list)], final))
			if run == nil {
				break
			}
			written += len(run)
			last := run[len(run)-1]
			into := described(run[0].first, last.last, 0, 0, epoch, epoch)
			times := span{}
			into.info.Sources = make([]uint64, len(logbridge.Sources))
			for _, in := range run {
				times = times.with(in)
				into.rows, into.size = into.rows+in.rows, into.size+in.size
			}
			into.info.Sources[len(logbridge.Sources)-1] = uint64(into.rows)
			into.minObserved, into.maxObserved = times.low, times.high
			if times.length() > mergeAudit {
				t.Fatalf("%d segments over %s", len(run), times.length())
			}
			for at := range list {
				if list[at] == run[0] {
					list = append(append(list[:at:at], into), list[at+len(run):]...)
					break
				}
			}
		}
	}
	if len(list) > 3*days*each/auditMergeRun/4 || written > 2*days*each {
		t.Errorf("%d segments are left of %d, %d were written again", len(list), days*each, written)
	}
}
