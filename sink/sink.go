package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd"
)

// Config sets the folder and the bounds of the sink. Zero fields take the defaults.
type Config struct {
	// Dir is the folder of the segments, and of windows and ledger beside them.
	Dir string
	// MemtableBytes is the size at which the memtable becomes a segment; default 24 MiB, at most 512 MiB. Twice as much may be in memory
	// while a segment is being written.
	MemtableBytes int
	// MemtableAge is the age at which it becomes one although it is small; default 10 minutes.
	MemtableAge time.Duration
	// CommitLogBytes bounds the commit log on disk; default 4 GiB. It holds what is in the memtables, and far less than
	// this, unless old sequences cannot be dropped.
	CommitLogBytes int64
	// CommitLogAge is how long a cluster's commit log keeps groups at least, so that a node which was away goes on from there,
	// unless they are more than three quarters of CommitLogBytes; default 24 h. An embedded server keeps none that is in a segment.
	CommitLogAge time.Duration

	// RetentionAge is how long records are kept after they were received; RetentionBytes how many bytes of segments. What
	// is beyond goes, whole segments, oldest first. 0 keeps for ever.
	RetentionAge   time.Duration
	RetentionBytes int64
	// AuditAge is how long records of the audit stream are kept at least, also when what lies beside them goes. 0 is as long as
	// that, negative for ever. Only when they alone are more than RetentionBytes, the oldest of them go before.
	AuditAge time.Duration

	// MaxQueries is how many queries are being answered at a time, those that wait for their turn or for their readers
	// included; default 72. Any beyond is told to come later.
	MaxQueries int
	// QueryTime and QueryBytes bound what one query may work, on all processors together, and read; defaults 2 min and 64 GiB.
	// Waiting does not count.
	QueryTime  time.Duration
	QueryBytes int64

	// Now is the clock that RetentionAge goes by; default time.Now.
	Now func() time.Time
}

// maxMemtableBytes bounds Config.MemtableBytes: the smallest record takes 23 bytes of its group and rowBytes, 56, so a
// memtable stays below maxSegmentRows, also when it grows by a group beyond its size.
const maxMemtableBytes = 512 << 20

func (c *Config) setDefaults() {
	if c.MemtableBytes == 0 {
		c.MemtableBytes = 24 << 20
	}
	if c.MemtableAge == 0 {
		c.MemtableAge = 10 * time.Minute
	}
	if c.CommitLogBytes == 0 {
		c.CommitLogBytes = 4 << 30
	}
	c.CommitLogAge = cmp.Or(c.CommitLogAge, 24*time.Hour)
	c.MaxQueries = cmp.Or(c.MaxQueries, 72)
	c.QueryTime = cmp.Or(c.QueryTime, 2*time.Minute)
	c.QueryBytes = cmp.Or(c.QueryBytes, 64<<30)
	if c.Now == nil {
		c.Now = time.Now
	}
}

// GCPercent is the garbage collection target (debug.SetGCPercent) for a program with a busy sink: the heap is mostly
// memtables, which hold no pointers, so collecting more often than by default costs little and saves tens of megabytes.
const GCPercent = 70

// ExtraProcs is how many processors of Go's (GOMAXPROCS) a program with a busy sink has beyond what it would have: one is in
// a sync most of the time, where the runtime takes it for busy, and with two cores half of the program would wait with it.
const ExtraProcs = 1

