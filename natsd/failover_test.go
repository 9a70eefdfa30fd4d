package natsd

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge/natsd/natstest"
)

// TestServersAreKilledOneAfterTheOther, and started again, while two nodes count up the same number, each step only over the one before it,
// and put values of their own. Each step that was acknowledged has to count once, a step whose outcome is unknown at most once, no
// value may be lost, and both nodes must end with what the bucket holds, by their watches.
func TestServersAreKilledOneAfterTheOther(t *testing.T) {
	if testing.Short() || natstest.URL(t, t.TempDir()) == "" {
		return // it has a cluster of its own, once
	}
	c := natstest.Start(t, 3)
	var stores []*words
	for range 2 {
		w := open(t, startWith(t, Config{URL: c.URL(), SyncAlways: true}))
		w.drain(t)
		w.follow(t)
		stores = append(stores, w)
	}
	if _, err := stores[0].First(t.Context(), "n", "0"); err != nil {
		t.Fatal(err)
	}
	var done, unknown, longest atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working sync.WaitGroup
	for i, w := range stores {
		working.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				begun := time.Now()
				w.countUp(t, &done, &unknown)
				if err := w.Put(t.Context(), fmt.Sprint("own", i, k%100), strconv.Itoa(k)); err != nil {
					t.Errorf("put: %v", err)
				}
				for was, took := longest.Load(), int64(time.Since(begun)); took > was && !longest.CompareAndSwap(was, took); was = longest.Load() {
				}
			}
		})
	}
	for i := range 3 {
		before := done.Load()
		c.Kill(i)
		for done.Load() < before+20 { // it goes on with two
			stores[0].waitForChange(t)
		}
		c.Restart(i)
		c.Healthy()
	}
	cancel()
	working.Wait()
	truth := open(t, startWith(t, Config{URL: c.URL(), SyncAlways: true}))
	truth.drain(t)
	if err := truth.Put(t.Context(), "end", "x"); err != nil { // who puts it has it without his watch, so it is neither of the two
		t.Fatal(err)
	}
	_, last := truth.Get("end")
	for i, w := range stores {
		for _, revision := w.Get("end"); revision < last; _, revision = w.Get("end") {
			w.waitForChange(t)
		}
		for k, v := range truth.After("") {
			if got, _ := w.Get(k); got == nil || *got != *v {
				t.Errorf("node %d has another %s", i, k)
			}
		}
	}
	v, _ := truth.Get("n")
	if n, _ := strconv.ParseInt(*v, 10, 64); n < done.Load() || n > done.Load()+unknown.Load() {
		t.Errorf("counted to %d; %d steps were acknowledged, of %d the outcome is unknown", n, done.Load(), unknown.Load())
	}
	t.Logf("%d steps, %d unknown; the longest took %v", done.Load(), unknown.Load(), time.Duration(longest.Load()))
}

// countUp does one step, however often another is faster.
func (w *words) countUp(t *testing.T, done, unknown *atomic.Int64) {
	for {
		v, revision := w.Get("n")
		if v == nil {
			w.waitForChange(t)
			continue
		}
		n, _ := strconv.Atoi(*v)
		ok, err := w.PutIf(t.Context(), "n", strconv.Itoa(n+1), revision)
		if err != nil {
			unknown.Add(1)
			t.Logf("step: %v", err)
			return
		}
		if ok {
			done.Add(1)
			return
		}
		w.waitForChange(t)
	}
}

// waitForChange waits a moment, in which something may change.
func (w *words) waitForChange(t *testing.T) {
	moment := time.NewTimer(5 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-t.Context().Done():
	}
}

// drain takes what Changed is called with, until the test ends.
func (w *words) drain(t *testing.T) {
	go func() {
		for {
			select {
			case <-w.changes:
			case <-t.Context().Done():
				return
			}
		}
	}()
}
