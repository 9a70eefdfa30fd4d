//go:build linux

package sink

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// catchUpRecords is how much the node that was away has missed.
const catchUpRecords = 200_000

// BenchmarkCluster prints what a cluster of three servers on this machine takes in, beside an embedded server in the same run, how
// fast a node comes back from the commit log and from another node's segments, and how long nothing is stored when the server that leads is
// killed. All servers share one disk and its processors here: three machines have three of each.
func BenchmarkCluster(b *testing.B) {
	for b.Loop() {
		servers := natstest.Start(b, 3)
		fmt.Printf("\nA cluster of three servers on one machine. Medians of %d interleaved rounds, %d CPUs.\n\n", ackRounds, runtime.NumCPU())
		fmt.Printf("%-54s %9s %9s %6s\n", "acknowledged records a second", "cluster", "embedded", "ratio")
		for _, row := range []ackRow{{64, 1, ""}, {64, 10, ""}, {64, 100, ""}} {
			compareCluster(b, servers, row)
		}
		catchUp(b, servers)
		stall(b, servers)
	}
}

func compareCluster(b *testing.B, servers *natstest.Cluster, row ackRow) {
	procs := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(procs + ExtraProcs)
	defer runtime.GOMAXPROCS(procs)
	var all [2][]ackFigures
	for round := range ackRounds {
		for turn := range 2 {
			i := (round + turn) % 2
			url := ""
			if i == 0 {
				url = servers.Fresh(b)
			}
			all[i] = append(all[i], measureLogOn(b, row, url))
		}
	}
	c, e := medianAcks(all[0]), medianAcks(all[1])
	fmt.Printf("%-54s %9.0f %9.0f %6.2f\n", row.name(""), c.rate, e.rate, c.rate/e.rate)
}

// nodeOn is a sink on a cluster, in a folder of its own.
func nodeOn(b *testing.B, url string, cfg Config) *env {
	e := &env{t: b, dir: b.TempDir(), cfg: cfg, url: url}
	e.start()
	b.Cleanup(func() { e.stop() })
	return e
}

// catchUp measures a node that comes back: from the commit log, and from another node's segments.
func catchUp(b *testing.B, servers *natstest.Cluster) {
	url := servers.Fresh(b)
	a := nodeOn(b, url, Config{CommitLogAge: time.Hour, MemtableBytes: 8 << 20})
	rnd := rand.New(rand.NewPCG(1, 1))
	for n := 0; n < catchUpRecords; n += 100 {
		batch := logbridge.Batch{Records: make([]logbridge.Record, 100)}
		for i := range batch.Records {
			batch.Records[i] = line(fmt.Sprint("dev_", n%1000), fmt.Sprintf("record %d: %016x%016x", n+i, rnd.Uint64(), rnd.Uint64()))
		}
		a.append(batch)
	}
	all := func(e *env) time.Duration {
		began := time.Now()
		e.start()
		b.Cleanup(func() { e.stop() })
		until(b, "that a node has everything", func() bool { return e.log.Newest() == a.log.Newest() && e.log.Ready() == nil })
		return time.Since(began)
	}
	took := all(&env{t: b, dir: b.TempDir(), url: url})
	fmt.Printf("%-54s %9.0f records/s (%d in %.1f s, start included)\n", "a new node reads the commit log", catchUpRecords/took.Seconds(), catchUpRecords, took.Seconds())
	info, err := a.log.stream.Info(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := a.log.stream.Purge(b.Context(), jetstream.WithPurgeSequence(min(a.log.newest().last, info.State.LastSeq)+1)); err != nil {
		b.Fatal(err)
	}
	copies := &env{t: b, dir: b.TempDir(), url: url}
	took = all(copies)
	size := float64(copies.log.Stats().CopiedBytes) / 1e6
	fmt.Printf("%-54s %9.1f MB/s (%.1f MB of segments in %.1f s, start included)\n", "a new node copies segments", size/took.Seconds(), size, took.Seconds())
}

// stall kills the server that leads, a few times.
func stall(b *testing.B, servers *natstest.Cluster) {
	const times = 5
	e := nodeOn(b, servers.URL(), Config{})
	load := startLoad(b, []*env{e})
	defer load.stop()
	var worst, sum time.Duration
	for range times {
		load.more(50)
		leader := servers.Leader(streamName)
		if leader < 0 {
			continue
		}
		e.log.commit.flight.longest.Store(0)
		servers.Kill(leader)
		load.more(50)
		took := e.log.Stats().CommitLongest
		worst, sum = max(worst, took), sum+took
		servers.Restart(leader)
		servers.Healthy()
	}
	fmt.Printf("%-54s %9.1f s on average, %.1f s at worst, of %d\n", "nothing is stored when the leading server is killed", sum.Seconds()/times, worst.Seconds(), times)
}
