package natsd

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// leaseBucket is where leases are.
	leaseBucket = "leases"
	// leaseLife is how long a lease lives that is not renewed. Nobody compares clocks: who waits for a lease takes it when
	// it has not seen it change for that long by his own clock.
	leaseLife = 6 * time.Second
	// leaseLook is how often the holder renews it, and how often others look.
	leaseLook = leaseLife / 4
)

// lease is something that one node at a time holds.
type lease struct {
	kv   jetstream.KeyValue
	key  string
	mine []byte
	life time.Duration
	look time.Duration
}

// Hold runs do whenever, and as long as, this node is the one that holds the lease of this name; it returns when ctx has ended
// and do with it. The context of do ends when the lease could not be renewed in time; from then on another may take it, so do must
// return soon. A node that is stopped gives its lease back; one that dies is followed after leaseLife. For a moment two may believe
// that they hold it, when one of them was not running for a while: what they do must bear that.
func (n *Node) Hold(ctx context.Context, name string, do func(context.Context)) error {
	if n.Embedded() { // nobody else can be here
		do(ctx)
		return nil
	}
	kv, err := n.Bucket(ctx, leaseBucket)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("lease %s: %w", name, err)
	}
	l := newLease(kv, name)
	l.hold(ctx, do)
	return nil
}

func newLease(kv jetstream.KeyValue, name string) lease {
	return lease{kv: kv, key: base64.RawURLEncoding.EncodeToString([]byte(name)), mine: []byte(rand.Text()), life: leaseLife, look: leaseLook}
}

func (l lease) hold(ctx context.Context, do func(context.Context)) {
	for ctx.Err() == nil {
		revision, ok := l.acquire(ctx)
		if !ok {
			return
		}
		l.while(ctx, revision, do)
	}
}

// acquire waits for the lease. It is false when ctx has ended.
func (l lease) acquire(ctx context.Context) (revision uint64, ok bool) {
	var seen uint64 // the revision of somebody else's lease
	var since time.Time
	for {
		revision, free := l.holder(ctx)
		switch {
		case free:
			if revision, err := l.kv.Create(ctx, l.key, l.mine); err == nil {
				return revision, true
			}
		case revision == 0: // not known
		case revision != seen:
			seen, since = revision, time.Now()
		case time.Since(since) >= l.life:
			if revision, err := l.kv.Update(ctx, l.key, l.mine, seen); err == nil {
				return revision, true
			}
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(l.look):
		}
	}
}

// holder looks at the lease: its revision, 0 if that is not known, and whether nobody has it.
func (l lease) holder(ctx context.Context) (revision uint64, free bool) {
	e, err := l.kv.Get(ctx, l.key)
	if err == nil {
		return e.Revision(), false
	}
	return 0, errors.Is(err, jetstream.ErrKeyNotFound)
}

// while runs do until it returns, the lease is lost or ctx ends, and gives the lease back.
func (l lease) while(ctx context.Context, revision uint64, do func(context.Context)) {
	held, lost := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(held)
	}()
	renewed := time.Now()
	for running := true; running; {
		select {
		case <-done:
			running = false
			continue
		case <-ctx.Done():
			<-done
			running = false
			continue
		case <-time.After(l.look):
		}
		began := time.Now()
		next, err := l.renew(ctx, revision)
		if err == nil {
			revision, renewed = next, began
		} else if next == 0 || time.Since(renewed) > l.life-l.look {
			running = false
			lost()
			<-done
		}
	}
	lost()
	// Given back, it need not be waited for. That it was taken meanwhile, or that nobody answers, changes nothing.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.look)
	defer cancel()
	_ = l.kv.Delete(back, l.key, jetstream.LastRevision(revision))
}

// renew writes the lease again. With an error the revision is 0 if somebody else has it, and the old one if that is not known.
func (l lease) renew(ctx context.Context, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.look)
	defer cancel()
	next, err := l.kv.Update(ctx, l.key, l.mine, revision)
	if err == nil {
		return next, nil
	}
	e, readErr := l.kv.Get(ctx, l.key)
	switch {
	case readErr == nil && string(e.Value()) == string(l.mine): // an earlier renewal took place, whose answer was lost
		return e.Revision(), nil
	case readErr == nil, errors.Is(readErr, jetstream.ErrKeyNotFound):
		return 0, err
	}
	return revision, err
}
