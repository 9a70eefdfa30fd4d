package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge/natsd"
	"github.com/logbridge/logbridge/natsd/natstest"
)

// How the store benchmark is done.
const (
	// storeRecords in the environment is how many records are loaded; storeDefault without it.
	storeRecords = "LOGBRIDGE_STORE_RECORDS"
	storeDefault = 10_000_000

	// asLoader in the environment makes the test binary a loader into that folder, or, for dryRun, into nothing; the
	// records come from its standard input.
	asLoader = "LOGBRIDGE_STORE_LOAD"
	dryRun   = "nothing"

	// dryCollect makes a dry run collect garbage at 64 MB, about as often as a loader with a sink does.
	dryCollect = 1600

	// Every question is asked in so many rounds, unless it has taken longer than roundsTime altogether.
	storeRounds = 7
	roundsTime  = 10 * time.Second
	storeOpens  = 5

	// lastLines is how many lines of one device are asked for, as a console does.
	lastLines = 1000
)

// TestMain runs all tests twice: on embedded servers, and on one cluster of three. It lets the benchmark load in a process of its
// own, whose CPU and memory are then those of loading.
func TestMain(m *testing.M) {
	if dir := os.Getenv(asLoader); dir != "" {
		if err := loaderMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(natstest.Run(m))
}

// loaded is what the loader says.
type loaded struct {
	Seconds float64 // from the first append to the last answer
	Peak    int     // VmHWM in bytes
}

// loaderMain runs as the program does, with its GCPercent and ExtraProcs.
func loaderMain(dir string) (err error) {
	var out loaded
	f := newStoreFile(os.Stdin)
	if dir == dryRun {
		// Many goroutines would spend time on each other, and a small heap on its collection, which a sink's is not.
		debug.SetGCPercent(dryCollect)
		out.Seconds, err = appendAll(context.Background(), f, nil, 1)
	} else {
		debug.SetGCPercent(GCPercent)
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + ExtraProcs)
		out.Seconds, err = loadStore(dir, f)
	}
	if err != nil {
		return err
	}
	if out.Peak, err = peakMemory(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// loadStore ends when everything is written that is not waiting for more records.
func loadStore(dir string, f *storeFile) (seconds float64, err error) {
	l, stop, err := openStore(dir)
	if err != nil {
		return 0, err
	}
	if seconds, err = appendAll(context.Background(), f, l, storeUploaders); err == nil {
		err = settle(filepath.Join(dir, "segments"))
	}
	return seconds, errors.Join(err, stop())
}

// settle waits until the folder of the segments has been quiet for a while: nothing is being written or merged.
func settle(dir string) error {
	const quiet = mergeIdle + 2*time.Second // what is newest is merged when nothing has come for mergeIdle
	before, since := "", time.Now()
	for time.Since(since) < quiet {
		time.Sleep(quiet / 20)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if now := fmt.Sprint(entries); now != before || strings.Contains(now, tmpSuffix) {
			before, since = now, time.Now()
		}
	}
	return nil
}

func openStore(dir string) (l *Log, stop func() error, err error) {
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	node, err := natsd.New(natsd.Config{Dir: filepath.Join(dir, "nats")}, quiet)
	if err != nil {
		return nil, nil, err
	}
	if l, err = New(context.Background(), Config{Dir: filepath.Join(dir, "segments")}, node, quiet); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := l.Run(ctx)
		node.Run(ctx)
		ended <- err
	}()
	return l, func() error { cancel(); return <-ended }, nil
}

// peakMemory is the most that this process had in memory, by the kernel's account.
func peakMemory() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, err := strconv.Atoi(kilobytes)
	return n << 10, err
}

