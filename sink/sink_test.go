package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// natsOf is the NATS of a sink whose files are in dir: an embedded server, or an account of its own on the cluster.
func natsOf(t testing.TB, dir string) natsd.Config {
	if url := natstest.URL(t, accountOf(dir)); url != "" {
		return natsd.Config{URL: url, SyncAlways: true}
	}
	return natsd.Config{Dir: filepath.Join(dir, "nats")}
}

// accountOf lets nodes share an account: they lie beside each other in a folder of this name.
func accountOf(dir string) string {
	if above := filepath.Dir(dir); filepath.Base(above) == "nodes" {
		return above
	}
	return dir
}

// env is a sink on a real embedded NATS server, or on a cluster, that can be stopped and started again on the same folder.
type env struct {
	t    testing.TB
	dir  string
	cfg  Config
	url  string // of a cluster of its own
	log  *Log
	stop func()
}

func newEnv(t testing.TB, cfg Config) *env {
	e := &env{t: t, dir: t.TempDir(), cfg: cfg}
	e.start()
	t.Cleanup(func() { e.stop() })
	return e
}

func (e *env) start() {
	e.t.Helper()
	e.run(e.open())
}

// open opens the folder and runs nothing yet.
func (e *env) open() *natsd.Node {
	e.t.Helper()
	quiet := slog.New(slog.NewTextHandler(testWriter{e.t}, &slog.HandlerOptions{Level: slog.LevelError}))
	at := natsOf(e.t, e.dir)
	if e.url != "" {
		at = natsd.Config{URL: e.url, SyncAlways: true}
	}
	node, err := natsd.New(at, quiet)
	if err != nil {
		e.t.Fatal(err)
	}
	e.cfg.Dir = filepath.Join(e.dir, "segments")
	e.log, err = New(e.t.Context(), e.cfg, node, quiet)
	if err != nil {
		e.t.Fatal(err)
	}
	return node
}

func (e *env) run(node *natsd.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.log.Run(ctx); err != nil {
			e.t.Error(err)
		}
		node.Run(ctx)
	}()
	e.stop = sync.OnceFunc(func() { cancel(); <-done })
}

// segments waits until that many segments are written.
func (e *env) segments(n int) {
	e.t.Helper()
	for deadline := time.Now().Add(time.Minute); e.log.Stats().Segments < n; runtime.Gosched() {
		if time.Now().After(deadline) {
			e.t.Fatalf("%d segments, want %d", e.log.Stats().Segments, n)
		}
	}
}

