// Package registry holds who may log in and where logs may go: products, devices, SLS projects with their logstores and
// access keys, CLS topics with theirs, and API tokens.
//
// It is a NATS key-value bucket with all of its content in memory. Reads never do I/O. A write that returned nil is on
// disk and visible to every read that begins afterwards; what other nodes write arrives by the bucket's watch while Run
// runs. Secrets (device PSK, product secret, access key secret, root of temporary keys) are sealed at rest with AES-256-GCM, bound to the place
// they belong to, so that a sealed value copied to another device does not open; tokens are kept as hashes only.
//
// It holds no levels (package levels) and decides no right beyond telling who a token is. Between several nodes that
// write at the same moment, a parent may be deleted while another node adds a child to it, and two projects may get the same host.
package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"golang.org/x/sync/errgroup"
)

// The buckets: what is registered, and what was provisioned last.
const (
	bucket          = "registry"
	provisionBucket = "provisioned"
)

// Registry is the cached bucket. All methods may be called concurrently.
type Registry struct {
	node  *natsd.Node
	log   *slog.Logger
	seal  *sealer
	store *natsd.Store

	products  *natsd.Table[string, logbridge.Product]
	devices   *natsd.Table[logbridge.DeviceID, logbridge.Device]
	projects  *natsd.Table[string, logbridge.SLSProject]
	logstores *natsd.Table[storeKey, logbridge.Logstore]
	keys      *natsd.Table[string, logbridge.AccessKey]
	topics    *natsd.Table[string, logbridge.CLSTopic]
	topicKeys *natsd.Table[storeKey, logbridge.TopicKey]
	tokens    *natsd.Table[string, storedToken]
	temporary *natsd.Table[string, string] // the root that temporary keys derive from

	batches   *natsd.Table[string, []string]
	connected *connectedSet

	revoked, tagged func(logbridge.DeviceID) // or nil

	hosts hostIndex
	zones zones
	admin atomic.Pointer[[sha256.Size]byte] // hash of the admin token; nil when there is none

	// family is read-locked by whoever adds a child (device, logstore, access key of either kind) and locked by whoever deletes a
	// parent, so that neither misses the other.
	family sync.RWMutex
	// sealing is read-locked by whoever stores something sealed, and locked while the seal key changes. It guards rotation.
	sealing  sync.RWMutex
	rotation rotation
	// claims is held by who adds a host or an access key, each of which has one owner, or a token, which are counted.
	claims     sync.Mutex
	mostTokens int
}

// New opens the registry and reads all of it. A key that is not the one its secrets were sealed with is an error. older are keys that
// it was sealed with before, while the key is being changed: Run goes on with that.
func New(ctx context.Context, node *natsd.Node, key SealKey, log *slog.Logger, older ...SealKey) (*Registry, error) {
	keys := append([]SealKey{key}, older...)
	seal, err := newSealer(keys...)
	if err != nil {
		return nil, err
	}
	store, err := natsd.OpenStore(ctx, node, bucket, log)
	if err != nil {
		return nil, err
	}
	if err := checkSealKey(ctx, store, seal); err != nil {
		return nil, err
	}
	r := &Registry{node: node, log: log, seal: seal, store: store, connected: newConnectedSet(), mostTokens: maxTokens}
	r.rotation.keys, r.rotation.begins = keys, make(chan struct{}, 1)
	if len(older) > 0 {
		r.rotation.begins <- struct{}{}
	}
	r.makeTables()
	if err := store.Load(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Run follows what other nodes write, and writes which devices connect, until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.store.Run(ctx) })
	g.Go(func() error { return r.noteConnections(ctx) })
	g.Go(func() error { return r.rotate(ctx) })
	return g.Wait()
}

// The check value: a known text that is sealed when the bucket is first used, so that a wrong key is noticed before it
// seals anything.
const (
	checkKey  = "sealcheck"
	checkText = "logbridge"
)

func checkSealKey(ctx context.Context, store *natsd.Store, seal *sealer) error {
	value, _, err := store.First(ctx, checkKey, []byte(seal.seal(checkKey, checkText)))
	if err != nil {
		return fmt.Errorf("seal key check: %w", err)
	}
	if text, err := seal.open(checkKey, string(value)); err != nil || text != checkText {
		return fmt.Errorf("%w: this seal key is not the one that the secrets in the data folder were sealed with: start with that key; all nodes of a cluster have the same one", logbridge.ErrInvalid)
	}
	return nil
}

// get reads one value of a table; what names its kind for the error.
func get[K comparable, V any](t *natsd.Table[K, V], k K, what string) (V, error) {
	v, _ := t.Get(k)
	if v == nil {
		var none V
		return none, fmt.Errorf("%w: there is no %s %v", logbridge.ErrNotFound, what, k)
	}
	return *v, nil
}

// remove deletes one value of a table.
func remove[K comparable, V any](ctx context.Context, t *natsd.Table[K, V], k K, what string) error {
	found, err := t.Delete(ctx, k)
	if err == nil && !found {
		err = fmt.Errorf("%w: there is no %s %v", logbridge.ErrNotFound, what, k)
	}
	return err
}

// list gives the values behind a key for as long as they belong.
func list[K comparable, V any](t *natsd.Table[K, V], after K, belongs func(*V) bool) []V {
	var out []V
	for _, v := range t.After(after) {
		if !belongs(v) {
			break
		}
		out = append(out, *v)
	}
	return out
}

func every[V any](*V) bool { return true }
