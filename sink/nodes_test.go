package sink

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

// newNodes runs sinks that share one commit log.
func newNodes(t testing.TB, n int, cfg Config) []*env {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "nodes")
	var all []*env
	for i := range n {
		e := &env{t: t, dir: filepath.Join(dir, fmt.Sprint(i)), cfg: cfg}
		if err := os.MkdirAll(e.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		e.start()
		t.Cleanup(func() { e.stop() })
		all = append(all, e)
	}
	return all
}

// until waits for something that must come.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !reached(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s does not come", what)
		}
	}
}

// end is the last sequence of the commit log.
func (e *env) end() uint64 {
	info, err := e.log.stream.Info(e.t.Context())
	if err != nil {
		return 0 // between two leaders
	}
	return info.State.LastSeq
}

// settled waits until every node has everything, reports of the ledgers included.
func settled(t testing.TB, nodes ...*env) {
	t.Helper()
	defer func() {
		if t.Failed() {
			for i, e := range nodes {
				t.Logf("node %d: newest %s of %d, %v, %+v, not reported %v", i, e.log.Newest(), e.end(), e.log.Ready(), e.log.Stats(), e.log.ledger.answerable())
			}
		}
	}()
	until(t, "that all nodes have all", func() bool {
		end := nodes[0].end()
		for _, e := range nodes {
			if end == 0 || e.log.Newest().Seq != end || e.log.Ready() != nil || len(e.log.ledger.answerable()) > 0 {
				return false
			}
		}
		return true
	})
}

// answerable is what a ledger has that the commit log has not.
func (l *ledger) answerable() []lost {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unreported()
}

// alike compares ledgers, to the byte, and answers.
func alike(t testing.TB, nodes ...*env) {
	t.Helper()
	settled(t, nodes...)
	first := nodes[0]
	wantSum(t, first.log.Ledger())
	all := first.query(logbridge.Query{Order: logbridge.ByPosition})
	if stored := first.log.Ledger().Total.Stored; stored != uint64(len(all)) {
		t.Errorf("%d records, the ledger has %d", len(all), stored)
	}
	for i, e := range nodes[1:] {
		if a, b := first.log.Ledger(), e.log.Ledger(); !reflect.DeepEqual(a, b) {
			t.Errorf("ledgers of node 0 and %d:\n%+v\n%+v", i+1, a, b)
		}
		if !bytes.Equal(encoded(first.log.ledger.state()), encoded(e.log.ledger.state())) {
			t.Errorf("the ledgers of node 0 and %d would not be written alike", i+1)
		}
		for _, q := range append(queries, logbridge.Query{Order: logbridge.ByPosition}) {
			want, got := first.query(q), e.query(q)
			if !reflect.DeepEqual(want, got) {
				t.Errorf("query %+v: %d records from node 0, %d from node %d", q, len(want), len(got), i+1)
			}
			if len(all) > 0 { // a position of one node is one of the other
				q.After = all[len(all)/2].Position
				if want, got := first.query(q), e.query(q); !reflect.DeepEqual(want, got) {
					t.Errorf("query %+v: %d records from node 0, %d from node %d", q, len(want), len(got), i+1)
				}
			}
		}
	}
}

// mixed is traffic with everything that a node decides: records at random, repetitions of what any node has sent, refusals.
func (e *env) mixed(rnd *rand.Rand, rounds int) {
	e.t.Helper()
	for range rounds {
		n := rnd.IntN(40)
		b := sent(epoch.Add(time.Duration(n)*time.Second), fmt.Sprintf("line %d", n), fmt.Sprintf("line %d", rnd.IntN(40)))
		if n%3 == 0 {
			b.ReplayKey = fmt.Sprint("upload ", n)
		}
		for range rnd.IntN(20) {
			b.Records = append(b.Records, randomRecord(rnd))
		}
		switch rnd.IntN(5) {
		case 0:
			e.log.Refuse(logbridge.SourceSLS, logbridge.SLSStream("proj", fmt.Sprint("store", rnd.IntN(3))), "too_large", 1+rnd.IntN(3))
		case 1:
			e.log.Drop(logbridge.SourceMQTT, "", "malformed", 1)
		}
		e.append(b)
	}
}

