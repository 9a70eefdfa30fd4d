package main

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge/natsd/natstest"
	"github.com/logbridge/logbridge/wire/tencent"
)

// secureMosquitto starts a mosquitto that speaks TLS with tls.crt of the place, and asks for a login that the file "password" has.
func secureMosquitto(p *place) (port string) {
	t := p.t
	t.Helper()
	for _, tool := range []string{mosquittoProgram, "mosquitto_passwd", "mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed (Debian: mosquitto mosquitto-clients)", tool)
		}
	}
	p.write("password", []byte("a secret of the link\n"))
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", p.file("logins"), "logbridge", "a secret of the link").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v %s", err, out)
	}
	l, err := net.Listen("tcp", anyone)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	p.write("mosquitto.conf", fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous false\npassword_file %s\nuser root\nlog_dest none\ncertfile %s\nkeyfile %s\n",
		port, p.file("logins"), p.file("tls.crt"), p.file("tls.key")))
	cmd := exec.Command(mosquittoProgram, "-c", p.file("mosquitto.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return port
}

// TestUpstreamBroker: devices are at a mosquitto that somebody else runs, with TLS and logins, and mosquitto's own clients are the
// devices.
func TestUpstreamBroker(t *testing.T) {
	p := newPlace(t, e2eConfig)
	ca := p.authority("ca")
	ca.issue("tls", time.Hour)
	port := secureMosquitto(p)
	p.args = append(p.args, "--upstream-mqtt", "mqtts://logbridge@127.0.0.1:"+port+"?password_file="+p.file("password")+"&ca="+p.file("ca.crt"))
	s := p.start(anyone, anyone)
	client := func(tool string, more ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), tool, append([]string{"-h", "127.0.0.1", "-p", port, "-q", "1", "--cafile", p.file("ca.crt"),
			"-u", "logbridge", "-P", "a secret of the link"}, more...)...)
	}
	linked := func() bool {
		return strings.Contains(s.metrics(), `logbridge_upstream_linked{broker="127.0.0.1:`+port+`"} 1`)
	}
	eventually(t, "the link", linked)
	dev := device("dev_01")

	hears := client("mosquitto_sub", "-t", tencent.OperationResultTopic(dev))
	out, err := hears.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hears.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	// Asked until the answer comes: mosquitto_sub does not say when it has subscribed.
	asking := make(chan struct{})
	go func() {
		for {
			select {
			case <-asking:
				return
			case <-t.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
				_ = client("mosquitto_pub", "-t", tencent.OperationTopic(dev), "-m", `{"type":"get_log_level","clientToken":"out"}`).Run()
			}
		}
	}()
	if !lines.Scan() || !strings.Contains(lines.Text(), `"log_level":1`) {
		t.Fatalf("answered %q", lines.Text())
	}
	close(asking)
	s.run("level", "set", dev.String(), "debug", "--for", "5m", "--reason", "test")
	for lines.Scan() && !strings.Contains(lines.Text(), `"log_level":4`) {
	}
	if text, err := client("mosquitto_pub", "-t", tencent.ReportTopic(dev), "-m", "DBG|2026-11-21 10:55:44|main.c|from outside").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, text)
	}
	eventually(t, "the line", func() bool { return len(s.records("q=from+outside")) == 1 })
	eventually(t, "the state", func() bool { return s.device(dev).State == "seen" })
	if said := s.output(); strings.Contains(said, "a secret") {
		t.Errorf("the password is in the log:\n%s", said)
	}
	wantLedgerSum(t, s.ledger())
	_ = hears.Process.Kill()
	_ = hears.Wait()
}

// eventually waits until something is so; each look is a request.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !so(); {
		if time.Now().After(limit) {
			t.Fatalf("%s: not in %s", what, patience)
		}
	}
}

// TestUpstreamOfTwoNodes: of two nodes on a cluster one reads from the outside broker; when it is killed the other follows, and what
// mosquitto had not delivered to the end is stored, once, and a level that is set then reaches the device.
func TestUpstreamOfTwoNodes(t *testing.T) {
	cluster := natstest.Start(t, 3)
	home := newPlace(t, "")
	home.authority("ca").issue("tls", time.Hour)
	port := secureMosquitto(home)
	client := func(tool string, more ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), tool, append([]string{"-h", "127.0.0.1", "-p", port, "-q", "1", "--cafile", home.file("ca.crt"),
			"-u", "logbridge", "-P", "a secret of the link"}, more...)...)
	}
	url := "mqtts://logbridge@127.0.0.1:" + port + "?password_file=" + home.file("password") + "&ca=" + home.file("ca.crt")
	_, nodes := newNodes(t, cluster, 2, "--upstream-mqtt", url)
	linked := func(s *process) bool {
		return strings.Contains(s.metrics(), `logbridge_upstream_linked{broker="127.0.0.1:`+port+`"} 1`)
	}
	eventually(t, "the link", func() bool { return linked(nodes[0]) || linked(nodes[1]) })
	holder, other := nodes[0], nodes[1]
	if linked(other) {
		holder, other = other, holder
	}
	if linked(other) {
		t.Error("both nodes read")
	}
	report := func(text string) {
		if out, err := client("mosquitto_pub", "-t", tencent.ReportTopic(device("dev_01")), "-m", "INF|2026-11-21 10:55:44|main.c|"+text).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	report("while both are there")
	eventually(t, "the line, on the other node", func() bool { return len(other.records("q=both+are+there")) == 1 })

	hears := client("mosquitto_sub", "-t", tencent.OperationResultTopic(device("dev_01")))
	out, err := hears.StdoutPipe()
	if err == nil {
		err = hears.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	holder.stop(syscall.SIGKILL)
	for i := range 5 {
		report(fmt.Sprint("while nobody reads ", i))
	}
	other.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "5m", "--reason", "test")
	eventually(t, "the other node's link", func() bool { return linked(other) })
	eventually(t, "the lines", func() bool { return len(other.records("q=while+nobody+reads")) == 5 })
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), `"log_level":4`); {
	}
	_ = hears.Process.Kill()
	_ = hears.Wait()
	wantLedgerSum(t, other.ledger())
	if all := other.records("source=mqtt"); len(all) != 6 {
		t.Errorf("%d lines, want 6", len(all))
	}
}
