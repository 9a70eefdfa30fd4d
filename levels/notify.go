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

func (n *notices) take() []logbridge.LevelChange {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.order
	n.order = nil
	clear(n.waiting)
	return all
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
		if changes := l.notices.take(); len(changes) > 0 {
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