func (e *env) restart() {
	e.t.Helper()
	e.stop()
	e.start()
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

func (e *env) append(b logbridge.Batch) logbridge.Receipt {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	r, err := e.log.Append(ctx, b)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *env) query(q logbridge.Query) []logbridge.Record {
	e.t.Helper()
	var out []logbridge.Record
	for r, err := range e.log.Query(e.t.Context(), q) {
		if err != nil {
			e.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

var epoch = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// randomRecord makes records that collide in every field, so that queries select some of them.
func randomRecord(rnd *rand.Rand) logbridge.Record {
	r := logbridge.Record{
		Time:         epoch.Add(time.Duration(rnd.IntN(3600)) * time.Second),
		ObservedTime: epoch.Add(time.Hour),
		TimeQuality:  logbridge.TimeQuality(rnd.IntN(3)),
		Severity:     logbridge.Level(1 + rnd.IntN(4)),
	}
	switch rnd.IntN(4) {
	case 0:
		r.Source, r.Stream = logbridge.SourceSLS, logbridge.SLSStream("proj", fmt.Sprint("store", rnd.IntN(3)))
		for i := range rnd.IntN(4) {
			r.Attributes = append(r.Attributes, logbridge.Attr{Key: fmt.Sprint("k", i), Value: fmt.Sprint("value ", rnd.IntN(5))})
		}
	case 1:
		r.Source, r.Stream = logbridge.SourceCLS, logbridge.CLSStream(fmt.Sprint("topic", rnd.IntN(3)))
		r.Attributes = []logbridge.Attr{{Key: "k1", Value: ""}, {Key: "k1", Value: "value 1"}}
	default:
		id := logbridge.DeviceID{Product: fmt.Sprint("PRODUCT00", rnd.IntN(2)), Device: fmt.Sprintf("dev_%02d", rnd.IntN(12))}
		r.Source, r.Stream = logbridge.SourceMQTT, id.Stream()
		r.Body = fmt.Sprintf("message %d about %s", rnd.IntN(1000), strings.Repeat("things ", rnd.IntN(30)))
		if n := rnd.IntN(9); n < 3 { // whoever looks at lines does not see it
			r.Attributes = []logbridge.Attr{{Key: "k3", Value: fmt.Sprint("message 1", n)}}
		}
	}
	return r
}

var queries = []logbridge.Query{
	{},
	{Limit: 7},
	{Order: logbridge.OldestFirst, Limit: 50},
	{Order: logbridge.ByPosition},
	{Product: "PRODUCT000"},
	{Product: "PRODUCT001", Device: "dev_03"},
	{Device: "dev_0*", Limit: 20},
	{Product: "PRODUCT000", Device: "dev_1?", Levels: logbridge.AtLeast(logbridge.LevelWarn)},
	{Stream: logbridge.CLSStream("topic1")},
	{Project: "proj"}, {Project: "proj", Logstore: "store2"}, {Logstore: "store0"}, {Topic: "topic2"},
	{Levels: logbridge.AtLeast(logbridge.LevelError), Order: logbridge.OldestFirst},
	{Sources: logbridge.SourcesOf(logbridge.SourceSLS), Contains: "value 3"},
	{Contains: "about things", Limit: 30},
	{Contains: "message 77"},
	{Contains: "k1", Where: logbridge.InLine}, {Contains: "value 1", Where: logbridge.InLine}, {Contains: "k1"}, {Contains: "k3", Where: logbridge.InLine}, {Contains: "message 1", Where: logbridge.InLine},
	{Contains: "things", Where: logbridge.InLine, Limit: 40}, {Contains: "message 77", Where: logbridge.InLine, Since: epoch.Add(5 * time.Minute)},
	{Contains: "e", Where: logbridge.InLine, Since: epoch.Add(30 * time.Minute), Until: epoch.Add(40 * time.Minute), Order: logbridge.OldestFirst, Limit: 30},
	{Contains: "value 1", Where: logbridge.InLine, Streams: func(s logbridge.Stream) bool { return strings.HasSuffix(string(s), "1") }},
	{Sources: logbridge.SourcesOf(logbridge.SourceSLS, logbridge.SourceCLS), Levels: logbridge.LevelsOf(logbridge.LevelWarn, logbridge.LevelDebug)},
	{Streams: func(s logbridge.Stream) bool { return strings.HasSuffix(string(s), "1") }, Limit: 50},
	{Product: "PRODUCT001", Streams: func(s logbridge.Stream) bool { return strings.HasSuffix(string(s), "3") }},
	{Fields: []logbridge.Attr{{Key: "k1", Value: "value 1"}}},
	{Fields: []logbridge.Attr{{Key: "k0", Value: "value 1"}, {Key: "k1", Value: "value 2"}}, Sources: logbridge.SourcesOf(logbridge.SourceSLS)},
	{Since: epoch.Add(10 * time.Minute), Until: epoch.Add(20 * time.Minute)},
	{Since: epoch.Add(59 * time.Minute), Order: logbridge.OldestFirst},
	{Since: epoch.Add(10 * time.Minute), Until: epoch.Add(50 * time.Minute), Levels: logbridge.LevelsOf(logbridge.LevelInfo), Limit: 60},
	{Streams: func(logbridge.Stream) bool { return false }},
	{Until: epoch}, {Sources: logbridge.SourcesOf("nosuch")}, {Product: "PRODUCT009"}, {Topic: "t"},
}

// TestQueryAgainstModel compares every query with a plain filter and sort over the same records, with the records spread
// over segments and memtables, before and after a restart.
func TestQueryAgainstModel(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 64 << 10})
	rnd := rand.New(rand.NewPCG(1, 2))
	total := 0
	for range 120 {
		var b logbridge.Batch
		for range 1 + rnd.IntN(60) {
			b.Records = append(b.Records, randomRecord(rnd))
		}
		total += len(b.Records)
		if r := e.append(b); r.Stored != len(b.Records) {
			t.Fatalf("receipt %+v for %d records", r, len(b.Records))
		}
	}
	for _, when := range []string{"before", "after the restart"} {
		all := e.query(logbridge.Query{Order: logbridge.ByPosition})
		if len(all) != total {
			t.Fatalf("%s: %d records, %d were stored", when, len(all), total)
		}
		if n := e.log.Stats().Segments; n < 2 {
			t.Fatalf("%s: %d segments: this test wants several", when, n)
		}
		middle := all[len(all)/3].Position
		for _, q := range queries {
			compareWithModel(t, e, all, q)
			q.After = middle
			compareWithModel(t, e, all, q)
		}
		e.restart()
	}
}

func compareWithModel(t *testing.T, e *env, all []logbridge.Record, q logbridge.Query) {
	t.Helper()
	var want []logbridge.Record
	for i := range all {
		if q.Match(&all[i]) {
			want = append(want, all[i])
		}
	}
	p := newPlan(t.Context(), q)
	slices.SortStableFunc(want, func(a, b logbridge.Record) int { return p.compare(hitOf(a), hitOf(b)) })
	if q.Limit > 0 && len(want) > q.Limit {
		want = want[:q.Limit]
	}
	if got := e.query(q); !reflect.DeepEqual(got, want) {
		t.Errorf("query %+v: %d records, the model has %d", q, len(got), len(want))
	}
}

func hitOf(r logbridge.Record) hit {
	return hit{time: r.Time.UnixNano(), seq: r.Position.Seq, index: r.Position.Index}
}

// line is a line without a time of its own, so that equal ones are no duplicates; sent makes such.
func line(device, text string) logbridge.Record {
	id := logbridge.DeviceID{Product: "ABCDE12345", Device: device}
	return logbridge.Record{
		Time: epoch, ObservedTime: epoch, TimeQuality: logbridge.TimeReceived,
		Source: logbridge.SourceReportLog, Stream: id.Stream(), Severity: logbridge.LevelInfo, Body: text,
	}
}

func TestReplayIsStoredOnce(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 20 << 10})
	b := logbridge.Batch{ReplayKey: "ABCDE12345/dev_01 4711 signature", Records: []logbridge.Record{line("dev_01", "one"), line("dev_01", "two")}}
	want := logbridge.Receipt{Stored: 2}
	filler := logbridge.Batch{Records: []logbridge.Record{line("other", strings.Repeat("x", 15<<10))}}
	for round := range 6 {
		if got := e.append(b); got != want {
			t.Fatalf("round %d: receipt %+v, want %+v", round, got, want)
		}
		want = logbridge.Receipt{Duplicate: 2}
		e.append(filler)
		e.append(filler)
		if round%2 == 1 {
			e.restart()
		}
	}
	if got := e.query(logbridge.Query{Device: "dev_01"}); len(got) != 2 {
		t.Errorf("%d records stored, want 2", len(got))
	}
	later := b
	later.Records = slices.Clone(b.Records)
	for i := range later.Records {
		later.Records[i].ObservedTime = epoch.Add(1000 * time.Hour)
	}
	if got := e.append(later); got.Duplicate != 2 {
		t.Errorf("much later: receipt %+v, want 2 duplicates", got)
	}
	if got := e.log.Ledger().Total; got.Received != got.Stored+got.Duplicate {
		t.Errorf("ledger does not add up: %+v", got)
	}
}

