package natsd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// lookEvery is how often what was read of a cluster's bucket is compared with what it holds: a change that a watch has lost
	// is there after twice as long.
	lookEvery = time.Second
	// replacedAfter is how many looks in a row must find less than was read before the bucket counts as another one: a leader that
	// was cut off from the others does not know for 10 s that it is none any more.
	replacedAfter = 30
)

// The ends of a watch.
var (
	errBehind   = errors.New("it brings nothing although there is more")
	errEnded    = errors.New("its connection or its consumer was lost")
	errReplaced = errors.New("the bucket is another one than was read: restart to read it")
)

// A watch is a consumer on one of a cluster's servers, for this connection. The client makes a new one when it misses something,
// but not after every error, and only after the silence of some seconds: so a watch that ends is begun again here, from the revision
// that was read last, and one that stays silent while the bucket goes on is given up. The revisions make that safe: what comes
// again changes nothing, and only the last value of each key counts.

// Load reads every value into the tables. When it returns nil they have what the bucket's leader had when it was called, or newer.
func (s *Store) Load(ctx context.Context) error {
	last, err := s.leaderLast(ctx)
	for tries := 0; err == nil; tries++ {
		err = s.watch(ctx, func() bool { return max(s.last.Load(), s.gap) >= last })
		if err == nil || tries == loadTries || s.node.Embedded() {
			break
		}
		s.log.Info("reading a bucket is begun again", "bucket", s.bucket, "because", err)
		err = sleep(ctx, connectPause)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("read bucket %s: %w", s.bucket, err)
	}
	return nil
}

// loadTries is how often Load begins again.
const loadTries = 3

// Run brings the changes that others make since Load, until ctx ends. On a cluster it goes on through every loss of servers and
// connections.
func (s *Store) Run(ctx context.Context) error {
	for {
		err := s.watch(ctx, func() bool { return false })
		if ctx.Err() != nil {
			return nil
		}
		if s.node.Embedded() || errors.Is(err, errReplaced) || errors.Is(err, nats.ErrStreamNotFound) {
			return fmt.Errorf("watch bucket %s: %w", s.bucket, err)
		}
		s.log.Info("a bucket is watched anew", "bucket", s.bucket, "from", s.last.Load()+1, "because", err)
		if sleep(ctx, connectPause) != nil {
			return nil
		}
	}
}

// sleep waits, or until ctx ends, which is an error.
func sleep(ctx context.Context, d time.Duration) error {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch applies what comes behind the last revision, until all that there was has come and done says that it is enough, ctx ends (nil,
// too), or it is of no more use: an error.
func (s *Store) watch(ctx context.Context, done func() bool) error {
	w, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer stop(w)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	sight := progress{began: s.last.Load()}
	for all := false; !all || !done(); {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errEnded
			case e == nil: // all that was there has been delivered
				all = true
			default:
				s.apply(e)
				s.last.Store(max(s.last.Load(), e.Revision()))
			}
		case <-look.C:
			if s.node.Embedded() {
				continue
			}
			last, err := s.leaderLast(ctx)
			if err != nil {
				continue // a cluster without a leader has nothing new
			}
			if err := s.compare(&sight, last, all); err != nil {
				return err
			}
		}
	}
	return nil
}

// progress is what one look has found, for the next one.
type progress struct {
	began       uint64 // what was read before this watch
	read, there uint64
	less        int // looks in a row that found less than was read
}

// compare looks whether nothing was read since the last look although more was there by then. The end of a bucket may be gone, as after
// it was compacted: what a new watch does not bring is not there.
func (s *Store) compare(p *progress, there uint64, all bool) error {
	was, read := *p, s.last.Load()
	p.read, p.there, p.less = read, there, 0
	switch {
	case there < read:
		if p.less = was.less + 1; p.less >= replacedAfter {
			return errReplaced
		}
	case was.read == read && was.there > max(read, s.gap):
		if !all || read > was.began {
			return errBehind
		}
		s.gap = was.there
	}
	return nil
}

// begin begins a watch behind the last revision. The client would wait without end for the answer of a server that is gone. The watch
// ends with stop alone.
func (s *Store) begin(ctx context.Context) (jetstream.KeyWatcher, error) {
	var opts []jetstream.WatchOpt
	if last := s.last.Load(); last > 0 {
		opts = append(opts, jetstream.ResumeFromRevision(last+1))
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	late, over := time.AfterFunc(writeWait, cancel), context.AfterFunc(ctx, cancel)
	w, err := s.kv.WatchAll(own, opts...)
	intime, wanted := late.Stop(), over()
	if err != nil {
		cancel()
		return nil, err
	}
	if !intime || !wanted {
		stop(watcher{w, cancel})
		return nil, errEnded
	}
	return watcher{w, cancel}, nil
}

// watcher is a watch and its context.
type watcher struct {
	jetstream.KeyWatcher
	cancel context.CancelFunc
}

// Stop ends both.
func (w watcher) Stop() error {
	defer w.cancel()
	return w.KeyWatcher.Stop()
}

// stop ends a watch. The watch's callback may be waiting to hand over an entry, so the rest is drained.
func stop(w jetstream.KeyWatcher) {
	if w.Stop() != nil {
		return // the connection is gone, and the watch with it
	}
	for range w.Updates() {
	}
}

// leaderLast is the last revision of the bucket as its leader knows it.
func (s *Store) leaderLast(ctx context.Context) (last uint64, err error) {
	err = s.ask(ctx, func(ctx context.Context) error {
		stream, err := s.node.js.Stream(ctx, "KV_"+s.bucket)
		if err == nil {
			last = stream.CachedInfo().State.LastSeq
		}
		return err
	})
	return last, err
}
