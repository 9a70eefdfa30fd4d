package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

const (
	// newsSubject is where a node tells the others that it has committed a group: a plain message, which may be lost.
	newsSubject = "logbridge.sink.news"

	// pollEvery is how often a node looks into the commit log when it has heard nothing.
	pollEvery = time.Second

	// nodesBucket says how far each node's segments reach.
	nodesBucket = "logbridge_sink"

	// nodeFile holds the name of the folder, which it has for as long as it is there.
	nodeFile = "node"
)

// cluster is what a sink has that shares its commit log with other nodes; nil with an embedded server.
type cluster struct {
	conn   *nats.Conn
	nodes  jetstream.KeyValue
	name   string // of the folder
	fetch  *fetcher
	writer *writer
	log    *slog.Logger

	news chan struct{} // others may have committed something; holds one
	subs []*nats.Subscription

	target uint64        // the end of the commit log when this node started
	keep   time.Duration // Config.CommitLogAge
	behind atomic.Bool   // this node has not come to what the others have
	lag    atomic.Uint64 // groups that this node has not indexed, as of the last look
	said   time.Time     // when the log was last told that the commit log is not reached

	give        giver
	asks        chan *nats.Msg // of nodes that copy segments
	tending     sync.RWMutex   // merges and removals read it, a copy from another node writes
	copied      atomic.Uint64  // segments that were copied from others
	copiedBytes atomic.Uint64
	copying     atomic.Bool
	running     bool          // Run has begun; the indexer's own
	idle        int           // looks in a row that found nothing; likewise
	stateless   bool          // windows or ledger of this node are missing; the indexer's own
	flushed     chan struct{} // a segment was written; holds one
}

// openCluster connects a sink to what the nodes share besides the commit log.
func openCluster(ctx context.Context, cfg Config, node *natsd.Node, log *slog.Logger) (*cluster, error) {
	c := &cluster{
		conn: node.Conn(), log: log, keep: cfg.CommitLogAge,
		news: make(chan struct{}, 1), flushed: make(chan struct{}, 1), asks: make(chan *nats.Msg, asksMost),
	}
	var err error
	if c.name, err = nodeName(cfg.Dir); err != nil {
		return nil, err
	}
	if c.nodes, err = node.Bucket(ctx, nodesBucket); err != nil {
		return nil, err
	}
	if c.fetch, err = newFetcher(c.conn); err != nil {
		return nil, err
	}
	c.writer = &writer{subject: subject + "." + rand.Text(), lookup: c.fetch.lastOf, log: log}
	c.give = giver{dir: cfg.Dir, log: log, open: map[string]*givenCopy{}}
	return c, nil
}

// listen subscribes to what the other nodes say. It is the last of New: whoever makes a sink runs it.
func (c *cluster) listen() error {
	heard, err := c.conn.Subscribe(newsSubject, func(m *nats.Msg) {
		if string(m.Data) != c.writer.subject {
			c.look()
		}
	})
	if err == nil {
		c.subs = append(c.subs, heard)
		err = c.listenForCopies()
	}
	if err != nil {
		c.close()
		return fmt.Errorf("messages of other nodes: %w", err)
	}
	return nil
}

// close ends what openCluster and listen began. Errors mean that the connection is gone, and all that with it.
func (c *cluster) close() {
	for _, s := range append(c.subs, c.fetch.sub) {
		_ = s.Unsubscribe()
	}
	c.give.closeAll()
}

// look makes the indexer look into the commit log.
func (c *cluster) look() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// committed tells the others that there is something new.
func (c *cluster) committed() {
	_ = c.conn.Publish(newsSubject, []byte(c.writer.subject)) // lost, the others find it when they look
}

// nodeName reads the name of a folder, or gives it one.
func nodeName(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, nodeFile))
	if name := strings.TrimSpace(string(b)); err == nil && name != "" && len(name) <= 64 && !strings.ContainsAny(name, ".*> \t") {
		return name, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	name := rand.Text()
	_, err = replaceFile(dir, nodeFile, func(f *os.File) (string, error) {
		_, err := f.WriteString(name + "\n")
		return nodeFile, err
	})
	return name, err
}

// openSharedStream makes the commit log of a cluster, or opens it. One that has to be made continues behind this node's segments;
// one that is there and empty is made to, as with an embedded server.
func openSharedStream(ctx context.Context, node *natsd.Node, lastIndexed uint64, maxBytes int64) (jetstream.Stream, error) {
	const tries = 10 // several nodes may start at the same time
	var s jetstream.Stream
	var err error
	for range tries {
		cfg := streamConfig(maxBytes)
		cfg.Subjects = append(cfg.Subjects, subject+".*")
		cfg.Duplicates = 0 // the server's own: two minutes
		if s, err = node.JetStream().Stream(ctx, streamName); err == nil {
			has := s.CachedInfo().Config
			cfg.FirstSeq = has.FirstSeq
			if has.MaxBytes == cfg.MaxBytes && has.Replicas >= node.Replicas() {
				break
			}
		} else if errors.Is(err, jetstream.ErrStreamNotFound) {
			cfg.FirstSeq = lastIndexed + 1
		}
		if s, err = node.Stream(ctx, cfg); !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("commit log: %w", err)
	}
	return s, nil
}

// errBehind is what those get who ask while this node is not where the others are.
var errBehind = fmt.Errorf("%w: this node is catching up with the others", logbridge.ErrUnavailable)

// current is nil when this node can take and answer.
func (l *Log) current() error {
	if l.cluster == nil || !l.cluster.behind.Load() {
		return nil
	}
	if l.cluster.copying.Load() {
		return fmt.Errorf("%w: copying segments", errBehind)
	}
	return fmt.Errorf("%w: %d groups are left", errBehind, l.cluster.lag.Load())
}
