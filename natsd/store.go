package natsd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/logbridge/logbridge"
	"github.com/nats-io/nats.go/jetstream"
)

// Store is a bucket whose values are also held in memory, by its tables. Reads cost no I/O; writes are on disk and
// visible in memory when they return; what other nodes write arrives by the bucket's watch. The revision of a value
// decides: an older event never replaces a newer value, whichever way each of them came.
//
// A key is the kind of the value and then its names, each in base64url, since names may hold characters that keys may
// not: "device.QUJDREUxMjM0NQ.ZGV2XzAx".
type Store struct {
	node   *Node
	bucket string
	kv     jetstream.KeyValue
	room   func(bytes uint64) error
	log    *slog.Logger
	tables map[string]applier
	last   atomic.Uint64 // revision that Load and Run have read up to
	gap    uint64        // revision up to which nothing more is there to read; of Load and Run
}

// applier is a Table of any types.
type applier interface {
	apply(names []string, e jetstream.KeyValueEntry) error
}

// OpenStore opens the bucket of this name. Make its tables with NewTable, then Load, then Run.
func OpenStore(ctx context.Context, node *Node, bucket string, log *slog.Logger) (*Store, error) {
	kv, err := node.Bucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return &Store{node: node, bucket: bucket, kv: kv, room: node.Room, log: log, tables: map[string]applier{}}, nil
}

// KV is the bucket itself, for values that no table holds.
func (s *Store) KV() jetstream.KeyValue { return s.kv }

// apply hands an entry to its table. One that cannot be read is logged and passed over: it must not keep the rest of
// the fleet from working. A kind without a table belongs to a newer version.
func (s *Store) apply(e jetstream.KeyValueEntry) {
	kind, names, err := ParseKey(e.Key())
	if err == nil {
		t, known := s.tables[kind]
		if !known {
			return
		}
		err = t.apply(names, e)
	}
	if err != nil {
		s.log.Error("stored value cannot be read and is passed over", "bucket", s.kv.Bucket(), "key", e.Key(),
			"revision", e.Revision(), "error", err)
	}
}

// Key makes the key of a value of this kind (letters and digits) and these names.
func Key(kind string, names ...string) string {
	var b strings.Builder
	b.WriteString(kind)
	for _, name := range names {
		b.WriteByte('.')
		b.WriteString(base64.RawURLEncoding.EncodeToString([]byte(name)))
	}
	return b.String()
}

// ParseKey takes apart what Key made.
func ParseKey(key string) (kind string, names []string, err error) {
	parts := strings.Split(key, ".")
	for _, part := range parts[1:] {
		name, err := base64.RawURLEncoding.DecodeString(part)
		// The decoder passes over line breaks and spare bits: there is one form of a name.
		if err != nil || len(name) == 0 || base64.RawURLEncoding.EncodeToString(name) != part {
			return "", nil, fmt.Errorf("%w: key part %q is not the base64url form of a name", logbridge.ErrInvalid, part)
		}
		names = append(names, string(name))
	}
	return parts[0], names, nil
}

// unavailable marks a failed exchange with JetStream as temporary.
func unavailable(doing, key string, err error) error {
	return fmt.Errorf("%s %s: %w: %w", doing, key, logbridge.ErrUnavailable, err)
}

// conflict reports whether err says that a key has another revision than expected.
func conflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
