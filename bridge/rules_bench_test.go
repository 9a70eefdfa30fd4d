package bridge

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/levels"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/wire/tencent"
)

// fleetRegistry is a registry of a fleet with running numbers.
type fleetRegistry int

func (n fleetRegistry) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	return logbridge.Device{ID: id}, nil
}

func (n fleetRegistry) Devices(product string) iter.Seq[logbridge.Device] {
	return func(yield func(logbridge.Device) bool) {
		for i := range int(n) {
			if id := fleetDevice(i); (product == "" || id.Product == product) && !yield(logbridge.Device{ID: id}) {
				return
			}
		}
	}
}

// countingSession is a connected device that takes everything.
type countingSession struct {
	device logbridge.DeviceID
	heard  *sync.WaitGroup
}

func (s *countingSession) Device() logbridge.DeviceID  { return s.device }
func (s *countingSession) Send(string, []byte) error   { s.heard.Done(); return nil }
func (s *countingSession) Resend(string) (bool, error) { return false, nil }

// discard is a log that takes everything.
type discard struct{}

func (discard) Append(_ context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	return logbridge.Receipt{Stored: len(b.Records)}, nil
}

// BenchmarkRule sets a rule for 19 000 connected devices, with the real levels on a real disk: from the call until the last
// push is handed to the broker, and until the call returns, with its audit records made.
func BenchmarkRule(b *testing.B) {
	const n = 19_000
	log := slog.New(slog.DiscardHandler)
	node, err := natsd.New(natsd.Config{Dir: b.TempDir()}, log)
	if err != nil {
		b.Fatal(err)
	}
	l, err := levels.New(b.Context(), node, fleetRegistry(n), discard{}, levels.Config{}, log)
	if err != nil {
		b.Fatal(err)
	}
	br, err := New(Config{}, l, newLog(), products{}, &fakeLedger{}, log)
	if err != nil {
		b.Fatal(err)
	}
	l.OnChange(br.LevelChanged)
	l.YieldTo(br.Pushing)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{l.Run, br.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				b.Error(err)
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		running.Wait()
		over, end := context.WithCancel(context.Background())
		end()
		_ = node.Run(over)
	})
	var heard sync.WaitGroup
	heard.Add(n)
	for i := range n {
		s := &countingSession{fleetDevice(i), &heard}
		br.Connected(s)
		if err := errors.Join(br.Handle(ctx, s, []logbridge.Message{{Topic: tencent.OperationTopic(s.device), Payload: []byte(`{"type":"get_log_level"}`)}})...); err != nil {
			b.Fatal(err)
		}
	}
	heard.Wait()
	by := logbridge.Actor{Name: "bench"}
	var last, call time.Duration
	for b.Loop() {
		heard.Add(n)
		begin, told := time.Now(), make(chan time.Duration, 1)
		go func() {
			heard.Wait()
			told <- time.Since(begin)
		}()
		r, reach, err := l.AddRule(ctx, logbridge.RuleWish{Selector: logbridge.LevelSelector{Product: dev1.Product, DeviceGlob: "dev_*"},
			Level: logbridge.LevelDebug, Reason: "bench", By: by})
		if err != nil || reach.Decides != n {
			b.Fatal(reach, err)
		}
		call += time.Since(begin)
		last += <-told
		b.StopTimer()
		heard.Add(n)
		if err := l.ClearRule(ctx, r.ID, by, ""); err != nil {
			b.Fatal(err)
		}
		heard.Wait()
		b.StartTimer()
	}
	b.ReportMetric(last.Seconds()/float64(b.N)*1e3, "ms-to-last-push")
	b.ReportMetric(call.Seconds()/float64(b.N)*1e3, "ms-call")
	b.ReportMetric(float64(n)*float64(b.N)/last.Seconds(), "pushes/s")
}
