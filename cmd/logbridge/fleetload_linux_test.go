package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// dialers is how many devices of a fleet connect side by side.
const dialers = 64

// fleetWorld is one broker and what is connected to it: the same bytes go to ours and to mosquitto.
type fleetWorld struct {
	addr   string
	pid    int
	first  int                                    // resident bytes before the first connection
	set    func(ctx context.Context, n int) error // tells all devices the n-th level
	logins [][]byte                               // the CONNECT of each device
	conns  []*rawMQTT                             // of each device
	sets   int                                    // levels set so far
	record map[string][]float64                   // what was measured, by row
}

func newFleetWorld(b *testing.B, addr string, pid int, logins [][]byte) *fleetWorld {
	return &fleetWorld{addr: addr, pid: pid, first: residentOf(b, pid), logins: logins, conns: make([]*rawMQTT, len(logins)), record: map[string][]float64{}}
}

func (w *fleetWorld) note(row string, value float64) { w.record[row] = append(w.record[row], value) }

// logInPackets makes each device's login before the clock runs.
func logInPackets(b *testing.B, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		var err error
		if list[i], err = connectPacket(benchDevice(i), e2ePSK); err != nil {
			b.Fatal(err)
		}
	}
	return list
}

// each runs do for the first n devices, some side by side.
func (w *fleetWorld) each(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range dialers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					b.Errorf("device %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// The devices come from several addresses: with most ports of one in use, the kernel's search for a free one takes longer
// than a login.
const sources = 8

// dial connects device i.
func (w *fleetWorld) dial(i int) error {
	d := net.Dialer{
		KeepAlive: -1, // probes of many connections would be part of what is measured
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%sources))},
		Control: func(_, _ string, c syscall.RawConn) error {
			const bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect, for this destination
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, bindAddressNoPort, 1)
			})
			return errors.Join(err, failed)
		},
	}
	conn, err := d.Dial("tcp", w.addr)
	if err != nil {
		return err
	}
	w.conns[i] = newRawMQTT(conn, benchDevice(i))
	return nil
}

// connect logs n devices in and returns how many a second.
func (w *fleetWorld) connect(b *testing.B, n int) float64 {
	start := time.Now()
	w.each(b, n, func(i int) error {
		if err := w.dial(i); err != nil {
			return err
		}
		if _, err := w.conns[i].conn.Write(w.logins[i]); err != nil {
			return err
		}
		return w.conns[i].read()
	})
	return float64(n) / time.Since(start).Seconds()
}

// subscribe does what a device does after its login: it subscribes its result topic and asks for its level.
func (w *fleetWorld) subscribe(b *testing.B, n int, qos byte) {
	w.each(b, n, func(i int) error {
		c := w.conns[i]
		if _, err := c.conn.Write(append(subscribePacket(tencent.OperationResultTopic(benchDevice(i)), qos), c.question...)); err != nil {
			return err
		}
		if err := c.read(); err != nil { // SUBACK
			return err
		}
		return c.read()
	})
}

// drop cuts every connection, as a lost network does.
func (w *fleetWorld) drop() {
	for i, c := range w.conns {
		if c != nil {
			_ = c.conn.(*net.TCPConn).SetLinger(0) // no port waits for its reuse
			_ = c.conn.Close()
			w.conns[i] = nil
		}
	}
}

// fanOuts sets the level of all n devices again and again, and notes the time until the last has heard of it, and whoever set it has
// his answer or not. The connections are lost behind it.
func (w *fleetWorld) fanOuts(b *testing.B, n, times int) {
	conns := make([]net.Conn, n)
	for i, c := range w.conns[:n] {
		conns[i], w.conns[i] = c.conn, nil
	}
	all, err := detach(conns)
	if err != nil {
		b.Fatal(err)
	}
	defer all.close()
	for range times {
		start := time.Now()
		w.sets++
		answered := make(chan error, 1)
		go func() { answered <- w.set(b.Context(), w.sets) }()
		if err := all.hear(); err != nil {
			b.Fatal(err)
		}
		w.note("fan", time.Since(start).Seconds())
		if err := <-answered; err != nil {
			b.Fatal(err)
		}
	}
}

