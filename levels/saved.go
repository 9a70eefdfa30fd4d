package levels

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// What was seen of the devices is saved in a bucket of its own: one value for each shard of the fleet, so that a save of
// 20 000 devices that all said something is 64 writes of 25 KB and not 20 000.
const (
	savedBucket = "observed"
	savedKind   = "shard"
	// shards is part of the form of what is saved.
	shards = 64
	// saveEvery is what a crash loses at most of what was seen. A device that goes on talking is seen again.
	saveEvery = 30 * time.Second
	// saveWait bounds the save at the end: 64 writes on a disk that takes 50 ms for one.
	saveWait = 4 * time.Second
	// maxShard bounds a value in bytes, below what one message may have: 6000 devices of a shard, 400 000 in all. Those
	// beyond it are not saved, and the log says so.
	maxShard = 512 << 10
	// savedVersion begins each value. One with another is passed over: what was seen is seen again.
	savedVersion = 1
)

// saved is the bucket.
type saved struct {
	kv   jetstream.KeyValue
	room func(uint64) error
	full bool // a shard was too large, and that was logged
}

func openSaved(ctx context.Context, node *natsd.Node) (*saved, error) {
	kv, err := node.Bucket(ctx, savedBucket)
	if err != nil {
		return nil, err
	}
	return &saved{kv: kv, room: node.Room}, nil
}

// shardOf says where a device is saved.
func shardOf(id logbridge.DeviceID) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.Product)) // a hash never fails
	_, _ = h.Write([]byte(id.Device))
	return int(h.Sum32() % shards)
}

func shardKey(n int) string { return natsd.Key(savedKind, strconv.Itoa(n)) }

// runSaving saves what has changed, every saveEvery and at the end.
func (l *Levels) runSaving(ctx context.Context) {
	for {
		alarm, stop := l.clock.at(l.clock.now().Add(saveEvery))
		select {
		case <-alarm:
			l.save(ctx)
		case <-ctx.Done():
			stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWait)
			defer cancel()
			l.save(last)
			return
		}
		stop()
	}
}

// save writes the shards that have changed. After one that cannot be written, it and the rest wait for the next time.
func (l *Levels) save(ctx context.Context) {
	values := l.changedShards()
	for n, value := range values {
		err := l.saved.room(natsd.Reserve)
		if err == nil {
			_, err = l.saved.kv.Put(ctx, shardKey(n), value)
		}
		if err != nil {
			l.log.Warn("what was seen of devices cannot be saved now", "error", err)
			break
		}
		delete(values, n)
	}
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	for n := range values {
		l.fleet.dirty[n] = true
	}
}

// changedShards encodes the shards that have changed since they were saved.
func (l *Levels) changedShards() map[int][]byte {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	values := map[int][]byte{}
	for n, dirty := range l.fleet.dirty {
		if dirty {
			values[n] = []byte{savedVersion}
		}
	}
	if len(values) == 0 {
		return nil
	}
	l.fleet.dirty = [shards]bool{}
	left := 0
	l.fleet.each("", func(id logbridge.DeviceID, s *sighting) {
		n := shardOf(id)
		value, dirty := values[n]
		switch longer := appendSighting(value, id, s); {
		case !dirty:
		case len(longer) > maxShard:
			left++
		default:
			values[n] = longer
		}
	})
	if left > 0 && !l.saved.full {
		l.saved.full = true
		l.log.Warn("too many devices to save what was seen of all", "left out", left)
	}
	return values
}

// restore enters what was saved into the fleet. Its caller holds the fleet's lock. A device's level may have changed since
// it was saved: then what was seen is about the former one, and the rule says since when.
func (l *Levels) restore(ctx context.Context) error {
	w, err := l.saved.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("read bucket %s: %w", savedBucket, err)
	}
	defer func() { _ = w.Stop() }() // it has delivered all that there is, or the connection is gone
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("read bucket %s: %w", savedBucket, ctx.Err())
		case e, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("read bucket %s: the connection ended", savedBucket)
			}
			if e == nil {
				return nil
			}
			if err := decodeShard(e.Value(), l.restoreOne); err != nil {
				l.log.Error("what was seen of devices cannot be read and is passed over", "key", e.Key(), "error", err)
			}
		}
	}
}

func (l *Levels) restoreOne(id logbridge.DeviceID, s *sighting) {
	if _, err := l.devices.Device(id); err != nil {
		return // deleted, and that was not saved any more
	}
	l.enter(id, s)
	now := l.clock.now()
	l.settle(id, s, l.decide(id, s, now).since, now)
}

// appendSighting adds a device to a shard: its names, each behind its length; the level and since when it is wanted; when
// the device was last seen; the marks, each with its level; and the first line of each severity. Numbers are uvarints,
// times in nanoseconds, 0 for never.
func appendSighting(b []byte, id logbridge.DeviceID, s *sighting) []byte {
	for _, name := range [...]string{id.Product, id.Device} {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	b = appendMark(b, mark{s.since, s.level})
	b = binary.AppendUvarint(b, uint64(max(0, s.lastSeen)))
	for _, m := range s.marks() {
		b = appendMark(b, *m)
	}
	for _, at := range s.lines {
		b = binary.AppendUvarint(b, uint64(max(0, at)))
	}
	return b
}

func (s *sighting) marks() [6]*mark {
	return [...]*mark{&s.sent, &s.acked, &s.asked, &s.announced, &s.contradicted, &s.unheeded}
}

func appendMark(b []byte, m mark) []byte {
	return append(binary.AppendUvarint(b, uint64(max(0, m.at))), byte(m.level))
}

// decodeShard gives every device of a value. Those before a fault are given all the same.
func decodeShard(b []byte, give func(logbridge.DeviceID, *sighting)) error {
	if len(b) == 0 || b[0] != savedVersion {
		return fmt.Errorf("%w: saved devices of another version", logbridge.ErrInvalid)
	}
	d := shardDecoder{rest: b[1:]}
	for len(d.rest) > 0 {
		id, s, err := d.sighting()
		if err != nil {
			return err
		}
		give(id, s)
	}
	return nil
}

type shardDecoder struct {
	rest []byte
	bad  bool
}

func (d *shardDecoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *shardDecoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// sighting reads what appendSighting wrote.
func (d *shardDecoder) sighting() (logbridge.DeviceID, *sighting, error) {
	id := logbridge.DeviceID{Product: d.text(), Device: d.text()}
	s := new(sighting)
	since := d.mark()
	s.since, s.level = since.at, since.level
	s.lastSeen = d.time()
	for _, m := range s.marks() {
		*m = d.mark()
	}
	for i := range s.lines {
		s.lines[i] = d.time()
	}
	if d.bad || id.Validate() != nil {
		return id, nil, fmt.Errorf("%w: seen device at %d bytes from the end", logbridge.ErrInvalid, len(d.rest))
	}
	return id, s, nil
}

func (d *shardDecoder) text() string { return string(d.bytes(d.number())) }

func (d *shardDecoder) time() int64 {
	n := d.number()
	d.bad = d.bad || n > 1<<63-1
	return int64(n)
}

func (d *shardDecoder) mark() mark {
	m := mark{at: d.time()}
	if b := d.bytes(1); len(b) > 0 {
		m.level = logbridge.Level(b[0])
	}
	d.bad = d.bad || !m.level.Valid()
	return m
}
