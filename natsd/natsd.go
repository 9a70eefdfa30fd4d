// Package natsd is the NATS that everything durable stands on: a server embedded in this process (the default), or a
// connection to an outside cluster. Nothing else knows which.
//
// The embedded server opens no port (clients reach it in process) and syncs every write to disk before it answers
// (SyncAlways): what JetStream acknowledges survives a power cut, given a disk that keeps what it has synced.
//
// An outside cluster keeps several copies of each stream and bucket. Whether its servers sync every write is known to who
// runs them alone, so it has to be stated. A write there is acknowledged once most of the copies are on disk; the loss of
// fewer servers than that loses nothing, and stops writes for the seconds in which the others agree on a leader.
package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
)

// maxPayload is the largest message the embedded server takes, in bytes: a full commit group and its headers.
const maxPayload = 2 << 20

// maxStore is the bound of all streams and buckets together, in bytes: none.
const maxStore = 1 << 60

// startTimeout bounds the start of the embedded server, recovery of its store included.
const startTimeout = 60 * time.Second

// Config says which NATS it is.
type Config struct {
	// Dir is where the embedded server keeps its files. An outside cluster needs none.
	Dir string

	// URL, if it is set, is an outside cluster: addresses of its servers with commas between them, nats://a:4222,nats://b:4222.
	// With tls:// the connection is refused unless it is by TLS.
	URL string
	// SyncAlways states that every server of the cluster has "sync_interval: always". Nothing works without.
	SyncAlways bool
	// Replicas is how many servers keep a copy of each stream and bucket: 1, 3 (also when it is 0) or 5.
	Replicas int
	// The login, at most one of: Credentials, a file as nsc makes them; NKey, a file with the seed of a user's key; User with
	// Password.
	Credentials, NKey, User, Password string
	// CA is a PEM file of the authorities of the servers' certificates, instead of the system's; Cert and Key are PEM files of
	// the client's own. Any of them asks for TLS.
	CA, Cert, Key string
}

// Node is the NATS of this process.
type Node struct {
	srv      *server.Server // nil with an outside cluster
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	replicas int

	disk disk // of the embedded server
}

// New starts the embedded server and connects to it, or is Connect. Unlike other parts it runs from here on, since the parts
// above read their state in their own New; Run only waits and shuts down.
func New(cfg Config, log *slog.Logger) (*Node, error) {
	if cfg.URL != "" {
		return Connect(context.Background(), cfg, log)
	}
	if cfg.Dir == "" {
		return nil, errors.New("natsd: no folder given")
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "logbridge",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		SyncAlways: true,
		DontListen: true,
		NoSigs:     true,
		MaxPayload: maxPayload,
		// Otherwise the server computes a bound from the room on the disk and refuses to start with what it has when there
		// is less: streams have bounds of their own.
		JetStreamMaxStore: maxStore,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	srv.SetLoggerV2(serverLog{log}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS server: not ready after %s", startTimeout)
	}
	n := &Node{srv: srv, log: log, replicas: 1, disk: disk{dir: cfg.Dir}}
	if err := n.connect(); err != nil {
		srv.Shutdown()
		return nil, err
	}
	return n, nil
}

func (n *Node) connect() error {
	nc, err := nats.Connect("", nats.InProcessServer(n.srv), nats.Name("logbridge"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to embedded NATS server: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return fmt.Errorf("JetStream: %w", err)
	}
	n.nc, n.js = nc, js
	return nil
}

// JetStream gives access to streams.
func (n *Node) JetStream() jetstream.JetStream { return n.js }

// Conn is the connection itself, for plain messages between nodes: at most once, lost while it is down.
func (n *Node) Conn() *nats.Conn { return n.nc }

// Embedded reports whether the server is in this process, so that no other node can be there.
func (n *Node) Embedded() bool { return n.srv != nil }

// Ready is nil while there is a connection; with the embedded server there always is.
func (n *Node) Ready() error {
	if !n.nc.IsConnected() {
		return fmt.Errorf("%w: no connection to the NATS cluster", logbridge.ErrUnavailable)
	}
	return nil
}

// Reconnects is how often the connection was lost and made again.
func (n *Node) Reconnects() uint64 { return n.nc.Stats().Reconnects }

// Replicas is how many copies a stream or bucket has: 1 when embedded.
func (n *Node) Replicas() int { return n.replicas }

// Run waits for ctx to end and then closes connection and server. Whoever uses them must have ended before.
func (n *Node) Run(ctx context.Context) error {
	<-ctx.Done()
	n.nc.Close()
	if n.srv != nil {
		n.srv.Shutdown()
		n.srv.WaitForShutdown()
	}
	return nil
}

// serverLog passes what the embedded server has to say to the program's log. Its notices are start-up chatter.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l serverLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l serverLog) Fatalf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l serverLog) Debugf(string, ...any)           {}
func (l serverLog) Tracef(string, ...any)           {}
