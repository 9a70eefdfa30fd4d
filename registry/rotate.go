package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/nats-io/nats.go/jetstream"
)

// The seal key is changed while the registry works:
//
//  1. The new key is written in front of the old one, durably. From here on a restart knows both.
//  2. The registry seals with the new key and opens with both.
//  3. Every stored value is sealed anew, one after the other, each only if nobody has changed it meanwhile.
//  4. When a whole pass finds nothing more that the old key has sealed, the old key is dropped, durably.
//
// A crash after any step leaves keys that open everything; Run goes on with step 3 when it finds more than one key.
//
// The nodes of a cluster have the same keys, which nobody but who gave them can change at all of them: there is no KeyWriter then, a
// node that starts with more than one key does step 3, and goes on to open what others seal with any of them.

const (
	// rotatePause is the wait before a rotation that failed goes on.
	rotatePause = 10 * time.Second
	// sealedField begins the names of sealed fields in stored values.
	sealedField = "sealed_"
)

// KeyWriter makes seal keys durable, the current one first. Registry.New gets the keys that it wrote last.
type KeyWriter func(keys []SealKey) error

// Rotation says how far a change of the seal key is.
type Rotation struct {
	Keys     int // more than 1 while the key is being changed
	Resealed int // values sealed anew by the change that runs, or ran last
	Fault    string
}

// rotation is the state of it.
type rotation struct {
	keys     []SealKey
	write    KeyWriter // nil: the keys are not ours to write
	fault    string
	resealed atomic.Int64
	begins   chan struct{} // holds a token when there is a rotation to go on with
}

// OnKeys sets what makes seal keys durable. It is set before Run; without it the key cannot be rotated.
func (r *Registry) OnKeys(write KeyWriter) { r.rotation.write = write }

// Rotate begins to change the seal key: when it returns nil, the new key is durable and seals what is written from now on. Run
// does the rest. ErrInvalid when a change is running already, or the keys are not kept where this program may write.
func (r *Registry) Rotate() error {
	r.sealing.Lock() // what was sealed with the old key is stored by now, and nothing new is
	defer r.sealing.Unlock()
	switch {
	case r.rotation.write == nil:
		return fmt.Errorf("%w: the seal key comes from outside: put a new key before the old one there and restart; on a cluster, in the steps of docs/cluster.md", logbridge.ErrInvalid)
	case len(r.rotation.keys) > 1:
		return fmt.Errorf("%w: the seal key is being changed already", logbridge.ErrInvalid)
	}
	keys := append([]SealKey{newSealKey()}, r.rotation.keys...)
	if err := r.rotation.write(keys); err != nil {
		return err
	}
	if err := r.seal.use(keys); err != nil {
		return err
	}
	r.rotation.keys, r.rotation.fault = keys, ""
	r.rotation.resealed.Store(0)
	r.rotation.begins <- struct{}{} // free: there was no rotation
	r.log.Info("the seal key is being changed")
	return nil
}

// Rotation says how far a change of the seal key is.
func (r *Registry) Rotation() Rotation {
	r.sealing.RLock()
	defer r.sealing.RUnlock()
	return Rotation{Keys: len(r.rotation.keys), Resealed: int(r.rotation.resealed.Load()), Fault: r.rotation.fault}
}

// rotate goes on with changes of the seal key until ctx ends.
func (r *Registry) rotate(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.rotation.begins:
		}
		for err := r.finishRotation(ctx); err != nil && ctx.Err() == nil; err = r.finishRotation(ctx) {
			r.log.Error("the seal key is not changed yet", "error", err, "again_in", rotatePause)
			r.sealing.Lock()
			r.rotation.fault = err.Error()
			r.sealing.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(rotatePause):
			}
		}
	}
}

// finishRotation seals everything with the current key and then drops the others.
func (r *Registry) finishRotation(ctx context.Context) error {
	if err := r.resealAll(ctx); err != nil {
		return err
	}
	r.sealing.Lock()
	defer r.sealing.Unlock()
	keys := r.rotation.keys[:1:1]
	if r.rotation.write == nil && !r.node.Embedded() {
		r.log.Info("everything that was stored when this node started is sealed with the first of its seal keys", "resealed", r.rotation.resealed.Load())
		return nil
	}
	if r.rotation.write == nil {
		r.log.Info("nothing is sealed with the old seal key any more: take it away")
	} else if err := r.rotation.write(keys); err != nil {
		return err
	}
	if err := r.seal.use(keys); err != nil {
		return err
	}
	r.rotation.keys, r.rotation.fault = keys, ""
	r.log.Info("the seal key is changed", "resealed", r.rotation.resealed.Load())
	return nil
}

// resealAll passes over both buckets until a pass finds nothing to do.
func (r *Registry) resealAll(ctx context.Context) error {
	for {
		changed := 0
		for _, bucket := range [...]string{bucket, provisionBucket} {
			kv, err := r.node.Bucket(ctx, bucket)
			if err != nil {
				return err
			}
			n, err := r.resealBucket(ctx, kv)
			changed += n
			if err != nil {
				return fmt.Errorf("seal bucket %s anew: %w", bucket, err)
			}
		}
		if changed == 0 {
			return nil
		}
	}
}

// resealBucket says how many values it has changed, or found changed by another meanwhile.
func (r *Registry) resealBucket(ctx context.Context, kv jetstream.KeyValue) (changed int, err error) {
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	slices.Sort(keys)
	for _, key := range keys {
		e, err := kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) { // deleted meanwhile
			continue
		}
		if err != nil {
			return changed, err
		}
		value, old, err := r.reseal(key, e.Value())
		if err != nil { // none of the keys opens it: dropping one loses nothing
			r.log.Error("a stored secret opens with no seal key and is passed over", "key", key)
			continue
		}
		if !old {
			continue
		}
		if err := r.node.Room(natsd.Reserve); err != nil {
			return changed, err
		}
		changed++
		_, err = kv.Update(ctx, key, value, e.Revision())
		if err != nil && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) { // changed meanwhile: the next pass looks again
			return changed, err
		}
		r.rotation.resealed.Add(1)
	}
	return changed, nil
}

// reseal gives a stored value with its sealed fields sealed with the current key; old says that one was not.
func (r *Registry) reseal(key string, value []byte) (out []byte, old bool, err error) {
	if key == checkKey {
		if r.seal.current(string(value)) {
			return nil, false, nil
		}
		plain, err := r.seal.open(checkKey, string(value))
		return []byte(r.seal.seal(checkKey, plain)), true, err
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil {
		return nil, false, nil // a batch, or what nobody can read: nothing is sealed in it
	}
	for name, raw := range fields {
		field, sealed := strings.CutPrefix(name, sealedField)
		var text string
		if !sealed || json.Unmarshal(raw, &text) != nil || r.seal.current(text) {
			continue
		}
		plain, err := r.seal.open(key+"/"+field, text)
		if err != nil {
			return nil, false, err
		}
		if fields[name], err = json.Marshal(r.seal.seal(key+"/"+field, plain)); err != nil {
			return nil, false, err
		}
		old = true
	}
	if !old {
		return nil, false, nil
	}
	out, err = json.Marshal(fields)
	return out, true, err
}

// putSealed stores a value with sealed fields: it is stored under the key that it was sealed with before that key can change.
func putSealed[K comparable, V any](ctx context.Context, r *Registry, t *natsd.Table[K, V], k K, v V) error {
	r.sealing.RLock()
	defer r.sealing.RUnlock()
	return t.Put(ctx, k, v)
}