// TestNodesDecideAlikeOnACluster: two nodes that append at the same time, repeat each other's lines and are started again have the same
// records, positions and ledger.
func TestNodesDecideAlikeOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{MemtableBytes: 32 << 10})
	for round := range 3 {
		var all sync.WaitGroup
		for i, e := range nodes {
			all.Go(func() { e.mixed(rand.New(rand.NewPCG(uint64(round), uint64(i))), 30) })
		}
		all.Wait()
		alike(t, nodes...)
		nodes[round%2].restart()
		alike(t, nodes...)
	}
	for _, e := range nodes {
		if n := e.log.Stats().Segments; n == 0 {
			t.Error("no segment was written: this test wants some")
		}
	}
}

// TestOtherNodesRecordsAreTailedOnACluster: what one node appends comes to a tail on the other, in order.
func TestOtherNodesRecordsAreTailedOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const lines = 50
	go func() {
		for i := range lines {
			_, _ = nodes[0].log.Append(ctx, logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i))}}) // the tail misses it
		}
	}()
	next := 0
	for r, err := range nodes[1].log.Tail(ctx, logbridge.Position{}, logbridge.Query{Product: "ABCDE12345", Device: "dev"}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Body != fmt.Sprint(next) {
			t.Fatalf("line %s, want %d", r.Body, next)
		}
		if next++; next == lines {
			return
		}
	}
	t.Errorf("%d lines of %d", next, lines)
}

// unsure is a JetStream that loses acknowledgements, or publishes, by chance.
type unsure struct {
	publisher
	mu  sync.Mutex
	rnd *rand.Rand
}

func (u *unsure) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	u.mu.Lock()
	what := u.rnd.IntN(4)
	u.mu.Unlock()
	if what == 0 {
		return nil, nats.ErrNoResponders
	}
	ack, err := u.publisher.PublishMsg(ctx, msg, opts...)
	if what == 1 {
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

// TestUnknownOutcomesOnACluster: however many acknowledgements are lost, each group is in the commit log once, its appends are answered, and
// reports count once, while another node's groups come in between.
func TestUnknownOutcomesOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{})
	const rounds, writers = 15, 4
	for i, e := range nodes {
		e.append(logbridge.Batch{Records: []logbridge.Record{line("first", "the committer runs")}})
		e.log.commit.js = &unsure{publisher: e.log.commit.js, rnd: rand.New(rand.NewPCG(7, uint64(i)))}
	}
	var all sync.WaitGroup
	for i, e := range nodes {
		for w := range writers {
			all.Go(func() {
				for n := range rounds {
					e.log.Drop(logbridge.SourceMQTT, "", "malformed", 1)
					if r := e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, w, n))}}); r.Stored != 1 {
						t.Errorf("%+v", r)
					}
				}
			})
		}
	}
	all.Wait()
	alike(t, nodes...)
	total := nodes[0].log.Ledger().Total
	if want := uint64(rounds * writers * len(nodes)); total.Stored != want+2 || total.Dropped["malformed"] != want {
		t.Errorf("%+v, want %d stored and dropped", total, want)
	}
	found := map[string]int{}
	for _, r := range nodes[1].query(logbridge.Query{Device: "dev"}) {
		if found[r.Body]++; found[r.Body] > 1 {
			t.Errorf("%q is there twice", r.Body)
		}
	}
	if nodes[0].log.Stats().CommitRepeats == 0 {
		t.Error("no publish was repeated: this test wants some")
	}
}