// BenchmarkStore prints the third table of make bench: what the sink needs to hold many records, and how long it takes to
// answer questions of them, each beside its aim.
func BenchmarkStore(b *testing.B) {
	records := storeDefault
	if text := os.Getenv(storeRecords); text != "" {
		var err error
		if records, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		dir, input := b.TempDir(), filepath.Join(b.TempDir(), "records")
		g := newStoreData(records)
		if err := writeStore(input, g); err != nil {
			b.Fatal(err)
		}
		_, readCPU := runLoader(b, dryRun, input)
		load, loadCPU := runLoader(b, dir, input)
		if err := os.Remove(input); err != nil {
			b.Fatal(err)
		}
		million := float64(records) / 1e6
		fmt.Printf("\n%d records of %.0f bytes, %d devices and web pages, read from a file, %d uploaders, %d CPUs; questions: warm medians of up to %d rounds.\n\n",
			records, float64(g.tally.Bytes)/float64(records), storeDevices, storeUploaders, runtime.NumCPU(), storeRounds)
		fmt.Printf("%-62s %12s %12s\n", "store", "measured", "aim")
		storeRow("disk, bytes a record", diskUse(b, dir), "<= 35")
		storeRow("load through Append, records a second", fmt.Sprintf("%.0f", float64(records)/load.Seconds), ">= 300000")
		storeRow(fmt.Sprintf("CPU seconds per million, load (less %.2f for reading the file)", readCPU.Seconds()/million),
			fmt.Sprintf("%.2f", (loadCPU-readCPU).Seconds()/million), "<= 3.5")
		storeRow("peak memory while loading", fmt.Sprintf("%d MB", load.Peak/1e6), "<= 250 MB")
		storeRow(fmt.Sprintf("open (%.1f MB of commit log to index)", float64(folderSize(b, filepath.Join(dir, "nats")))/1e6),
			milliseconds(openTime(b, dir)), "<= 1000 ms")
		askAll(b, dir, storeQuestions(g.tally, lastLines))
	}
}

func storeRow(name, measured, aim string) { fmt.Printf("%-62s %12s %12s\n", name, measured, aim) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// runLoader gives what the loader says and the CPU time of its process.
func runLoader(b *testing.B, dir, input string) (said loaded, cpu time.Duration) {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	in, err := os.Open(input)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), asLoader+"="+dir)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		b.Fatal(err)
	}
	return said, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// diskUse is what the segments' folder takes for each record in it; the records that are not in segments yet are in the
// commit log and do not count.
func diskUse(b *testing.B, dir string) string {
	dir = filepath.Join(dir, "segments")
	paths, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil {
		b.Fatal(err)
	}
	var rows int64
	for _, path := range paths {
		s, err := openSegment(path)
		if err != nil {
			b.Fatal(err)
		}
		rows += s.rows
	}
	return fmt.Sprintf("%.1f", float64(folderSize(b, dir))/float64(rows))
}

func folderSize(b *testing.B, dir string) (size int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// openTime is the median time from nothing to a sink that answers, its embedded server included.
func openTime(b *testing.B, dir string) time.Duration {
	var times []time.Duration
	for range storeOpens {
		begin := time.Now()
		_, stop, err := openStore(dir)
		times = append(times, time.Since(begin))
		if err == nil {
			err = stop()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return medianTime(times)
}

func medianTime(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// askAll asks each question once to warm up, and then in rounds, one after the other.
func askAll(b *testing.B, dir string, questions []storeQuestion) {
	l, stop, err := openStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	times, took := make([][]time.Duration, len(questions)), make([]time.Duration, len(questions))
	for round := range storeRounds + 1 {
		for n, q := range questions {
			if took[n] > roundsTime && len(times[n]) > 0 {
				continue
			}
			for i := range q.variants {
				begin := time.Now()
				if err := q.ask(b.Context(), l, i); err != nil {
					b.Fatalf("%s: %v", q.name, err)
				}
				d := time.Since(begin)
				if took[n] += d; round > 0 {
					times[n] = append(times[n], d)
				}
			}
		}
	}
	for n, q := range questions {
		aim := "-"
		if q.aim != "" {
			aim = "<= " + q.aim
		}
		storeRow(q.name, milliseconds(medianTime(times[n])), aim)
	}
}
