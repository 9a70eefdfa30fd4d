//go:build linux

package sink

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// How much is measured: medians of so many rounds of so long, each beside its limit.
const (
	ackRounds = 7
	ackTime   = time.Second
)

// underStrace tells the benchmark that it runs so.
const underStrace = "LOGBRIDGE_BENCH_SLOW_SYNC"

// slowSyncs are the disks, slower than this one, on which a row is measured as well.
var slowSyncs = []slowSync{
	{300 * time.Microsecond, ">= 1.00"}, // with it the bare file is as fast as where the aims come from, if a sync here takes some 0.2 ms
	{5 * time.Millisecond, ">= 0.90"},
}

// slowSync is what strace adds to each sync, and the aim with it.
type slowSync struct {
	added time.Duration
	aim   string
}

func (s slowSync) row() ackRow { return ackRow{64, 1, s.aim} }

func (s slowSync) remark() string { return fmt.Sprintf(", %s added to each sync", s.added) }

// ackRow is one row of the table: uploaders that each append a batch of so many records and wait for the answer. The aim is
// for the ratio; rows without one are there to compare.
type ackRow struct {
	uploaders, records int
	aim                string
}

// ackFigures are what one measurement gives.
type ackFigures struct {
	rate float64 // records acknowledged a second
	cpu  float64 // seconds of the process for a million records, uploaders included
}

// BenchmarkAcks prints the second table of make bench: durable acknowledgements a second, in process, with no segment
// written, each row beside its limit in the same run: a bare file to which one goroutine writes all that waits, then
// fdatasync, then answers. It then runs itself again under strace, which makes each sync of both slower; without strace
// those rows are skipped, and it says so. Both have the program's ExtraProcs.
func BenchmarkAcks(b *testing.B) {
	fmt.Printf("\nDurable acknowledgements; the limit is a bare file with group fdatasync. Medians of %d interleaved rounds, %d CPUs; CPU: seconds for a million, uploaders included.\n\n",
		ackRounds, runtime.NumCPU())
	fmt.Printf("%-54s %9s %9s %6s %8s %6s %6s\n", "acknowledged records a second", "measured", "limit", "ratio", "aim", "CPU", "limit")
	for _, row := range []ackRow{{64, 1, ">= 1.00"}, {1, 1, ""}, {64, 10, ""}, {64, 100, ""}, {8, 10, ""}, {8, 100, ""}} {
		b.Run(fmt.Sprintf("%dx%d", row.uploaders, row.records), func(b *testing.B) {
			for b.Loop() {
				compareAcks(b, row, "")
			}
		})
	}
	for _, slow := range slowSyncs {
		b.Run("slow/"+slow.added.String(), func(b *testing.B) {
			for b.Loop() {
				if os.Getenv(underStrace) != "" {
					compareAcks(b, slow.row(), slow.remark())
				} else {
					slowAcks(b, slow)
				}
			}
		})
	}
}

// compareAcks measures a row and its limit in turn and prints the medians.
func compareAcks(b *testing.B, row ackRow, remark string) {
	procs := runtime.GOMAXPROCS(0) // b.Run has set it anew
	runtime.GOMAXPROCS(procs + ExtraProcs)
	defer runtime.GOMAXPROCS(procs)
	var all [2][]ackFigures
	for round := range ackRounds {
		for turn := range 2 { // who begins changes from round to round
			i := (round + turn) % 2
			all[i] = append(all[i], []func(*testing.B, ackRow) ackFigures{measureLog, measureBareFile}[i](b, row))
		}
	}
	o, l := medianAcks(all[0]), medianAcks(all[1])
	fmt.Printf("%-54s %9.0f %9.0f %6.2f %8s %6.2f %6.2f\n", row.name(remark), o.rate, l.rate, o.rate/l.rate, cmp.Or(row.aim, "-"), o.cpu, l.cpu)
}

func (row ackRow) name(remark string) string {
	return fmt.Sprintf("%d uploaders, batches of %d%s", row.uploaders, row.records, remark)
}

// slowAcks runs this benchmark under strace.
func slowAcks(b *testing.B, slow slowSync) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		fmt.Printf("%-54s   skipped: there is no strace here\n", slow.row().name(slow.remark()))
		return
	}
	cmd := exec.CommandContext(b.Context(), strace, "-f", "--seccomp-bpf", "-o", os.DevNull, "-e", "trace=fsync,fdatasync",
		"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_exit=%d", slow.added.Microseconds()),
		os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkAcks$/^slow$/^"+slow.added.String()+"$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), underStrace+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		fmt.Printf("%-54s   skipped: strace cannot work here (%v)\n%s", slow.row().name(slow.remark()), err, out)
		return
	}
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte(slow.remark())) {
			fmt.Printf("%s", line)
		}
	}
}

