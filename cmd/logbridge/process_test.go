package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// asProgram, in the environment, makes the test binary run main instead of tests: the whole program as a process of its
// own, with the race detector whenever the tests have it.
const asProgram = "LOGBRIDGE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "logbridge":
		main()
	case "limits":
		limitsMain()
	default:
		crashes.head()
		code := m.Run()
		shared.close()
		crashes.foot(code)
		os.Exit(code)
	}
}

// patience is how long anything in these tests may take before it counts as broken.
const patience = 60 * time.Second

// place is a folder with what a server keeps over restarts.
type place struct {
	t    testing.TB
	dir  string
	args []string
	// under, if set, is the command that runs the server and becomes it: "strace -D …", "nsenter …".
	under []string
}

// process is a running server.
type process struct {
	place *place
	cmd   *exec.Cmd
	mu    sync.Mutex
	said  bytes.Buffer // stderr
	addrs map[string]string
	ended chan struct{}
}

func newPlace(t testing.TB, config string) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	file := filepath.Join(p.dir, "logbridge.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.args = []string{"serve", "--config", file, "--data", filepath.Join(p.dir, "data"), "--seal-key", filepath.Join(p.dir, "seal-key")}
	return p
}

func (p *place) tokenFile() string { return filepath.Join(p.dir, "data", "admin-token") }

// copyFile takes a file over from another folder.
func (p *place) copyFile(name, from string) {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// program makes a command that runs main.
func (p *place) program(as string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"="+as, "LOGBRIDGE_TOKEN_FILE="+p.tokenFile())
	cmd.Dir = p.dir
	if len(args) > 0 && args[0] != "serve" {
		// The race detector waits a second at the end of each process; a short command can do without.
		cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	}
	return cmd
}

// kept are addresses for a server that is started again at them: their ports are outside the range that systems give to whoever
// asks for any, so that nobody else has them meanwhile.
func kept(t testing.TB) (http, mqtt string) {
	t.Helper()
	const first, last, tries = 20_000, 30_000, 100
	for range tries {
		port := first + rand.IntN(last-first)
		one, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		two, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		_ = one.Close()
		if err == nil {
			_ = two.Close()
			return one.Addr().String(), two.Addr().String()
		}
	}
	t.Fatal("no free ports")
	return "", ""
}

// start runs the server at these addresses and returns when it is ready.
func (p *place) start(http, mqtt string) *process {
	p.t.Helper()
	return p.launch("logbridge", append(p.args[:len(p.args):len(p.args)], "--http", http, "--mqtt", mqtt)...)
}

func (p *place) launch(as string, args ...string) *process {
	p.t.Helper()
	s, err := p.try(as, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// try is launch for a server that may end before it is ready: that is an error then, and s has ended.
func (p *place) try(as string, args ...string) (*process, error) {
	p.t.Helper()
	s := &process{place: p, cmd: p.program(as, args...), addrs: map[string]string{}, ended: make(chan struct{})}
	if len(p.under) > 0 {
		path, err := exec.LookPath(p.under[0])
		if err != nil {
			return nil, err
		}
		s.cmd.Args = append(append(p.under[:len(p.under):len(p.under)], s.cmd.Path), args...)
		s.cmd.Path = path
	}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan bool, 1)
	go s.listen(stderr, ready)
	p.t.Cleanup(s.clean)
	wakes := time.NewTicker(time.Second)
	defer wakes.Stop()
	for limit := time.After(patience); ; {
		select {
		case ok := <-ready:
			if !ok {
				<-s.ended
				return s, fmt.Errorf("the server did not start:\n%s", s.output())
			}
			return s, nil
		case <-wakes.C: // strace may stop it at a system call of the start
			_ = s.cmd.Process.Signal(syscall.SIGCONT)
		case <-limit:
			return nil, fmt.Errorf("the server is not ready:\n%s", s.output())
		}
	}
}

// clean ends the server at the end of its test, and fails the test for what no server may say.
func (s *process) clean() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	if out := s.output(); strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic") {
		s.place.t.Errorf("the server said:\n%s", out)
	}
}

