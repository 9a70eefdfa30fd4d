package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// The scenarios of "make crash" are the tests that are named TestCrash…: each breaks the running program in one way and
// counts what became of the lines that it had acknowledged. Here they run a few rounds each; "make crash" runs them for
// some minutes and prints a table.

// longRun, in the environment, asks for the long scenarios and the table.
const longRun = "LOGBRIDGE_TEST_CRASH"

// crashConfig has small memtables, so that segments are written, renamed and dropped from the commit log all the time.
const crashConfig = e2eConfig + "memtable_bytes: 65536\n"

// rounds chooses how many a scenario has.
func rounds(short, long int) int {
	if os.Getenv(longRun) != "" {
		return long
	}
	return short
}

// crashTable is what "make crash" prints, a row as soon as it is known.
type crashTable struct {
	mu      sync.Mutex
	rows    map[string]bool // scenarios that have theirs
	ran     int
	skipped int
	bad     int
}

var crashes = crashTable{rows: map[string]bool{}}

const crashRow = "%-34s %6s %12s %7s %6s   %s\n"

// begin counts a scenario, and at its end whether it was bad; one that has come to no result has its row then.
func (c *crashTable) begin(t testing.TB, scenario string) {
	t.Cleanup(func() {
		if t.Failed() && !c.rows[scenario] {
			c.print(fmt.Sprintf(crashRow, scenario, "-", "-", "-", "-", "FAILED: see below"))
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ran++
		if t.Failed() {
			c.bad++
		}
	})
}

// row enters the result of a scenario, with details below it, and fails its test when a line was lost or is there twice.
func (c *crashTable) row(t testing.TB, scenario string, rounds int, sum tally, note string, details ...string) {
	t.Helper()
	what := sum.bad()
	if sum.acked == 0 {
		what = "nothing was acknowledged: this proves nothing"
	}
	if what != "" {
		t.Error(what)
	}
	c.print(fmt.Sprintf(crashRow, scenario, fmt.Sprint(rounds), fmt.Sprint(sum.acked), fmt.Sprint(sum.found), fmt.Sprint(sum.twice), note))
	for _, line := range details {
		c.print("    " + line + "\n")
	}
	t.Logf("%d rounds, %d acknowledged, %d found, %d twice; %s; %s", rounds, sum.acked, sum.found, sum.twice, note, strings.Join(details, ", "))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows[scenario] = true
}

// skip ends the test of a scenario that cannot run here.
func (c *crashTable) skip(t testing.TB, scenario, reason string) {
	t.Helper()
	c.print(fmt.Sprintf(crashRow, scenario, "-", "-", "-", "-", "SKIPPED: "+reason))
	c.mu.Lock()
	c.skipped++
	c.mu.Unlock()
	t.Skip("SKIPPED: " + reason)
}

func (c *crashTable) print(line string) {
	if os.Getenv(longRun) == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Print(line)
}

// head and foot are what stands above and below the rows.
func (c *crashTable) head() {
	c.print(fmt.Sprintf(crashRow, "scenario", "rounds", "acknowledged", "found", "twice", "note") + strings.Repeat("-", 100) + "\n")
}

func (c *crashTable) foot(code int) {
	c.print(fmt.Sprintf("%d scenarios, %d of them bad, %d skipped; exit code %d\n", c.ran, c.bad, c.skipped, code))
}
