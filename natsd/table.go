package natsd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/nats-io/nats.go/jetstream"
)

// Codec says how the values of a table are named, ordered and stored.
type Codec[K comparable, V any] struct {
	// Names are the parts of a key, none of them empty, and Key is the way back.
	Names func(K) []string
	Key   func(names []string) (K, bool)
	// Compare orders listings. The zero K comes before every key.
	Compare func(a, b K) int
	// Encode and Decode make a value to bytes and back.
	Encode func(K, V) ([]byte, error)
	Decode func(K, []byte) (V, error)
	// Changed, if set, is called once for each change that took effect, in order, after it is visible to Get. It may
	// read the table, not write it, and must be quick. before or after is nil where the value was not there or is gone.
	Changed func(k K, before, after *V, revision uint64)
}

// Table holds the values of one kind of a Store in memory. All methods may be called concurrently. The values that it
// hands out are shared and must not be changed.
type Table[K comparable, V any] struct {
	store *Store
	kind  string
	codec Codec[K, V]

	// changes is held from before a change is made until Changed has returned, so that calls come in order.
	changes sync.Mutex
	mu      sync.RWMutex
	items   map[K]*item[K, V]
	live    int
	index   index[K, V]
}

// item is a value and its revision. A deleted one stays, with no value, so that an older event cannot bring it back;
// the bucket keeps such a marker too.
type item[K comparable, V any] struct {
	key      K
	value    *V
	revision uint64
}

// maxValue bounds a stored value in bytes, far below MaxPayload: every value is held in memory by every node.
const maxValue = 64 << 10

// NewTable makes the table of a kind. To be called before Load.
func NewTable[K comparable, V any](s *Store, kind string, codec Codec[K, V]) *Table[K, V] {
	t := &Table[K, V]{store: s, kind: kind, codec: codec, items: map[K]*item[K, V]{}}
	t.index.compare = codec.Compare
	s.tables[kind] = t
	return t
}

// Get gives the value and its revision, or nil.
func (t *Table[K, V]) Get(k K) (*V, uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if it := t.items[k]; it != nil {
		return it.value, it.revision
	}
	return nil, 0
}

// Len is the number of values.
func (t *Table[K, V]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.live
}

// Put stores a value over whatever is there. An error is ErrUnavailable, and then the outcome is unknown, also when the
// disk is full, or ErrTooLarge.
func (t *Table[K, V]) Put(ctx context.Context, k K, v V) error {
	data, err := t.encode(k, v)
	if err != nil {
		return err
	}
	revision, err := t.store.write(ctx, t.key(k), data, "", anyRevision)
	if err != nil {
		return unavailable("store", t.kind, err)
	}
	t.set(k, &v, revision)
	return nil
}

// PutIf is Put over a value that still has this revision (0: over nothing), and says whether it had.
func (t *Table[K, V]) PutIf(ctx context.Context, k K, v V, revision uint64) (bool, error) {
	data, err := t.encode(k, v)
	if err != nil {
		return false, err
	}
	revision, err = t.store.write(ctx, t.key(k), data, "", revision)
	if conflict(err) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("store", t.kind, err)
	}
	t.set(k, &v, revision)
	return true, nil
}

// Change puts what change makes of the value that is there (nil: none), over just that one: when another node was faster, change is called
// again with what that one has put. It may decline. Change says whether a value was put; errors are as Put's.
func (t *Table[K, V]) Change(ctx context.Context, k K, change func(before *V) (V, bool)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	for {
		before, revision := t.Get(k)
		v, wanted := change(before)
		if !wanted {
			return false, nil
		}
		if done, err := t.PutIf(ctx, k, v, revision); done || err != nil {
			return done, err
		}
		if err := t.catchUp(ctx, k, revision); err != nil {
			return false, err
		}
	}
}

// catchUp reads a value that another node has changed. It may be on its way still: then this is a short wait.
func (t *Table[K, V]) catchUp(ctx context.Context, k K, behind uint64) error {
	data, revision, err := t.store.Read(ctx, t.key(k))
	switch {
	case errors.Is(err, logbridge.ErrNotFound):
		t.set(k, nil, revision)
	case err != nil:
		return err
	default:
		v, err := t.codec.Decode(k, data)
		if err != nil {
			return err
		}
		t.set(k, &v, revision)
	}
	if revision > behind {
		return nil
	}
	if err := sleep(ctx, askPause); err != nil {
		return unavailable("store", t.kind, err)
	}
	return nil
}

// askPause is how long another node's write may be on its way between servers.
const askPause = 10 * time.Millisecond

// First is Put unless there is a value, and gives what is there then, as Store.First.
func (t *Table[K, V]) First(ctx context.Context, k K, v V) (got V, err error) {
	if there, _ := t.Get(k); there != nil {
		return *there, nil
	}
	data, err := t.encode(k, v)
	if err != nil {
		return got, err
	}
	data, revision, err := t.store.First(ctx, t.key(k), data)
	if err != nil {
		return got, err
	}
	if got, err = t.codec.Decode(k, data); err == nil {
		t.set(k, &got, revision)
	}
	return got, err
}

// encode makes the stored form of a value, when there is room for it.
func (t *Table[K, V]) encode(k K, v V) ([]byte, error) {
	data, err := t.codec.Encode(k, v)
	if err != nil {
		return nil, err
	}
	if len(data) > maxValue {
		return nil, fmt.Errorf("%w: %d bytes, %d are the most", logbridge.ErrTooLarge, len(data), maxValue)
	}
	if err := t.store.room(Reserve); err != nil {
		return nil, fmt.Errorf("store %s: %w", t.kind, err)
	}
	return data, nil
}