// TestRedeliveryIsStoredOnce: a message without the DUP flag is always new, one with it only if none like it came.
func TestRedeliveryIsStoredOnce(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 8 << 10})
	at := epoch
	send := func(after time.Duration, dup bool) logbridge.Receipt {
		at = at.Add(after)
		r := line("dev_01", "heartbeat"+strings.Repeat(".", 3000))
		r.ObservedTime = at
		delivery := logbridge.FirstDelivery
		if dup {
			delivery = logbridge.Redelivery
		}
		return e.append(logbridge.Batch{Records: []logbridge.Record{r}, ReplayKey: "mqtt dev_01 hash", Delivery: delivery})
	}
	for i, c := range []struct {
		after time.Duration
		dup   bool
		want  logbridge.Receipt
	}{
		{0, false, logbridge.Receipt{Stored: 1}},
		{time.Second, true, logbridge.Receipt{Duplicate: 1}},
		{time.Minute, false, logbridge.Receipt{Stored: 1}},
		{windowAge - time.Second, true, logbridge.Receipt{Duplicate: 1}}, // of the second, the first is forgotten
		{time.Minute, true, logbridge.Receipt{Stored: 1}},                // nothing is known of it any more
		{time.Minute, true, logbridge.Receipt{Duplicate: 1}},
	} {
		if got := send(c.after, c.dup); got != c.want {
			t.Errorf("message %d: %+v, want %+v", i, got, c.want)
		}
		e.restart()
	}
}

