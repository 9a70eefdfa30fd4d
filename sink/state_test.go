package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

func flipByte(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}

func removeFile(path string) error { return os.Remove(path) }

// crashed is a sink started on a copy of the folder as it is now: what a machine finds that lost power at this moment.
func (e *env) crashed() *env {
	e.t.Helper()
	c := &env{t: e.t, dir: copyAtRest(e.t, e.dir), cfg: e.cfg}
	copyCommitLog(e.t, natsOf(e.t, e.dir), natsOf(e.t, c.dir))
	c.start()
	e.t.Cleanup(func() { c.stop() })
	return c
}

// copyAtRest copies a folder as it is at one moment: again until nothing was written meanwhile, since JetStream writes its index in
// the background.
func copyAtRest(t testing.TB, dir string) string {
	t.Helper()
	for {
		before, to := contents(t, dir), t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil && maps.Equal(before, contents(t, dir)) {
			return to
		}
	}
}

// contents are the files in a folder, with what tells a file that was written from what it was.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			files[path] = fmt.Sprint(info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantSum checks the equation, in all, by source and by stream.
func wantSum(t testing.TB, l logbridge.Ledger) {
	t.Helper()
	var sources, streams uint64
	check := func(c logbridge.Counts) uint64 {
		sum := c.Stored + c.Duplicate
		for _, reasons := range []map[string]uint64{c.Refused, c.Dropped} {
			for _, n := range reasons {
				sum += n
			}
		}
		if sum != c.Received {
			t.Errorf("%+v does not add up", c)
		}
		return sum
	}
	for _, c := range l.Sources {
		sources += check(c)
	}
	for _, c := range l.Streams {
		streams += check(c.Counts)
	}
	if total := check(l.Total); total != sources || total != streams {
		t.Errorf("received %d, by source %d, by stream %d", total, sources, streams)
	}
}

// traffic is some of everything; round makes the lines new ones.
func (e *env) traffic(round int) {
	e.t.Helper()
	a := sent(epoch, fmt.Sprintf("%d a", round), fmt.Sprintf("%d b", round))
	e.append(a)
	e.append(a) // two duplicates
	signed := logbridge.Batch{ReplayKey: fmt.Sprint("upload ", round), Records: []logbridge.Record{line("dev_02", fmt.Sprint("signed ", round))}}
	e.append(signed)
	e.append(signed)
	e.log.Refuse(logbridge.SourceSLS, "sls/p/s", "too_large", 3)
	e.log.Refuse(logbridge.SourceSLS, "", "unknown", 1)
	e.log.Drop(logbridge.SourceMQTT, "device/ABCDE12345/dev_01", "malformed", 2)
	// The next group takes them along.
	e.append(sent(epoch, fmt.Sprintf("%d last", round)))
}

// TestCrashAtEachPointOfAFlush stops between the steps in which a memtable becomes a segment. What is counted and what is a
// repetition is the same at each, before and after another crash.
func TestCrashAtEachPointOfAFlush(t *testing.T) {
	e := newEnv(t, Config{})
	flush := func() []func() error {
		fr := e.log.freeze()
		dir := e.cfg.Dir
		return []func() error{
			func() error { return os.WriteFile(filepath.Join(dir, "window"+tmpSuffix), []byte("half"), 0o600) },
			func() error { return saveWindow(dir, &fr.window) },
			func() error { return os.WriteFile(filepath.Join(dir, "ledger"+tmpSuffix), []byte("half"), 0o600) },
			func() error { return saveLedger(dir, fr.last, encoded(fr.ledger)) },
			func() error {
				path, err := writeSegment(dir, fr.table.snapshot(), fr.first, fr.last)
				if err != nil {
					return err
				}
				s, err := openSegment(path)
				if err == nil {
					e.log.install(s)
				}
				return err
			},
			func() error { return e.log.stream.Purge(t.Context(), jetstream.WithPurgeSequence(fr.last+1)) },
			func() error { e.log.duplicates.wrote(&fr.window); return e.log.duplicates.removeOld(dir, &fr.window) },
			func() error { return removeOldLedgers(dir, fr.last) },
		}
	}
	for round := range 3 {
		e.traffic(round)
		want, stored := e.log.Ledger(), len(e.query(logbridge.Query{}))
		wantSum(t, want)
		e.stop()
		node := e.open() // and the test is its indexer
		steps := flush()
		for i := range len(steps) + 1 {
			if i > 0 {
				if err := steps[i-1](); err != nil {
					t.Fatal(err)
				}
			}
			c := e.crashed()
			when := fmt.Sprintf("round %d, step %d", round, i)
			c.wantState(when, want, stored, round)
			later := c.log.Ledger()
			if got := c.crashed().log.Ledger(); !reflect.DeepEqual(got, later) {
				t.Errorf("%s, after another crash:\n%+v, want\n%+v", when, got, later)
			}
		}
		e.run(node)
	}
}