// TestNodeThatWasAwayOnACluster: what the commit log has dropped is copied, also where the other's segments begin within this one's.
func TestNodeThatWasAwayOnACluster(t *testing.T) {
	cfg := Config{MemtableBytes: 16 << 10, CommitLogAge: 200 * time.Millisecond}
	nodes := newNodes(t, 2, cfg)
	a, b := nodes[0], nodes[1]
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 4 {
		a.mixed(rnd, 10)
		b.mixed(rnd, 10)
		if round > 0 {
			alike(t, a, b)
		}
		b.stop()
		has := b.log.Newest().Seq
		a.mixed(rnd, 25)
		merges := merger{Log: a.log, policy: mergePolicy{rows: 400, bytes: 1 << 40, span: mergeSpan}}
		for merges.next(t.Context(), merges.policy.pick) {
		}
		until(t, "that the commit log is shortened", func() bool {
			a.mixed(rnd, 1)
			info, err := a.log.stream.Info(t.Context())
			return err == nil && info.State.FirstSeq > has+1
		})
		b.start()
		alike(t, a, b)
		if n := b.log.Stats().CopiedSegments; n == 0 {
			t.Errorf("round %d: nothing was copied", round)
		}
		if left, _ := filepath.Glob(filepath.Join(a.cfg.Dir, copyPrefix+"*")); len(left) > 0 {
			t.Errorf("round %d: %v is left", round, left)
		}
	}
	fresh := &env{t: t, dir: filepath.Join(filepath.Dir(a.dir), "2"), cfg: cfg}
	fresh.start()
	defer fresh.stop()
	alike(t, a, b, fresh)
	fresh.mixed(rnd, 10)
	alike(t, a, b, fresh)
	for i := range 40 { // what was repeated on one node is known on the one that copied
		if r := fresh.append(sent(epoch.Add(time.Duration(i)*time.Second), fmt.Sprintf("line %d", i))); r.Duplicate != 1 && r.Stored != 1 {
			t.Errorf("%+v", r)
		}
	}
	alike(t, a, b, fresh)
}

// TestBehindSaysSoOnACluster: a node that cannot have what it lacks yet neither takes nor answers, and says why.
func TestBehindSaysSoOnACluster(t *testing.T) {
	nodes := newNodes(t, 2, Config{MemtableBytes: 16 << 10, CommitLogAge: 500 * time.Millisecond})
	a, b := nodes[0], nodes[1]
	rnd := rand.New(rand.NewPCG(5, 6))
	a.mixed(rnd, 5)
	b.mixed(rnd, 5)
	alike(t, a, b)
	b.stop()
	has := b.log.Newest().Seq
	until(t, "that the commit log is shortened", func() bool {
		a.mixed(rnd, 3)
		info, err := a.log.stream.Info(t.Context())
		return err == nil && info.State.FirstSeq > has+1
	})
	a.log.cluster.behind.Store(true) // so it offers nothing
	b.start()
	if err := b.log.Ready(); err == nil || !strings.Contains(err.Error(), "catching up") {
		t.Errorf("ready: %v", err)
	}
	if _, err := b.log.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", "too early")}}); err == nil {
		t.Error("it takes records")
	}
	for _, err := range b.log.Query(t.Context(), logbridge.Query{}) {
		if err == nil {
			t.Error("it answers a query")
		}
	}
	for _, err := range b.log.Tail(t.Context(), logbridge.Position{}, logbridge.Query{}) {
		if err == nil {
			t.Error("it answers a tail")
		}
	}
	if _, err := b.log.Count(t.Context(), logbridge.Query{}, logbridge.CountBy{}); err == nil {
		t.Error("it counts")
	}
	a.log.cluster.behind.Store(false)
	alike(t, a, b)
}

// TestStoredOnceWithoutMessageIDOnACluster: a group is refused a second time also when the servers have forgotten its message id, and the
// process then learns that it is stored.
func TestStoredOnceWithoutMessageIDOnACluster(t *testing.T) {
	e := newNodes(t, 1, Config{})[0]
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "first")}})
	w := e.log.cluster.writer
	uploads, err := encodeBatch(logbridge.Batch{Records: []logbridge.Record{line("dev", "second")}})
	if err != nil {
		t.Fatal(err)
	}
	msg := nats.NewMsg(w.subject)
	msg.Data = s2.Encode(nil, joinGroup([]*waiting{{upload: uploads[0]}}))
	seq, err := w.try(e.log.commit.js, msg, "an id")
	if err != nil {
		t.Fatal(err)
	}
	msg.Header = nil
	if _, err := w.try(e.log.commit.js, msg, "as if that were forgotten"); !wrongSequence(err) {
		t.Errorf("the second time: %v", err)
	}
	if found, ok := w.settled("an id"); !ok || found != seq {
		t.Errorf("it is at %d, %v, want %d", found, ok, seq)
	}
	settled(t, e)
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "third")}})
	if got := len(e.query(logbridge.Query{Device: "dev"})); got != 3 {
		t.Errorf("%d records, want 3", got)
	}
}
