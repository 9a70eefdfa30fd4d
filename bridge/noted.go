package bridge

import (
	"context"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// noteEvery is how long a push or PUBACK waits until the levels are told of it, with all others that have come by then.
	noteEvery = 20 * time.Millisecond
	// noteWaits is how often that is put off while devices wait to be pushed to, which comes first.
	noteWaits = 25
	// pageSize bounds what the levels take in at a time, during which nobody can ask them.
	pageSize = 256
)

// noted is what pushes and PUBACKs say, until the levels are told of all of it together: a change for a whole fleet makes two for
// each device, within the second in which most devices have not heard yet. It is bounded by what is on its way to devices.
type noted struct {
	mu    sync.Mutex
	pages []*page
	added chan struct{} // there is a page
}

type page struct {
	n    int
	list [pageSize]logbridge.Observation
}

var pagePool = sync.Pool{New: func() any { return new(page) }}

func (n *noted) add(o logbridge.Observation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := len(n.pages) - 1
	if last < 0 || n.pages[last].n == pageSize {
		n.pages = append(n.pages, pagePool.Get().(*page))
		last++
	}
	p := n.pages[last]
	p.list[p.n] = o
	p.n++
	if last == 0 && p.n == 1 {
		select {
		case n.added <- struct{}{}:
		default: // it is told already
		}
	}
}

func (n *noted) take() []*page {
	n.mu.Lock()
	defer n.mu.Unlock()
	pages := n.pages
	n.pages = nil
	return pages
}

// runNoted tells the levels what was noted, until ctx ends.
func (b *Bridge) runNoted(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-b.noted.added:
			for n := 0; n == 0 || n < noteWaits && b.Pushing(); n++ {
				pause(ctx, noteEvery)
			}
			b.tellNoted()
		}
	}
}

func (b *Bridge) tellNoted() {
	for _, p := range b.noted.take() {
		b.levels.Observe(p.list[:p.n]...)
		clear(p.list[:p.n])
		p.n = 0
		pagePool.Put(p)
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
