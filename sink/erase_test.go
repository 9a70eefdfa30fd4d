package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// erasedOnDisk waits until nothing of what was erased is in a segment.
func (e *env) erasedOnDisk() {
	e.t.Helper()
	for deadline := time.Now().Add(time.Minute); e.log.Stats().Erasures > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			e.t.Fatalf("%d erasures are not done", e.log.Stats().Erasures)
		}
	}
}

func (e *env) erase(s logbridge.Stream) {
	e.t.Helper()
	if err := e.log.Erase(e.t.Context(), s); err != nil {
		e.t.Fatal(err)
	}
}

// rowsOnDisk counts the rows of a stream in all segment files, whatever queries hide.
func (e *env) rowsOnDisk(s logbridge.Stream) (n uint32) {
	e.t.Helper()
	held := e.log.held()
	defer e.log.letGo(held)
	for _, m := range held {
		if m.rows == 0 {
			continue
		}
		open, done, err := e.log.segments.opened(m)
		if err != nil {
			e.t.Fatal(err)
		}
		x, err := open.index()
		if err != nil {
			e.t.Fatal(err)
		}
		for i := range x.streams.len() {
			if string(x.streams.name(i)) == string(s) {
				n += x.streams.row(i+1) - x.streams.row(i)
			}
		}
		done()
	}
	return n
}

// TestEraseAgainstModel erases streams between appends and restarts, and compares every query with a model that forgets likewise.
func TestEraseAgainstModel(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 24 << 10})
	rnd := rand.New(rand.NewPCG(5, 6))
	fill := func(batches int) {
		for range batches {
			var b logbridge.Batch
			for range 1 + rnd.IntN(40) {
				b.Records = append(b.Records, randomRecord(rnd))
			}
			e.append(b)
		}
	}
	want := []logbridge.Record{}
	forget := func(s logbridge.Stream) {
		want = slices.DeleteFunc(want, func(r logbridge.Record) bool { return r.Stream == s })
	}
	check := func(when string) {
		t.Helper()
		if got := e.query(logbridge.Query{Order: logbridge.ByPosition}); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %d records, want %d", when, len(got), len(want))
		}
		for _, q := range queries {
			compareWithModel(t, e, want, q)
		}
		counts, err := e.log.Count(t.Context(), logbridge.Query{}, logbridge.CountBy{})
		if err != nil || len(want) > 0 && (len(counts) != 1 || counts[0].Records != uint64(len(want))) {
			t.Errorf("%s: counted %v, %v, want %d", when, counts, err, len(want))
		}
	}
	streams := []logbridge.Stream{"device/PRODUCT000/dev_03", "sls/proj/store1", "cls/topic2", "sls/proj/store0", "cls/topic0", "device/PRODUCT001/dev_11"}
	for round, s := range streams {
		fill(25)
		want = e.query(logbridge.Query{Order: logbridge.ByPosition})
		e.erase(s)
		forget(s)
		check(fmt.Sprintf("round %d, just erased", round))
		if round%2 == 1 {
			e.restart()
			check(fmt.Sprintf("round %d, started again", round))
		}
		if round%3 == 2 {
			e.erasedOnDisk()
			if n := e.rowsOnDisk(s); n > 0 {
				t.Errorf("round %d: %d rows of %s are on the disk", round, n, s)
			}
			check(fmt.Sprintf("round %d, done", round))
		}
	}
	e.erasedOnDisk()
	e.restart()
	check("at the end")
	if _, err := os.Stat(filepath.Join(e.cfg.Dir, erasuresFile)); e.log.cluster == nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list of erasures is still there: %v", err)
	}
}

// TestEraseKeepsWhatComes: what a stream gets after it was erased stays, also in the memtable and segment that hold both.
func TestEraseKeepsWhatComes(t *testing.T) {
	e := newEnv(t, Config{})
	one := line("dev_01", "before")
	e.append(logbridge.Batch{Records: []logbridge.Record{one, line("dev_02", "other")}})
	e.erase(one.Stream)
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev_01", "after")}})
	for _, q := range []logbridge.Query{{}, {Product: "ABCDE12345", Device: "dev_01"}, {Device: "dev_0*"}} {
		for _, r := range e.query(q) {
			if r.Body == "before" {
				t.Errorf("%+v finds what was erased", q)
			}
		}
	}
	e.erasedOnDisk()
	e.restart()
	if got := e.query(logbridge.Query{Device: "dev_01"}); len(got) != 1 || got[0].Body != "after" {
		t.Errorf("found %+v", got)
	}
	if got := e.query(logbridge.Query{Device: "dev_02"}); len(got) != 1 {
		t.Errorf("the other stream: %+v", got)
	}
}

