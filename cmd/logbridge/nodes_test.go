package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// newNodes starts servers that share a cluster, with more arguments, and keeps their places, in which they can be started again.
func newNodes(t *testing.T, cluster *natstest.Cluster, n int, more ...string) (places []*place, nodes []*process) {
	t.Helper()
	config := e2eConfig + "\nnats: " + cluster.URL() + "\nnats_sync_always: true\n"
	for i := range n {
		p := newPlace(t, config)
		p.args = append(p.args, more...)
		if i > 0 {
			p.copyFile("seal-key", places[0].dir)
		}
		places = append(places, p)
		nodes = append(nodes, p.start(anyone, anyone))
	}
	return places, nodes
}

// soon waits until the nodes have heard from each other.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("never: %s", what)
		}
	}
}

// TestTwoNodesOneFleet runs two servers on a cluster of three: whatever is done at one holds at the other.
func TestTwoNodesOneFleet(t *testing.T) {
	cluster := natstest.Start(t, 3)
	_, nodes := newNodes(t, cluster, 2)
	one, two := nodes[0], nodes[1]
	for _, s := range nodes {
		for _, name := range []string{"dev_01", "dev_02"} {
			if d := s.device(device(name)); d.Base != "error" {
				t.Errorf("%s of the configuration: %+v", name, d)
			}
		}
	}

	dev := two.dial(device("dev_01"))
	dev.ask("1") // or it would be told unasked
	dev.hears(logbridge.LevelError, "1")
	soon(t, "online, for the other node", func() bool { return one.device(dev.id).Online })
	soon(t, "connected, in the status of both", func() bool {
		a, b := one.run("status"), two.run("status")
		return strings.Contains(a, " registered, 1 connected, 0 of them to this one of 2 nodes") && strings.Contains(b, " registered, 1 connected, 1 of them to this one of 2 nodes")
	})
	levelsReach(t, one, dev)
	tokenIsRevoked(t, one, two)

	one.run("device", "add", "ABCDE12345/dev_03", "--psk", e2ePSK)
	soon(t, "a device that was added at the other node", func() bool { return strings.Contains(two.run("device", "ls"), "dev_03") })
	deviceMoves(t, dev, one)

	var lists [2][]map[string]any
	soon(t, "the same list of devices", func() bool {
		for i, s := range nodes {
			lists[i] = s.deviceList()
		}
		a, _ := json.Marshal(lists[0])
		b, _ := json.Marshal(lists[1])
		return string(a) == string(b)
	})
	if len(lists[0]) != 3 {
		t.Errorf("%d devices", len(lists[0]))
	}
	for _, s := range nodes {
		if code := s.stop(syscall.SIGTERM); code != exitOK {
			t.Errorf("exit code %d:\n%s", code, s.output())
		}
	}
}

// deviceList is what a node says of all devices.
func (s *process) deviceList() (list []map[string]any) {
	s.place.t.Helper()
	var page struct {
		Devices []map[string]any `json:"devices"`
	}
	if err := s.operator().call(s.place.t.Context(), http.MethodGet, "/devices?limit=100", nil, &page); err != nil {
		s.place.t.Fatal(err)
	}
	return page.Devices
}

// levelsReach sets levels at one node, which the device hears from the other, and reports how long that took.
func levelsReach(t *testing.T, at *process, dev *testDevice) {
	t.Helper()
	var took []time.Duration
	path := devicePath(dev.id) + "/level"
	for i := range 20 {
		level := []string{"debug", "warn"}[i%2]
		begun := time.Now()
		if err := at.operator().call(t.Context(), http.MethodPut, path, map[string]string{"level": level, "for": "1h", "reason": "test"}, nil); err != nil {
			t.Fatal(err)
		}
		want, err := logbridge.ParseLevel(level)
		if err != nil {
			t.Fatal(err)
		}
		dev.hears(want, "")
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("from the operator's call at one node to the device at the other: median %v, longest %v", took[len(took)/2], took[len(took)-1])
	soon(t, "what the device has acknowledged, at the other node", func() bool { return at.device(dev.id).State == "acknowledged" })
}

// tokenIsRevoked makes a token at one node and revokes it at the other.
func tokenIsRevoked(t *testing.T, one, two *process) {
	t.Helper()
	var made struct{ ID, Token string }
	if err := one.operator().call(t.Context(), http.MethodPost, "/tokens", map[string]string{"name": "viewer", "role": "viewer"}, &made); err != nil {
		t.Fatal(err)
	}
	works := func(s *process) bool {
		req, err := http.NewRequest(http.MethodGet, s.url()+"/api/v1/products", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+made.Token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	}
	soon(t, "the token at the other node", func() bool { return works(two) })
	if err := two.operator().call(t.Context(), http.MethodDelete, "/tokens/"+made.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	soon(t, "revoked at the other node", func() bool { return !works(one) })
	t.Logf("a token revoked at one node was refused by the other after %v", time.Since(begun))
}

// deviceMoves connects a device to another node: its session at the first one ends, and it stays online for both.
func deviceMoves(t *testing.T, dev *testDevice, to *process) {
	t.Helper()
	moved := to.dial(dev.id)
	moved.ask("2")
	moved.hears(logbridge.LevelWarn, "2") // as levelsReach left it
	soon(t, "the end of the session at the node that it has left", func() bool { return !dev.client.IsConnectionOpen() })
	if !to.device(dev.id).Online {
		t.Error("not online where it is")
	}
	if err := to.operator().call(t.Context(), http.MethodPut, devicePath(dev.id)+"/level", map[string]string{"level": "info", "for": "1h", "reason": "test"}, nil); err != nil {
		t.Fatal(err)
	}
	moved.hears(logbridge.LevelInfo, "")
}

// TestServeRefusesAClusterThatMayLoseRecords, before it connects.
func TestServeRefusesAClusterThatMayLoseRecords(t *testing.T) {
	p := newPlace(t, "nats: nats://127.0.0.1:1\n")
	s, err := p.try("logbridge", p.args...)
	if err == nil {
		t.Fatal("it started")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(s.output(), "sync_interval: always") {
		t.Errorf("exit code %d: %s", code, s.output())
	}
}

// TestExamplesOfACluster: both files are what they say, and the servers sync.
func TestExamplesOfACluster(t *testing.T) {
	t.Setenv("LOGBRIDGE_NATS_PASSWORD", "a password")
	c, err := parseServe(t, "--config", "../../deployments/cluster/logbridge.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"NATS_LOGBRIDGE_PASSWORD", "NATS_SYS_PASSWORD"} {
		t.Setenv(name, "secret")
	}
	o, err := natsserver.ProcessConfigFile("../../deployments/cluster/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !o.SyncAlways || !o.JetStream || len(o.Routes) != c.NATSReplicas || strings.Count(c.NATS, ",")+1 != c.NATSReplicas {
		t.Errorf("sync %v, %d routes, %d replicas, %s", o.SyncAlways, len(o.Routes), c.NATSReplicas, c.NATS)
	}
}
