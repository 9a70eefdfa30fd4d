package sink

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// How fairness is measured: ingest alone and beside readers in turn, medians of so many rounds of so long, over so many
// records that are there before.
const (
	fairRounds  = 7
	fairTime    = 3 * time.Second
	fairRecords = 2_000_000
	fairReaders = 20

	// lookEvery is how often somebody looks at the last lookLines lines of one device, in both.
	lookEvery = 50 * time.Millisecond
	lookLines = 100
)

// fairIngest is what is appended: uploaders that each wait for their answer before they send the next batch.
var fairIngest = ackRow{uploaders: 64, records: 10}

// fairFigures are what one measurement gives.
type fairFigures struct {
	rate  float64 // records acknowledged a second
	cpu   float64 // seconds a second, of all
	scans float64 // readers' answers a second
	looks []time.Duration
}

// BenchmarkFair prints the fourth table of make bench: what readers that search everything without end leave to ingest, and
// to somebody who looks at one device.
func BenchmarkFair(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(GCPercent))
	for b.Loop() {
		input := filepath.Join(b.TempDir(), "records")
		g := newStoreData(fairRecords)
		if err := writeStore(input, g); err != nil {
			b.Fatal(err)
		}
		l, stop, err := openStore(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := appendAll(b.Context(), openStoreFile(b, input), l, storeUploaders); err != nil {
			b.Fatal(err)
		}
		look := g.tally.askLines(g, g.tally.spreadDevices(lookLines), lookLines)
		var all [2][]fairFigures
		for round := range fairRounds {
			for turn := range 2 {
				i := (round + turn) % 2
				all[i] = append(all[i], measureFair(b, l, i*fairReaders, look))
			}
		}
		if err := stop(); err != nil {
			b.Error(err)
		}
		printFair(all[0], all[1])
	}
}

func printFair(alone, beside []fairFigures) {
	pick := func(list []fairFigures, key func(fairFigures) float64) float64 {
		var values []float64
		for _, f := range list {
			values = append(values, key(f))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	looks := func(list []fairFigures) (all []time.Duration) {
		for _, f := range list {
			all = append(all, f.looks...)
		}
		slices.Sort(all)
		return all
	}
	rate := func(f fairFigures) float64 { return f.rate }
	fmt.Printf("\nIngest of %d uploaders, batches of %d, alone and beside %d readers that search or count all of %d records and more. Medians of %d interleaved rounds, %d CPUs.\n\n",
		fairIngest.uploaders, fairIngest.records, fairReaders, fairRecords, fairRounds, runtime.NumCPU())
	fmt.Printf("%-54s %9s %9s %6s %8s\n", "readers beside ingest", "beside", "alone", "ratio", "aim")
	fmt.Printf("%-54s %9.0f %9.0f %6.2f %8s\n", "ingest, records a second", pick(beside, rate), pick(alone, rate), pick(beside, rate)/pick(alone, rate), ">= 0.50")
	cpu := func(f fairFigures) float64 { return f.cpu }
	fmt.Printf("%-54s %9.2f %9.2f\n", "processors used", pick(beside, cpu), pick(alone, cpu))
	fmt.Printf("%-54s %9.2f\n", "searches and counts of everything, a second", pick(beside, func(f fairFigures) float64 { return f.scans }))
	for _, part := range []struct {
		name  string
		share int
	}{{"median", 50}, {"99 of 100", 99}} {
		at := func(list []time.Duration) float64 {
			return float64(list[len(list)*part.share/100]) / float64(time.Millisecond)
		}
		fmt.Printf("%-54s %9.1f %9.1f\n", fmt.Sprintf("one device, last %d lines, ms: %s", lookLines, part.name), at(looks(beside)), at(looks(alone)))
	}
}

// measureFair appends for a while beside so many readers.
func measureFair(b *testing.B, l *Log, readers int, look func(context.Context, *Log, int) error) fairFigures {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var out fairFigures
	var beside sync.WaitGroup
	var scans atomic.Int64
	for i := range readers {
		beside.Go(func() {
			for ctx.Err() == nil {
				if err := readAll(ctx, l, i); err == nil {
					scans.Add(1)
				} else if ctx.Err() == nil {
					b.Error(err)
					return
				}
			}
		})
	}
	beside.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			begin := time.Now()
			if err := look(b.Context(), l, i%5); err != nil {
				b.Error(err)
			}
			out.looks = append(out.looks, time.Since(begin))
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery):
			}
		}
	})
	cpu, begin := processTime(b), time.Now()
	f := hammerFor(b, fairTime, fairIngest, func(i int) func() error {
		batches, n := ackBatches(i, fairIngest.records), 0
		return func() error {
			n++
			_, err := l.Append(b.Context(), batches[n%len(batches)])
			return err
		}
	})
	took := time.Since(begin)
	cancel()
	out.rate, out.cpu, out.scans = f.rate, (processTime(b)-cpu).Seconds()/took.Seconds(), float64(scans.Load())/took.Seconds()
	beside.Wait()
	return out
}

// readAll asks for something that no index answers: three of four readers search, the others count.
func readAll(ctx context.Context, l *Log, reader int) error {
	if reader%4 == 3 {
		_, err := l.Count(ctx, logbridge.Query{}, logbridge.CountBy{Field: "field.duration_ms"})
		return err
	}
	return askContains("no such text in any record", 0)(ctx, l, 0)
}
