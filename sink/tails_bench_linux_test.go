//go:build linux

package sink

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// What BenchmarkTails does: so many devices log, from as many uploaders as the table of acknowledgements begins with, and so many rounds.
const (
	tailedDevices   = 1000
	tailsUploaders  = 64
	tailsBatch      = 10
	tailsRounds     = 3
	tailsHeadFormat = "%-54s %9s %9s %12s %12s\n"
)

// tailsRow is one row: tails that are open while all devices log.
type tailsRow struct {
	name  string
	tails int
	of    func(i int) logbridge.Query
}

func tailsRows() []tailsRow {
	device := func(format string) func(int) logbridge.Query {
		return func(i int) logbridge.Query {
			return logbridge.Query{Product: "ABCDE12345", Device: fmt.Sprintf(format, i%tailedDevices)}
		}
	}
	return []tailsRow{
		{name: "no tail"},
		{"1 000 tails of devices that are silent", tailedDevices, device("silent_%04d")},
		{"1 000 tails of the devices that log, one each", tailedDevices, device("dev_%04d")},
		{"100 tails of all devices, of errors, which are none", 100, func(int) logbridge.Query {
			return logbridge.Query{Product: "ABCDE12345", Levels: logbridge.LevelsOf(logbridge.LevelError)}
		}},
	}
}

// BenchmarkTails prints what ingest costs beside tails: a tail should cost no more than the lines that it gives.
func BenchmarkTails(b *testing.B) {
	fmt.Printf("\n1 000 devices log, %d uploaders, batches of %d, with tails; best of %d rounds, %d CPUs; CPU: seconds for a million, uploaders included.\n\n", tailsUploaders, tailsBatch, tailsRounds, runtime.NumCPU())
	fmt.Printf(tailsHeadFormat, "open meanwhile", "records/s", "CPU", "lines given", "memory/tail")
	for range b.N {
		rows := tailsRows()
		best := make([]tailsFigures, len(rows))
		for range tailsRounds {
			for i, row := range rows {
				if f := measureTails(b, row); best[i].rate == 0 || f.cpu < best[i].cpu {
					best[i] = f
				}
			}
		}
		for i, row := range rows {
			memory := "-"
			if row.tails > 0 {
				memory = fmt.Sprintf("%.1f KiB", best[i].memory/1024)
			}
			fmt.Printf(tailsHeadFormat, row.name, fmt.Sprintf("%.0f", best[i].rate), fmt.Sprintf("%.2f", best[i].cpu), fmt.Sprint(best[i].given), memory)
		}
	}
}

type tailsFigures struct {
	ackFigures
	given  int64
	memory float64 // bytes for each tail that sleeps, stack included
}

func measureTails(b *testing.B, row tailsRow) (f tailsFigures) {
	e := newEnv(b, Config{MemtableBytes: maxMemtableBytes, MemtableAge: time.Hour})
	defer e.stop()
	e.append(lines("first", 0, 1))
	ctx, cancel := context.WithCancel(b.Context())
	before := inUse()
	var given atomic.Int64
	var tails sync.WaitGroup
	for i := range row.tails {
		tails.Go(func() {
			for _, err := range e.log.Tail(ctx, logbridge.Position{}, row.of(i)) {
				if err != nil {
					b.Error(err)
					return
				}
				given.Add(1)
			}
		})
	}
	e.asleep(row.tails)
	f.memory = float64(inUse()-before) / float64(max(row.tails, 1))
	f.ackFigures = hammer(b, ackRow{uploaders: tailsUploaders, records: tailsBatch}, func(i int) func() error {
		var batches []logbridge.Batch
		for device := i; device < tailedDevices; device += tailsUploaders {
			batches = slices.Concat(batches, ackBatches(device, tailsBatch)[:4])
		}
		n := 0
		return func() error {
			n++
			_, err := e.log.Append(b.Context(), batches[n%len(batches)])
			return err
		}
	})
	cancel()
	tails.Wait()
	f.given = given.Load()
	return f
}

// inUse is what heap and stacks hold.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
