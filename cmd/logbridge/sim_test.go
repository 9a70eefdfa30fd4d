package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestSimulatedFleetBalances(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	for round := range 2 { // the second finds its devices registered
		out := s.run("sim", "--devices", "20", "--duration", "3s", "--rate", "5", "--ask", "500ms")
		i := strings.Index(out, "summary: ")
		if i < 0 || strings.Count(out[:i], "\n") < 2 {
			t.Fatalf("sim printed %q", out)
		}
		var logins, sent, acked, refused, dropped, failed, unanswered, asked, answered int
		var p50, p99 string
		_, err := fmt.Sscanf(out[i:], "summary: %d logins, %d lines sent, %d acknowledged, %d refused, %d dropped, %d attempts failed, %d lines unanswered; %d levels asked, %d answered, round trip p50 %s p99 %s",
			&logins, &sent, &acked, &refused, &dropped, &failed, &unanswered, &asked, &answered, &p50, &p99)
		// A question is not waited for at the end, nor when the next one is asked.
		if err != nil || logins != 20 || acked == 0 || failed == 0 && acked != sent || refused+dropped != 0 || asked <= logins || answered < asked/2 {
			t.Errorf("round %d: %s %v", round, out[i:], err)
		}
		// What the fleet says agrees with what the server has: of uploads that failed it may have the lines or not.
		if stored := len(s.records("product=SIMFLEET01&source=mqtt")) + len(s.records("product=SIMFLEET01&source=reportlog")); round == 0 && (stored < acked || stored > sent) {
			t.Errorf("%d lines stored, %d acknowledged of %d", stored, acked, sent)
		}
	}
}

func TestReaderThatGoesAwayIsNoError(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(anyone, anyone)
	client := &http.Client{Timeout: patience}
	if err := track(client, s.url(), "1", "2", "3"); err != nil {
		t.Fatal(err)
	}
	cmd := home.program("logbridge", "logs", "-f", "--source", "sls", "--url", s.url())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	limit := time.After(patience)
	for n := 4; ; n++ { // it learns of the closed pipe when it writes
		if err := track(client, s.url(), fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil || stderr.Len() > 0 {
				t.Errorf("logs ended with %v and said %q", err, stderr.String())
			}
			return
		case <-limit:
			t.Fatal("logs goes on without a reader")
		default: // each turn waits for the disk
		}
	}
}

// knock opens a connection to the broker that says nothing MQTT knows, and returns when the broker has ended it.
func (s *process) knock(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr("mqtt"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn) // its end may be a reset
}

func TestMetricsNameNoDevice(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	dev := s.dial(device("dev_01"))
	dev.ask("1") // or it would be told unasked, which is a push as well
	dev.hears(logbridge.LevelError, "1")
	dev.report("INFone", "INFtwo")
	s.knock(t)
	s.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "5m", "--reason", "metrics")
	var text string
	soon(t, "one push, counted", func() bool {
		text = s.metrics()
		return strings.Contains(text, `logbridge_level_push_total{result="sent"} 1`+"\n")
	})
	for _, want := range []string{
		`logbridge_stored_lines_total{source="mqtt"} 2`, `logbridge_level_overrides{level="debug"} 1`, "logbridge_mqtt_sessions 1",
		`logbridge_mqtt_connects_total{result="accepted"} 1`, "logbridge_mqtt_reports_total 1", "logbridge_mqtt_no_connect_total 1", "go_goroutines",
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want+" ") {
			t.Errorf("%q is missing in\n%s", want, regexp.MustCompile(`(?m)^logbridge.*$`).FindAllString(text, -1))
		}
	}
	if strings.Contains(text, "dev_01") || strings.Contains(text, "ABCDE12345") {
		t.Error("a metric names a device")
	}
	for _, m := range metrics {
		if !strings.Contains(text, "# HELP "+m.name+" ") && !strings.Contains(m.help, "; absent without") && m.name != "logbridge_discarded_lines_total" {
			t.Errorf("%s is in the table and not served", m.name)
		}
		if !strings.HasPrefix(m.name, "logbridge_") || !strings.HasSuffix(m.help, ".") || strings.HasSuffix(m.name, "_total") != (m.kind == counter) {
			t.Errorf("%s: wrong name, help or kind", m.name)
		}
	}
}

