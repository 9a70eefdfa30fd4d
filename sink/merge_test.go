package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// described makes a member of a set that is only described.
func described(first, last uint64, rows, size int64, from, to time.Time) *member {
	return &member{segment: &segment{
		first: first, last: last, rows: rows, size: size, minObserved: from.UnixNano(), maxObserved: to.UnixNano(),
	}}
}

// TestMergePolicyOverALife plays the life of sets that grow in different ways: a record is written at most twice more, and
// segments stay few.
func TestMergePolicyOverALife(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for name, c := range map[string]struct {
		every     time.Duration
		retention time.Duration
		rows      func() int64
		segments  int // new ones
		most      int // there at the end
	}{
		"full memtables":           {time.Minute, 0, func() int64 { return 146_000 }, 3000, 3000/8 + 10},
		"little traffic":           {10 * time.Minute, 0, func() int64 { return 10 }, 144 * 30, 30 + 150},
		"little, kept for a week":  {10 * time.Minute, 7 * 24 * time.Hour, func() int64 { return 10 }, 144 * 30, 3*30 + 150},
		"only duplicates":          {10 * time.Minute, 0, func() int64 { return 0 }, 2000, mergeFiles + 10},
		"the smallest memtable":    {time.Second, 0, func() int64 { return 300 }, 8000, 8000*300/mergeRows + mergeFiles + smallPart*tinyPart},
		"day and night":            {10 * time.Minute, 0, func() int64 { return 1 + 700_000*(rnd.Int64N(2)) }, 2000, 2000},
		"of all sizes":             {time.Minute, 0, func() int64 { return rnd.Int64N(1_000_000) }, 3000, 2200},
		"one large among ten tiny": {10 * time.Minute, 0, func() int64 { return 100 + 700_000*(1-min(rnd.Int64N(11), 1)) }, 3000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			policy := newMergePolicy(c.retention, 0)
			writes := map[*member]int{}
			var list []*member
			clock, next := epoch, uint64(1)
			for range c.segments {
				rows := c.rows()
				m := described(next, next+9, rows, 10_000+rows*35, clock, clock.Add(c.every))
				list, next, clock = append(list, m), next+10, clock.Add(c.every)
				for run := policy.pick(list); run != nil; run = policy.pick(list) {
					into := described(run[0].first, run[len(run)-1].last, 0, 0, epoch, epoch)
					times := span{}
					most := 0
					for _, in := range run {
						into.rows, into.size, times = into.rows+in.rows, into.size+in.size, times.with(in)
						if in.rows > 0 {
							most = max(most, writes[in])
						}
					}
					into.minObserved, into.maxObserved = times.low, times.high
					if writes[into] = most + 1; most+1 > 2 && into.rows > 0 {
						t.Fatalf("a record is written %d times more: %d segments of %d records", most+1, len(run), into.rows)
					}
					if len(run) < 2 || into.rows > maxSegmentRows || times.length() > policy.span {
						t.Fatalf("%d segments of %d records over %s", len(run), into.rows, times.length())
					}
					at := 0
					for list[at] != run[0] {
						at++
					}
					list = append(append(append([]*member(nil), list[:at]...), into), list[at+len(run):]...)
				}
			}
			if len(list) > c.most {
				t.Errorf("%d segments of %d, want at most %d", len(list), c.segments, c.most)
			}
		})
	}
}

// TestMergePolicyOfALogThatRests: when there is a pause after each tiny segment, that is merged by itself first, which is one
// more time for its records.
func TestMergePolicyOfALogThatRests(t *testing.T) {
	policy, clock := newMergePolicy(0, 0), epoch
	var list []*member
	writes := make([]int, 2000) // of the record of each sequence
	merge := func(run []*member) bool {
		if len(run) == 0 {
			return false
		}
		last := run[len(run)-1]
		into := described(run[0].first, last.last, 0, 0, epoch, epoch)
		into.minObserved, into.maxObserved = run[0].minObserved, last.maxObserved
		for _, in := range run {
			into.rows, into.size = into.rows+in.rows, into.size+in.size
		}
		for i := into.first; i <= into.last; i++ {
			if writes[i]++; writes[i] > 3 {
				t.Fatalf("a record is written %d times more", writes[i])
			}
		}
		at := slices.Index(list, run[0])
		list = slices.Replace(list, at, at+len(run), into)
		return true
	}
	for i := range writes {
		m := described(uint64(i), uint64(i), 10_000, 400_000, clock, clock)
		m.fresh = true
		list, clock = append(list, m), clock.Add(10*time.Minute)
		for merge(policy.pick(list)) {
		}
		merge(policy.pickFresh(list))
	}
	if len(list) > 100 || slices.ContainsFunc(list, isFreshMember) {
		t.Errorf("%d segments of %d, or a fresh one", len(list), len(writes))
	}
}

func TestMergePolicyLeavesGaps(t *testing.T) {
	var list []*member
	for i := range uint64(20) {
		if i != 7 {
			list = append(list, described(10*i+1, 10*i+10, 100_000, 1<<20, epoch, epoch))
		}
	}
	run := newMergePolicy(0, 0).pick(list)
	if len(run) != 7 || run[6].last != 70 {
		t.Errorf("%d segments, want the 7 before the gap, which nothing can join", len(run))
	}
	if run := newMergePolicy(0, 0).pick(list[:6]); run != nil {
		t.Errorf("%d segments, but more can come", len(run))
	}
}