// wantState checks a sink that was started after a crash.
func (e *env) wantState(when string, want logbridge.Ledger, stored, rounds int) {
	e.t.Helper()
	if got := e.log.Ledger(); !reflect.DeepEqual(got, want) {
		e.t.Errorf("%s:\n%+v, want\n%+v", when, got, want)
	}
	if got := len(e.query(logbridge.Query{})); got != stored {
		e.t.Errorf("%s: %d records, want %d", when, got, stored)
	}
	for round := range rounds + 1 {
		again := sent(epoch, fmt.Sprintf("%d a", round), fmt.Sprintf("%d b", round))
		if got := e.append(again); got.Duplicate != 2 {
			e.t.Errorf("%s: lines of round %d sent again: %+v", when, round, got)
		}
		signed := logbridge.Batch{ReplayKey: fmt.Sprint("upload ", round), Records: []logbridge.Record{line("dev_02", fmt.Sprint("signed ", round))}}
		if got := e.append(signed); got.Duplicate != 1 {
			e.t.Errorf("%s: upload of round %d sent again: %+v", when, round, got)
		}
	}
	wantSum(e.t, e.log.Ledger())
}

// TestLedgerSurvivesItsEnd: a clean end reports what waits; a report goes out alone when no append comes.
func TestLedgerSurvivesItsEnd(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 4 << 10})
	for round := range 3 {
		e.traffic(round)
		e.log.Refuse(logbridge.SourceCLS, "cls/t", "signature", 7)
		want := e.log.Ledger()
		wantSum(t, want)
		if got := want.Sources[logbridge.SourceCLS].Refused["signature"]; got != uint64(7*(round+1)) {
			t.Errorf("a refusal shows at once, but %d did", got)
		}
		if !reflect.DeepEqual(e.log.LedgerSources(), want.Sources) {
			t.Errorf("by source %+v, want %+v", e.log.LedgerSources(), want.Sources)
		}
		e.restart()
		if got := e.log.Ledger(); !reflect.DeepEqual(got, want) {
			t.Errorf("after a restart\n%+v, want\n%+v", got, want)
		}
	}
	next := e.log.next()
	e.log.Drop(logbridge.SourceMQTT, "", "malformed", 1)
	want := e.log.Ledger()
	for e.log.next() == next { // until the report, after a second without an append
		runtime.Gosched()
	}
	if got := e.crashed().log.Ledger(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a crash\n%+v, want\n%+v", got, want)
	}
}

// deaf is a JetStream whose acknowledgements are lost.
type deaf struct {
	publisher
	times int
}

