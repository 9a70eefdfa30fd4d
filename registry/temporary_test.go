package registry

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestTemporaryKey(t *testing.T) {
	n := start(t, t.TempDir())
	r := open(t, n)
	fill(t, r)
	if _, err := r.TemporaryKey("AQ"); err == nil {
		t.Error("opened before there is a root")
	}
	before := time.Now()
	k, err := r.IssueTemporaryKey(t.Context(), "myproj", "mystore", 0)
	must(t, err)
	if k.Project != "myproj" || k.Logstore != "mystore" || !strings.HasPrefix(k.ID, "STS.") || len(k.ID) != 30 || len(k.Secret) != 43 ||
		k.Expires.Before(before.Add(DefaultTemporaryLife-time.Second)) || k.Expires.After(time.Now().Add(DefaultTemporaryLife)) {
		t.Errorf("%+v", k)
	}
	if got, err := r.TemporaryKey(k.Token); err != nil || got != k {
		t.Errorf("%+v, %v, want %+v", got, err, k)
	}
	again, err := r.IssueTemporaryKey(t.Context(), "myproj", "mystore", MaxTemporaryLife)
	must(t, err)
	if again.ID == k.ID || again.Secret == k.Secret || again.Token == k.Token {
		t.Error("two keys are alike")
	}
	raw, err := base64.RawURLEncoding.DecodeString(k.Token)
	must(t, err)
	for i := range raw {
		raw[i] ^= 1
		if _, err := r.TemporaryKey(base64.RawURLEncoding.EncodeToString(raw)); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		raw[i] ^= 1
	}
	for _, token := range []string{"", "x", "!", k.Token[:20], k.Token + "A", k.Token + "\n", strings.Repeat("A", 2<<10), "CAISzTestSecurityToken+/=="} {
		_, err := r.TemporaryKey(token)
		wantKind(t, token, err, logbridge.ErrUnauthorized)
	}
	for _, life := range []time.Duration{-time.Second, time.Millisecond, MaxTemporaryLife + time.Second} {
		_, err := r.IssueTemporaryKey(t.Context(), "myproj", "mystore", life)
		wantKind(t, life.String(), err, logbridge.ErrInvalid)
	}
	_, err = r.IssueTemporaryKey(t.Context(), "myproj", "nosuch", 0)
	wantKind(t, "unknown logstore", err, logbridge.ErrNotFound)
	other := open(t, start(t, t.TempDir()))
	fill(t, other)
	_, err = other.IssueTemporaryKey(t.Context(), "myproj", "mystore", 0)
	must(t, err)
	_, err = other.TemporaryKey(k.Token)
	wantKind(t, "a token of another registry", err, logbridge.ErrUnauthorized)
}

// TestTemporaryKeyOnAnotherNode: the other node has nothing but the registry, and both make the root at once.
func TestTemporaryKeyOnAnotherNode(t *testing.T) {
	n := start(t, t.TempDir())
	nodes := []*Registry{open(t, n), open(t, n)}
	fill(t, nodes[0])
	ctx, cancel := context.WithCancel(t.Context())
	var running, issuing sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	for _, r := range nodes {
		running.Go(func() { _ = r.Run(ctx) })
	}
	eventually(t, func() bool { _, err := nodes[1].Logstore("myproj", "mystore"); return err == nil })
	keys := make([]logbridge.TemporaryKey, len(nodes))
	for i, r := range nodes {
		issuing.Go(func() {
			var err error
			if keys[i], err = r.IssueTemporaryKey(t.Context(), "myproj", "mystore", time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	issuing.Wait()
	for i, k := range keys {
		other := nodes[1-i]
		eventually(t, func() bool { root, _ := other.temporary.Get(temporaryRoot); return root != nil })
		if got, err := other.TemporaryKey(k.Token); err != nil || got != k {
			t.Errorf("%+v, %v, want %+v", got, err, k)
		}
	}
	if n := nodes[0].temporary.Len(); n != 1 {
		t.Errorf("%d values are stored", n)
	}
}

// TestTemporaryKeySurvivesRotation: pages stay logged in when the seal key is changed, and when the server restarts.
func TestTemporaryKeySurvivesRotation(t *testing.T) {
	r := newRotating(t)
	k, err := r.IssueTemporaryKey(t.Context(), "myproj", "mystore", time.Minute)
	must(t, err)
	must(t, r.Rotate())
	r.finish()
	r.crash()
	if n := len(r.keys()); n != 1 {
		t.Errorf("%d seal keys", n)
	}
	if got, err := r.TemporaryKey(k.Token); err != nil || got != k {
		t.Errorf("%+v, %v, want %+v", got, err, k)
	}
}

func FuzzTemporaryKey(f *testing.F) {
	r := open(f, start(f, f.TempDir()))
	fill(f, r)
	k, err := r.IssueTemporaryKey(f.Context(), "myproj", "mystore", time.Minute)
	must(f, err)
	f.Add(k.Token)
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, token string) {
		if got, err := r.TemporaryKey(token); err == nil && got != k {
			t.Fatalf("%q opens: %+v", token, got)
		}
	})
}
