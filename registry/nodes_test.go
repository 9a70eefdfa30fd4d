package registry

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// joined starts a node with a connection of its own to the cluster of the tests' second round.
func joined(t *testing.T, url string, keys ...SealKey) *Registry {
	t.Helper()
	r := opened(t, url, keys...)
	r.follow(t)
	return r
}

func opened(t *testing.T, url string, keys ...SealKey) *Registry {
	t.Helper()
	n, err := natsd.New(natsd.Config{URL: url, SyncAlways: true}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { end(n) })
	r, err := New(t.Context(), n, keys[0], slog.New(slog.DiscardHandler), keys[1:]...)
	must(t, err)
	return r
}

func (r *Registry) follow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestNodesShareTheRegistryOnACluster: what one node registers, changes and revokes the other one knows, and says so to who waits for it.
func TestNodesShareTheRegistryOnACluster(t *testing.T) {
	url := natstest.URL(t, t.TempDir())
	revoked := make(chan logbridge.DeviceID, 10)
	one, two := joined(t, url, testKey), opened(t, url, testKey)
	two.OnRevoked(func(id logbridge.DeviceID) { revoked <- id })
	two.follow(t)
	fill(t, one)
	var dev logbridge.Device
	for d := range one.Devices(product) {
		dev = d
	}
	eventually(t, func() bool { got, err := two.Device(dev.ID); return err == nil && got.PSK == dev.PSK })
	two.NoteConnected(dev.ID)
	eventually(t, func() bool { return one.EverConnected(dev.ID) })
	must(t, one.DeleteDevice(t.Context(), dev.ID))
	if got := <-revoked; got != dev.ID {
		t.Errorf("%s was revoked", got)
	}
	eventually(t, func() bool { return !two.EverConnected(dev.ID) })
}

// TestNodesStartAtOnceOnACluster on an empty cluster, with the same configuration: each thing is there once, and both can read all.
func TestNodesStartAtOnceOnACluster(t *testing.T) {
	url := natstest.URL(t, t.TempDir())
	p := Provision{Products: []ProvisionProduct{{ID: product, Secret: secret}},
		SLS: []ProvisionProject{{Project: "myproj", AccessKeys: []ProvisionAccessKey{{ID: "LTAI", Secret: "secret"}}}}}
	for i := range 10 {
		p.Products[0].Devices = append(p.Products[0].Devices, ProvisionDevice{Name: fmt.Sprint("dev", i), PSK: psk})
	}
	nodes := make([]*Registry, 3)
	var starting sync.WaitGroup
	for i := range nodes {
		starting.Go(func() {
			nodes[i] = joined(t, url, testKey)
			if err := nodes[i].Provision(t.Context(), p, nil); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	for _, r := range nodes {
		eventually(t, func() bool { k, err := r.AccessKey("LTAI"); return err == nil && k.Secret == "secret" })
		n := 0
		for d := range r.Devices(product) {
			if n++; d.PSK != psk {
				t.Errorf("%s has another key", d.ID)
			}
		}
		if n != 10 {
			t.Errorf("%d devices", n)
		}
	}
}

// TestSealKeyIsChangedNodeByNodeOnACluster, in the steps of docs/cluster.md: in none of them is there a secret that a node cannot read.
func TestSealKeyIsChangedNodeByNodeOnACluster(t *testing.T) {
	url := natstest.URL(t, t.TempDir())
	next := SealKey{9, 9, 9}
	check := func(step string, writer *Registry, readers ...*Registry) {
		t.Helper()
		must(t, writer.PutProduct(t.Context(), logbridge.Product{ID: product, Secret: step + "-" + secret}))
		for _, r := range readers {
			eventually(t, func() bool { p, err := r.Product(product); return err == nil && p.Secret == step+"-"+secret })
		}
	}
	old := joined(t, url, testKey)
	fill(t, old)
	knows := joined(t, url, testKey, next) // step 1
	check("1", knows, old)
	must(t, knows.resealAll(t.Context()))
	seals := joined(t, url, next, testKey) // step 2: beside one that is at step 1 still
	check("2", seals, knows)
	check("2back", knows, seals)
	must(t, joined(t, url, next, testKey).resealAll(t.Context())) // the last one to take it
	done := joined(t, url, next)                                  // step 3
	check("3", done, seals)
	if k, err := done.AccessKey("LTAItestkey"); err != nil || k.Secret == "" {
		t.Errorf("after the change: %v", err)
	}
	if err := done.Rotate(); err == nil {
		t.Error("one node changed the key of all")
	}
}
