package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// How much is measured: medians of so many rounds, each beside its limit.
const (
	benchRounds  = 9
	benchTime    = 2 * time.Second
	benchClients = 64
	benchBulk    = 16 // connections that bring many events in each request
	benchDevices = 1000
)

// farFuture is the expiry that Java's SDK writes.
var farFuture = time.Unix(2147483647, 0)

// figures are what one measurement gives.
type figures struct {
	rate float64       // of what the row counts, a second
	p99  time.Duration // of one request, round trip or fan-out
	cpu  float64       // seconds of the server for a million of what the row counts
	rss  float64       // megabytes of memory of the server at the end
}

// benchRow measures one thing on a server, which is ours or the limit.
type benchRow struct {
	name    string
	measure func(b *testing.B, w *benchWorld) figures
}

// benchWorld is one server with its open connections.
type benchWorld struct {
	s       *process
	token   string
	devices []*rawMQTT
	fans    int // levels set so far
}

// BenchmarkTable prints the table of make bench: durable HTTP ingest, level round trips and level fan-out of the whole
// program, each beside its limit (limits_linux_test.go) in the same run, the two measured in turn.
func BenchmarkTable(b *testing.B) {
	home := newPlace(b, benchConfig(benchDevices))
	ours := newBenchWorld(b, home, home.start(anyone, anyone))
	limit := newBenchWorld(b, home, home.launch("limits"))
	rows := []benchRow{
		{"durable ingest, SLS, 10 events each (events)", func(b *testing.B, w *benchWorld) figures { return w.ingest(b, benchClients, 10) }},
		{"durable ingest, SLS, 1 event each (events)", func(b *testing.B, w *benchWorld) figures { return w.ingest(b, benchClients, 1) }},
		{fmt.Sprintf("durable ingest, SLS, 100 events each, %d at a time", benchBulk), func(b *testing.B, w *benchWorld) figures { return w.ingest(b, benchBulk, 100) }},
		{"signed reportlog, 10 lines and a connection each", func(b *testing.B, w *benchWorld) figures { return w.reports(b, 10) }},
		{fmt.Sprintf("level round trips, %d devices", benchClients), func(b *testing.B, w *benchWorld) figures { return w.roundTrips(b) }},
		{fmt.Sprintf("level fan-out to %d devices (messages)", benchDevices), func(b *testing.B, w *benchWorld) figures { return w.fanOut(b) }},
	}
	for b.Loop() {
		fmt.Printf("Medians of %d rounds on %d CPUs, %d connections; the ratio is the median of those of the rounds. CPU is the server's\n"+
			"seconds for a million; a fan-out's p99 is the time to the last device of the slowest of %d. MB is resident memory.\n\n", benchRounds, runtime.NumCPU(), benchClients, fansEach)
		fmt.Printf("%-50s %9s %9s %6s %9s %9s %6s %6s %6s %6s\n", "", "a second", "limit", "ratio", "p99", "limit", "CPU", "limit", "MB", "limit")
		for _, row := range rows {
			o, l, ratio := measureInTurn(b, row, ours, limit)
			fmt.Printf("%-50s %9.0f %9.0f %6.2f %9s %9s %6.1f %6.1f %6.0f %6.0f\n", row.name, o.rate, l.rate, ratio, ms(o.p99), ms(l.p99), o.cpu, l.cpu, o.rss, l.rss)
		}
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

// measureInTurn gives the medians of interleaved rounds; who begins changes from round to round. The median of the ratios of the
// rounds hardly feels that the machine is now faster and now slower, which that of the medians does.
func measureInTurn(b *testing.B, row benchRow, ours, limit *benchWorld) (o, l figures, ratio float64) {
	var all [2][]figures
	var ratios []float64
	for round := range benchRounds {
		for turn := range 2 {
			i := (round + turn) % 2
			all[i] = append(all[i], row.measure(b, []*benchWorld{ours, limit}[i]))
		}
		ratios = append(ratios, all[0][round].rate/all[1][round].rate)
	}
	slices.Sort(ratios)
	return median(all[0]), median(all[1]), ratios[len(ratios)/2]
}

func median(list []figures) figures {
	pick := func(key func(figures) float64) float64 {
		values := make([]float64, len(list))
		for i, f := range list {
			values[i] = key(f)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return figures{
		rate: pick(func(f figures) float64 { return f.rate }),
		p99:  time.Duration(pick(func(f figures) float64 { return float64(f.p99) })),
		cpu:  pick(func(f figures) float64 { return f.cpu }),
		rss:  pick(func(f figures) float64 { return f.rss }),
	}
}

func benchDevice(i int) logbridge.DeviceID {
	return logbridge.DeviceID{Product: "BENCH12345", Device: "dev-" + strconv.Itoa(i)}
}

func benchConfig(devices int) string {
	var b strings.Builder
	b.WriteString("provision:\n  sls:\n    - project: myproj\n      hosts: [127.0.0.1]\n      logstores: [{name: mystore, web_tracking: true}]\n")
	b.WriteString("  products:\n    - id: BENCH12345\n      devices:\n")
	for i := range devices {
		fmt.Fprintf(&b, "        - {name: %s, psk: %s}\n", benchDevice(i).Device, e2ePSK)
	}
	return b.String()
}

func newBenchWorld(b *testing.B, home *place, s *process) *benchWorld {
	token, err := os.ReadFile(home.tokenFile())
	if err != nil {
		b.Fatal(err)
	}
	w := &benchWorld{s: s, token: strings.TrimSpace(string(token)), devices: make([]*rawMQTT, benchDevices)}
	for i := range w.devices {
		if w.devices[i], err = dialMQTT(s.addr("mqtt"), benchDevice(i), e2ePSK); err != nil {
			b.Fatal(err)
		}
		if err := w.devices[i].ask(); err != nil { // what does not ask is told unasked, and then hears more than is counted
			b.Fatal(err)
		}
	}
	return w
}

// roundTrips lets devices ask as fast as they are answered.
func (w *benchWorld) roundTrips(b *testing.B) figures {
	return w.hammer(b, benchClients, 1, func(i int) (func() error, func(), error) { return w.devices[i].ask, func() {}, nil })
}

// hammer runs clients side by side for a while; each turn of one counts for so many.
func (w *benchWorld) hammer(b *testing.B, clients int, worth float64, client func(i int) (turn func() error, end func(), err error)) figures {
	cpu, start := w.cpu(b), time.Now()
	every := hammer(b, clients, benchTime, client)
	elapsed, used := time.Since(start), w.cpu(b)-cpu
	n := float64(len(every)) * worth
	return figures{rate: n / elapsed.Seconds(), p99: every[len(every)*99/100], cpu: used.Seconds() / n * 1e6, rss: w.resident(b)}
}

// hammer runs clients side by side for a while and returns how long each of their turns took, the shortest first.
func hammer(b *testing.B, clients int, length time.Duration, client func(i int) (turn func() error, end func(), err error)) []time.Duration {
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	took := make([][]time.Duration, clients)
	var all sync.WaitGroup
	for i := range took {
		turn, end, err := client(i)
		if err != nil {
			b.Fatal(err)
		}
		all.Go(func() {
			defer end()
			for before := time.Now(); ctx.Err() == nil; {
				if err := turn(); err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(before))
				before = now
			}
		})
	}
	all.Wait()
	every := slices.Concat(took...)
	if len(every) == 0 {
		b.Fatal("nothing was done")
	}
	slices.Sort(every)
	return every
}

// fansEach is how many changes of level one round of fan-out takes.
const fansEach = 5

// fanOut sets a product's level and waits until each of its devices has heard of it.
func (w *benchWorld) fanOut(b *testing.B) figures {
	took := make([]time.Duration, fansEach)
	cpu, start := w.cpu(b), time.Now()
	for i := range took {
		before := time.Now()
		var heard sync.WaitGroup
		for _, d := range w.devices {
			heard.Go(func() {
				if err := d.read(); err != nil {
					b.Error(err)
				}
			})
		}
		w.fans++
		if err := w.setLevel(b.Context(), logbridge.LevelWarn+logbridge.Level(w.fans%2)); err != nil {
			b.Fatal(err)
		}
		heard.Wait()
		took[i] = time.Since(before)
	}
	elapsed, used := time.Since(start), w.cpu(b)-cpu
	n := float64(fansEach * benchDevices)
	return figures{rate: n / elapsed.Seconds(), p99: slices.Max(took), cpu: used.Seconds() / n * 1e6, rss: w.resident(b)}
}

func (w *benchWorld) setLevel(ctx context.Context, level logbridge.Level) error {
	server := &api{base: w.s.url() + "/api/v1", token: w.token, http: http.DefaultClient}
	return server.call(ctx, http.MethodPut, "/products/BENCH12345/level", map[string]any{"level": level, "reason": "bench"}, nil)
}
