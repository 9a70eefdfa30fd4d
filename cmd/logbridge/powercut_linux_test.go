package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// volumeBytes is room enough for what the scenarios write and for what the server wants to remain free. The image is sparse.
const volumeBytes = 512 << 20

// cutsPerRun is how many power cuts one server sees.
const cutsPerRun = 5

// powerCut is the image as it was at one moment, and what had been acknowledged before.
type powerCut struct {
	w     *witness
	image string
	acked map[string]bool
	point string
}

// TestCrashPowerCut stops the server under load, copies the image of its file system while it is mounted, and lets it go
// on. In one run the moments are random, in the next the server stops right after a system call on its files. On each copy
// the file system replays its journal, a server starts, and every line that was acknowledged before the copy was begun
// must be there exactly once.
func TestCrashPowerCut(t *testing.T) {
	const scenario = "power cut: only synced data is left"
	crashes.begin(t, scenario)
	needVolumes(t, scenario)
	needStrace(t, scenario)
	random := newRandom(t)
	n, points := rounds(2, 20), hits{}
	var sum tally
	var cuts []powerCut
	for run := 0; len(cuts) < n; run++ {
		more := min(cutsPerRun, n-len(cuts))
		if n <= cutsPerRun { // a short test has both kinds
			more = 1
		}
		cuts = append(cuts, cutRun(t, random, run, more)...)
	}
	for _, c := range cuts {
		points[c.point]++
		sum.add(checkCut(t, c))
	}
	crashes.row(t, scenario, n, sum, "each on an image of its own", points.lines()...)
}

// cutRun is one server, and some cuts of its power.
func cutRun(t *testing.T, random *rand.Rand, run, n int) (cuts []powerCut) {
	t.Helper()
	v, w := newVolume(t, volumeBytes), newWitness()
	trace := filepath.Join(v.place.dir, "trace")
	atCalls := run%2 == 1
	if atCalls {
		a := []attack{{"fsync", []string{"segments"}, 1}, {"renameat,unlinkat", nil, 12}}[run/2%2]
		v.place.under = append(v.place.under, a.command(v.place, random, trace, "signal=SIGSTOP", "+2")...)
	}
	s := v.place.start(anyone, anyone)
	l := w.load(s, fmt.Sprintf("cut%d", run), leastAnswers)
	for i := range n {
		if !atCalls {
			l.more(leastAnswers + random.IntN(moreAnswers))
			l.wait(t, s)
			if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		s.awaitStop()
		c := powerCut{w, filepath.Join(v.place.dir, fmt.Sprint("cut-", i)), w.promised(), "at a random moment"}
		if err := v.copyImage(c.image); err != nil {
			t.Fatal(err)
		}
		if atCalls {
			c.point = "after " + latest(trace, v.place.dir, "")
		}
		cuts = append(cuts, c)
		if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	l.all.Wait()
	return cuts
}

// awaitStop returns when no thread of the server runs.
func (s *process) awaitStop() {
	s.place.t.Helper()
	limit := time.Now().Add(patience)
	for !s.stopped() {
		if time.Now().After(limit) {
			s.place.t.Fatal("the server does not stop")
		}
	}
}

// stopped looks twice: a thread that strace has just stopped at a system call goes on at once.
func (s *process) stopped() bool {
	for range 2 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			return false
		}
		for _, file := range threads {
			stat, err := os.ReadFile(file)
			_, state, ok := strings.Cut(string(stat), ") ")
			if err != nil || !ok || state[0] != 'T' && state[0] != 't' {
				return false
			}
		}
	}
	return true
}

// checkCut starts a server on the copy.
func checkCut(t *testing.T, c powerCut) tally {
	t.Helper()
	home := newPlace(t, volumeConfig)
	home.copyFile("seal-key", filepath.Dir(c.image))
	if _, err := mountVolume(home, c.image); err != nil {
		t.Fatal(err)
	}
	s := home.start(anyone, anyone)
	defer s.stop(syscall.SIGKILL)
	sum := c.w.compare(t, s, c.acked)
	if strings.Contains(s.output(), "level=ERROR") {
		t.Logf("%s: the server said:\n%s", c.point, s.output())
	}
	return sum
}
