package sink

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
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
	out := make(chan *group, handOver)
	c := &committer{js: js, out: out, ledger: newLedger(maxLedgerStreams), log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1)}
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
