package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// rotating is a registry in a folder, with its key file beside it.
type rotating struct {
	t    *testing.T
	dir  string
	file string
	node *natsd.Node
	*Registry
}

func newRotating(t *testing.T) *rotating {
	t.Helper()
	dir := t.TempDir()
	r := &rotating{t: t, dir: filepath.Join(dir, "nats"), file: filepath.Join(dir, "seal-key")}
	must(t, WriteSealKeys(r.file, []SealKey{testKey}))
	r.open()
	fill(t, r.Registry)
	must(t, r.Provision(t.Context(), Provision{Products: []ProvisionProduct{{ID: "PROVISION1", Secret: secret}}}, nil))
	return r
}

// open starts the node and the registry with what is in the key file.
func (r *rotating) open() {
	r.t.Helper()
	r.node = start(r.t, r.dir)
	keys, _, err := LoadSealKeys(r.file)
	must(r.t, err)
	r.Registry, err = New(r.t.Context(), r.node, keys[0], slog.New(slog.DiscardHandler), keys[1:]...)
	must(r.t, err)
	r.OnKeys(func(keys []SealKey) error { return WriteSealKeys(r.file, keys) })
}

// crash forgets everything that is not on disk.
func (r *rotating) crash() {
	end(r.node)
	r.open()
}

// keys is what is in the file.
func (r *rotating) keys() []SealKey {
	r.t.Helper()
	keys, _, err := LoadSealKeys(r.file)
	must(r.t, err)
	return keys
}

// whole checks that every secret can be read.
func (r *rotating) whole(when string) {
	r.t.Helper()
	p, err := r.Product(product)
	if err != nil || p.Secret != secret {
		r.t.Errorf("%s: product %+v, %v", when, p, err)
	}
	n := 0
	for d := range r.Devices("") {
		n++
		if d.PSK == "" && d.Certificate == "" {
			r.t.Errorf("%s: %s has no key", when, d.ID)
		}
	}
	if n == 0 || len(r.AccessKeys("myproj")) == 0 {
		r.t.Errorf("%s: %d devices, %d access keys", when, n, len(r.AccessKeys("myproj")))
	}
	if k, err := r.TopicKey("topic-1", "AKIDtestkey"); err != nil || k.Secret != "testTopicKeySecretValue" {
		r.t.Errorf("%s: topic key %+v, %v", when, k, err)
	}
	for _, k := range r.AccessKeys("myproj") {
		if k.Secret == "" {
			r.t.Errorf("%s: access key %s has no secret", when, k.ID)
		}
	}
}

// finish lets the registry run until only one key is left.
func (r *rotating) finish() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	must(r.t, r.finishRotation(ctx))
}

// TestRotateSurvivesACrashAtEachStep: whatever was written last, the keys in the file open everything, and the change goes on.
func TestRotateSurvivesACrashAtEachStep(t *testing.T) {
	r := newRotating(t)
	must(t, r.Rotate())
	if err := r.Rotate(); !errors.Is(err, logbridge.ErrInvalid) {
		t.Errorf("a second change at the same time: %v", err)
	}
	if keys := r.keys(); len(keys) != 2 || keys[1] != testKey || keys[0] == testKey {
		t.Fatalf("%d keys in the file", len(keys))
	}
	r.whole("after step 2")
	id := logbridge.DeviceID{Product: product, Device: "written-meanwhile"}
	must(t, r.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: psk}))
	r.crash()
	r.whole("crash after step 2")
	if d, err := r.Device(id); err != nil || d.PSK != psk {
		t.Errorf("written meanwhile: %v, %v", d, err)
	}

	kv, err := r.node.Bucket(t.Context(), bucket)
	must(t, err)
	some, cancel := context.WithCancel(t.Context())
	names, err := kv.Keys(t.Context())
	must(t, err)
	half := 0
	for _, name := range names[:len(names)/2] { // half of step 3
		e, err := kv.Get(some, name)
		must(t, err)
		if value, old, err := r.reseal(name, e.Value()); err == nil && old {
			_, err = kv.Update(some, name, value, e.Revision())
			must(t, err)
			half++
		}
	}
	cancel()
	if half == 0 {
		t.Error("nothing was sealed anew")
	}
	r.crash()
	r.whole("crash in step 3")
	must(t, r.resealAll(t.Context()))
	r.crash() // the file still has both
	r.whole("crash before step 4")

	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); r.Rotation().Keys > 1; {
		if time.Now().After(deadline) {
			t.Fatal("Run does not go on with the change")
		}
	}
	stop()
	ended.Wait()
	keys := r.keys()
	if len(keys) != 1 || keys[0] == testKey {
		t.Fatalf("%d keys in the file", len(keys))
	}
	r.whole("at the end")
	r.crash()
	r.whole("after a restart with the new key alone")
	end(r.node)
	node := start(t, r.dir)
	if _, err := New(t.Context(), node, testKey, slog.New(slog.DiscardHandler)); !errors.Is(err, logbridge.ErrInvalid) {
		t.Errorf("the old key still opens: %v", err)
	}
}

