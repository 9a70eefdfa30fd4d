package natsd

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket opens the key-value bucket of this name, and makes it if it is not there. One value is kept for each key. On a
// cluster it has the replicas that were asked for, or more if it has them already: a node with another setting must not
// take them away.
func (n *Node) Bucket(ctx context.Context, name string) (kv jetstream.KeyValue, err error) {
	err = n.set(ctx, "bucket "+name, "KV_"+name, func(ctx context.Context, replicas int) error {
		kv, err = n.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, History: 1, Storage: jetstream.FileStorage, Replicas: replicas})
		return err
	})
	return kv, err
}

// Stream opens the stream of this configuration, and makes or changes it where needed. Its replicas are as Bucket's.
func (n *Node) Stream(ctx context.Context, cfg jetstream.StreamConfig) (s jetstream.Stream, err error) {
	err = n.set(ctx, "stream "+cfg.Name, cfg.Name, func(ctx context.Context, replicas int) error {
		cfg.Replicas = replicas
		s, err = n.js.CreateOrUpdateStream(ctx, cfg)
		return err
	})
	return s, err
}

// set makes a stream with the replicas that it shall have. A cluster may take its time for it, up to connectWait.
func (n *Node) set(ctx context.Context, what, stream string, set func(context.Context, int) error) error {
	if n.Embedded() {
		if err := set(ctx, n.replicas); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	return n.patiently(ctx, what, func(ctx context.Context) error {
		s, err := n.js.Stream(ctx, stream)
		replicas := n.replicas
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return err
		default:
			replicas = max(replicas, s.CachedInfo().Config.Replicas)
		}
		return set(ctx, replicas)
	})
}
