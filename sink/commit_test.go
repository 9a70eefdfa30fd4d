package sink

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// mute is a JetStream that never answers a publish.
type mute struct {
	jetstream.JetStream
	tries int
}

func (m *mute) PublishMsg(_ context.Context, msg *nats.Msg, _ ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	m.tries++
	return nil, context.DeadlineExceeded
}

// TestCommitLogThatDoesNotAnswer: what waits is answered as unavailable, nothing more is taken, and the committer ends with
// an error that ends the program.
func TestCommitLogThatDoesNotAnswer(t *testing.T) {
	js := &mute{}
	out := make(chan *group, handOverMost)
	c := newCommitter(js, boundless(), out, newLedger(maxLedgerStreams), slog.New(slog.DiscardHandler))
	var all []*waiting
	for range 3 { // each fills a group of its own
		uploads, err := encodeBatch(logbridge.Batch{Records: []logbridge.Record{line("dev", string(make([]byte, maxGroup/2+1)))}})
		if err != nil {
			t.Fatal(err)
		}
		members, err := c.enqueue(uploads)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, members...)
	}
	if err := c.run(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run ended with %v", err)
	}
	if js.tries != publishTries {
		t.Errorf("%d tries, want %d of one group and none of the others", js.tries, publishTries)
	}
	for i, w := range all {
		if r := <-w.done; !errors.Is(r.err, logbridge.ErrUnavailable) {
			t.Errorf("append %d: %v", i, r.err)
		}
	}
	if _, err := c.enqueue([]upload{all[0].upload}); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("append afterwards: %v", err)
	}
	if _, open := <-out; open {
		t.Error("a group was handed over")
	}
}

// boundless is a disk that is never full.
func boundless() *room {
	return newRoom(Config{}, func(uint64) error { return nil }, slog.New(slog.DiscardHandler))
}

// faulty stands between a sink and its JetStream.
type faulty struct {
	jetstream.Stream
	js       publisher
	lose     int  // so many acknowledgements are lost
	foreign  bool // before each group a copy of it is committed that nobody told the sink of
	unread   int  // so many reads fail
	attempts int
}

func (f *faulty) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	f.attempts++
	if f.foreign {
		if _, err := f.js.PublishMsg(ctx, &nats.Msg{Subject: msg.Subject, Data: msg.Data}); err != nil {
			return nil, err
		}
	}
	ack, err := f.js.PublishMsg(ctx, msg, opts...)
	if f.lose > 0 {
		f.lose--
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

func (f *faulty) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	if f.unread > 0 {
		f.unread--
		return nil, errors.New("input/output error")
	}
	return f.Stream.GetMsg(ctx, seq, opts...)
}

// withFaults runs a sink behind f, appends one line and gives what Append and Run returned.
func withFaults(t *testing.T, e *env, f *faulty) (appended, ran error) {
	t.Helper()
	node, err := natsd.New(natsd.Config{Dir: filepath.Join(e.dir, "nats")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e.cfg.Dir = filepath.Join(e.dir, "segments")
	l, err := New(t.Context(), e.cfg, node, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.Stream, f.js = l.stream, l.commit.js
	l.stream, l.commit.js = f, f
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { ran = l.Run(ctx); close(done) }()
	_, appended = l.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", "a line")}})
	cancel()
	<-done
	_ = node.Run(ctx)
	return appended, ran
}

// TestFaultsOfTheCommitLogOnEmbedded: whatever is lost between the sink and JetStream, a committed group is found once, and none
// that lies behind one that cannot be read is acknowledged. A cluster is asked until the outcome is known: TestUnknownOutcomesOnACluster.
func TestFaultsOfTheCommitLogOnEmbedded(t *testing.T) {
	for _, c := range []struct {
		name     string
		f        faulty
		attempts int
		fails    bool
		found    int // after a new start
	}{
		{"no fault", faulty{}, 1, false, 1},
		{"one acknowledgement is lost", faulty{lose: 1}, 2, false, 1},
		{"all but the last are lost", faulty{lose: publishTries - 1}, publishTries, false, 1},
		{"all are lost", faulty{lose: publishTries}, publishTries, true, 1},
		{"a group between", faulty{foreign: true}, 1, false, 2},
		{"a group between that cannot be read at first", faulty{foreign: true, unread: 3}, 1, false, 2},
		{"a group between that cannot be read", faulty{foreign: true, unread: gapTries}, 1, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{t: t, dir: t.TempDir()}
			appended, ran := withFaults(t, e, &c.f)
			if c.f.attempts != c.attempts {
				t.Errorf("%d tries, want %d", c.f.attempts, c.attempts)
			}
			if (appended != nil) != c.fails || (ran != nil) != c.fails {
				t.Errorf("append: %v, run: %v, want errors: %v", appended, ran, c.fails)
			}
			if c.fails && !errors.Is(appended, logbridge.ErrUnavailable) {
				t.Errorf("append: %v", appended)
			}
			e.start()
			defer e.stop()
			if got := e.query(logbridge.Query{}); len(got) != c.found {
				t.Errorf("%d records after a new start, want %d", len(got), c.found)
			}
		})
	}
}

// TestRoomSaysSoOnce: beginning and end of a full disk are logged once, and it ends only with room beyond the reserve.
func TestRoomSaysSoOnce(t *testing.T) {
	var log strings.Builder
	var free uint64
	r := newRoom(Config{MemtableBytes: 1 << 20}, func(bytes uint64) error {
		if free < bytes {
			return logbridge.ErrUnavailable
		}
		return nil
	}, slog.New(slog.NewTextHandler(&log, nil)))
	for _, step := range []struct {
		free uint64
		ok   bool
		said int // lines so far
	}{
		{r.reserve, true, 0}, {r.reserve - 1, false, 1}, {0, false, 1}, {r.reserve, false, 1},
		{r.reserve + resumeRoom, true, 2}, {r.reserve, true, 2}, {r.reserve - 1, false, 3},
	} {
		free = step.free
		if err := r.check(0); (err == nil) != step.ok {
			t.Errorf("%d bytes free: %v", free, err)
		}
		if said := strings.Count(log.String(), "\n"); said != step.said {
			t.Errorf("%d bytes free: %d lines logged, want %d", free, said, step.said)
		}
	}
	if r.check(1) == nil {
		t.Error("more than the reserve was given away")
	}
}
