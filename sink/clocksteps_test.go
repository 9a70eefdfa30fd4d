package sink

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// clockSteps are how far the clock of the times of receipt is off, batch after batch: it steps back and forward by seconds,
// hours, days and years.
var clockSteps = []time.Duration{
	0, -time.Second, time.Hour, -3 * time.Hour, 26 * time.Hour, -40 * 24 * time.Hour, time.Minute, 20 * 365 * 24 * time.Hour, -time.Hour, 0,
}

// stepped is one line that was received while the clock was off.
func stepped(n int, at time.Time) logbridge.Record {
	r := line("dev_01", fmt.Sprint("line ", n))
	r.Time, r.ObservedTime = at, at
	return r
}

// TestClockSteps appends while the clock of receipt steps back and forward, over segments and restarts. Every line is found
// once, positions rise in the order of arrival, and a tail gives the lines in that order: none of it goes by the clock.
func TestClockSteps(t *testing.T) {
	e := newEnv(t, Config{MemtableBytes: 8 << 10})
	const batches, each = 400, 5
	var want []string
	for n := range batches {
		at := epoch.Add(clockSteps[n*len(clockSteps)/batches]).Add(time.Duration(n) * time.Millisecond)
		var b logbridge.Batch
		for i := range each {
			r := stepped(n*each+i, at)
			b.Records, want = append(b.Records, r), append(want, r.Body)
		}
		e.append(b)
		if n%150 == 149 {
			e.restart()
		}
	}
	if got := bodiesOf(e.query(logbridge.Query{Order: logbridge.ByPosition})); !slices.Equal(got, want) {
		t.Errorf("%d lines by position, want %d in the order of arrival", len(got), len(want))
	}
	if got := bodiesOf(e.follow(len(want))); !slices.Equal(got, want) {
		t.Errorf("a tail gave %d lines, want %d in the order of arrival", len(got), len(want))
	}
	byTime := e.query(logbridge.Query{Order: logbridge.OldestFirst})
	if len(byTime) != len(want) || !slices.IsSortedFunc(byTime, func(a, b logbridge.Record) int { return a.Time.Compare(b.Time) }) {
		t.Errorf("%d lines by time, want %d from the oldest to the newest", len(byTime), len(want))
	}
	if n := e.log.Stats().Segments; n == 0 || n > batches {
		t.Errorf("%d segments", n)
	}
}

// follow takes n records from the beginning of a tail.
func (e *env) follow(n int) (out []logbridge.Record) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	for r, err := range e.log.Tail(ctx, logbridge.Position{}, logbridge.Query{}) {
		if err != nil {
			e.t.Fatal(err)
		}
		if out = append(out, r); len(out) == n {
			return out
		}
	}
	e.t.Fatalf("the tail gave %d records of %d", len(out), n)
	return nil
}

func bodiesOf(list []logbridge.Record) (out []string) {
	for _, r := range list {
		out = append(out, r.Body)
	}
	return out
}

// TestClockStepsAndReplays repeats uploads over steps of the clock. An exact replay of a signed upload is a duplicate
// whichever way the clock has stepped; a redelivered message is one as long as its first delivery does not look older than
// the window, and is stored again rather than lost when it does.
func TestClockStepsAndReplays(t *testing.T) {
	for _, step := range clockSteps {
		t.Run(step.String(), func(t *testing.T) {
			e := newEnv(t, Config{})
			batch := func(key string, d logbridge.Delivery, at time.Time) logbridge.Batch {
				return logbridge.Batch{ReplayKey: key, Delivery: d, Records: []logbridge.Record{stepped(len(key), at)}}
			}
			e.append(batch("signed", logbridge.SignedUpload, epoch))
			e.append(batch("message", logbridge.FirstDelivery, epoch))
			later := epoch.Add(step)
			for range 2 { // before and after a restart
				if r := e.append(batch("signed", logbridge.SignedUpload, later)); r.Duplicate != 1 {
					t.Errorf("a replay of a signed upload: %+v", r)
				}
				e.restart()
			}
			r := e.append(batch("message", logbridge.Redelivery, later))
			if old := step >= windowAge; r.Stored+r.Duplicate != 1 || old != (r.Stored == 1) {
				t.Errorf("a redelivery: %+v", r)
			}
		})
	}
}

// TestClockStepsAndRetention lets the server's clock step while records age: what was received is kept for the retention
// age by the clock of the moment, and a step back removes nothing.
func TestClockStepsAndRetention(t *testing.T) {
	now := epoch
	e := newEnv(t, Config{MemtableBytes: 1, RetentionAge: 24 * time.Hour, Now: func() time.Time { return now }})
	for n, off := range []time.Duration{0, -time.Hour, time.Hour, 20 * 365 * 24 * time.Hour} {
		e.append(logbridge.Batch{Records: []logbridge.Record{stepped(n, epoch.Add(off))}})
	}
	e.stop() // what is in no segment yet is indexed at the start
	for _, off := range []time.Duration{0, -40 * 24 * time.Hour, 22 * time.Hour} {
		now = epoch.Add(off)
		e.start()
		e.log.expire(e.log.cfg.RetentionAge, 0)
		if got := e.query(logbridge.Query{}); len(got) != 4 {
			t.Errorf("clock off by %s: %d lines, want all 4", off, len(got))
		}
		e.stop()
	}
}

// TestClockStep: what the monotonic clock does not confirm is a step.
func TestClockStep(t *testing.T) {
	for wall, want := range map[time.Duration]time.Duration{time.Minute: 0, 49 * time.Hour: 49*time.Hour - time.Minute, -time.Hour: -61 * time.Minute} {
		if got := clockStep(epoch, epoch.Add(wall), time.Minute); got != want {
			t.Errorf("wall clock %s later after a minute: %s, want %s", wall, got, want)
		}
	}
}
