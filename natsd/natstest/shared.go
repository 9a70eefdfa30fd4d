package natstest

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the cluster of a package's tests in the round in which they run on one; otherwise nil.
var shared struct {
	*Cluster
	mu   sync.Mutex
	urls map[string]string // by folder
}

// Run is for TestMain: it runs the tests of a package on embedded servers and then once more on one cluster of three. Only
// once, embedded, with -short, and when benchmarks or fuzzing are asked for. LOGBRIDGE_TEST_NATS=embedded or =cluster is one of
// the two alone. Tests whose name ends in OnEmbedded or OnACluster are for one round: they need the server's own files, or several
// nodes.
func Run(m *testing.M) int {
	flag.Parse()
	only := os.Getenv("LOGBRIDGE_TEST_NATS")
	code := 0
	if only != "cluster" {
		code = round(m, "OnACluster$")
	}
	if code != 0 || only == "embedded" || testing.Short() || asked("bench", "fuzz", "fuzzworker", "list") {
		return code
	}
	dir, err := os.MkdirTemp("", "natstest-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := newCluster(dir, 3)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Stop()
	shared.Cluster, shared.urls = c, map[string]string{}
	return round(m, "OnEmbedded$")
}

// round runs the tests but for those of the other round, and but for what the command line leaves out.
func round(m *testing.M, other string) int {
	f := flag.Lookup("test.skip")
	given := f.Value.String()
	if given != "" {
		other += "|" + given
	}
	if err := f.Value.Set(other); err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = f.Value.Set(given) }()
	return m.Run()
}

func asked(names ...string) bool {
	for _, name := range names {
		f := flag.Lookup("test." + name)
		if f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}

// URL is where the tests of Run are to connect to, instead of starting an embedded server with its files in dir: "" in the round on
// embedded servers. Each dir is an account of its own, which is emptied when the test ends that asked for it first.
func URL(t testing.TB, dir string) string {
	t.Helper()
	if shared.Cluster == nil {
		return ""
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if _, ok := shared.urls[dir]; !ok {
		shared.urls[dir] = shared.Fresh(t)
	}
	return shared.urls[dir]
}

// Folder is where what a test of Run has stored is to be found as files: dir, or the folder of the servers.
func Folder(dir string) string {
	if shared.Cluster == nil {
		return dir
	}
	return shared.dir
}