// TestRotateNeedsItsFile: what cannot be made durable is not used.
func TestRotateNeedsItsFile(t *testing.T) {
	r := newRotating(t)
	full := errors.New("disk full")
	r.OnKeys(func([]SealKey) error { return full })
	if err := r.Rotate(); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	id := logbridge.DeviceID{Product: product, Device: "later"}
	must(t, r.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: psk}))
	r.crash()
	if d, err := r.Device(id); err != nil || d.PSK != psk {
		t.Errorf("sealed with a key that is nowhere: %v", err)
	}
	r.OnKeys(nil)
	if err := r.Rotate(); !errors.Is(err, logbridge.ErrInvalid) {
		t.Errorf("without a file: %v", err)
	}
}

// TestRotateWhileWriting: what is written during the change is readable with the new key alone.
func TestRotateWhileWriting(t *testing.T) {
	r := newRotating(t)
	const writers, each = 4, 40
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				id := logbridge.DeviceID{Product: product, Device: fmt.Sprintf("w%d-%d", w, i%7)}
				if err := r.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: psk, Tags: map[string]string{"i": fmt.Sprint(i)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		must(t, r.Rotate())
		r.finish()
		<-r.rotation.begins // Run would have taken it
	}
	all.Wait()
	r.crash()
	if len(r.keys()) != 1 {
		t.Errorf("%d keys", len(r.keys()))
	}
	r.whole("after three changes")
	for w := range writers {
		for i := each - 7; i < each; i++ {
			d, err := r.Device(logbridge.DeviceID{Product: product, Device: fmt.Sprintf("w%d-%d", w, i%7)})
			if err != nil || d.PSK != psk || d.Tags["i"] != fmt.Sprint(i) {
				t.Errorf("writer %d, %d: %v, %v", w, i, d, err)
			}
		}
	}
}

func TestSealKeyFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seal-key")
	want := []SealKey{{1}, {2}, {3}}
	must(t, WriteSealKeys(file, want))
	got, created, err := LoadSealKeys(file)
	if err != nil || created || len(got) != 3 || got[0] != want[0] || got[2] != want[2] {
		t.Errorf("%d keys, %v", len(got), err)
	}
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := WriteSealKeys(filepath.Join(file, "in-a-file"), want); err == nil {
		t.Error("written where there is no folder")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
	for _, text := range []string{"", " \n", string(bytes.Repeat([]byte(fmt.Sprintf("%064x\n", 1)), maxSealKeys+1)), fmt.Sprintf("%064x short", 1)} {
		if keys, err := ParseSealKeys(text); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%q: %d keys, %v", text, len(keys), err)
		}
	}
}

// TestRotateWaitsForWriters: a value that was sealed with the old key and is not stored yet is stored before the key changes, so that
// it is sealed anew.
func TestRotateWaitsForWriters(t *testing.T) {
	r := newRotating(t)
	id := logbridge.DeviceID{Product: product, Device: "slow"}
	began, release := make(chan struct{}), make(chan struct{})
	codec := r.deviceForm().codec()
	encode := codec.Encode
	codec.Encode = func(k logbridge.DeviceID, d logbridge.Device) ([]byte, error) {
		sealed, err := encode(k, d)
		close(began)
		<-release
		return sealed, err
	}
	store, err := natsd.OpenStore(t.Context(), r.node, bucket, slog.New(slog.DiscardHandler))
	must(t, err)
	slow := natsd.NewTable(store, kindDevice, codec)
	stored := make(chan error, 1)
	go func() { stored <- putSealed(t.Context(), r.Registry, slow, id, logbridge.Device{ID: id, PSK: psk}) }()
	<-began
	changed := make(chan error, 1)
	go func() { changed <- errors.Join(r.Rotate(), r.finishRotation(t.Context())) }()
	early := false
	select {
	case err = <-changed:
		early = true
		t.Error("the key has changed while something sealed with it is not stored")
	case <-time.After(300 * time.Millisecond): // it waits
	}
	close(release)
	must(t, <-stored)
	if !early {
		err = <-changed
	}
	must(t, err)
	r.crash()
	if d, err := r.Device(id); err != nil || d.PSK != psk {
		t.Errorf("%v", err)
	}
}
