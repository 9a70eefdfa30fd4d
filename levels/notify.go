package levels

import (
	"context"
	"slices"
	"sync"

	"github.com/logbridge/logbridge"
)

// notices are the changes that nobody was told of yet. One change of a kind waits at most once, so there are never more
// than devices and products.
type notices struct {
	mu      *sync.Mutex
	waiting map[logbridge.LevelChange]bool
	order   []logbridge.LevelChange
	telling bool // of what was taken
	poke    chan struct{}
}

func newNotices() notices {
	return notices{mu: new(sync.Mutex), waiting: map[logbridge.LevelChange]bool{}, poke: make(chan struct{}, 1)}
}

func (n *notices) add(changes ...logbridge.LevelChange) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.order = slices.Grow(n.order, len(changes))
	for _, c := range changes {
		if !n.waiting[c] {
			n.waiting[c] = true
			n.order = append(n.order, c)
		}
	}
	if len(n.order) > 0 {
		poke(n.poke)
	}
}

// take gives what waits; whoever takes it tells it, and then takes again.
func (n *notices) take() []logbridge.LevelChange {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.order
	n.order, n.telling = nil, len(n.order) > 0
	clear(n.waiting)
	return all
}

// pending reports whether the listeners have yet to be told of something, or are being told.
func (n *notices) pending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.telling || len(n.order) > 0
}

// poke wakes the one who waits on c, now or when he next looks.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// runNotices tells the listeners until ctx ends.
func (l *Levels) runNotices(ctx context.Context) {
	l.mu.Lock()
	listeners := slices.Clone(l.listeners)
	l.mu.Unlock()
	for {
		for changes := l.notices.take(); len(changes) > 0; changes = l.notices.take() {
			for _, fn := range listeners {
				fn(changes...)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-l.notices.poke:
		}
	}
}