func TestLargeBatchIsSplitAndBounded(t *testing.T) {
	e := newEnv(t, Config{})
	var b logbridge.Batch
	for i := range 40 {
		b.Records = append(b.Records, line("big", fmt.Sprint(i, strings.Repeat("y", 100<<10))))
	}
	b.ReplayKey = "big one"
	if got := e.append(b); got.Stored != 40 {
		t.Fatalf("receipt %+v", got)
	}
	if got := e.append(b); got.Duplicate != 40 {
		t.Fatalf("second time: receipt %+v", got)
	}
	_, err := e.log.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("big", strings.Repeat("z", MaxRecord))}})
	if !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("record over the bound: %v", err)
	}
	if got := e.query(logbridge.Query{Device: "big"}); len(got) != 40 {
		t.Errorf("%d records", len(got))
	}
}

func TestUndecodableRecordIsRefused(t *testing.T) {
	e := newEnv(t, Config{})
	for name, spoil := range map[string]func(*logbridge.Record){
		"no stream":     func(r *logbridge.Record) { r.Stream = "" },
		"wrong source":  func(r *logbridge.Record) { r.Source = "web" },
		"wrong level":   func(r *logbridge.Record) { r.Severity = 5 },
		"quality of no": func(r *logbridge.Record) { r.TimeQuality = 9 },
	} {
		r := line("dev", "text")
		spoil(&r)
		if _, err := e.log.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{r}}); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := line("dev", "far future")
	r.Time = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)
	e.append(logbridge.Batch{Records: []logbridge.Record{r}})
	if got := e.query(logbridge.Query{}); len(got) != 1 || !got[0].Time.Equal(epoch) || got[0].TimeQuality != logbridge.TimeReceived {
		t.Errorf("time that cannot be written: %+v", got)
	}
}

// TestTailHasNoGapAndNoRepeat follows while writers write and segments roll, from the start and from a later position.
func TestTailHasNoGapAndNoRepeat(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 32 << 10})
	const writers, each = 4, 150
	e.append(logbridge.Batch{Records: []logbridge.Record{line("history", "before")}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r := line(fmt.Sprint("dev_", w), fmt.Sprint(i, strings.Repeat(" pad", 50)))
				if _, err := e.log.Append(ctx, logbridge.Batch{Records: []logbridge.Record{r, line("noise", "noise")}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make([]int, writers)
	var from logbridge.Position
	for seen := 0; seen < writers*each; {
		// The reader goes away every 70 records and comes back with the last position.
		for r, err := range e.log.Tail(ctx, from, logbridge.Query{Device: "dev_*"}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Position.Compare(from) <= 0 {
				t.Fatalf("position %s after %s", r.Position, from)
			}
			from = r.Position
			id, _ := r.Stream.Device()
			var w, i int
			fmt.Sscanf(id.Device, "dev_%d", &w)
			fmt.Sscanf(r.Body, "%d", &i)
			if i != next[w] {
				t.Fatalf("writer %d: line %d, want %d", w, i, next[w])
			}
			next[w]++
			if seen++; seen%70 == 0 || seen == writers*each {
				break
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("%d of %d lines", seen, writers*each)
		}
	}
	wg.Wait()
	if n := e.log.Stats().Segments; n == 0 {
		t.Error("no segment was written: this test wants some")
	}
}

func TestDamagedSegmentIsSetAside(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 8 << 10})
	for i := range 40 {
		e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, strings.Repeat("x", 1000)))}})
	}
	e.stop()
	files, _ := filepath.Glob(filepath.Join(e.cfg.Dir, "*.parquet"))
	if len(files) < 4 {
		t.Fatalf("%d segments, want several", len(files))
	}
	if err := os.Truncate(files[1], 100); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-100] ^= 1 // in the footer
	if err := os.WriteFile(files[2], b, 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	if got := e.query(logbridge.Query{}); len(got) == 0 || len(got) >= 40 {
		t.Errorf("%d records of 40 with two segments damaged", len(got))
	}
	for _, f := range files[1:3] {
		if _, err := os.Stat(f + ".damaged"); err != nil {
			t.Error(err)
		}
	}
	if r := e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "after")}}); r.Stored != 1 {
		t.Errorf("receipt %+v", r)
	}
}

