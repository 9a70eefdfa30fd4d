package bridge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// noteEvery is how long a push or PUBACK waits until the levels are told of it, with all others that have come by then.
	noteEvery = 20 * time.Millisecond
	// noteWaits is how often that is put off while devices wait to be pushed to, which comes first.
	noteWaits = 25
	// noteChunk bounds what the levels take in at a time, during which nobody can ask them.
	noteChunk = 256
)

// noted is what pushes and PUBACKs say, until the levels are told of all of it together: a change for a whole fleet makes two for
// each device, within the second in which most devices have not heard yet. It is bounded by what is on its way to devices.
type noted struct {
	mu    sync.Mutex
	list  []logbridge.Observation
	added chan struct{} // the list is not empty any more
}

func (n *noted) add(o logbridge.Observation) {
	n.mu.Lock()
	n.list = append(n.list, o)
	first := len(n.list) == 1
	n.mu.Unlock()
	if first {
		select {
		case n.added <- struct{}{}:
		default: // it is told already
		}
	}
}

func (n *noted) take() []logbridge.Observation {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

// runNoted tells the levels what was noted, until ctx ends.
func (b *Bridge) runNoted(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-b.noted.added:
			for n := 0; n == 0 || n < noteWaits && b.pushes.busy(); n++ {
				pause(ctx, noteEvery)
			}
			b.tellNoted()
		}
	}
}

func (b *Bridge) tellNoted() {
	for some := range slices.Chunk(b.noted.take(), noteChunk) {
		b.levels.Observe(some...)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, wait time.Duration) {
	over := time.NewTimer(wait)
	defer over.Stop()
	select {
	case <-ctx.Done():
	case <-over.C:
	}
}