// Log is the sink. Its methods may be called concurrently.
type Log struct {
	cfg     Config
	log     *slog.Logger
	stream  jetstream.Stream
	room    *room
	commit  *committer
	groups  chan *group // committed, on their way to the indexer
	ledger  *ledger
	cluster *cluster              // nil with an embedded server
	stuck   atomic.Pointer[error] // why the latest segment is not written yet, nil when nothing failed

	turns          *turns
	queries, tails *gate
	sleepers       *sleepers
	patience       time.Duration // of tails; tailPatience but in tests
	tailDropped    atomic.Uint64 // records

	wakeMerge, wakeRetention, wakeEraser chan struct{} // after each new segment
	wakeIndexer                          chan struct{} // a memtable may have to be written
	merges                               atomic.Uint64
	expiredByAge                         atomic.Uint64 // records
	expiredByBytes, erased               atomic.Uint64

	// The indexer's own.
	duplicates *duplicates
	parsed     parsed
	began      time.Time     // when active got its first group
	written    chan struct{} // closed when no segment is being written

	stateFiles sync.Mutex // windows and ledgers beside the segments are removed, or linked, one at a time

	// Of whoever writes a segment, one at a time.
	ledgerOrder []uint32 // of the last checkpoint

	mu       sync.RWMutex
	active   *memtable
	first    uint64      // sequence after the last one of frozen or segments
	frozen   *frozen     // being written as a segment, or nil
	segments *segmentSet // its list
	last     logbridge.Position
	erasures erasures // not done

	erasuresDone erasures // the last ones, on a cluster

	savingErasures sync.Mutex
	erasedFiles    []string // to be removed; of the eraser alone

	// rewriting is locked by whoever writes a segment in the place of others, until they have left the set and their files are gone.
	rewriting sync.Mutex
}

// frozen is a memtable that takes no more.
type frozen struct {
	table       *memtable
	first, last uint64
	window      frozenWindow // what tells repetitions, at that point
	ledger      ledgerState
	gone        erasures // what has been erased of it
	path        string   // of its file, once written
}

// New opens the folder, indexes what the commit log holds beyond the segments, and makes the sink ready for Append, which
// works once Run runs.
func New(ctx context.Context, cfg Config, node *natsd.Node, log *slog.Logger) (*Log, error) {
	cfg.setDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("sink: no folder given")
	}
	if cfg.MemtableBytes > maxMemtableBytes {
		return nil, fmt.Errorf("sink: %w: a memtable of %d bytes, at most %d", logbridge.ErrInvalid, cfg.MemtableBytes, maxMemtableBytes)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	if err := syncDir(filepath.Dir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	l := &Log{
		cfg: cfg, log: log,
		groups: make(chan *group, handOverMost), active: newMemtable(0),
		written: make(chan struct{}), wakeMerge: make(chan struct{}, 1), wakeRetention: make(chan struct{}, 1),
		wakeEraser: make(chan struct{}, 1), wakeIndexer: make(chan struct{}, 1),
		turns: newTurns(), queries: newGate(0, cfg.MaxQueries), tails: newGate(maxTailsReading, 0),
		sleepers: newSleepers(), patience: tailPatience,
	}
	close(l.written)
	l.wakeIndexer <- struct{}{} // an erasure may wait since before the start
	open := l.openAlone
	if !node.Embedded() {
		open = l.openShared
	}
	if err := open(ctx, node); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	return l, nil
}

// openAlone is New with an embedded server.
func (l *Log) openAlone(ctx context.Context, node *natsd.Node) error {
	l.room = newRoom(l.cfg, node.Room, l.log)
	var err error
	var last uint64
	if l.segments, last, err = loadSegments(l.cfg.Dir, l.log); err != nil {
		return err
	}
	if err := l.loadErasures(); err != nil {
		return err
	}
	if l.stream, err = openStream(ctx, node.JetStream(), last, l.cfg.CommitLogBytes); err != nil {
		return err
	}
	if err := l.recover(ctx, last); err != nil {
		return err
	}
	l.commit = newCommitter(node.JetStream(), l.room, l.groups, l.ledger, l.log)
	return nil
}

// openShared is New on a cluster: what the commit log holds is indexed by Run.
func (l *Log) openShared(ctx context.Context, node *natsd.Node) (err error) {
	l.room = newRoom(l.cfg, natsd.RoomIn(l.cfg.Dir), l.log)
	if err := errors.Join(removeCopies(l.cfg.Dir), finishCopy(l.cfg.Dir)); err != nil {
		return err
	}
	if l.cluster, err = openCluster(ctx, l.cfg, node, l.log); err != nil {
		return err
	}
	var last uint64
	if l.segments, last, err = loadSegments(l.cfg.Dir, l.log); err == nil {
		err = l.loadErasures()
	}
	if err == nil {
		l.stream, err = openSharedStream(ctx, node, last, l.cfg.CommitLogBytes)
	}
	if err == nil {
		err = l.join(ctx, last)
	}
	if err == nil {
		err = l.cluster.listen()
	}
	if err != nil {
		l.cluster.close()
		return err
	}
	l.commit = newCommitter(node.JetStream(), l.room, l.groups, l.ledger, l.log)
	l.commit.writer = l.cluster.writer
	return nil
}

// Run commits, indexes, writes, merges and expires segments until ctx ends; then it finishes what was appended before and
// returns. The memtable needs no writing then: the commit log has it. An error means that nothing can be committed any more.
func (l *Log) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var committing error
	var wg sync.WaitGroup
	wg.Go(func() {
		if committing = l.commit.run(ctx); committing != nil {
			cancel() // or a segment that cannot be written either would hold up the end
		}
	})
	tending, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { (&merger{Log: l, policy: newMergePolicy(l.cfg.RetentionAge, l.cfg.AuditAge)}).run(tending) })
	wg.Go(func() { l.retaining(tending) })
	wg.Go(func() { l.eraser(tending) })
	if l.cluster != nil {
		defer l.cluster.close()
		wg.Go(func() { l.keeping(tending) })
		wg.Go(func() { l.answering(tending) })
	}
	indexing := l.index(ctx)
	if indexing != nil {
		cancel()
		for g := range l.groups { // until the committer has ended
			if g.claim() {
				g.fail(fmt.Errorf("%w: %w", logbridge.ErrUnavailable, indexing))
			}
			g.settle()
		}
	}
	stop()
	wg.Wait()
	l.segments.cache.clear()
	return errors.Join(committing, indexing)
}

