package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// TestCrashCluster kills two servers of ours and the three of NATS that they stand on, each in turn and then all of them, while both
// nodes take uploads on every surface. Afterwards both have every acknowledged line, once, and are alike.
func TestCrashCluster(t *testing.T) {
	const scenario = "two nodes, three NATS servers"
	crashes.begin(t, scenario)
	servers, w := natstest.Start(t, 3), newWitness()
	nodes := []*clusterNode{newClusterNode(t, servers, nil)}
	nodes = append(nodes, newClusterNode(t, servers, nodes[0].place))
	n, longest := rounds(1, 6), 0.0
	killed := 0
	kill := func(load *clusterUploads, what func(), back func()) {
		load.more(uploadsBetween)
		what()
		load.during(uploadsBetween)
		back()
		killed++
	}
	for round := range n {
		load := w.loadCluster(t, nodes, fmt.Sprint("round", round))
		for i := range 3 {
			kill(load, func() { servers.Kill(i) }, func() { servers.Restart(i); servers.Healthy() })
		}
		for _, node := range nodes {
			kill(load, node.kill, node.start)
		}
		load.more(uploadsBetween)
		for _, node := range nodes {
			longest = max(longest, node.metric("logbridge_commit_longest_wait_seconds"))
			node.kill()
		}
		for i := range 3 {
			servers.Kill(i)
		}
		killed++
		for i := range 3 {
			servers.Restart(i)
		}
		servers.Healthy()
		for _, node := range nodes {
			node.start()
		}
		load.more(uploadsBetween)
		load.end()
		w.agree(t, nodes)
	}
	replayed := w.replay(t, nodes[1].process) // on the node that is not theirs, half of them
	sum := w.agree(t, nodes)
	crashes.row(t, scenario, n, sum, fmt.Sprintf("%d kills, %d uploads replayed on the other node, longest wait for a leader %.1f s", killed, replayed, longest))
}

// uploadsBetween is how many answers come between two blows.
const uploadsBetween = 40

// clusterNode is one of our servers on a cluster.
type clusterNode struct {
	*place
	mu      sync.Mutex
	process *process
}

// newClusterNode starts a node with the settings and the seal key of another.
func newClusterNode(t testing.TB, servers *natstest.Cluster, like *place) *clusterNode {
	n := &clusterNode{place: newPlace(t, crashConfig+"nats: "+servers.URL()+"\nnats_sync_always: true\n")}
	if like != nil {
		n.copyFile("seal-key", like.dir)
	}
	n.start()
	return n
}

func (n *clusterNode) start() {
	n.t.Helper()
	s := n.place.start(anyone, anyone)
	n.mu.Lock()
	n.process = s
	n.mu.Unlock()
	limit := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); n.readiness() != http.StatusOK; {
		select {
		case <-tick.C:
		case <-limit:
			n.t.Fatalf("the node is not ready:\n%s", s.output())
		}
	}
}

func (n *clusterNode) readiness() int {
	res, err := http.Get(n.now().url() + "/readyz")
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func (n *clusterNode) now() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

func (n *clusterNode) kill() { n.now().stop(syscall.SIGKILL) }

func (n *clusterNode) metric(name string) float64 {
	for _, line := range strings.Split(n.now().metrics(), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, _ := strconv.ParseFloat(value, 64) // 0 fails the test that asks
			return v
		}
	}
	n.t.Errorf("there is no metric %s", name)
	return 0
}

// clusterUploads are uploads on every surface of both nodes, which go on over refusals and deaths.
type clusterUploads struct {
	t    testing.TB
	all  sync.WaitGroup
	stop chan struct{}
	came chan struct{} // an answer; holds one
	mu   sync.Mutex
	n    int
}

