package sink

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/logbridge/logbridge"
)

// TestCrashAtEachPointOfACopyOnACluster stops a node that takes segments over after each file that it moves, and before it has decided to: a start
// either goes on with the copy or finishes it, and has what the other has.
func TestCrashAtEachPointOfACopyOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{MemtableBytes: 16 << 10, CommitLogAge: 200 * time.Millisecond})
	a, b := nodes[0], nodes[1]
	rnd := rand.New(rand.NewPCG(8, 9))
	a.mixed(rnd, 8)
	alike(t, a, b)
	for step := 0; ; step++ {
		b.stop()
		has := b.log.Newest().Seq
		until(t, "that the commit log is shortened", func() bool {
			a.mixed(rnd, 2)
			info, err := a.log.stream.Info(t.Context())
			return err == nil && info.State.FirstSeq > has+1
		})
		files := b.copyUpTo(a, step)
		b.start()
		alike(t, a, b)
		if _, err := os.Stat(filepath.Join(b.cfg.Dir, incomingDir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("step %d: files that came in are left: %v", step, err)
		}
		if step > files {
			return
		}
	}
}

// copyUpTo does what a node does that copies from a, as far as a step, and gives the number of steps: 0 has the files and no plan,
// n has moved n-1 files.
func (e *env) copyUpTo(a *env, step int) int {
	e.t.Helper()
	node := e.open() // which runs nothing
	defer node.Conn().Close()
	l := e.log
	defer l.cluster.close()
	tk := &taking{Log: l, subject: copySubject + a.log.cluster.name, dir: filepath.Join(e.cfg.Dir, incomingDir)}
	plan, err := tk.fetch(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	if step == 0 {
		if err := os.Remove(filepath.Join(tk.dir, planFile)); err != nil {
			e.t.Fatal(err)
		}
		return len(plan.State) + len(plan.Segments)
	}
	files := append(plan.State, plan.Segments...)
	for _, name := range files[:min(step-1, len(files))] {
		if err := os.Rename(filepath.Join(tk.dir, name), filepath.Join(e.cfg.Dir, name)); err != nil {
			e.t.Fatal(err)
		}
	}
	return len(files)
}

// TestDamagedCopiesOnACluster: what comes damaged over the network, or is damaged on the other's disk, is not taken over.
func TestDamagedCopiesOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{MemtableBytes: 8 << 10})
	a, b := nodes[0], nodes[1]
	a.mixed(rand.New(rand.NewPCG(1, 1)), 20)
	a.segments(2)
	given, err := a.log.openCopy()
	if err != nil {
		t.Fatal(err)
	}
	defer a.log.cluster.give.remove(given.Copy)
	damaged := ""
	for _, f := range given.Files {
		if _, ok := parseSegmentName(f.Name); ok {
			damaged = f.Name
		}
	}
	// A copy of its own, since the links are the segments themselves.
	path := filepath.Join(given.dir, damaged)
	bytes, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)-20] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, bytes, 0o600), os.MkdirAll(filepath.Join(b.cfg.Dir, incomingDir), 0o700)); err != nil {
		t.Fatal(err)
	}
	tk := &taking{Log: b.log, subject: copySubject + a.log.cluster.name, dir: filepath.Join(b.cfg.Dir, incomingDir), list: given.copyList}
	if err := tk.file(t.Context(), copyFile{damaged, int64(len(bytes))}); !errors.Is(err, errDamaged) {
		t.Errorf("a segment whose footer is damaged: %v", err)
	}
	if err := tk.file(t.Context(), copyFile{damaged, int64(len(bytes)) + 1}); err == nil {
		t.Error("a file that is shorter than it was listed is taken")
	}
	if _, err := tk.request(t.Context(), copyAsk{Op: "read", Copy: "another", File: damaged}); err == nil {
		t.Error("a copy that was not opened is read")
	}
	if _, err := tk.request(t.Context(), copyAsk{Op: "read", Copy: given.Copy, File: "../node"}); err == nil {
		t.Error("a file outside is read")
	}
	if left, _ := os.ReadDir(tk.dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if err := os.Remove(tk.dir); err != nil {
		t.Fatal(err)
	}
}

// TestCutSegment: what is behind a sequence is the same records at the same positions.
func TestCutSegment(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 1 << 20})
	rnd := rand.New(rand.NewPCG(2, 2))
	e.mixed(rnd, 60)
	e.stop()
	snapshot, last := e.log.active.snapshot(), e.log.Newest().Seq
	dir := t.TempDir()
	path, err := writeSegment(dir, snapshot, 1, last)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := openIndexed(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, end := range []uint64{0, 1, last / 2, last - 1, last} {
		var want []logbridge.Record
		collect := func(into *[]logbridge.Record) func(*logbridge.Record) error {
			return func(r *logbridge.Record) error {
				if r.Position.Seq > end {
					*into = append(*into, *r)
				}
				return nil
			}
		}
		if err := eachRecord(t.Context(), s, collect(&want)); err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		c := &cutter{dir: out, most: 16 << 10, table: newMemtable(0), first: end + 1}
		if err := errors.Join(c.take(t.Context(), s, end), c.write(last)); err != nil {
			t.Fatal(err)
		}
		set, reached, err := loadSegments(out, slog.New(slog.DiscardHandler))
		if err != nil || end < last && reached != last {
			t.Fatalf("behind %d: the segments end at %d, %v", end, reached, err)
		}
		var got []logbridge.Record
		next := end + 1
		for _, m := range set.list {
			if m.first != next {
				t.Errorf("behind %d: a segment begins at %d, want %d", end, m.first, next)
			}
			next = m.last + 1
			open, _, err := openIndexed(m.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := eachRecord(t.Context(), open, collect(&got)); err != nil {
				t.Fatal(err)
			}
			open.Close()
		}
		if !equalRecords(got, want) {
			t.Errorf("behind %d: %d records, want %d", end, len(got), len(want))
		}
	}
}

func equalRecords(a, b []logbridge.Record) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// FuzzCopyQuestions: no question of another node does anything but be answered or refused.
func FuzzCopyQuestions(f *testing.F) {
	for _, ask := range []copyAsk{{Op: "open"}, {Op: "list", Copy: "c", Offset: -1}, {Op: "read", Copy: "c", File: "ledger", Offset: 1 << 62}, {Op: "close", Copy: "c"}} {
		b, err := json.Marshal(ask)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, question []byte) {
		dir := t.TempDir()
		l := &Log{cfg: Config{Dir: dir}, log: slog.New(slog.DiscardHandler), segments: &segmentSet{}, cluster: &cluster{}}
		l.cluster.give.dir, l.cluster.give.log = dir, l.log
		l.cluster.give.open = map[string]*givenCopy{"c": {copyList: copyList{Copy: "c", Count: 1, Files: []copyFile{{"ledger", 7}}}, dir: filepath.Join(dir, "c")}}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "c"), 0o700), os.WriteFile(filepath.Join(dir, "c", "ledger"), []byte("content"), 0o600)); err != nil {
			t.Fatal(err)
		}
		b, err := l.copyAnswer(&nats.Msg{Subject: copySubject + "n", Data: question})
		if len(b) > copyChunk*2 || err != nil && b != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}