// startDemo runs serve --demo with an own folder for what it makes, until it has told what to try; it is killed with the test.
func startDemo(t *testing.T) (cmd *exec.Cmd, home *place, told string) {
	t.Helper()
	home = &place{t: t, dir: t.TempDir(), args: []string{"serve", "--demo"}}
	t.Setenv("TMPDIR", home.dir)
	cmd = home.program("logbridge", "serve", "--demo", "--http", anyone, "--mqtt", anyone)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var said strings.Builder
	for !strings.Contains(said.String(), "Ctrl-C ends the demo.") {
		b := make([]byte, 1)
		if _, err := out.Read(b); err != nil {
			t.Fatalf("the demo said %q and ended: %v", said.String(), err)
		}
		_, _ = said.Write(b)
	}
	return cmd, home, said.String()
}

// demoAddress finds the address and the token's file in what the demo told.
func demoAddress(t *testing.T, told string) (url, token string) {
	t.Helper()
	found := regexp.MustCompile(`LOGBRIDGE_URL=(\S+) LOGBRIDGE_MQTT=\S+ LOGBRIDGE_TOKEN_FILE=(\S+)`).FindStringSubmatch(told)
	if found == nil {
		t.Fatalf("no address in %q", told)
	}
	return found[1], found[2]
}

func TestDemoRunsAndLeavesNothing(t *testing.T) {
	cmd, home, told := startDemo(t)
	url, token := demoAddress(t, told)
	wantReadmeLines(t, told, url)
	cli := func(args ...string) string {
		t.Helper()
		out, err := home.program("logbridge", append(args, "--url", url, "--token-file", token)...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return string(out)
	}
	cli("level", "set", "DEMO000001/dev-01", "debug", "--for", "5m", "--reason", "test")
	limit := time.Now().Add(patience)
	for !strings.Contains(cli("logs", "-p", demoProduct, "-d", "dev-01"), "DEBUG") { // each turn is a process
		if time.Now().After(limit) {
			t.Fatal("no debug line came")
		}
	}
	client := &http.Client{Timeout: patience}
	for _, path := range []string{"/demo", "/demo/demo.js", "/demo/sts.js", "/demo/demo.css"} {
		res, err := client.Get(url + path)
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%s: %v %v", path, res, err)
		}
		_ = res.Body.Close()
	}
	// The page's own requests.
	page, err := os.ReadFile("demo/demo.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/logstores/web/track?APIVersion=0.6.0", "/tracklog?topic_id=demo-topic"} {
		if !strings.Contains(string(page), path) {
			t.Errorf("the page does not use %s", path)
		}
		body := `{"__logs__":[{"event":"test"}],"logs":[{"contents":{"event":"test"},"time":1795000000000}]}`
		res, err := client.Post(url+path, "text/plain;charset=UTF-8", strings.NewReader(body))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v %v", path, res, err)
		}
		_ = res.Body.Close()
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(home.dir, "logbridge-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// wantReadmeLines checks that the demo prints every command that the README says it prints.
func wantReadmeLines(t *testing.T, said, url string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "## What to try")
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	n := 0
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(line, " #")
		command = strings.TrimSpace(strings.NewReplacer("bin/logbridge", "", "http://127.0.0.1:8080", url).Replace(command))
		if variable, _, ok := strings.Cut(command, "=…"); ok {
			command = variable + "="
		}
		if n++; !strings.Contains(said, command) {
			t.Errorf("the demo does not print %q", command)
		}
	}
	if n < 10 {
		t.Errorf("only %d lines in the README's What to try", n)
	}
}

func TestTellsTheServiceManager(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	t.Setenv("NOTIFY_SOCKET", socket)
	if err := notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", socket+"-none")
	if notify("READY=1") == nil {
		t.Error("a manager that is not there heard it")
	}
}

func TestSealKeyFromTheEnvironment(t *testing.T) {
	home := newPlace(t, e2eConfig)
	t.Setenv("LOGBRIDGE_SEAL_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	home.args = home.args[:len(home.args)-2] // without --seal-key
	s := home.start(anyone, anyone)
	if strings.Contains(s.output(), "seal key") {
		t.Errorf("the server made a file:\n%s", s.output())
	}
	s.stop(syscall.SIGTERM)
	t.Setenv("LOGBRIDGE_SEAL_KEY", "AAEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	out, err := home.program("logbridge", append(home.args, "--http", anyone, "--mqtt", anyone)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "seal key is not the one") {
		t.Errorf("with another key: %v\n%s", err, out)
	}
}