// DeleteIf deletes the value if it still has this revision, and says whether it did.
func (t *Table[K, V]) DeleteIf(ctx context.Context, k K, revision uint64) (bool, error) {
	if err := t.store.room(Reserve); err != nil {
		return false, fmt.Errorf("delete %s: %w", t.kind, err)
	}
	revision, err := t.store.write(ctx, t.key(k), nil, opDelete, revision)
	if conflict(err) {
		return false, nil
	}
	if err != nil {
		return false, unavailable("delete", t.kind, err)
	}
	t.set(k, nil, revision)
	return true, nil
}

// Delete deletes the value, whatever its revision, and says whether this call did it.
func (t *Table[K, V]) Delete(ctx context.Context, k K) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	for {
		value, revision := t.Get(k)
		if value == nil {
			return false, nil
		}
		if done, err := t.DeleteIf(ctx, k, revision); done || err != nil {
			return done, err
		}
		if err := t.catchUp(ctx, k, revision); err != nil { // another node was faster
			return false, err
		}
	}
}

// After lists the values behind a key, in order; the zero K lists all. It holds no lock while the caller works, so a
// value that comes or goes meanwhile may or may not be seen.
func (t *Table[K, V]) After(after K) iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		for {
			page := t.page(after)
			for _, e := range page {
				if !yield(e.key, e.value) {
					return
				}
				after = e.key
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// pageSize is how many values a listing takes at a time: enough to make the lock cheap, little enough to copy.
const pageSize = 256

type entry[K comparable, V any] struct {
	key   K
	value *V
}

func (t *Table[K, V]) page(after K) []entry[K, V] {
	t.mu.RLock()
	for t.index.stale(t.live) {
		t.mu.RUnlock()
		t.mu.Lock()
		t.index.settle()
		t.mu.Unlock()
		t.mu.RLock()
	}
	defer t.mu.RUnlock()
	page := make([]entry[K, V], 0, min(pageSize, t.live))
	for _, it := range t.index.after(after) {
		if it.value != nil {
			page = append(page, entry[K, V]{it.key, it.value})
			if len(page) == pageSize {
				break
			}
		}
	}
	return page
}

func (t *Table[K, V]) key(k K) string { return Key(t.kind, t.codec.Names(k)...) }

// apply takes an event of the watch.
func (t *Table[K, V]) apply(names []string, e jetstream.KeyValueEntry) error {
	k, ok := t.codec.Key(names)
	if !ok {
		return fmt.Errorf("%w: %d names in the key", logbridge.ErrInvalid, len(names))
	}
	if e.Operation() != jetstream.KeyValuePut {
		t.set(k, nil, e.Revision())
		return nil
	}
	if _, revision := t.Get(k); revision >= e.Revision() {
		return nil // an own write come back: spare the decoding
	}
	v, err := t.codec.Decode(k, e.Value())
	if err != nil {
		return err
	}
	t.set(k, &v, e.Revision())
	return nil
}

// set makes a value (nil: none) the current one unless a newer revision is known.
func (t *Table[K, V]) set(k K, v *V, revision uint64) {
	t.changes.Lock()
	defer t.changes.Unlock()
	t.mu.Lock()
	it := t.items[k]
	if it == nil {
		it = &item[K, V]{key: k}
		t.items[k] = it
	}
	old := *it
	newer := revision > old.revision || revision == old.revision && v == nil && old.value != nil
	if newer {
		it.value, it.revision = v, revision
		switch {
		case old.value == nil && v != nil:
			t.live++
			t.index.add(it)
		case old.value != nil && v == nil:
			t.live--
		}
	}
	t.mu.Unlock()
	if newer && (old.value != nil || v != nil) && t.codec.Changed != nil {
		t.codec.Changed(k, old.value, v, revision)
	}
}

// index keeps items in order at little cost for writers: new ones wait unsorted until someone lists, and deleted ones stay until
// they are half of all. A listing goes from item to item, without a look into the map.
type index[K comparable, V any] struct {
	compare func(a, b K) int
	sorted  []*item[K, V]
	fresh   []*item[K, V]
}

func (x *index[K, V]) add(it *item[K, V]) { x.fresh = append(x.fresh, it) }

func (x *index[K, V]) stale(live int) bool { return len(x.fresh) > 0 || len(x.sorted) > 2*live }

// settle brings the index in order.
func (x *index[K, V]) settle() {
	slices.SortFunc(x.fresh, func(a, b *item[K, V]) int { return x.compare(a.key, b.key) })
	merged := make([]*item[K, V], 0, len(x.sorted)+len(x.fresh))
	take := func(it *item[K, V]) {
		if it.value != nil && (len(merged) == 0 || merged[len(merged)-1] != it) {
			merged = append(merged, it)
		}
	}
	i := 0
	for _, it := range x.fresh {
		for i < len(x.sorted) && x.compare(x.sorted[i].key, it.key) <= 0 {
			take(x.sorted[i])
			i++
		}
		take(it)
	}
	for ; i < len(x.sorted); i++ {
		take(x.sorted[i])
	}
	x.sorted, x.fresh = merged, nil
}

// after gives the items behind k.
func (x *index[K, V]) after(k K) []*item[K, V] {
	i, found := slices.BinarySearchFunc(x.sorted, k, func(it *item[K, V], k K) int { return x.compare(it.key, k) })
	if found {
		i++
	}
	return x.sorted[i:]
}