func medianAcks(list []ackFigures) ackFigures {
	pick := func(key func(ackFigures) float64) float64 {
		values := make([]float64, len(list))
		for i, f := range list {
			values[i] = key(f)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return ackFigures{
		rate: pick(func(f ackFigures) float64 { return f.rate }),
		cpu:  pick(func(f ackFigures) float64 { return f.cpu }),
	}
}

// measureLog measures a sink of its own, whose memtable takes all.
func measureLog(b *testing.B, row ackRow) ackFigures { return measureLogOn(b, row, "") }

// measureLogOn is measureLog on a cluster, if there is one.
func measureLogOn(b *testing.B, row ackRow, url string) ackFigures {
	e := &env{t: b, dir: b.TempDir(), cfg: Config{MemtableBytes: maxMemtableBytes, MemtableAge: time.Hour}, url: url}
	e.start()
	defer e.stop()
	return hammer(b, row, func(i int) func() error {
		batches := ackBatches(i, row.records)
		n := 0
		return func() error {
			n++
			_, err := e.log.Append(b.Context(), batches[n%len(batches)])
			return err
		}
	})
}

// ackBatches are what one uploader sends in turn: lines of its own device, of about 190 bytes a record.
func ackBatches(uploader, size int) []logbridge.Batch {
	batches := make([]logbridge.Batch, max(4, 256/size))
	for k := range batches {
		batches[k].Records = make([]logbridge.Record, size)
		for n := range batches[k].Records {
			seq := uploader*7919 + k*size + n
			r := line(fmt.Sprintf("dev_%04d", uploader), fmt.Sprintf("[%08d] sensor_task: temperature 21.%d C, humidity %d %%, voltage 3.%02d V, free heap %d, uptime %d s, rssi -%d dBm, queue %d",
				seq*37, seq%10, 40+seq%17, seq%100, 100000+seq*7919%90000, seq*31, 40+seq%50, seq%8))
			r.Time = r.Time.Add(time.Duration(seq) * time.Millisecond)
			batches[k].Records[n] = r
		}
	}
	return batches
}

// measureBareFile measures the limit.
func measureBareFile(b *testing.B, row ackRow) ackFigures {
	f, err := os.Create(filepath.Join(b.TempDir(), "bare.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	g := &bareFile{f: f, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	var writer sync.WaitGroup
	writer.Go(func() { g.run(b) })
	defer writer.Wait()
	defer close(g.wake)
	return hammer(b, row, func(i int) func() error {
		var bodies [][]byte
		for _, batch := range ackBatches(i, row.records) {
			uploads, err := encodeBatch(batch)
			if err != nil {
				b.Fatal(err)
			}
			bodies = append(bodies, uploads[0].body)
		}
		n := 0
		return func() error {
			n++
			g.append(bodies[n%len(bodies)])
			return nil
		}
	})
}

// bareFile appends bodies to a file; those that come while a sync is under way share the next one.
type bareFile struct {
	f    *os.File
	mu   sync.Mutex
	buf  []byte
	done chan struct{} // closed when buf is on disk
	wake chan struct{}
}

func (g *bareFile) run(b *testing.B) {
	var spare []byte
	for range g.wake {
		g.mu.Lock()
		buf, done := g.buf, g.done
		g.buf, g.done = spare[:0], make(chan struct{})
		g.mu.Unlock()
		if _, err := g.f.Write(buf); err != nil {
			b.Error(err)
		}
		if err := syscall.Fdatasync(int(g.f.Fd())); err != nil {
			b.Error(err)
		}
		spare = buf
		close(done)
	}
}

func (g *bareFile) append(body []byte) {
	g.mu.Lock()
	g.buf = append(g.buf, body...)
	done := g.done
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	<-done
}

// hammer runs the uploaders side by side for ackTime.
func hammer(b *testing.B, row ackRow, uploader func(i int) func() error) ackFigures {
	return hammerFor(b, ackTime, row, uploader)
}

// hammerFor is hammer for a while.
func hammerFor(b *testing.B, while time.Duration, row ackRow, uploader func(i int) func() error) ackFigures {
	turns := make([]func() error, row.uploaders)
	for i := range turns {
		turns[i] = uploader(i)
	}
	runtime.GC() // what the one before has left is not this one's work
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	cpu, start := processTime(b), time.Now()
	timer := time.AfterFunc(while, cancel)
	defer timer.Stop()
	var done atomic.Int64
	var all sync.WaitGroup
	for _, turn := range turns {
		all.Go(func() {
			n := 0
			for ; ctx.Err() == nil; n++ {
				if err := turn(); err != nil {
					b.Error(err)
					return
				}
			}
			done.Add(int64(n * row.records))
		})
	}
	all.Wait()
	elapsed, used := time.Since(start), processTime(b)-cpu
	n := float64(done.Load())
	return ackFigures{rate: n / elapsed.Seconds(), cpu: used.Seconds() / n * 1e6}
}

// processTime is what this process has used of the processors, all threads.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
