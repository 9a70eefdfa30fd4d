package natsd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd/natstest"
)

func TestClusterHasToBeSaidToSync(t *testing.T) {
	_, err := New(Config{URL: "nats://127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrNotSynced) {
		t.Errorf("without the statement: %v", err)
	}
}

func TestURLsAreCheckedAndNotRepeated(t *testing.T) {
	for _, good := range []string{"nats://a", "nats://a:4222,tls://user:secret@b:4222, nats://[::1]:4222"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a:4222", "http://u:secret@a", "nats://", "nats://u:secret@a:x", "nats://a,", "nats://u:secret%@a", "nats://a/x"} {
		if err := CheckURL(bad); !errors.Is(err, logbridge.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestConnectFails: each in time, with a reason that helps, and without the password.
func TestConnectFails(t *testing.T) {
	c := natstest.Start(t, 1)
	withLogin := strings.Replace(c.URL(), "nats://", "nats://common:wrong-secret@", 1)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		cfg  Config
		want string
	}{
		"password":                      {t.Context(), Config{URL: withLogin}, "Authorization Violation"},
		"user":                          {t.Context(), Config{URL: c.URL(), User: "common", Password: "wrong-secret"}, "Authorization Violation"},
		"two logins":                    {t.Context(), Config{URL: c.URL(), User: "common", Password: "wrong-secret", Credentials: "x"}, "more than one login"},
		"no credentials":                {t.Context(), Config{URL: c.URL(), Credentials: "/nowhere/x.creds"}, "no such file"},
		"no key":                        {t.Context(), Config{URL: c.URL(), NKey: "/nowhere/x.nk"}, "key file"},
		"no authorities":                {t.Context(), Config{URL: c.URL(), CA: "/nowhere/ca.pem"}, "no such file"},
		"nobody answers":                {over, Config{URL: "nats://127.0.0.1:1"}, "no success until the wait was over"},
		"four replicas":                 {t.Context(), Config{URL: c.URL(), Replicas: 4}, "1, 3 or 5"},
		"TLS of a server that has none": {over, Config{URL: strings.Replace(c.URL(), "nats://", "tls://", 1)}, "secure connection not available"},
	} {
		tt.cfg.SyncAlways = true
		_, err := Connect(tt.ctx, tt.cfg, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// TestReplicasMustFit: one server cannot keep three copies, and says so at once.
func TestReplicasMustFit(t *testing.T) {
	c := natstest.Start(t, 1)
	n := startWith(t, Config{URL: c.URL(), SyncAlways: true})
	_, err := n.Bucket(t.Context(), "b")
	if err == nil || !strings.Contains(err.Error(), "3 replicas cannot be kept") {
		t.Errorf("three replicas on one server: %v", err)
	}
	one := startWith(t, Config{URL: c.URL(), SyncAlways: true, Replicas: 1})
	if _, err := one.Bucket(t.Context(), "b"); err != nil {
		t.Error(err)
	}
}

// TestReplicasOnACluster: each stream and bucket has three, and a node with another setting takes none away.
func TestReplicasOnACluster(t *testing.T) {
	url := natstest.URL(t, t.TempDir())
	ctx := t.Context()
	for _, replicas := range []int{0, 1} {
		n := startWith(t, Config{URL: url, SyncAlways: true, Replicas: replicas})
		if _, err := n.Bucket(ctx, "b"); err != nil {
			t.Fatal(err)
		}
		s, err := n.Stream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.JetStream().Stream(ctx, "KV_b")
		if err != nil {
			t.Fatal(err)
		}
		if got, gotBucket := s.CachedInfo().Config.Replicas, b.CachedInfo().Config.Replicas; got != 3 || gotBucket != 3 {
			t.Errorf("setting %d: stream has %d replicas, bucket %d", replicas, got, gotBucket)
		}
	}
}

// TestLogHasNoSecrets, also while the connection is lost and made again.
func TestLogHasNoSecrets(t *testing.T) {
	c := natstest.Start(t, 1)
	url := c.Fresh(t)
	_, rest, _ := strings.Cut(url, "//")
	login, _, _ := strings.Cut(rest, "@")
	_, password, _ := strings.Cut(login, ":")
	var said bytes.Buffer
	n, err := New(Config{URL: url, SyncAlways: true, Replicas: 1}, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	again := make(chan struct{})
	handler := n.nc.ReconnectHandler()
	n.nc.SetReconnectHandler(func(nc *nats.Conn) { handler(nc); close(again) })
	c.Kill(0)
	c.Restart(0)
	<-again
	end(n)
	for _, want := range []string{"connected to the NATS cluster\"", "connection to the NATS cluster lost", "connected to the NATS cluster again"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, said.String())
		}
	}
	if strings.Contains(said.String(), "@") || strings.Contains(said.String(), password+" ") {
		t.Errorf("a login in the log:\n%s", said.String())
	}
}
