package registry

import (
	"fmt"
	"slices"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestRevoked: a deleted device and one with another secret are told of, one with other tags is not.
func TestRevoked(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	told := make(chan logbridge.DeviceID, 8)
	r.OnRevoked(func(id logbridge.DeviceID) { told <- id })
	ctx := t.Context()
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product}))
	id := logbridge.DeviceID{Product: product, Device: "dev_01"}
	must(t, r.PutDevice(ctx, logbridge.Device{ID: id, PSK: psk}))
	must(t, r.PutDevice(ctx, logbridge.Device{ID: id, PSK: psk, Tags: map[string]string{"site": "lab"}}))
	if len(told) != 0 {
		t.Errorf("%v is told of without a reason", <-told)
	}
	must(t, r.PutDevice(ctx, logbridge.Device{ID: id, PSK: MakePSK()}))
	must(t, r.DeleteDevice(ctx, id))
	if len(told) != 2 || <-told != id || <-told != id {
		t.Errorf("told %d times, want twice of %s", len(told), id)
	}
}

func TestTaggedDevicesAreTold(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product}))
	var told []string
	r.OnTagged(func(id logbridge.DeviceID) {
		d, err := r.Device(id)
		told = append(told, fmt.Sprint(id.Device, " ", d.Tags, " ", err == nil))
	})
	put := func(name string, tags map[string]string) {
		must(t, r.PutDevice(ctx, logbridge.Device{ID: logbridge.DeviceID{Product: product, Device: name}, PSK: MakePSK(), Tags: tags}))
	}
	put("a", nil)
	put("a", map[string]string{"site": "lab"})
	put("a", map[string]string{"site": "lab"}) // another key, the same tags
	put("a", map[string]string{"site": "hall"})
	put("b", map[string]string{"site": "lab"})
	must(t, r.DeleteDevice(ctx, logbridge.DeviceID{Product: product, Device: "b"}))
	want := []string{"a map[site:lab] true", "a map[site:hall] true", "b map[site:lab] true", "b map[] false"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