func (w *witness) loadCluster(t testing.TB, nodes []*clusterNode, round string) *clusterUploads {
	l := &clusterUploads{t: t, stop: make(chan struct{}), came: make(chan struct{}, 1)}
	for i, node := range nodes {
		for name := range w.surfaces(node.now()) {
			if i == 1 && strings.HasPrefix(name, "http-b") {
				continue // two of them are enough
			}
			who := fmt.Sprintf("%s-%s-%d", name, round, i)
			l.all.Go(func() { l.upload(w, node, name, who) })
		}
	}
	return l
}

// upload sends until the end. After a refusal it begins with a new connection to what the node is now.
func (l *clusterUploads) upload(w *witness, node *clusterNode, name, who string) {
	send := w.surfaces(node.now())[name]
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		lines := w.batch(who, n)
		if err := send(lines); err != nil {
			send = w.surfaces(node.now())[name]
			select {
			case <-l.stop:
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		w.acknowledged(lines...)
		l.mu.Lock()
		l.n++
		l.mu.Unlock()
		select {
		case l.came <- struct{}{}:
		default:
		}
	}
}

func (l *clusterUploads) answers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// more waits for so many more answers, which must come.
func (l *clusterUploads) more(n int) {
	l.t.Helper()
	if !l.during(n) {
		l.t.Fatal("the answers do not come")
	}
}

func (l *clusterUploads) during(n int) bool {
	limit := time.After(patience)
	for want := l.answers() + n; l.answers() < want; {
		select {
		case <-l.came:
		case <-limit:
			return false
		}
	}
	return true
}

func (l *clusterUploads) end() {
	close(l.stop)
	l.all.Wait()
}

// agree waits until the nodes have the same, compares them, and checks each with what was acknowledged.
func (w *witness) agree(t testing.TB, nodes []*clusterNode) (sum tally) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	same := func() bool {
		a, b := nodes[0].now().ledger(), nodes[1].now().ledger()
		return reflect.DeepEqual(a, b)
	}
	for !same() {
		select {
		case <-tick.C:
		case <-limit:
			a, _ := json.Marshal(nodes[0].now().ledger())
			b, _ := json.Marshal(nodes[1].now().ledger())
			t.Fatalf("the ledgers are not the same:\n%s\n%s", a, b)
		}
	}
	for _, query := range []string{"", "source=mqtt", "product=ABCDE12345&level=warn", "project=myproj&q=1", "topic=topic-1"} {
		if a, b := nodes[0].now().records(query), nodes[1].now().records(query); !reflect.DeepEqual(a, b) {
			t.Errorf("%q: %d records from one node, %d from the other", query, len(a), len(b))
		}
	}
	for _, node := range nodes {
		one := w.check(t, node.now())
		sum.twice, sum.unknown = sum.twice+one.twice, sum.unknown+one.unknown
		sum.acked, sum.found = one.acked, min(one.found, max(sum.found, one.found))
		if one.found < one.acked {
			sum.found = one.found
		}
	}
	return sum
}

// TestNodeTakesOver: a position that one node gave is one for the other, which goes on behind it.
func TestNodeTakesOver(t *testing.T) {
	servers, w := natstest.Start(t, 3), newWitness()
	a := newClusterNode(t, servers, nil)
	b := newClusterNode(t, servers, a.place)
	send := w.surfaces(a.now())["http-a"]
	for n := range 10 {
		lines := w.batch("takeover", n)
		if err := send(lines); err != nil {
			t.Fatal(err)
		}
		w.acknowledged(lines...)
	}
	w.agree(t, []*clusterNode{a, b})
	all := a.now().records("source=reportlog")
	half := all[len(all)/2]
	rest := b.now().records("source=reportlog&after=" + half.Seq)
	if !reflect.DeepEqual(rest, all[len(all)/2+1:]) {
		t.Errorf("%d records behind %s on the other node, want %d", len(rest), half.Seq, len(all)-len(all)/2-1)
	}
	if name, err := os.ReadFile(filepath.Join(a.dir, "data", "segments", "node")); err != nil || len(bytes.TrimSpace(name)) == 0 {
		t.Errorf("the node's name: %q, %v", name, err)
	}
	var _ logbridge.Ledger = a.now().ledger()
}