// eager merges every three neighbours.
var eager = mergePolicy{rows: 45, bytes: 1 << 40, span: mergeSpan}

func (e *env) mergeAll(policy mergePolicy) {
	e.t.Helper()
	m := merger{Log: e.log, policy: policy}
	for m.next(e.t.Context(), policy.pick) {
	}
}

// TestMergeKeepsEverything compares all queries before and after merges, and after a crash that left the parts behind.
func TestMergeKeepsEverything(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	rnd := rand.New(rand.NewPCG(3, 4))
	once := logbridge.Batch{ReplayKey: "once", Records: []logbridge.Record{randomRecord(rnd)}}
	for i := range 60 {
		var b logbridge.Batch
		for range 1 + rnd.IntN(30) {
			b.Records = append(b.Records, randomRecord(rnd))
		}
		e.append(b)
		if i%7 == 0 {
			e.append(once) // leaves holes in the positions
		}
	}
	e.settle()
	all := e.query(logbridge.Query{Order: logbridge.ByPosition})
	before := e.log.Stats()
	parts := map[string][]byte{}
	for _, f := range e.files("*.parquet") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		parts[f] = b
	}
	e.mergeAll(mergePolicy{rows: 300, bytes: 1 << 40, span: mergeSpan})
	after := e.log.Stats()
	if after.Merges == 0 || after.Segments > before.Segments/2 || len(e.files("*.parquet")) != after.Segments || len(e.files("*.tmp")) != 0 {
		t.Errorf("%d segments of %d after %d merges, files %v", after.Segments, before.Segments, after.Merges, e.files("*"))
	}
	check := func() {
		t.Helper()
		for _, q := range queries {
			compareWithModel(t, e, all, q)
			q.After = all[len(all)/2].Position
			compareWithModel(t, e, all, q)
		}
	}
	check()
	e.stop()
	for f, b := range parts { // a crash between the rename and the removal of the parts
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(e.cfg.Dir+"/segment-x.tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	check()
	if got := e.log.Stats(); got.Segments != after.Segments || len(e.files("*.parquet")) != after.Segments || len(e.files("*.tmp")) != 0 || got.SetAside != 0 {
		t.Errorf("%d segments after the crash, want %d: %v", got.Segments, after.Segments, e.files("*"))
	}
	if got := e.append(once); got.Duplicate != 1 {
		t.Errorf("%+v", got)
	}
}

// TestMergeWithDamage: the damaged input is set aside, and the rest is merged without it.
func TestMergeWithDamage(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 100)
	victim := e.log.segments.list[1]
	lost := e.linesOf(victim)
	b, err := os.ReadFile(victim.path)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(victim.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	e.mergeAll(eager)
	if got := e.log.Stats(); got.SetAside != 1 || got.Merges == 0 {
		t.Errorf("%+v", got)
	}
	for name, found := range e.answers() {
		once(t, name, found, 0, 99, func(i int) bool { return lost[i] })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m := (&merger{Log: e.log, policy: eager}); m.next(ctx, eager.pick) {
		t.Error("merges go on while the sink closes")
	}
	if tmp := e.files("*" + tmpSuffix); len(tmp) > 0 {
		t.Errorf("left behind: %v", tmp)
	}
}

// TestMergeOfWhatLeaves: an input that expires while it is merged is not brought back.
func TestMergeOfWhatLeaves(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 60)
	held := e.log.held()
	run := held[:3]
	gone := e.linesOf(run[0])
	out, err := (&merger{Log: e.log}).merge(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	if !e.log.swap(run[:1]) || e.log.swap(run, out) {
		t.Fatal("the merged one has taken the place of one that is not there")
	}
	e.log.discard(out)
	e.log.letGo(held)
	for name, found := range e.answers() {
		once(t, name, found, 0, 59, func(i int) bool { return gone[i] })
		for i := range gone {
			if found[i] != 0 {
				t.Errorf("%s: line %d is back", name, i)
			}
		}
	}
	var paths []string
	for _, m := range e.log.segments.list {
		paths = append(paths, m.path)
	}
	if files := e.files("*.parquet"); !reflect.DeepEqual(files, paths) {
		t.Errorf("files %v", fmt.Sprint(files))
	}
}

// TestMergeThatFails: the others are merged all the same, and the one that failed when it can be.
func TestMergeThatFails(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.fill(0, 100)
	list := e.log.segments.list
	blocked := fmt.Sprintf("%s/segment-%016x-%016x%s", e.cfg.Dir, list[0].first, list[2].last, tmpSuffix)
	if err := os.Mkdir(blocked, 0o700); err != nil { // in the place of the file that is written
		t.Fatal(err)
	}
	e.mergeAll(eager)
	if got := e.log.Stats(); got.Merges == 0 || got.SetAside != 0 || !e.log.has(list[0]) {
		t.Errorf("%+v", got)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	e.mergeAll(eager)
	if e.log.has(list[0]) {
		t.Error("what failed once is not merged")
	}
	for name, found := range e.answers() {
		once(t, name, found, 0, 99, none)
	}
}
