package sink

import (
	"container/list"
	"errors"
	"io"
	"sync"
)

const (
	// cacheBytes bounds what is kept in memory of the segments' footers and indexes.
	cacheBytes = 64 << 20
	// cacheFiles bounds the segment files that are kept open between queries: a quarter of the 1024 descriptors that a
	// process has by default.
	cacheFiles = 256
)

// errLoad is what those get who waited for a load that panicked.
var errLoad = errors.New("loading ended in a panic")

// indexCache keeps the most recently used of the values that cost a read to make and hold a file open, within a bound on
// their bytes and on their number. What is in use is never closed: while more is in use than fits, the cache is over its
// bounds, and goes back to them as the users let go.
type indexCache[V io.Closer] struct {
	maxBytes int64
	maxFiles int

	mu      sync.Mutex // guards all below and the entries
	entries map[string]*cacheEntry[V]
	recent  list.List // of *cacheEntry[V], the one used last in front
	bytes   int64
}

type cacheEntry[V io.Closer] struct {
	key    string
	loaded chan struct{} // closed when value and err are there
	value  V
	size   int64
	err    error
	users  int
	at     *list.Element // nil when it was taken out: then the last user closes it
}

func newIndexCache[V io.Closer](maxBytes int64, maxFiles int) *indexCache[V] {
	return &indexCache[V]{maxBytes: maxBytes, maxFiles: maxFiles, entries: map[string]*cacheEntry[V]{}}
}

// get gives the value of a key, made by load if it is not there: once, however many ask for it at the same time. The
// value stays open until release is called. An error of load goes to all who waited for it and is not kept.
func (c *indexCache[V]) get(key string, load func() (V, int64, error)) (value V, release func(), err error) {
	e, found := c.enter(key)
	if found {
		<-e.loaded
	} else {
		c.load(e, load)
	}
	if e.err != nil {
		c.leave(e)
		return value, nil, e.err
	}
	return e.value, sync.OnceFunc(func() { c.leave(e) }), nil
}

// enter makes the caller a user of the key's entry.
func (c *indexCache[V]) enter(key string) (e *cacheEntry[V], found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, found = c.entries[key]; found {
		c.recent.MoveToFront(e.at)
	} else {
		e = &cacheEntry[V]{key: key, loaded: make(chan struct{}), err: errLoad}
		e.at = c.recent.PushFront(e)
		c.entries[key] = e
	}
	e.users++
	return e, found
}

// load fills an entry, and takes it out again when that failed, by a panic too.
func (c *indexCache[V]) load(e *cacheEntry[V], load func() (V, int64, error)) {
	value, size, err := *new(V), int64(0), errLoad
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.value, e.err = value, err
		close(e.loaded)
		if err != nil {
			c.takeOut(e)
		} else if e.at != nil {
			e.size = size
			c.bytes += size
			c.shrink()
		}
	}()
	value, size, err = load()
}

// leave ends a use. The last user closes what was taken out.
func (c *indexCache[V]) leave(e *cacheEntry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
	if e.at == nil {
		e.closeUnused()
	} else {
		c.shrink()
	}
}

// shrink takes out what was used longest ago and is not in use, until the bounds hold. It needs the lock.
func (c *indexCache[V]) shrink() {
	for at := c.recent.Back(); at != nil && (c.bytes > c.maxBytes || len(c.entries) > c.maxFiles); {
		e := at.Value.(*cacheEntry[V])
		at = at.Prev()
		if e.users == 0 {
			c.takeOut(e)
		}
	}
}

// takeOut removes an entry; it is closed when its last user leaves. It needs the lock.
func (c *indexCache[V]) takeOut(e *cacheEntry[V]) {
	if e.at == nil {
		return
	}
	c.recent.Remove(e.at)
	e.at = nil
	delete(c.entries, e.key)
	c.bytes -= e.size
	e.closeUnused()
}

func (e *cacheEntry[V]) closeUnused() {
	if e.users == 0 && e.err == nil {
		_ = e.value.Close() // it was only read
	}
}

// forget takes a key out. Who uses it keeps what he has; who comes next loads it again.
func (c *indexCache[V]) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		c.takeOut(e)
	}
}

// clear takes everything out.
func (c *indexCache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		c.takeOut(e)
	}
}