// Append stores a batch. nil means that a power cut now would not lose it, and that a query begun now finds it. An error
// that is ErrUnavailable leaves the outcome unknown; ErrTooLarge and ErrInvalid mean that nothing was stored. The batch
// is not kept. The deadline of ctx bounds the wait.
func (l *Log) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	defer l.turns.append()()
	members, err := l.enqueue(b)
	if err != nil {
		return logbridge.Receipt{}, err
	}
	return await(ctx, members)
}

// AppendAll stores batches as Append does, in their order and most often with one sync, and says of each what became of it.
func (l *Log) AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome {
	defer l.turns.append()()
	outcomes, members := make([]logbridge.Outcome, len(batches)), make([][]*waiting, len(batches))
	for i, b := range batches {
		members[i], outcomes[i].Err = l.enqueue(b)
	}
	for i := range outcomes {
		if o := &outcomes[i]; o.Err == nil {
			o.Receipt, o.Err = await(ctx, members[i])
		}
	}
	return outcomes
}

// enqueue hands a batch to the committer.
func (l *Log) enqueue(b logbridge.Batch) ([]*waiting, error) {
	if len(b.Records) == 0 {
		return nil, nil
	}
	uploads, err := encodeBatch(b)
	if err != nil {
		return nil, err
	}
	var members []*waiting
	if err = l.current(); err == nil {
		members, err = l.commit.enqueue(uploads)
	}
	if err != nil {
		l.ledger.refuseBatch(b.Records)
	}
	return members, err
}

// await waits until what was enqueued is stored.
func await(ctx context.Context, members []*waiting) (sum logbridge.Receipt, err error) {
	for _, w := range members {
		select {
		case r := <-w.done:
			if r.err != nil {
				return sum, r.err
			}
			sum.Stored += r.receipt.Stored
			sum.Duplicate += r.receipt.Duplicate
		case <-ctx.Done():
			return sum, fmt.Errorf("%w: append: %w", logbridge.ErrUnavailable, context.Cause(ctx))
		}
	}
	return sum, nil
}

// Ready is nil when records can be stored and found. An error says why they cannot, or soon cannot: segments are not being
// written, the disk is full, this node of a cluster has not come to what the others have, or the cluster does not answer.
func (l *Log) Ready() error {
	if err := l.current(); err != nil {
		return err
	}
	if waiting := l.commit.flight.waiting(); l.cluster != nil && waiting > readyWait {
		return fmt.Errorf("%w: the cluster has not taken anything for %s", logbridge.ErrUnavailable, waiting.Truncate(time.Second))
	}
	if err := l.stuck.Load(); err != nil {
		return fmt.Errorf("%w: segments cannot be written: %w", logbridge.ErrUnavailable, *err)
	}
	return l.room.check(0)
}
