package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// mosquittoProgram is where Debian's package puts the broker.
const mosquittoProgram = "/usr/sbin/mosquitto"

// mosquitto is a running broker of Debian's package, without login, rights and disk, and with no bound of its own on what
// may be on its way.
type mosquitto struct {
	cmd  *exec.Cmd
	addr string
}

// startMosquitto returns nil where mosquitto is not installed.
func startMosquitto(b *testing.B) *mosquitto {
	if _, err := os.Stat(mosquittoProgram); err != nil {
		return nil
	}
	l, err := net.Listen("tcp", anyone)
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	config := fmt.Sprintf("listener %d %s\nallow_anonymous true\npersistence false\nsys_interval 0\nlog_dest none\nuser root\n"+
		"set_tcp_nodelay true\nmax_inflight_messages 0\nmax_queued_messages 0\n", addr.Port, addr.IP)
	file := filepath.Join(b.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	m := &mosquitto{cmd: exec.Command(mosquittoProgram, "-c", file), addr: addr.String()}
	if err := m.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.cmd.Process.Kill(); _ = m.cmd.Wait() })
	wakes := time.NewTicker(10 * time.Millisecond)
	defer wakes.Stop()
	for limit := time.After(patience); ; {
		if conn, err := net.Dial("tcp", m.addr); err == nil {
			_ = conn.Close()
			return m
		}
		select {
		case <-wakes.C:
		case <-limit:
			b.Fatal("mosquitto does not accept connections")
		}
	}
}

// wideBuffer lets a client of all devices read and write many messages with one system call.
const wideBuffer = 64 << 10

// mosquittoClient is a client that is no device. What it writes is collected until Flush.
type mosquittoClient struct {
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
}

func (m *mosquitto) client(name string) (*mosquittoClient, error) {
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		return nil, err
	}
	c := &mosquittoClient{conn, bufio.NewReaderSize(conn, wideBuffer), bufio.NewWriterSize(conn, wideBuffer)}
	const protocol311, clean = 4, 2
	return c, c.call(packet(0x10, text(append(text(nil, "MQTT"), protocol311, clean, 0, 0), name)))
}

// call sends a packet and reads its answer.
func (c *mosquittoClient) call(p []byte) error {
	_, _ = c.out.Write(p) // Flush reports a failed write
	if err := c.out.Flush(); err != nil {
		return err
	}
	_, _, err := readPacket(c.in)
	return err
}

// respond answers the level questions of all devices, as a server beside a broker has to, until the broker ends.
func (m *mosquitto) respond() error {
	c, err := m.client("responder")
	if err != nil {
		return err
	}
	if err := c.call(subscribePacket("$log/operation/+/+", 0)); err != nil {
		return err
	}
	go func() {
		for {
			_, body, err := readPacket(c.in)
			if err != nil {
				return
			}
			n := 2 + int(body[0])<<8 + int(body[1])
			_, id := tencent.ParseTopic(string(body[2:n]))
			question, err := tencent.ParseLevelRequest(body[n:])
			if err != nil {
				return
			}
			reply := tencent.LevelReply(question.ClientToken, logbridge.LevelDebug, time.Now())
			_, _ = c.out.Write(packet(0x30, append(text(nil, tencent.OperationResultTopic(id)), reply...)))
			if c.in.Buffered() == 0 && c.out.Flush() != nil {
				return
			}
		}
	}()
	return nil
}

// publishAll is publish with another level each time.
func (m *mosquitto) publishAll(devices int) func(ctx context.Context, n int) error {
	return func(_ context.Context, n int) error { return m.publish(devices, fleetLevel(n)) }
}

// publish sends each device its level at QoS 1 and returns when all are acknowledged.
func (m *mosquitto) publish(devices int, level logbridge.Level) error {
	c, err := m.client("publisher")
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }()
	acked := make(chan error, 1)
	go func() {
		for range devices {
			if _, _, err := readPacket(c.in); err != nil {
				acked <- err
				return
			}
		}
		acked <- nil
	}()
	payload := tencent.LevelReply("", level, time.Now())
	for i := range devices {
		body := text(nil, tencent.OperationResultTopic(benchDevice(i)))
		body = append(body, byte((i+1)>>8), byte(i+1))
		_, _ = c.out.Write(packet(0x32, append(body, payload...)))
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	return <-acked
}
