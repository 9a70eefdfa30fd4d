package registry

import (
	"context"
	"fmt"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestEverConnected: who has connected is known after a restart, also to another node, and forgotten with the device.
func TestEverConnected(t *testing.T) {
	dir := t.TempDir()
	node := start(t, dir)
	r := open(t, node)
	ctx := t.Context()
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product}))
	const fleet = maxBatch + 500
	ids := make([]logbridge.DeviceID, fleet)
	for i := range ids {
		ids[i] = logbridge.DeviceID{Product: product, Device: fmt.Sprintf("dev:%d", i)}
	}
	for _, id := range ids[:2] {
		must(t, r.PutDevice(ctx, logbridge.Device{ID: id, PSK: psk}))
	}
	for range 2 {
		for _, id := range ids {
			r.NoteConnected(id)
		}
	}
	if !r.EverConnected(ids[0]) || r.EverConnected(logbridge.DeviceID{Product: product, Device: "other"}) {
		t.Error("not known at once, or known without having connected")
	}
	must(t, r.DeleteDevice(ctx, ids[1]))
	over, cancel := context.WithCancel(ctx)
	cancel()
	must(t, r.Run(over)) // writes what is left
	if n := r.batches.Len(); n != 2 {
		t.Errorf("%d batches of %d devices", n, fleet)
	}
	check := func(r *Registry) {
		t.Helper()
		for i, id := range ids {
			if got := r.EverConnected(id); got != (i != 1) {
				t.Fatalf("%s: %v", id, got)
			}
		}
	}
	check(r)
	check(open(t, node))
	end(node)
	check(open(t, start(t, dir)))
}
