package refusals

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

// stored keeps what was appended; while full is set it takes nothing.
type stored struct {
	mu      sync.Mutex // guards both
	full    bool
	records []logbridge.Record
}

func (s *stored) fill(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func (s *stored) Append(_ context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return logbridge.Receipt{}, logbridge.ErrUnavailable
	}
	s.records = append(s.records, b.Records...)
	return logbridge.Receipt{}, nil
}

// told are the bodies of the records that say how many were left out, as far as the words "of NAME", and their attribute.
func (s *stored) told() (out []string) {
	for _, r := range s.records {
		if r.Attributes[0].Value == action {
			text, _, _ := strings.Cut(r.Body, " from ")
			out = append(out, text+" "+r.Attributes[3].Value)
		}
	}
	return out
}

// event is a batch of the audit record of a change, with the marker line of a device if it is about one.
func event(by, result string, marked bool) logbridge.Batch {
	r := logbridge.Record{Source: logbridge.SourceAudit, Stream: logbridge.AuditStream, Attributes: []logbridge.Attr{{Key: "action", Value: "level.set"}, {Key: actor, Value: by}, {Key: outcome, Value: result}}}
	b := logbridge.Batch{Records: []logbridge.Record{r}}
	if marked {
		r.Stream = "device/ABCDE12345/dev_01"
		b.Records = append(b.Records, r)
	}
	return b
}

// run starts a Log in a bubble; stop ends it and waits.
func run(t *testing.T, s *stored) (l *Log, stop func()) {
	t.Helper()
	l = New(s, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	return l, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (l *Log) times(t *testing.T, n int, b logbridge.Batch) {
	t.Helper()
	for range n {
		if _, err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusalsAreBounded: of one who loops some a minute are recorded, then their number; others and what was changed are not touched.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		l, stop := run(t, s)
		l.times(t, 1000, event("loops", refused, true))
		if n := len(s.records); n != 2*perPeriod {
			t.Errorf("%d records of 1000 refusals", n)
		}
		l.times(t, 500, event("loops", "done", false))
		l.times(t, 500, event("loops", "failed", false))
		l.times(t, perPeriod, event("another", refused, false))
		if n := len(s.records); n != 2*perPeriod+1000+perPeriod || l.LeftOut() != 990 {
			t.Errorf("%d records, %d left out", n, l.LeftOut())
		}
		time.Sleep(period + sweepEvery)
		synctest.Wait()
		if got := fmt.Sprint(s.told()); got != "[990 more refused changes of loops 990]" {
			t.Errorf("told %s", got)
		}
		before := len(s.records)
		l.times(t, perPeriod+1, event("loops", refused, false))
		if n := len(s.records) - before; n != perPeriod {
			t.Errorf("%d records in the next period", n)
		}
		stop()
		if got := fmt.Sprint(s.told()); got != "[990 more refused changes of loops 990 1 more refused change of loops 1]" {
			t.Errorf("told at the end %s", got)
		}
	})
}

// TestNextRefusalTells: a period that is over is told of before the next begins, also when nobody has swept.
func TestNextRefusalTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		l := New(s, slog.New(slog.DiscardHandler))
		l.times(t, perPeriod+5, event("loops", refused, false))
		time.Sleep(period)
		l.times(t, 1, event("loops", refused, false))
		if got := fmt.Sprint(s.told()); got != "[5 more refused changes of loops 5]" || len(s.records) != perPeriod+2 {
			t.Errorf("%d records, told %s", len(s.records), got)
		}
	})
}

// TestNumberOutlivesAFullDisk: what could not be told is told later.
func TestNumberOutlivesAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		l, stop := run(t, s)
		l.times(t, perPeriod+3, event("loops", refused, false))
		s.fill(true)
		time.Sleep(period + sweepEvery)
		synctest.Wait()
		s.fill(false)
		time.Sleep(sweepEvery)
		synctest.Wait()
		if got := fmt.Sprint(s.told()); got != "[3 more refused changes of loops 3]" {
			t.Errorf("told %s", got)
		}
		stop()
	})
}

// TestActorsAreBounded: beyond so many, all count as one.
func TestActorsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		l := New(s, slog.New(slog.DiscardHandler))
		for i := range maxActors + 3*perPeriod {
			l.times(t, 1, event(fmt.Sprint("actor-", i), refused, false))
		}
		if len(l.tried) != maxActors+1 || len(s.records) != maxActors+perPeriod || l.LeftOut() != 2*perPeriod {
			t.Errorf("%d actors, %d records, %d left out", len(l.tried), len(s.records), l.LeftOut())
		}
	})
}