// roundTrips lets the first n devices ask as fast as they are answered.
func (w *fleetWorld) roundTrips(b *testing.B, n int, length time.Duration) (rate float64, p99 time.Duration) {
	start := time.Now()
	every := hammer(b, n, length, func(i int) (func() error, func(), error) { return w.conns[i].ask, func() {}, nil })
	return float64(len(every)) / time.Since(start).Seconds(), every[len(every)*99/100]
}

const (
	// reportSize is the payload of a report in the benchmark.
	reportSize = 1 << 10
	// reportWindow is how many reports a device sends ahead of their PUBACKs.
	reportWindow = 16
)

// reports lets the first n devices report as fast as they get PUBACKs, and returns how many a second those were.
func (w *fleetWorld) reports(b *testing.B, n int, length time.Duration) float64 {
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	var acked atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for i, c := range w.conns[:n] {
		all.Go(func() {
			k, err := reporter{c, benchDevice(i), rand.New(rand.NewPCG(uint64(i), 0))}.run(ctx)
			acked.Add(int64(k))
			if err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return float64(acked.Load()) / time.Since(start).Seconds()
}

// reporter is one device that reports.
type reporter struct {
	c   *rawMQTT
	id  logbridge.DeviceID
	rng *rand.Rand
}

// run sends a window of reports, then one for each PUBACK, those that have come together with one system call.
func (r reporter) run(ctx context.Context) (acked int, err error) {
	var out []byte
	sent, free := 0, reportWindow
	for {
		out = out[:0]
		for ; free > 0 && ctx.Err() == nil; free-- {
			sent++
			out = append(out, r.packet(sent)...)
		}
		if _, err := r.c.conn.Write(out); err != nil {
			return acked, err
		}
		if acked == sent {
			return acked, nil
		}
		for first := true; first || r.c.in.Buffered() > 0; first = false {
			if err := r.c.read(); err != nil {
				return acked, err
			}
			acked++
			free++
		}
	}
}

// packet is the n-th report, one line with changing words and numbers.
func (r reporter) packet(n int) []byte {
	body := binary.BigEndian.AppendUint16(text(nil, tencent.ReportTopic(r.id)), uint16(n%0xFFFF+1))
	end := len(body) + reportSize
	body = fmt.Appendf(body, "INF|2026-11-21 10:53:38|sensor.c|report(88): %d", n)
	for len(body) < end {
		body = append(append(body, []string{" raw=", " temperature ", " retries:", " bus "}[r.rng.IntN(4)]...), strconv.Itoa(r.rng.IntN(100_000))...)
	}
	return packet(0x32, body[:end])
}

// residentOf is what a process keeps in memory, in bytes.
func residentOf(b *testing.B, pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes << 10
}

// openFiles raises the limit of open files, of the processes that this one starts too, as far as it may, and returns it.
func openFiles(b *testing.B, want uint64) int {
	limit := syscall.Rlimit{Cur: want, Max: want}
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		b.Fatal(err)
	}
	if now.Max >= want || syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		limit = syscall.Rlimit{Cur: now.Max, Max: now.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			b.Fatal(err)
		}
	}
	return int(limit.Cur)
}

// ruleForAll makes a rule that decides the level of every device of the benchmark, since the newer of two equal rules does.
func ruleForAll(s *process) func(ctx context.Context, n int) error {
	server := s.operator()
	return func(ctx context.Context, n int) error {
		return server.call(ctx, http.MethodPost, "/levels", map[string]any{
			"selector": map[string]any{"product": benchDevice(0).Product}, "level": fleetLevel(n), "for": "30m", "reason": "bench",
		}, nil)
	}
}

// fleetLevel is another one each time.
func fleetLevel(n int) logbridge.Level { return logbridge.LevelWarn + logbridge.Level(n%2) }

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
