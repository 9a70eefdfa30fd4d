package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestCrashDiskFull fills the server's disk under load. Every surface gets its protocol's "try again", reads go on, and
// when there is room again the same process stores again. Nothing acknowledged is lost, then or after a restart.
func TestCrashDiskFull(t *testing.T) {
	const scenario = "disk full, and room again"
	crashes.begin(t, scenario)
	needVolumes(t, scenario)
	v, w := newVolume(t, volumeBytes), newWitness()
	s := v.place.start(anyone, anyone)
	n, refused := rounds(1, 3), 0
	for round := range n {
		l := w.load(s, fmt.Sprint("full", round), leastAnswers)
		l.wait(t, s)
		v.fill(t)
		l.all.Wait()
		if s.over() {
			t.Fatalf("the server ended when the disk was full:\n%s", s.output())
		}
		for name, err := range l.refusals {
			if !tryAgain(name, err) {
				t.Errorf("%s: on a full disk it was told: %v", name, err)
			}
			refused++
		}
		w.check(t, s)
		if err := os.Remove(v.path("filler")); err != nil {
			t.Fatal(err)
		}
		w.resumes(t, s, round)
		w.replay(t, s)
		w.check(t, s)
	}
	if code := s.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.output())
	}
	sum := w.check(t, v.place.start(anyone, anyone))
	crashes.row(t, scenario, n, sum, fmt.Sprintf("%d uploaders told to try again, reads went on, stored again without a restart", refused))
}

// fill takes all the room that is left on the volume.
func (v *volume) fill(t testing.TB) {
	t.Helper()
	f, err := os.Create(v.path("filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const least = 4096
	for at, step := int64(0), int64(volumeBytes); step >= least; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, step); {
		case err == nil:
			at += step
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		case !errors.Is(err, syscall.EINTR):
			t.Fatal(err)
		}
	}
}

// over reports whether the server has ended.
func (s *process) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// resumes sends over every surface until each has stored lines again.
func (w *witness) resumes(t testing.TB, s *process, round int) {
	t.Helper()
	limit := time.Now().Add(patience)
	for try := 0; ; try++ {
		failed := map[string]error{}
		for name, send := range w.surfaces(s) { // devices log in anew
			lines := w.batch(fmt.Sprintf("%s-again%d-%d", name, round, try), try)
			if err := send(lines); err != nil {
				failed[name] = err
				continue
			}
			w.acknowledged(lines...)
		}
		if len(failed) == 0 {
			return
		}
		if s.over() || time.Now().After(limit) {
			t.Fatalf("there is room again, and still: %v\n%s", failed, s.output())
		}
	}
}
