package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// Which devices have ever connected decides who may still fetch his key (/device/register). It is noted in batches: a fleet that
// connects for the first time must not cost a disk write for each device. After a crash the devices of the last batch may
// count as new once more, which gives them the key that they have.

const (
	// kindConnected is the kind of batches; their one name is the time of writing.
	kindConnected = "connected"
	// noteDelay is how long devices are gathered before they are written.
	noteDelay = time.Second
	// maxBatch bounds a batch in devices: 60 bytes each are within a stored value's bound.
	maxBatch = 1000
	// lastWrite bounds the writing of the last batch when Run ends.
	lastWrite = 5 * time.Second
	// gone marks a device in a batch that was deleted: one of the same name is another one.
	gone = "-"
)

// connectedSet is the devices that have ever connected.
type connectedSet struct {
	mu      sync.RWMutex // guards all below
	devices map[logbridge.DeviceID]struct{}
	pending []string      // what is to be written: P/D, or "-P/D"
	filled  chan struct{} // holds one token when there is something
}

func newConnectedSet() *connectedSet {
	return &connectedSet{devices: map[logbridge.DeviceID]struct{}{}, filled: make(chan struct{}, 1)}
}

// EverConnected says whether a device has connected, or sent logs, since it was registered.
func (r *Registry) EverConnected(id logbridge.DeviceID) bool {
	r.connected.mu.RLock()
	defer r.connected.mu.RUnlock()
	_, ok := r.connected.devices[id]
	return ok
}

// NoteConnected takes note of a device that has proved who it is. It is cheap and is made durable while Run runs.
func (r *Registry) NoteConnected(id logbridge.DeviceID) {
	if !r.EverConnected(id) {
		r.connected.change(id, true)
	}
}

// change adds or takes away a device, and has that written.
func (c *connectedSet) change(id logbridge.DeviceID, here bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, was := c.devices[id]; was == here {
		return
	}
	entry := id.String()
	if here {
		c.devices[id] = struct{}{}
	} else {
		delete(c.devices, id)
		entry = gone + entry
	}
	c.pending = append(c.pending, entry)
	select {
	case c.filled <- struct{}{}:
	default:
	}
}

// take gives the next batch.
func (c *connectedSet) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch := c.pending[:min(len(c.pending), maxBatch)]
	c.pending = c.pending[len(batch):]
	if len(c.pending) == 0 {
		c.pending = nil
	}
	return batch
}

// putBack is for a batch that could not be written; later entries come behind it.
func (c *connectedSet) putBack(batch []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(batch[:len(batch):len(batch)], c.pending...)
}

// read takes in a batch that was stored.
func (c *connectedSet) read(_ string, _, batch *[]string, _ uint64) {
	if batch == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entry := range *batch {
		name, deleted := strings.CutPrefix(entry, gone)
		id, err := logbridge.ParseDeviceID(name)
		switch {
		case err != nil: // of a version that knows more names
		case deleted:
			delete(c.devices, id)
		default:
			c.devices[id] = struct{}{}
		}
	}
}

func (c *connectedSet) codec() natsd.Codec[string, []string] {
	f := named(
		func(_ string, batch []string) []string { return batch },
		func(_ string, batch []string) ([]string, error) { return batch, nil })
	codec := f.codec()
	codec.Encode = func(_ string, batch []string) ([]byte, error) { return json.Marshal(batch) }
	codec.Changed = c.read
	return codec
}

// noteConnections writes batches until ctx ends, and then what is left.
func (r *Registry) noteConnections(ctx context.Context) error {
	for {
		select {
		case <-r.connected.filled:
		case <-ctx.Done():
		}
		gather := time.NewTimer(noteDelay)
		select {
		case <-gather.C:
		case <-ctx.Done():
		}
		gather.Stop()
		last := ctx.Err() != nil
		if err := r.writeConnected(ctx); err != nil {
			r.log.Warn("which devices have connected could not be stored", "error", err)
		}
		if last {
			return nil
		}
	}
}

// writeConnected writes all that is pending, within lastWrite also when ctx has ended. On an error it comes again.
func (r *Registry) writeConnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	for batch := r.connected.take(); len(batch) > 0; batch = r.connected.take() {
		name := strconv.FormatInt(time.Now().UnixNano(), 36) + "." + connectedNonce()
		if err := r.batches.Put(ctx, name, batch); err != nil {
			r.connected.putBack(batch)
			select {
			case r.connected.filled <- struct{}{}:
			default:
			}
			return fmt.Errorf("store who has connected: %w", err)
		}
	}
	return nil
}

// connectedNonce keeps two nodes from writing the same batch.
func connectedNonce() string { return MakePSK()[:8] }
