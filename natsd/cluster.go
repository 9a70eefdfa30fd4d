package natsd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

const (
	// usualReplicas outlive one server that is lost, and one is the fewest that do.
	usualReplicas = 3
	// connectWait bounds the wait for a cluster at start, its first election of a leader (9 s at most, each try) included.
	connectWait = 30 * time.Second
	// connectPause is the wait between two tries, and between two rounds over all servers after a connection was lost.
	connectPause = 250 * time.Millisecond
	// pingEvery and pingsLost find a server that went away without a word: after 15 s.
	pingEvery = 5 * time.Second
	pingsLost = 2
	// leastPayload is what the servers must take as one message, in bytes: a group of the commit log. It is NATS's own default.
	leastPayload = 1 << 20
)

// ErrNotSynced is the refusal of a cluster that was not said to sync every write.
var ErrNotSynced = errors.New(`it has to be stated that every server of the cluster has "sync_interval: always" in its jetstream settings: ` +
	"with NATS's default, which syncs every two minutes, a power cut loses records that were acknowledged")

// Connect connects to an outside cluster, and waits until its JetStream answers: 30 s at most, or until ctx ends. From then on
// the connection is made again whenever it is lost, without end. Neither errors nor the log name the login.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Node, error) {
	n := &Node{log: log, replicas: cfg.Replicas}
	if n.replicas == 0 {
		n.replicas = usualReplicas
	}
	if err := cfg.check(n.replicas); err != nil {
		return nil, fmt.Errorf("NATS cluster: %w", err)
	}
	opts, err := cfg.options(log)
	if err != nil {
		return nil, fmt.Errorf("NATS cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	err = n.patiently(ctx, "connect", func(context.Context) (err error) {
		n.nc, err = nats.Connect(cfg.URL, opts...)
		return err
	})
	if err == nil {
		err = n.greet(ctx)
	}
	if err != nil {
		if n.nc != nil {
			n.nc.Close()
		}
		return nil, fmt.Errorf("NATS cluster: %w", err)
	}
	log.Info("connected to the NATS cluster", "cluster", n.nc.ConnectedClusterName(), "server", n.nc.ConnectedServerName(), "replicas", n.replicas)
	return n, nil
}

// check finds what is wrong with the settings themselves.
func (c Config) check(replicas int) error {
	if !c.SyncAlways {
		return ErrNotSynced
	}
	if replicas != 1 && replicas != 3 && replicas != 5 {
		return fmt.Errorf("%w: %d replicas: 1, 3 or 5 can be kept", logbridge.ErrInvalid, replicas)
	}
	return CheckURL(c.URL)
}

// CheckURL says what is wrong with a list of addresses. It does not repeat them, since they may hold a password.
func CheckURL(list string) error {
	for i, one := range strings.Split(list, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" {
			return fmt.Errorf("%w: address %d is not written as nats://host:port or tls://host:port", logbridge.ErrInvalid, i+1)
		}
	}
	return nil
}

// options are those of the connection. The files are read again at each connect.
func (c Config) options(log *slog.Logger) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("logbridge"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(connectPause),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsLost),
		// A login that is refused for a while, as when the cluster's own settings are being changed, must not end the
		// connection for good.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("connection to the NATS cluster lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to the NATS cluster again", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS connection", "error", err) }),
	}
	logins := 0
	login := func(given bool, opt func() (nats.Option, error)) (err error) {
		if !given {
			return nil
		}
		logins++
		o, err := opt()
		opts = append(opts, o)
		return err
	}
	always := func(o nats.Option) func() (nats.Option, error) { return func() (nats.Option, error) { return o, nil } }
	err := errors.Join(
		login(c.Credentials != "", always(nats.UserCredentials(c.Credentials))),
		login(c.NKey != "", func() (nats.Option, error) { return nats.NkeyOptionFromSeed(c.NKey) }),
		login(c.User != "" || c.Password != "", always(nats.UserInfo(c.User, c.Password))))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if logins > 1 {
		return nil, fmt.Errorf("%w: more than one login", logbridge.ErrInvalid)
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Cert != "" || c.Key != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	return opts, nil
}

// greet waits until JetStream answers, and checks what the cluster must have.
func (n *Node) greet(ctx context.Context) (err error) {
	if most := n.nc.MaxPayload(); most < leastPayload {
		return fmt.Errorf("%w: its servers take messages of %d bytes, %d are needed: raise max_payload", logbridge.ErrInvalid, most, leastPayload)
	}
	if n.js, err = jetstream.New(n.nc); err != nil {
		return err
	}
	return n.patiently(ctx, "JetStream", func(ctx context.Context) error {
		_, err := n.js.AccountInfo(ctx)
		return err
	})
}

// patiently tries until it is done, fails for good, or ctx ends, and tells the log once that it is waiting.
func (n *Node) patiently(ctx context.Context, what string, try func(context.Context) error) error {
	for waiting := false; ; waiting = true {
		once, cancel := context.WithTimeout(ctx, tryWait)
		err := try(once)
		cancel()
		if err == nil || !passing(err) {
			return explain(what, n.replicas, err)
		}
		if !waiting {
			n.log.Info("waiting for the NATS cluster", "for", what, "error", err)
		}
		if sleep(ctx, connectPause) != nil {
			return fmt.Errorf("%w: no success until the wait was over: %w", logbridge.ErrUnavailable, explain(what, n.replicas, err))
		}
	}
}

// tryWait bounds one question to JetStream: one that was lost with a server is asked anew.
const tryWait = 5 * time.Second

// passing reports whether an error may be over in a moment: servers that start, elect, or are not reached.
func passing(err error) bool {
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		return false
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch server.ErrorIdentifier(api.ErrorCode) {
		case server.JSClusterNoPeersErrF, server.JSClusterNotAvailErr, server.JSClusterNotLeaderErr, server.JSInsufficientResourcesErr,
			server.JSStreamOfflineErr, server.JSStreamOfflineReasonErrF:
			return true
		}
		return false
	}
	var remote *net.OpError
	if errors.As(err, &remote) { // a name is not found yet, nobody listens yet, or one who did is gone; not so when it has sent an alert of TLS
		return remote.Op != "remote error"
	}
	for _, kind := range []error{io.EOF, nats.ErrNoServers, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrStaleConnection, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// explain says what can be done about an error.
func explain(what string, replicas int, err error) error {
	if err == nil {
		return nil
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch server.ErrorIdentifier(api.ErrorCode) {
		case server.JSClusterNoPeersErrF, server.JSInsufficientResourcesErr, server.JSStreamReplicasNotSupportedErr:
			return fmt.Errorf("%s: %d replicas cannot be kept there: start as many servers with JetStream, as one cluster and with room on their disks, or ask for fewer: %w",
				what, replicas, err)
		}
	}
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("%s: switch JetStream on, in the servers and for this account: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