// listen reads the server's log: the addresses, then the rest.
func (s *process) listen(stderr io.Reader, ready chan<- bool) {
	defer close(s.ended)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		line := lines.Text()
		s.mu.Lock()
		_, _ = s.said.WriteString(line + "\n")
		if i := strings.Index(line, "msg=listening name="); i >= 0 {
			var name, addr string
			_, _ = fmt.Sscanf(line[i:], "msg=listening name=%s addr=%s", &name, &addr)
			s.addrs[name] = addr
		}
		s.mu.Unlock()
		if strings.HasSuffix(line, "msg=ready") {
			ready <- true
		}
	}
	_ = s.cmd.Wait()
	select {
	case ready <- false:
	default:
	}
}

func (s *process) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

func (s *process) addr(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[name]
}

func (s *process) url() string { return "http://" + s.addr("http") }

// stop sends a signal and returns the exit code.
func (s *process) stop(signal syscall.Signal) int {
	s.place.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.place.t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.place.t.Fatalf("the server does not end:\n%s", s.output())
	}
	return s.cmd.ProcessState.ExitCode()
}

// run is the command line of an operator: it returns what the command printed and fails the test if it fails.
func (s *process) run(args ...string) string {
	s.place.t.Helper()
	cmd := s.place.program("logbridge", args...)
	cmd.Env = append(cmd.Env, "LOGBRIDGE_URL="+s.url())
	if args[0] == "sim" {
		cmd.Env = append(cmd.Env, "LOGBRIDGE_MQTT="+s.addr("mqtt"))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.place.t.Fatalf("logbridge %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// follow starts the command that follows, which goes on when the server ends.
func (s *process) follow(args ...string) (*exec.Cmd, io.Reader) {
	t := s.place.t
	t.Helper()
	cmd := s.place.program("logbridge", append([]string{"logs", "-f", "-o", "json", "--url", s.url()}, args...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, out
}

// found is a record as the operator API shows it.
type found struct {
	Seq        string            `json:"seq"`
	Time       time.Time         `json:"time"`
	Source     string            `json:"source"`
	Stream     string            `json:"stream"`
	Level      string            `json:"level"`
	Body       string            `json:"body"`
	Attributes map[string]string `json:"attributes"`
}

// operator is the administrator's connection to the operator API.
func (s *process) operator() *api {
	s.place.t.Helper()
	server, err := Client{URL: s.adminURL(), TokenFile: s.place.tokenFile()}.open()
	if err != nil {
		s.place.t.Fatal(err)
	}
	return server
}

// device is what the server knows of a device.
func (s *process) device(id logbridge.DeviceID) (state deviceState) {
	s.place.t.Helper()
	if err := s.operator().call(s.place.t.Context(), http.MethodGet, devicePath(id), nil, &state); err != nil {
		s.place.t.Fatal(err)
	}
	return state
}

// records reads everything that matches the parameters, in the order of arrival.
func (s *process) records(query string) []found {
	s.place.t.Helper()
	ctx, cancel := context.WithTimeout(s.place.t.Context(), patience)
	defer cancel()
	res, err := s.operator().send(ctx, http.MethodGet, "/logs?limit=1000000&direction=forward&since=0&"+query, nil)
	if err != nil {
		s.place.t.Fatal(err)
	}
	var list []found
	err = readLines(res.Body, func(line []byte) error {
		var r found
		list = append(list, r)
		return json.Unmarshal(line, &list[len(list)-1])
	})
	if err != nil {
		s.place.t.Fatal(err)
	}
	return list
}

// metrics is what the server serves to Prometheus.
func (s *process) metrics() string {
	s.place.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url()+"/metrics", nil)
	if err != nil {
		s.place.t.Fatal(err)
	}
	text, err := call(&http.Client{Timeout: patience}, req)
	if err != nil {
		s.place.t.Fatal(err)
	}
	return text
}
