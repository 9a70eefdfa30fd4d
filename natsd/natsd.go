// Package natsd is the NATS that everything durable stands on: a server embedded in this process (the default), or
// later a connection to a cluster. Nothing else knows which.
//
// The embedded server opens no port (clients reach it in process) and syncs every write to disk before it answers
// (SyncAlways): what JetStream acknowledges survives a power cut, given a disk that keeps what it has synced.
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
)

// maxPayload is the largest message the embedded server takes, in bytes: a full commit group and its headers.
const maxPayload = 2 << 20

// maxStore is the bound of all streams and buckets together, in bytes: none.
const maxStore = 1 << 60

// startTimeout bounds the start of the embedded server, recovery of its store included.
const startTimeout = 60 * time.Second

// Config says where the embedded server keeps its files.
type Config struct {
	Dir string
}

// Node is the NATS of this process.
type Node struct {
	srv *server.Server
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger

	disk disk
}

// New starts the embedded server and connects to it. Unlike other parts it runs from here on, since the parts above
// read their state in their own New; Run only waits and shuts down.
func New(cfg Config, log *slog.Logger) (*Node, error) {
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
	n := &Node{srv: srv, log: log, disk: disk{dir: cfg.Dir}}
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

// Bucket opens the key-value bucket of this name, and makes it if it is not there. One value is kept for each key.
func (n *Node) Bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := n.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, History: 1, Storage: jetstream.FileStorage})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return kv, nil
}

// Run waits for ctx to end and then closes connection and server. Whoever uses them must have ended before.
func (n *Node) Run(ctx context.Context) error {
	<-ctx.Done()
	n.nc.Close()
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
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
