package sink

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// thing is a value of a cache under test that knows whether it is open.
type thing struct {
	open *atomic.Int64
	done atomic.Bool
}

func (v *thing) Close() error {
	if v.done.Swap(true) {
		return errors.New("closed twice")
	}
	v.open.Add(-1)
	return nil
}

func TestCacheKeepsItsBounds(t *testing.T) {
	var open atomic.Int64
	loads := 0
	c := newIndexCache[*thing](1000, 3)
	get := func(key string, size int64) (*thing, func()) {
		v, release, err := c.get(key, func() (*thing, int64, error) {
			loads++
			open.Add(1)
			return &thing{open: &open}, size, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return v, release
	}
	for i := range 10 {
		_, release := get(fmt.Sprint(i), 10)
		release()
	}
	if open.Load() != 3 || loads != 10 {
		t.Errorf("%d open after %d loads, want the 3 that may be", open.Load(), loads)
	}
	_, release := get("9", 10)
	release()
	if loads != 10 {
		t.Error("what was used last was loaded again")
	}
	held, release := get("large", 990) // the others must go
	if open.Load() != 2 || held.done.Load() {
		t.Errorf("%d open beside a large one", open.Load())
	}
	_, other := get("larger", 2000)
	if held.done.Load() {
		t.Error("closed under its user")
	}
	other()
	if open.Load() != 1 || c.bytes != 990 {
		t.Errorf("%d open, %d bytes: one that is larger than all may be is not kept", open.Load(), c.bytes)
	}
	c.forget("large")
	if held.done.Load() {
		t.Error("forgotten and closed under its user")
	}
	release()
	release() // only the first counts
	if !held.done.Load() || open.Load() != 0 || len(c.entries) != 0 || c.bytes != 0 {
		t.Errorf("%d open, %d entries of %d bytes at the end", open.Load(), len(c.entries), c.bytes)
	}
}

func TestCacheLoadsOnceAndForgetsFailures(t *testing.T) {
	var open, loads atomic.Int64
	c := newIndexCache[*thing](1000, 3)
	begun, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	first := func() (*thing, int64, error) {
		loads.Add(1)
		close(begun)
		<-finish
		open.Add(1)
		return &thing{open: &open}, 1, nil
	}
	use := func(load func() (*thing, int64, error)) {
		if v, release, err := c.get("key", load); err != nil || v.done.Load() {
			t.Errorf("%v, closed %v", err, v.done.Load())
		} else {
			release()
		}
	}
	wg.Go(func() { use(first) })
	<-begun
	for range 8 {
		wg.Go(func() {
			use(func() (*thing, int64, error) { return nil, 0, errors.New("loaded by a second one") })
		})
	}
	c.forget("other")
	close(finish)
	wg.Wait()
	if loads.Load() != 1 {
		t.Errorf("%d loads", loads.Load())
	}
	c.clear()
	if open.Load() != 0 {
		t.Errorf("%d open", open.Load())
	}
	bad := errors.New("bad")
	if _, _, err := c.get("key", func() (*thing, int64, error) { return nil, 0, bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _, _ = c.get("key", func() (*thing, int64, error) { panic("a fault") })
		t.Error("no panic")
	}()
	if len(c.entries) != 0 {
		t.Errorf("%d entries after failures", len(c.entries))
	}
}

// TestCacheUnderLoad: nothing is closed in use, nothing stays open.
func TestCacheUnderLoad(t *testing.T) {
	var open atomic.Int64
	c := newIndexCache[*thing](100, 5)
	var wg sync.WaitGroup
	for w := range 8 {
		rnd := rand.New(rand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			for range 2000 {
				key := fmt.Sprint(rnd.IntN(12))
				if rnd.IntN(20) == 0 {
					c.forget(key)
				}
				v, release, err := c.get(key, func() (*thing, int64, error) {
					open.Add(1)
					return &thing{open: &open}, 25, nil
				})
				if err != nil || v.done.Load() {
					t.Errorf("%v, or closed in use", err)
					return
				}
				release()
			}
		})
	}
	wg.Wait()
	if open.Load() != int64(len(c.entries)) || open.Load() > 4 {
		t.Errorf("%d open, %d entries", open.Load(), len(c.entries))
	}
	c.clear()
	if open.Load() != 0 || c.bytes != 0 {
		t.Errorf("%d open, %d bytes", open.Load(), c.bytes)
	}
}
