package sink

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// maxTailsReading is how many tails read at a time. They have places of their own: a tail that waits for its next line
	// must not stand in line behind a search of everything.
	maxTailsReading = 8

	// pageBytes, pageRecords and pageTime bound what a query reads before it hands it over, whichever comes first: little
	// memory for each reader, and little waiting for those who watch.
	pageBytes   = 256 << 10
	pageRecords = 4096
	pageTime    = 100 * time.Millisecond

	// stallTime is how long a query holds memtables and files for a reader that takes nothing. Then it lets go of them and
	// goes on later from where it was, which costs it a new look at every table.
	stallTime = 5 * time.Second
	// pinTime is how long it holds them at all, with a reader that is slow and steady.
	pinTime = time.Minute
)

// gate lets a bounded number of queries be there, and of tails read at a time.
type gate struct {
	slots chan struct{} // taken by who reads; nil is no bound but that of turns
	most  int64         // of those there; 0 is no bound

	there, refused atomic.Int64
}

// newGate: 0 is no bound.
func newGate(reading, most int) *gate {
	g := &gate{most: int64(most)}
	if reading > 0 {
		g.slots = make(chan struct{}, reading)
	}
	return g
}

// enter takes a place until leave; ErrUnavailable when there is none.
func (g *gate) enter() error {
	if n := g.there.Add(1); g.most > 0 && n > g.most {
		g.there.Add(-1)
		g.refused.Add(1)
		return fmt.Errorf("%w: too many queries at a time, %d are being answered", logbridge.ErrUnavailable, g.most)
	}
	return nil
}

func (g *gate) leave() { g.there.Add(-1) }

// lock waits for a slot to read in, until unlock.
func (g *gate) lock(ctx context.Context) error {
	if g.slots == nil {
		return nil
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) unlock() {
	if g.slots != nil {
		<-g.slots
	}
}

// work is what a query has used up, by all its goroutines. Waiting for a turn or for the reader is no work.
type work struct {
	number   int64 // ascends from query to query
	maxTime  time.Duration
	maxBytes int64

	spent atomic.Int64 // ns
	bytes atomic.Int64
}

// check is ErrTooLarge when a bound is reached; took is what is not in spent yet.
func (w *work) check(took time.Duration) error {
	if w.bytes.Load() > w.maxBytes {
		return fmt.Errorf("%w: the query has read more than %d bytes; narrow it by time, stream or source", logbridge.ErrTooLarge, w.maxBytes)
	}
	if time.Duration(w.spent.Load())+took > w.maxTime {
		return fmt.Errorf("%w: the query has worked for more than %s; narrow it by time, stream or source", logbridge.ErrTooLarge, w.maxTime)
	}
	return nil
}

// scanned counts n bytes that were read for the query, lets others have their turn, and is an error when it must not go on.
// It is called for each page.
func (p *plan) scanned(n int) error {
	if err := p.ctx.Err(); err != nil || p.turn == nil {
		return err
	}
	return p.turn.read(p.ctx, n)
}
