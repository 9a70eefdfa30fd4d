package registry

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"iter"
	"maps"

	"github.com/logbridge/logbridge"
)

// Product gives a product, or ErrNotFound.
func (r *Registry) Product(id string) (logbridge.Product, error) {
	return get(r.products, id, "product")
}

// Products lists all products by id.
func (r *Registry) Products() []logbridge.Product { return list(r.products, "", every) }

// PutProduct adds a product or replaces it.
func (r *Registry) PutProduct(ctx context.Context, p logbridge.Product) error {
	if err := productFaults(p).err(""); err != nil {
		return err
	}
	return putSealed(ctx, r, r.products, p.ID, p)
}

// DeleteProduct deletes a product that has no devices; one that has is ErrInvalid.
func (r *Registry) DeleteProduct(ctx context.Context, id string) error {
	r.family.Lock()
	defer r.family.Unlock()
	n := 0
	for range r.Devices(id) {
		n++
	}
	switch {
	case n == 1:
		return fmt.Errorf("%w: product %s still has a device: delete it first", logbridge.ErrInvalid, id)
	case n > 1:
		return fmt.Errorf("%w: product %s still has %d devices: delete them first", logbridge.ErrInvalid, id, n)
	}
	return remove(ctx, r.products, id, "product")
}

// Device gives a device, or ErrNotFound. Its tags are shared and must not be changed.
func (r *Registry) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	return get(r.devices, id, "device")
}

// DeviceCount is how many devices there are.
func (r *Registry) DeviceCount() int { return r.devices.Len() }

// OnRevoked sets what is told of each device whose login is not good any more, since it was deleted or has another: fn
// must be quick, and is set before Run.
func (r *Registry) OnRevoked(fn func(logbridge.DeviceID)) { r.revoked = fn }

// OnTagged sets what is told of each device whose tags are others now, once the registry says the new ones; one that came
// or went without tags is not told of. fn must be quick, and is set before Run.
func (r *Registry) OnTagged(fn func(logbridge.DeviceID)) { r.tagged = fn }

func (r *Registry) deviceChanged(id logbridge.DeviceID, before, after *logbridge.Device, _ uint64) {
	if after == nil {
		r.connected.change(id, false)
	}
	if before != nil && (after == nil || !sameLogin(*before, *after)) && r.revoked != nil {
		r.revoked(id)
	}
	if r.tagged != nil && !maps.Equal(tagsOf(before), tagsOf(after)) {
		r.tagged(id)
	}
}

func tagsOf(d *logbridge.Device) map[string]string {
	if d == nil {
		return nil
	}
	return d.Tags
}

// sameLogin reports whether what a device logs in with is still good.
func sameLogin(a, b logbridge.Device) bool {
	return a.PSK == b.PSK && a.Certificate == b.Certificate && a.CertificateSubject == b.CertificateSubject
}

// Devices lists the devices of a product by name, or with an empty product all devices by product and name.
func (r *Registry) Devices(product string) iter.Seq[logbridge.Device] {
	return r.DevicesAfter(product, logbridge.DeviceID{})
}

// DevicesAfter is Devices from behind a device on, which need not exist any more: the next page.
func (r *Registry) DevicesAfter(product string, after logbridge.DeviceID) iter.Seq[logbridge.Device] {
	if after.Product < product {
		after = logbridge.DeviceID{Product: product}
	}
	return func(yield func(logbridge.Device) bool) {
		for id, d := range r.devices.After(after) {
			if product != "" && id.Product != product || !yield(*d) {
				return
			}
		}
	}
}

// PutDevice adds a device or replaces it. Its product must exist (ErrNotFound).
func (r *Registry) PutDevice(ctx context.Context, d logbridge.Device) error {
	r.family.RLock()
	defer r.family.RUnlock()
	if err := r.CheckDevice(d); err != nil {
		return err
	}
	d.Tags = maps.Clone(d.Tags)
	return putSealed(ctx, r, r.devices, d.ID, d)
}

// CheckDevice says for what PutDevice would refuse a device, and changes nothing.
func (r *Registry) CheckDevice(d logbridge.Device) error {
	if err := deviceFaults(d).err(""); err != nil {
		return err
	}
	_, err := r.Product(d.ID.Product)
	return err
}

// DeleteDevice deletes a device.
func (r *Registry) DeleteDevice(ctx context.Context, id logbridge.DeviceID) error {
	return remove(ctx, r.devices, id, "device")
}

// pskLen is the length of a device secret in bytes, as the vendor's console makes them (tencent-iot.md 1).
const pskLen = 16

// MakePSK makes a new device secret: base64 of 16 random bytes, 24 characters.
func MakePSK() string {
	b := make([]byte, pskLen)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}