func (d *deaf) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := d.publisher.PublishMsg(ctx, msg, opts...)
	if d.times > 0 && err == nil {
		d.times--
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

// TestLostAcknowledgement: a group that is committed counts once, whenever that is learned.
func TestLostAcknowledgement(t *testing.T) {
	e := newEnv(t, Config{})
	e.append(sent(epoch, "1 a")) // the committer runs
	e.log.commit.js = &deaf{e.log.commit.js, publishTries - 1}
	e.log.Drop(logbridge.SourceMQTT, "", "malformed", 1)
	if got := e.append(sent(epoch, "2 b")); got.Stored != 1 {
		t.Errorf("%+v", got)
	}
	// A group of this process, with a report, whose acknowledgement never came.
	e.log.Refuse(logbridge.SourceSLS, "sls/p/s", "too_large", 5)
	uploads, err := encodeBatch(sent(epoch, "3 c"))
	if err != nil {
		t.Fatal(err)
	}
	lostGroup := &group{raw: joinGroup([]*waiting{{upload: uploads[0]}, e.log.ledger.report(maxGroup)})}
	if err := e.log.commit.publish(lostGroup); err != nil {
		t.Fatal(err)
	}
	e.append(sent(epoch, "4 d"))
	got := e.log.Ledger()
	wantSum(t, got)
	if got.Total.Received != 10 || got.Total.Stored != 4 || got.Total.Refused["too_large"] != 5 || got.Total.Dropped["malformed"] != 1 {
		t.Errorf("%+v", got.Total)
	}
	if again := e.crashed().log.Ledger(); !reflect.DeepEqual(again, got) {
		t.Errorf("after a crash\n%+v, want\n%+v", again, got)
	}
}

// TestDamagedLedgerIsReported: the start goes on, says what is missing, and the ledger says since when it counts.
func TestDamagedLedgerIsReported(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{"damaged": flipByte, "missing": removeFile} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, Config{MemtableBytes: 2 << 10})
			e.append(sent(epoch, "1 "+strings.Repeat("x", 4<<10)))
			e.segments(1)
			e.stop()
			all, err := checkpoints(e.cfg.Dir)
			if err != nil || len(all) != 1 {
				t.Fatalf("checkpoints %v, %v", all, err)
			}
			if err := spoil(filepath.Join(e.cfg.Dir, ledgerName(all[0]))); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			l, err := loadLedger(e.cfg.Dir, all[0], maxLedgerStreams, slog.New(slog.NewTextHandler(&said, nil)))
			if err != nil || !strings.Contains(said.String(), "the ledger is missing") || l.answer().Since != nil {
				t.Errorf("%+v %v, said %q", l.answer(), err, said.String())
			}
			e.start()
			later := sent(epoch.Add(windowAge), "2 b")
			e.append(later)
			if got := e.log.Ledger(); got.Total.Received != 1 || !got.Since.Equal(epoch.Add(windowAge)) {
				t.Errorf("%+v since %v", got.Total, got.Since)
			}
		})
	}
}

// TestNewestSegmentSetAside: what was counted and remembered of a segment that is damaged now stays so.
func TestNewestSegmentSetAside(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 2 << 10})
	for round := range 5 {
		e.append(sent(epoch, fmt.Sprintf("%d %s", round, strings.Repeat("x", 4<<10))))
	}
	e.segments(5)
	want := e.log.Ledger()
	e.stop()
	files, err := filepath.Glob(filepath.Join(e.cfg.Dir, "*.parquet"))
	if err != nil || len(files) < 3 {
		t.Fatalf("segments %v, %v", files, err)
	}
	if err := os.Truncate(files[len(files)-1], 100); err != nil {
		t.Fatal(err)
	}
	e.start()
	if got := e.log.Ledger(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for round := range 5 {
		if got := e.append(sent(epoch, fmt.Sprintf("%d %s", round, strings.Repeat("x", 4<<10)))); got.Duplicate != 1 {
			t.Errorf("line %d sent again: %+v", round, got)
		}
	}
}

// TestBrokenGroupLeavesNoTrace: a group whose end cannot be read is passed over as a whole.
func TestBrokenGroupLeavesNoTrace(t *testing.T) {
	e := newEnv(t, Config{})
	good := sent(epoch, "1 a", "2 b")
	good.ReplayKey = "key"
	uploads, err := encodeBatch(good)
	if err != nil {
		t.Fatal(err)
	}
	raw := joinGroup([]*waiting{{upload: uploads[0]}})
	broken := &group{raw: raw[:len(raw)-3]}
	if err := e.log.commit.publish(broken); err != nil {
		t.Fatal(err)
	}
	if got := e.append(good); got.Stored != 2 {
		t.Errorf("%+v", got)
	}
	if got := e.log.Ledger().Total; got.Received != 2 {
		t.Errorf("%+v", got)
	}
	e.restart()
	if got := e.log.Ledger().Total; got.Received != 2 || len(e.query(logbridge.Query{})) != 2 {
		t.Errorf("after a restart: %+v", got)
	}
}

func TestMemtableThatNoSegmentHolds(t *testing.T) {
	_, err := New(t.Context(), Config{Dir: t.TempDir(), MemtableBytes: maxMemtableBytes + 1}, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "memtable") {
		t.Error(err)
	}
}
