package natsd

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// shortLease is a lease that tests need not wait long for.
func shortLease(t *testing.T, kv jetstream.KeyValue) lease {
	t.Helper()
	l := newLease(kv, "something / * >")
	l.life, l.look = 2*time.Second, 100*time.Millisecond
	return l
}

// Of many that want it one has it at a time, and when it gives it back another follows.
func TestLeaseIsHeldByOne(t *testing.T) {
	n := start(t, t.TempDir())
	kv, err := n.Bucket(t.Context(), leaseBucket)
	if err != nil {
		t.Fatal(err)
	}
	const many = 4
	var holding, most, terms atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for range many {
		l := shortLease(t, kv)
		all.Go(func() {
			l.hold(ctx, func(context.Context) {
				if now := holding.Add(1); now > most.Load() {
					most.Store(now)
				}
				if terms.Add(1) == 3*many {
					cancel()
				}
				holding.Add(-1)
			})
		})
	}
	all.Wait()
	if most.Load() != 1 || terms.Load() < 3*many {
		t.Errorf("held %d times, by %d at a time", terms.Load(), most.Load())
	}
}

// Who dies is followed when his lease has not changed for its life; who lives on is not.
func TestLeaseOfTheDead(t *testing.T) {
	n := start(t, t.TempDir())
	kv, err := n.Bucket(t.Context(), leaseBucket)
	if err != nil {
		t.Fatal(err)
	}
	dead := shortLease(t, kv)
	if _, ok := dead.acquire(t.Context()); !ok { // and it is never renewed
		t.Fatal("not acquired")
	}
	held := make(chan struct{})
	go shortLease(t, kv).hold(t.Context(), func(ctx context.Context) { close(held); <-ctx.Done() })
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Fatal("nobody followed")
	}
}

// Who finds that another has his lease stops.
func TestLeaseThatWasTaken(t *testing.T) {
	n := start(t, t.TempDir())
	kv, err := n.Bucket(t.Context(), leaseBucket)
	if err != nil {
		t.Fatal(err)
	}
	l := shortLease(t, kv)
	ended, again := make(chan struct{}), make(chan struct{}, 1)
	var terms atomic.Int32
	go l.hold(t.Context(), func(ctx context.Context) {
		if terms.Add(1) > 1 {
			again <- struct{}{}
			<-ctx.Done()
			return
		}
		if _, err := kv.PutString(t.Context(), l.key, "another"); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		close(ended)
	})
	for _, c := range []<-chan struct{}{ended, again} { // the other is dead, too
		select {
		case <-c:
		case <-time.After(time.Minute):
			t.Fatal("did not happen")
		}
	}
}
