package main

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// A round ends after so many answers: enough that each of them fills a segment, at a moment within it that is random.
const leastAnswers, moreAnswers = 250, 250

// TestCrashAtRandomMoments kills the server while every surface uploads. After each restart every acknowledged line must
// be there exactly once, replays of signed uploads included: those whose answer never came, and some
// whose answer did.
func TestCrashAtRandomMoments(t *testing.T) {
	const scenario = "kill -9 at random moments"
	crashes.begin(t, scenario)
	home, w, random := newPlace(t, crashConfig), newWitness(), newRandom(t)
	n, replayed := rounds(3, 50), 0
	for round := range n {
		s := home.start(anyone, anyone)
		w.check(t, s)
		replayed += w.replay(t, s)
		l := w.load(s, fmt.Sprint(round), leastAnswers+random.IntN(moreAnswers))
		l.wait(t, s)
		s.stop(syscall.SIGKILL)
		l.all.Wait()
	}
	s := home.start(anyone, anyone)
	w.check(t, s)
	replayed += w.replay(t, s)
	written := len(home.segmentFiles(t))
	if written == 0 {
		t.Error("no segment was written")
	}
	crashes.row(t, scenario, n, w.check(t, s), fmt.Sprintf("%d segments, %d uploads replayed", written, replayed))
}

// newRandom logs its seed.
func newRandom(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
