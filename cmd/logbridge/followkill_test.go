package main

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestFollowGoesOnOverCrashesUnderLoad follows with the real command while every surface uploads and the server is killed and
// started again: it shows each line that is stored, so each that was acknowledged, once, and in the order of positions.
func TestFollowGoesOnOverCrashesUnderLoad(t *testing.T) {
	home, w, random := newPlace(t, crashConfig), newWitness(), newRandom(t)
	s := home.start(kept(t))
	addr := s.addr("http")
	_, out := s.follow("--since", "2000-01-01")
	shown := make(chan found, 1<<16) // more than there will be
	go func() {
		defer close(shown)
		for lines := json.NewDecoder(out); ; {
			var r found
			if lines.Decode(&r) != nil {
				return
			}
			shown <- r
		}
	}()
	for round := range rounds(3, 30) {
		if round > 0 {
			s = home.start(addr, anyone)
		}
		l := w.load(s, fmt.Sprint("follow", round), leastAnswers+random.IntN(moreAnswers))
		l.wait(t, s)
		s.stop(syscall.SIGKILL)
		l.all.Wait()
	}
	s = home.start(addr, anyone)
	w.check(t, s)
	stored := map[string]bool{}
	for _, r := range s.records("") {
		stored[r.Seq] = true
	}
	last := logbridge.Position{}
	for number := range len(stored) {
		select {
		case r, ok := <-shown:
			at, err := logbridge.ParsePosition(r.Seq)
			if !ok || err != nil || at.Compare(last) <= 0 || !stored[r.Seq] {
				t.Fatalf("record %d of %d: %+v behind %s, %v", number+1, len(stored), r, last, err)
			}
			last = at
		case <-time.After(patience):
			t.Fatalf("%d records of %d are shown", number, len(stored))
		}
	}
	t.Logf("%d records shown once, %d lines acknowledged", len(stored), len(w.promised()))
}
