package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// fleetSize is how much BenchmarkFleet measures.
type fleetSize struct {
	devices   int // connected at a time
	connects  int // of the whole fleet; the last is the one that memory is measured in
	fans      int // levels set for all, after the last connect and its rest
	rounds    int // of round trips and reports
	length    time.Duration
	settle    time.Duration // after the last connect, before the idle time
	idle      time.Duration
	asking    []int // devices that ask
	reporting int   // devices that report
}

// The full size is bounded by the usual limit of 20 000 open files and by four minutes in all.
func fullFleet(files int) fleetSize {
	const most, spare = 19_000, 1000
	return fleetSize{devices: min(most, files-spare), connects: 8, fans: 15, rounds: 3, length: 2 * time.Second,
		settle: 8 * time.Second, idle: 10 * time.Second, asking: []int{64, 1000}, reporting: 256}
}

// smallFleet is for go test -short, to see that the benchmark works.
func smallFleet() fleetSize {
	return fleetSize{devices: 1000, connects: 2, fans: 1, rounds: 1, length: time.Second / 2,
		settle: time.Second, idle: time.Second, asking: []int{64, 1000}, reporting: 64}
}

// fleetRow is a row of the table: a figure of ours, and of mosquitto's, with what it should be.
type fleetRow struct {
	key, name string
	format    string
	aim       string
	// met judges ours and its ratio to mosquitto's; an aim that needs mosquitto is not judged without.
	met   func(ours, ratio float64) bool
	alone bool // the aim is about ours alone
}

func fleetRows(size fleetSize) []fleetRow {
	rows := []fleetRow{
		{"memory", "resident KB for each device", "%.1f", "<= 45 KB", func(o, _ float64) bool { return o <= 45 }, true},
		{"connects", "connects a second (ours with login)", "%.0f", ">= 0.8 x", func(_, r float64) bool { return r >= 0.8 }, false},
	}
	for _, n := range size.asking {
		rows = append(rows,
			fleetRow{fmt.Sprint("trips", n), fmt.Sprintf("level round trips a second, %d devices", n), "%.0f", ">= 1.5 x", func(_, r float64) bool { return r >= 1.5 }, false},
			fleetRow{fmt.Sprint("p99", n), fmt.Sprintf("their p99, ms, %d devices", n), "%.2f", "<= 1.4 x", func(_, r float64) bool { return r <= 1.4 }, false})
	}
	return append(rows,
		fleetRow{"reports", fmt.Sprintf("log reports of 1 KB a second, QoS 1, %d devices", size.reporting), "%.0f", ">= 25000", func(o, _ float64) bool { return o >= 25_000 }, true},
		fleetRow{"idle", "idle CPU, % of a core", "%.1f", "<= 2 %", func(o, _ float64) bool { return o <= 2 }, true},
		fleetRow{"fan", "a rule for all: seconds to the last", "%.2f", "< 0.5 s", func(o, _ float64) bool { return o < 0.5 }, true},
		fleetRow{"fan", "the same, beside one QoS 1 publisher", "%.2f", "< 0.6 x", func(_, r float64) bool { return r < 0.6 }, false})
}

// BenchmarkFleet prints the table of the whole fleet: connections, their memory and idle cost, round trips, reports and a
// rule for all, of the whole program as a process of its own, beside mosquitto in the same run, the two in turn.
func BenchmarkFleet(b *testing.B) {
	size := smallFleet()
	if !testing.Short() {
		const files = 20_500
		size = fullFleet(openFiles(b, files))
	}
	home := newPlace(b, benchConfig(size.devices))
	s := home.start(anyone, anyone)
	logins := logInPackets(b, size.devices)
	ours := newFleetWorld(b, s.addr("mqtt"), s.cmd.Process.Pid, logins)
	ours.set = ruleForAll(s)
	worlds := []*fleetWorld{ours}
	if m := startMosquitto(b); m == nil {
		fmt.Printf("MOSQUITTO IS NOT INSTALLED (%s): its column is empty, and no aim beside it is judged.\n", mosquittoProgram)
	} else {
		if err := m.respond(); err != nil {
			b.Fatal(err)
		}
		other := newFleetWorld(b, m.addr, m.cmd.Process.Pid, logins)
		other.set = m.publishAll(size.devices)
		worlds = append(worlds, other)
	}
	for b.Loop() {
		start := time.Now()
		wholeFleet(b, worlds, size)
		someDevices(b, worlds, size)
		printFleet(worlds, size, time.Since(start))
	}
}