// TestEraseOverACrash: a start finds the whole segments beside those written anew, as a crash between the two steps leaves them, and
// the list of what is not done. Nothing that was erased is found, and it is erased again.
func TestEraseOverACrash(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 60 {
		var b logbridge.Batch
		for range 30 {
			b.Records = append(b.Records, randomRecord(rnd))
		}
		e.append(b)
	}
	const gone = logbridge.Stream("sls/proj/store1")
	whole := filepath.Join(t.TempDir(), "whole")
	e.stop()
	if err := os.CopyFS(whole, os.DirFS(e.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	e.start()
	want := slices.DeleteFunc(e.query(logbridge.Query{Order: logbridge.ByPosition}), func(r logbridge.Record) bool { return r.Stream == gone })
	e.erase(gone)
	list := erasures{}
	list = append(list, e.log.erasing()...)
	e.erasedOnDisk()
	e.stop()
	files, err := os.ReadDir(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := parseSegmentName(f.Name()); !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(whole, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(e.cfg.Dir, f.Name()), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(list) == 0 {
		list = erasures{{Seq: want[len(want)-1].Position.Seq + 1, Stream: gone}} // it was done before it could be looked at
	}
	e.open().Run(over())
	e.log.erasures = list
	if err := e.log.saveErasures(); err != nil {
		t.Fatal(err)
	}
	e.start()
	if got := e.query(logbridge.Query{Order: logbridge.ByPosition}); !reflect.DeepEqual(got, want) {
		t.Errorf("after the crash: %d records, want %d", len(got), len(want))
	}
	e.erasedOnDisk()
	if n := e.rowsOnDisk(gone); n > 0 {
		t.Errorf("%d rows are on the disk", n)
	}
	if got := e.query(logbridge.Query{Order: logbridge.ByPosition}); !reflect.DeepEqual(got, want) {
		t.Errorf("at the end: %d records, want %d", len(got), len(want))
	}
	if n := e.log.Stats().SetAside; n > 0 {
		t.Errorf("%d segments set aside", n)
	}
}

// TestEraseMeetsAMerge: an erasure that comes while segments are merged is also done in their sum, which it has not seen coming.
func TestEraseMeetsAMerge(t *testing.T) {
	e := newEnv(t, Config{})
	one := line("dev_01", "erased")
	for range 2 {
		e.append(logbridge.Batch{Records: []logbridge.Record{one, line("dev_02", "other")}})
		e.erase("device/ABCDE12345/none") // what is in memory becomes a segment
		e.erasedOnDisk()
	}
	e.log.rewriting.Lock() // as the merger does, before there is an erasure
	run := e.log.held()
	e.erase(one.Stream)
	e.segments(len(run) + 1)
	for deadline := time.Now().Add(time.Minute); len(e.log.wakeEraser) > 0; runtime.Gosched() { // until the eraser has begun
		if time.Now().After(deadline) {
			t.Fatal("the eraser has not begun")
		}
	}
	out, err := (&merger{Log: e.log}).merge(t.Context(), run)
	if err != nil || !e.log.swap(run, out) {
		t.Fatalf("not merged: %v", err)
	}
	e.log.rewriting.Unlock()
	e.log.letGo(run)
	e.erasedOnDisk()
	if n := e.rowsOnDisk(one.Stream); n > 0 {
		t.Errorf("%d rows are on the disk", n)
	}
	if got := e.query(logbridge.Query{}); len(got) != 2 || got[0].Body != "other" {
		t.Errorf("found %+v", got)
	}
}

// over is a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestEraseIsRefused(t *testing.T) {
	e := newEnv(t, Config{})
	for stream, want := range map[logbridge.Stream]error{"": logbridge.ErrInvalid, logbridge.AuditStream: logbridge.ErrForbidden} {
		if err := e.log.Erase(t.Context(), stream); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", stream, err, want)
		}
	}
}

// TestEraseOnEveryNodeOnACluster: what one node erases is erased on the others, also on one that was away until the commit log had dropped the
// entry.
func TestEraseOnEveryNodeOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{MemtableBytes: 16 << 10, CommitLogAge: 200 * time.Millisecond})
	a, b := nodes[0], nodes[1]
	rnd := rand.New(rand.NewPCG(9, 10))
	a.mixed(rnd, 20)
	b.mixed(rnd, 20)
	settled(t, a, b)
	same := func(gone logbridge.Stream) {
		t.Helper()
		settled(t, a, b)
		for i, e := range []*env{a, b} {
			e.erasedOnDisk()
			if got := e.query(logbridge.Query{Stream: gone}); len(got) > 0 {
				t.Errorf("node %d finds %d records of %s", i, len(got), gone)
			}
			if n := e.rowsOnDisk(gone); n > 0 {
				t.Errorf("node %d has %d rows of %s on the disk", i, n, gone)
			}
		}
		if x, y := a.query(logbridge.Query{Order: logbridge.ByPosition}), b.query(logbridge.Query{Order: logbridge.ByPosition}); !reflect.DeepEqual(x, y) {
			t.Errorf("%d and %d records", len(x), len(y))
		}
	}
	a.erase("cls/topic1")
	same("cls/topic1")

	b.stop()
	has := b.log.Newest().Seq
	a.erase("sls/proj/store2")
	a.erasedOnDisk()
	until(t, "that the commit log is shortened", func() bool {
		a.append(logbridge.Batch{Records: []logbridge.Record{line("dev_99", fmt.Sprint(rnd.Uint64(), string(make([]byte, 4<<10))))}})
		info, err := a.log.stream.Info(t.Context())
		return err == nil && info.State.FirstSeq > has+2
	})
	b.start()
	same("sls/proj/store2")
	b.restart()
	same("sls/proj/store2")
}