// TestSegmentThatCannotBeWritten takes the folder away: appends go on into the commit log, and the segment is written
// when the folder is back.
func TestSegmentThatCannotBeWritten(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "first")}})
	hidden := e.cfg.Dir + ".hidden"
	if err := os.Rename(e.cfg.Dir, hidden); err != nil {
		t.Fatal(err)
	}
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", strings.Repeat("x", 20<<10))}})
	if got := e.query(logbridge.Query{}); len(got) != 2 {
		t.Errorf("%d records while the folder is away", len(got))
	}
	for deadline := time.Now().Add(time.Minute); e.log.Ready() == nil; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("ready, with segments that cannot be written")
		}
	}
	if err := os.Rename(hidden, e.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	e.restart()
	if got := e.query(logbridge.Query{}); len(got) != 2 || e.log.Ready() != nil {
		t.Errorf("%d records after the restart, ready: %v", len(got), e.log.Ready())
	}
}

func TestAppendWithoutRoomOrAfterClose(t *testing.T) {
	e := newEnv(t, Config{})
	e.stop()
	_, err := e.log.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", "late")}})
	if !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("append after close: %v", err)
	}
	if got := e.log.Ledger().Total; got.Received != 1 || got.Refused[reasonUnavailable] != 1 {
		t.Errorf("ledger %+v", got)
	}
	c := &committer{ledger: newLedger(maxLedgerStreams), wake: make(chan struct{}, 1)}
	u := upload{body: make([]byte, maxGroup), records: 1}
	for range maxWaiting / maxGroup {
		if _, err := c.enqueue([]upload{u}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.enqueue([]upload{u, u}); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("append beyond the bound: %v", err)
	}
	if got := len(c.take(true)); got != 1 {
		t.Errorf("group of %d uploads that fill one each", got)
	}
}

// TestAppendAll: several batches are stored in their order, and each has an outcome of its own.
func TestAppendAll(t *testing.T) {
	e := newEnv(t, Config{})
	large := logbridge.Batch{Records: []logbridge.Record{line("dev_01", strings.Repeat("x", maxGroup))}}
	got := e.log.AppendAll(t.Context(), []logbridge.Batch{sent(epoch, "1 a", "1 b"), large, {}, sent(epoch, "1 a"), sent(epoch, "1 c")})
	if !errors.Is(got[1].Err, logbridge.ErrTooLarge) {
		t.Errorf("too large: %v", got[1].Err)
	}
	got[1].Err = nil
	for i, want := range []logbridge.Receipt{{Stored: 2}, {}, {}, {Duplicate: 1}, {Stored: 1}} {
		if got[i].Err != nil || got[i].Receipt != want {
			t.Errorf("batch %d: %+v, want %+v", i, got[i], want)
		}
	}
	var bodies []string
	for _, r := range e.query(logbridge.Query{Order: logbridge.ByPosition}) {
		bodies = append(bodies, r.Body)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(bodies, want) {
		t.Errorf("stored %q, want %q", bodies, want)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i, o := range e.log.AppendAll(over, []logbridge.Batch{sent(epoch, "1 d"), sent(epoch, "1 e")}) {
		if o.Err != nil && !errors.Is(o.Err, logbridge.ErrUnavailable) { // it may be done all the same
			t.Errorf("batch %d: %v", i, o.Err)
		}
	}
}

// TestOnlyDuplicates: a memtable without a record becomes a segment as well, so that the commit log may drop its groups.
func TestOnlyDuplicates(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 16 << 10})
	once := logbridge.Batch{ReplayKey: "once", Records: []logbridge.Record{line("dev", strings.Repeat("x", 20<<10))}}
	e.append(once)
	for range 8 {
		if got := e.append(once); got.Duplicate != 1 {
			t.Fatalf("receipt %+v", got)
		}
	}
	e.restart()
	if got := e.log.Stats(); got.Segments < 3 || got.MemtableBytes > 64<<10 {
		t.Errorf("%+v", got)
	}
	if got := e.query(logbridge.Query{}); len(got) != 1 {
		t.Errorf("%d records", len(got))
	}
	if got := e.append(once); got.Duplicate != 1 {
		t.Errorf("after the restart: %+v", got)
	}
}