// wholeFleet lets all devices connect, be told a level, and lose their connections, again and again.
func wholeFleet(b *testing.B, worlds []*fleetWorld, size fleetSize) {
	for round := range size.connects {
		for _, w := range worlds {
			w.note("connects", w.connect(b, size.devices))
			w.subscribe(b, size.devices, 1)
			if round == size.connects-1 {
				w.rest(b, size)
				w.fanOuts(b, size.devices, size.fans)
			}
			w.drop()
		}
	}
}

// rest measures what connected devices cost that do nothing.
func (w *fleetWorld) rest(b *testing.B, size fleetSize) {
	time.Sleep(size.settle)
	before := cpuOf(b, w.pid)
	time.Sleep(size.idle)
	w.note("idle", float64(cpuOf(b, w.pid)-before)/float64(size.idle)*100)
	w.note("memory", float64(residentOf(b, w.pid)-w.first)/float64(size.devices)/(1<<10))
}

// someDevices measures what needs no more than some connections. Who begins changes from round to round.
func someDevices(b *testing.B, worlds []*fleetWorld, size fleetSize) {
	connected := max(size.reporting, slices.Max(size.asking))
	for _, w := range worlds {
		w.connect(b, connected)
		w.subscribe(b, connected, 0)
		defer w.drop()
	}
	inTurn := func(measure func(w *fleetWorld)) {
		for round := range size.rounds {
			for turn := range worlds {
				measure(worlds[(round+turn)%len(worlds)])
			}
		}
	}
	for _, n := range size.asking {
		inTurn(func(w *fleetWorld) {
			rate, p99 := w.roundTrips(b, n, size.length)
			w.note(fmt.Sprint("trips", n), rate)
			w.note(fmt.Sprint("p99", n), float64(p99)/float64(time.Millisecond))
		})
	}
	inTurn(func(w *fleetWorld) { w.note("reports", w.reports(b, size.reporting, size.length)) })
}

func printFleet(worlds []*fleetWorld, size fleetSize, took time.Duration) {
	fmt.Printf("\n%d devices connected and subscribed, on %d CPUs which the clients share; medians of %d connects of all, %d levels for all,\n"+
		"%d rounds of the rest; %s in all. Memory is measured after %d reconnects of all. mosquitto checks no login, its levels come from\n"+
		"an external responder and publisher, and it keeps no report. Who hears a level for all is one thread that comes before the brokers.\n\n",
		size.devices, runtime.NumCPU(), size.connects, size.fans, size.rounds, took.Round(time.Second), size.connects-1)
	fmt.Printf("%-50s %10s %10s %7s   %s\n", "", "logbridge", "mosquitto", "ratio", "aim")
	for _, row := range fleetRows(size) {
		o := middle(worlds[0].record[row.key])
		other, ratio, verdict := "-", "-", ""
		r := 0.0
		if len(worlds) > 1 {
			m := middle(worlds[1].record[row.key])
			other, r = fmt.Sprintf(row.format, m), o/m
			if m > 0 {
				ratio = fmt.Sprintf("%.2f", r)
			}
		}
		if row.alone || len(worlds) > 1 {
			verdict = map[bool]string{true: "met", false: "MISSED"}[row.met(o, r)]
		}
		fmt.Println(strings.TrimRight(fmt.Sprintf("%-50s %10s %10s %7s   %-9s %s", row.name, fmt.Sprintf(row.format, o), other, ratio, row.aim, verdict), " "))
	}
}
