// Package natstest runs clusters of real nats-server processes for tests. No program carries it.
//
// The servers are of the version that the module asks for. They listen on loopback only, sync every write, and end with
// the test, or with the process of the test.
package natstest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// patience is how long anything may take here before it counts as broken.
	patience = 60 * time.Second
	// pause is the wait between two looks.
	pause = 20 * time.Millisecond
	// accounts is how many users of a cluster may have a JetStream for themselves.
	accounts = 256
	// common is the account of who gives no login.
	common = "common"
)

// Cluster is a number of servers that know each other. Its methods are for one goroutine.
type Cluster struct {
	t       testing.TB // nil for one that several tests share
	dir     string
	host    string
	servers []*server
	given   atomic.Int32 // accounts
}

// Start runs n servers as one cluster and returns when streams with n replicas can be made. They end with the test.
func Start(t testing.TB, n int) *Cluster {
	t.Helper()
	c, err := newCluster(t.TempDir(), n)
	if err != nil {
		t.Fatal(err)
	}
	c.t = t
	t.Cleanup(c.Stop)
	return c
}

func newCluster(dir string, n int) (*Cluster, error) {
	binary, err := build()
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if err := c.place(dir, binary, n); err != nil {
		return nil, err
	}
	for _, s := range c.servers {
		if err := s.start(); err != nil {
			c.Stop()
			return nil, err
		}
	}
	if err := c.form(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// URL is the addresses of all servers. Whoever connects without a login shares one account.
func (c *Cluster) URL() string { return c.url("") }

// Fresh is URL for an account of its own, in which there is nothing. What it has then is deleted with the test.
func (c *Cluster) Fresh(t testing.TB) string {
	t.Helper()
	n := int(c.given.Add(1)) - 1
	if n >= accounts {
		t.Fatalf("natstest: %d tests have an account of their own: no more are there", n)
	}
	url := c.url(fmt.Sprintf("%s:%s@", account(n), password))
	t.Cleanup(func() {
		if err := empty(url); err != nil {
			t.Logf("natstest: %v", err)
		}
	})
	return url
}

func account(n int) string { return fmt.Sprintf("t%03d", n) }

func (c *Cluster) url(login string) string {
	var list []string
	for _, s := range c.servers {
		list = append(list, fmt.Sprintf("nats://%s%s:%d", login, c.host, s.client))
	}
	return strings.Join(list, ",")
}

// Kill ends server i with SIGKILL, as a crash does. What it had synced stays.
func (c *Cluster) Kill(i int) { c.servers[i].kill() }

// Restart starts server i after Kill, with its files and at its addresses, and returns when it takes connections. It may
// have to catch up then: see Healthy.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	if err := c.servers[i].start(); err != nil {
		c.t.Fatal(err)
	}
}

// Healthy waits until every server says of itself that it has all that the others have.
func (c *Cluster) Healthy() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, s := range c.servers {
		if err := wait(ctx, s.healthy); err != nil {
			c.t.Fatalf("natstest: server %d is not healthy: %v\n%s", i, err, s.said())
		}
	}
}

func (s *server) healthy(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/healthz", s.host, s.http), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("healthz: %s", answer.Status)
	}
	return nil
}

// Leader is which server leads the stream of this name in the account of URL, or -1 when none does.
func (c *Cluster) Leader(stream string) int {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name := ""
	err := withJetStream(ctx, c.URL(), func(js jetstream.JetStream) error {
		s, err := js.Stream(ctx, stream)
		if err == nil && s.CachedInfo().Cluster != nil {
			name = s.CachedInfo().Cluster.Leader
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range c.servers {
		if serverName(i) == name {
			return i
		}
	}
	return -1
}

// Stop ends all servers.
func (c *Cluster) Stop() {
	for _, s := range c.servers {
		s.kill()
	}
}

// form waits until a stream with a replica on each server can be made.
func (c *Cluster) form() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const probe = "probe"
	err := wait(ctx, func(ctx context.Context) error {
		return withJetStream(ctx, c.URL(), func(js jetstream.JetStream) error {
			once, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := js.CreateOrUpdateStream(once, jetstream.StreamConfig{Name: probe, Subjects: []string{probe}, Replicas: len(c.servers)})
			if err != nil {
				return err
			}
			return js.DeleteStream(once, probe)
		})
	})
	if err != nil {
		return fmt.Errorf("natstest: no cluster after %s: %w\n%s", patience, err, c.servers[0].said())
	}
	return nil
}

// empty deletes all streams of an account.
func empty(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return withJetStream(ctx, url, func(js jetstream.JetStream) error {
		names := js.StreamNames(ctx)
		for name := range names.Name() {
			if err := js.DeleteStream(ctx, name); err != nil {
				return err
			}
		}
		return names.Err()
	})
}

func withJetStream(ctx context.Context, url string, do func(jetstream.JetStream) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return do(js)
}

// wait tries until it succeeds or ctx ends.
func wait(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func serverName(i int) string { return fmt.Sprintf("nats-%d", i) }
