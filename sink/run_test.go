package sink

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// failing is a JetStream whose publishes fail from some moment on.
type failing struct {
	publisher
	now atomic.Bool
}

func (f *failing) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if f.now.Load() {
		return nil, context.DeadlineExceeded
	}
	return f.publisher.PublishMsg(ctx, msg, opts...)
}

// TestRunEndsWhenNothingCanBeWritten: a commit log that does not answer ends Run, also while a segment cannot be written,
// as on a disk that is full to the last byte.
func TestRunEndsWhenNothingCanBeWritten(t *testing.T) {
	dir := t.TempDir()
	node, err := natsd.New(natsd.Config{Dir: filepath.Join(dir, "nats")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: filepath.Join(dir, "segments"), MemtableBytes: 16 << 10}
	l, err := New(t.Context(), cfg, node, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{publisher: l.commit.js}
	l.commit.js = f
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	if err := os.Rename(cfg.Dir, cfg.Dir+".hidden"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", strings.Repeat("x", 20<<10))}}); err != nil {
		t.Fatal(err)
	}
	for l.stuck.Load() == nil {
		runtime.Gosched()
	}
	f.now.Store(true)
	if _, err := l.Append(t.Context(), logbridge.Batch{Records: []logbridge.Record{line("dev", "late")}}); err == nil {
		t.Error("stored")
	}
	select {
	case err := <-ran:
		if err == nil {
			t.Error("Run ended without an error")
		}
	case <-time.After(time.Minute):
		t.Error("Run does not end")
		cancel()
		<-ran
	}
	cancel()
	_ = node.Run(ctx)
}
