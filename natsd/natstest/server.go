package natstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// server is one server; it keeps its files and its ports over restarts.
type server struct {
	binary, file        string // the program, its configuration
	host                string
	client, route, http int // ports
	mu                  sync.Mutex
	log                 bytes.Buffer
	cmd                 *exec.Cmd
	ended               chan struct{}
}

// module has the server's program.
const module = "github.com/nats-io/nats-server/v2"

// password is that of every account: what a test protects with it is its own.
const password = "natstest"

// build makes the server's program from the module that go.mod asks for, once for each version of it and of Go, in the user's
// cache folder.
func build() (string, error) {
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("natstest: which nats-server: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("natstest: %w", err)
	}
	cache = filepath.Join(cache, "logbridge")
	file := filepath.Join(cache, "nats-server-"+strings.TrimSpace(string(version))+"-"+runtime.Version())
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fmt.Errorf("natstest: %w", err)
	}
	fresh, err := os.MkdirTemp(cache, "nats-server-") // others may be building it too
	if err != nil {
		return "", fmt.Errorf("natstest: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	made := filepath.Join(fresh, "nats-server")
	if out, err := exec.Command("go", "build", "-o", made, module).CombinedOutput(); err != nil {
		return "", fmt.Errorf("natstest: build the server: %w: %s", err, out)
	}
	return file, os.Rename(made, file)
}

// place chooses host and ports of n servers and writes their configurations.
func (c *Cluster) place(dir, binary string, n int) error {
	ports, err := c.choose(3 * n)
	if err != nil {
		return err
	}
	var routes []string
	for i := range n {
		s := &server{binary: binary, host: c.host, file: filepath.Join(dir, serverName(i)+".conf"),
			client: ports[3*i], route: ports[3*i+1], http: ports[3*i+2]}
		c.servers = append(c.servers, s)
		routes = append(routes, fmt.Sprintf("nats://%s:%d", c.host, s.route))
	}
	for i, s := range c.servers {
		if err := os.WriteFile(s.file, []byte(s.configuration(filepath.Join(dir, serverName(i)), serverName(i), routes)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) configuration(data, name string, routes []string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("server_name: %s", name)
	line("listen: %s:%d", s.host, s.client)
	line("http: %s:%d", s.host, s.http)
	line("jetstream { store_dir: %q, sync_interval: always, max_file_store: 4TB }", data)
	if len(routes) > 1 {
		line("cluster { name: natstest, listen: %s:%d, routes: [%s] }", s.host, s.route, strings.Join(routes, ", "))
	}
	line("no_auth_user: %s", common)
	line("system_account: SYS")
	line("accounts {")
	line("  SYS { users: [{user: sys, password: %s}] }", password)
	line("  %s { jetstream: enabled, users: [{user: %s, password: %s}] }", common, common, password)
	for n := range accounts {
		line("  %s { jetstream: enabled, users: [{user: %s, password: %s}] }", account(n), account(n), password)
	}
	line("}")
	return b.String()
}

// choose takes an address of loopback that nobody else uses, where the system has more than one, and ports outside the
// range that systems give to whoever asks for any: so a server that is killed finds its ports free when it is started again.
func (c *Cluster) choose(n int) ([]int, error) {
	const first, last, tries = 20_000, 30_000, 100
	for range tries {
		c.host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		if l, err := net.Listen("tcp", net.JoinHostPort(c.host, "0")); err != nil {
			c.host = "127.0.0.1"
		} else {
			_ = l.Close()
		}
		begin := first + rand.IntN(last-first-n)
		var ports []int
		for p := begin; p < begin+n; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", c.host, p))
			if err != nil {
				break
			}
			_ = l.Close()
			ports = append(ports, p)
		}
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("natstest: no free ports")
}

// start runs the server and returns when it takes connections.
func (s *server) start() error {
	started := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		// The kernel ends the server with the thread that started it (see dieWithParent), so that thread waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		cmd := exec.Command(s.binary, "-c", s.file)
		cmd.Stdout, cmd.Stderr = s, s
		dieWithParent(cmd)
		err := cmd.Start()
		s.cmd = cmd
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed, or its log says why it ended
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("natstest: %w", err)
	}
	s.ended = ended
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := wait(ctx, func(context.Context) error {
		select {
		case <-ended:
			cancel()
			return errors.New("it has ended")
		default:
		}
		return greeted(fmt.Sprintf("%s:%d", s.host, s.client))
	})
	if err != nil {
		return fmt.Errorf("natstest: server does not start: %w\n%s", err, s.said())
	}
	return nil
}

// greeted connects and reads the first of what a server says to its clients.
func greeted(addr string) error {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(time.Second)) // of a socket just opened
	_, err = io.ReadFull(nc, make([]byte, len("INFO")))
	return err
}

// kill ends it and returns when it is gone.
func (s *server) kill() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.ended
	s.ended = nil
}

// Write keeps what the server says.
func (s *server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

// said is the end of what it said.
func (s *server) said() string {
	const most = 4 << 10
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.log.String()
	return text[max(0, len(text)-most):]
}