// TestCommitLogOlderThanSegmentsOnEmbedded: a commit log that lost its messages, as one restored from an older copy, goes on behind
// the segments.
func TestCommitLogOlderThanSegmentsOnEmbedded(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 8 << 10})
	for i := range 20 {
		e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, strings.Repeat("x", 2000)))}})
	}
	e.stop()
	if n := e.log.Stats().Segments; n == 0 {
		t.Fatal("no segment was written: this test wants some")
	}
	files, err := filepath.Glob(filepath.Join(e.dir, "nats", "jetstream", "*", "streams", streamName, "msgs", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("messages of the commit log: %v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	e.start()
	before := len(e.query(logbridge.Query{}))
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "after")}})
	e.restart()
	if got := len(e.query(logbridge.Query{})); got != before+1 {
		t.Errorf("%d records, want %d", got, before+1)
	}
}

// TestRunEndsUnderLoad: writers that never stop do not keep the sink from closing.
func TestRunEndsUnderLoad(t *testing.T) {
	e := newEnv(t, Config{})
	var wg sync.WaitGroup
	began := make(chan struct{}, 64)
	for range cap(began) {
		wg.Go(func() {
			for {
				_, err := e.log.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", strings.Repeat("x", 100_000))}})
				if err != nil {
					return
				}
				select {
				case began <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(began) {
		<-began
	}
	e.stop()
	wg.Wait()
}

// TestFullCommitLog: what does not fit is refused as temporary and counted, and what is there is served.
func TestFullCommitLog(t *testing.T) {
	e := newEnv(t, Config{CommitLogBytes: 64 << 10})
	rnd := rand.New(rand.NewPCG(5, 6))
	stored := 0
	for {
		noise := make([]byte, 8<<10) // random letters, so that they do not compress to nothing
		for i := range noise {
			noise[i] = byte('a' + rnd.IntN(26))
		}
		_, err := e.log.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", string(noise))}})
		if err != nil {
			if !errors.Is(err, logbridge.ErrUnavailable) {
				t.Fatal(err)
			}
			break
		}
		if stored++; stored > 100 {
			t.Fatal("the bound does not hold")
		}
	}
	if got := len(e.query(logbridge.Query{})); got != stored {
		t.Errorf("%d records, %d were acknowledged", got, stored)
	}
	if got := e.log.Ledger().Total; got.Refused[reasonUnavailable] != 1 || got.Received != uint64(stored)+1 {
		t.Errorf("ledger %+v after %d stored and one refused", got, stored)
	}
}

func TestQueryEndsWithItsContext(t *testing.T) {
	e := newEnv(t, Config{})
	e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", "1"), line("dev", "2"), line("dev", "3")}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	n := 0
	for _, err := range e.log.Query(ctx, logbridge.Query{}) {
		last = err
		n++
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d answers, last error %v; want one record and then context.Canceled", n, last)
	}
	for _, err := range e.log.Query(t.Context(), logbridge.Query{Device: "["}) {
		if !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("bad pattern: %v", err)
		}
	}
}
