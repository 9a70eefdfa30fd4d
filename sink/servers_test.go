package sink

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// TestServersAreKilledOnACluster kills each server of the cluster in turn, then all of them, while two nodes append; and then the server that
// leads, whose loss is what stalls them. What was acknowledged is found on both, once, and both are alike.
func TestServersAreKilledOnACluster(t *testing.T) {
	newNodes(t, 0, Config{}) // or it is not the round for this
	servers := natstest.Start(t, 3)
	var nodes []*env
	for i := range 2 {
		e := &env{t: t, dir: filepath.Join(t.TempDir(), fmt.Sprint(i)), cfg: Config{MemtableBytes: 64 << 10}, url: servers.URL()}
		if err := os.MkdirAll(e.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		e.start()
		defer e.stop()
		nodes = append(nodes, e)
	}
	load := startLoad(t, nodes)
	for round := range 3 {
		load.more(20)
		servers.Kill(round)
		load.more(20)
		servers.Restart(round)
		servers.Healthy()
	}
	for i := range 3 {
		servers.Kill(i)
	}
	for i := range 3 {
		servers.Restart(i)
	}
	servers.Healthy()
	load.more(20)
	before := nodes[0].log.Stats().CommitLongest
	if leader := servers.Leader(streamName); leader >= 0 {
		servers.Kill(leader)
		load.more(20)
		servers.Restart(leader)
		servers.Healthy()
	}
	load.stop()
	alike(t, nodes...)
	for i, e := range nodes {
		t.Logf("node %d: %d acknowledged, %d gave up; longest wait for the commit log %s (%s before the leader was killed), %d repetitions", i,
			len(load.acked), load.gaveUp, e.log.Stats().CommitLongest, before, e.log.Stats().CommitRepeats)
		found := map[string]int{}
		for _, r := range e.query(logbridge.Query{Device: "load"}) {
			if found[r.Body]++; found[r.Body] > 1 {
				t.Errorf("node %d: %q is there twice", i, r.Body)
			}
		}
		for _, text := range load.acked {
			if found[text] == 0 {
				t.Errorf("node %d: %q was acknowledged and is lost", i, text)
			}
		}
	}
	if nodes[0].log.Stats().CommitLongest < 100*time.Millisecond {
		t.Error("nobody waited for a leader: this test wants it")
	}
}

// clusterLoad is writers on several nodes, which give up after a while and go on with the next line.
type clusterLoad struct {
	t      testing.TB
	end    context.CancelFunc
	all    sync.WaitGroup
	mu     sync.Mutex
	acked  []string
	gaveUp int
	come   chan struct{}
}

func startLoad(t testing.TB, nodes []*env) *clusterLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &clusterLoad{t: t, end: cancel, come: make(chan struct{}, 1)}
	for i, e := range nodes {
		for w := range 3 {
			l.all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					l.one(e, fmt.Sprintf("line %d of writer %d on node %d", n, w, i))
				}
			})
		}
	}
	return l
}

func (l *clusterLoad) one(e *env, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // as for MQTT
	defer cancel()
	_, err := e.log.Append(ctx, logbridge.Batch{Records: []logbridge.Record{line("load", text)}})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.gaveUp++
		return
	}
	l.acked = append(l.acked, text)
	select {
	case l.come <- struct{}{}:
	default:
	}
}

// more waits for so many more acknowledgements.
func (l *clusterLoad) more(n int) {
	l.t.Helper()
	l.mu.Lock()
	want := len(l.acked) + n
	l.mu.Unlock()
	for limit := time.After(time.Minute); ; {
		l.mu.Lock()
		enough := len(l.acked) >= want
		l.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-l.come:
		case <-limit:
			l.t.Fatalf("no more acknowledgements; %d gave up", l.gaveUp)
		}
	}
}

func (l *clusterLoad) stop() {
	l.end()
	l.all.Wait()
}
