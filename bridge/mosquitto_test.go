package bridge

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// mosquittoProgram is where Debian's package puts the broker.
const mosquittoProgram = "/usr/sbin/mosquitto"

// The login of the link; devices have none.
const linkUser, linkPassword = "logbridge", "p@ss word"

// mosquitto is a broker of Debian's package that keeps its sessions over a restart.
type mosquitto struct {
	testing.TB
	file, addr string
	cmd        *exec.Cmd
}

// startMosquitto starts one on a free port. extra are more lines of its configuration.
func startMosquitto(t testing.TB, extra ...string) *mosquitto {
	t.Helper()
	if _, err := os.Stat(mosquittoProgram); err != nil {
		t.Skip("SKIPPED: mosquitto is not installed")
	}
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, linkUser, linkPassword).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v %s", err, out)
	}
	m := &mosquitto{TB: t, file: filepath.Join(dir, "mosquitto.conf"), addr: freeAddress(t)}
	_, port, _ := net.SplitHostPort(m.addr)
	config := append([]string{"listener " + port + " 127.0.0.1", "allow_anonymous true", "password_file " + passwords, "user root",
		"persistence true", "persistence_location " + dir + "/", "log_dest none", "max_queued_messages 0"}, extra...)
	if err := os.WriteFile(m.file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(func() { _ = m.cmd.Process.Kill(); _ = m.cmd.Wait() })
	return m
}

// freeAddress is one that nobody listens on.
func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *mosquitto) start() {
	m.Helper()
	m.cmd = exec.Command(mosquittoProgram, "-c", m.file)
	if err := m.cmd.Start(); err != nil {
		m.Fatal(err)
	}
	await(m, "mosquitto", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// restart ends it as its service does, so that it writes its sessions down, and starts it again.
func (m *mosquitto) restart() {
	m.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.Fatal(err)
	}
	_ = m.cmd.Wait()
	m.start()
}

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(patience); !so(); {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// connect is a client that is no link.
func (m *mosquitto) connect(id string) (mqtt.Client, error) {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + m.addr).SetClientID(id).SetAutoReconnect(false).SetConnectTimeout(patience)
	c := mqtt.NewClient(o)
	return c, wait("connect", c.Connect())
}

// device is a client that must connect.
func (m *mosquitto) device(id string) mqtt.Client {
	m.Helper()
	c, err := m.connect(id)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { c.Disconnect(0) })
	return c
}

// listen subscribes and gives the payloads.
func (m *mosquitto) listen(c mqtt.Client, topic string) <-chan string {
	m.Helper()
	heard := make(chan string, 1<<10)
	if err := wait("subscribe", c.Subscribe(topic, 1, func(_ mqtt.Client, p mqtt.Message) { heard <- string(p.Payload()) })); err != nil {
		m.Fatal(err)
	}
	return heard
}

// say publishes at QoS 1.
func (m *mosquitto) say(c mqtt.Client, topic, payload string, retained bool) {
	m.Helper()
	if err := wait("publish", c.Publish(topic, 1, retained, payload)); err != nil {
		m.Fatal(err)
	}
}

// cable is a network between a client and the broker that can be cut.
type cable struct {
	addr  string
	mu    sync.Mutex
	conns []net.Conn
}

func newCable(t testing.TB, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: l.Addr().String()}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				open.Go(func() {
					defer way[0].Close()
					defer way[1].Close()
					_, _ = way[0].(*net.TCPConn).WriteTo(way[1])
				})
			}
		}
	})
	t.Cleanup(func() { l.Close(); c.cut(); open.Wait() })
	return c
}

// cut breaks every connection, and what is on its way with it.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	c.conns = nil
}

// address writes the link's URL.
func address(to, settings string) string {
	return fmt.Sprintf("mqtt://%s:p%%40ss%%20word@%s?%s", linkUser, to, settings)
}
