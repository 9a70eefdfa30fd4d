package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// attack is a kind of system call; the server is killed, or stopped, at one of them. strace does it, so nothing in the
// program knows.
type attack struct {
	calls string   // as strace names them
	paths []string // below the data folder; none is every path
	most  int      // the call is the n-th of its thread, n from 1 to most, chosen at random
}

// attacks are what a crash may tear apart. A segment's life is: state files beside it, the segment itself (each created,
// written, synced, renamed, the folder synced), then the purge of the commit log, then the removal of old state files; and
// the same once more when it is merged. Of most temporary files the names are not known before, so their writing is also
// hit by watching the folder (folderwatch_linux_test.go).
var attacks = []attack{
	{"renameat", nextSegment, 1},
	{"renameat", []string{"segments/window.tmp"}, 2},
	{"unlinkat", nil, 14},
	{"fsync", []string{"segments"}, 3},
	{watched, nil, 6},
	{"fsync", nextSegment, 1},
	{"openat", nil, 30},
	{"unlinkat", []string{commitLog + "/index.db"}, 2},
	{watched, nil, 6},
	{"write,pwrite64", nextSegment, 1},
	{"renameat", nil, 8},
	{"openat,write", []string{commitLog + "/index.db"}, 4},
	{"pwrite64", nil, 60},
	{watched, nil, 6},
	{"fsync", nil, 60},
	{"unlinkat", nil, 60},
	{"write", nil, 80},
}

// commitLog is where JetStream keeps it, below the data folder.
const commitLog = "nats/jetstream/$G/streams/logbridge/msgs"

// watched, in the place of system calls, is a kill that follows an event in the folder of the segments.
const watched = ""

// traced is what is written down of a server that dies by such an event.
const traced = "openat,write,pwrite64,fsync,renameat,unlinkat"

// command is strace with that attack, which becomes the server. what is the effect, in strace's words.
func (a attack) command(home *place, random *rand.Rand, trace, what, step string) []string {
	args := []string{"strace", "-D", "-f", "-y", "-s", "0", "-e", "signal=none", "-o", trace}
	if a.calls == watched {
		return append(args, "--seccomp-bpf", "-e", "trace="+traced)
	}
	args = append(args, "-e", "trace="+a.calls, "-e", fmt.Sprintf("inject=%s:%s:when=%d%s", a.calls, what, 1+random.IntN(a.most), step))
	paths := a.paths
	if slices.Equal(paths, nextSegment) {
		paths = home.nextSegments()
	}
	for _, p := range paths {
		args = append(args, "-P", filepath.Join(home.dir, "data", p))
	}
	return args
}

// nextSegment stands for the temporary file of the next segment.
var nextSegment = []string{"next segment"}

// nextSegments are the names that it may have: it begins behind the newest segment, and ends not far from there.
func (p *place) nextSegments() (names []string) {
	var first, last uint64
	if files := p.segmentFiles(p.t); len(files) > 0 {
		_, _ = fmt.Sscanf(filepath.Base(files[len(files)-1]), "%016x-%016x-", &first, &last) // 0 when it is another name
	}
	const mostGroups = 1000
	for n := range uint64(mostGroups) {
		names = append(names, fmt.Sprintf("segments/segment-%016x-%016x.tmp", last+1, last+1+n))
	}
	return names
}

var (
	tracedCall = regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
	tracedPath = regexp.MustCompile(`[<"](/[^>"]*)[>"]`)
	numbers    = regexp.MustCompile(`[0-9a-f]{8,}|[0-9]+`)
)

// latest names the last system call of a trace that has this text in it, like "renameat segments/segment-….tmp"; numbers in
// names are left out. A call that never returned goes before those of other threads.
func latest(trace, dir, with string) string {
	text, err := os.ReadFile(trace)
	if err != nil {
		return err.Error()
	}
	name := "none"
	for line := range strings.Lines(string(text)) {
		call := tracedCall.FindStringSubmatch(line)
		if call == nil || !strings.Contains(line, with) {
			continue
		}
		name = call[1] + " " + tracedName(call[2], dir)
		if strings.HasSuffix(line, "= ?\n") {
			break
		}
	}
	return name
}

// tracedName is the first file below the data folder that the arguments of a call name.
func tracedName(arguments, dir string) string {
	for _, path := range tracedPath.FindAllStringSubmatch(arguments, -1) {
		if name, within := strings.CutPrefix(path[1], filepath.Join(dir, "data")+"/"); within {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "nats/jetstream/"), "$G/streams/")
			return numbers.ReplaceAllString(name, "…")
		}
	}
	return "no file"
}

// hits counts what was hit.
type hits map[string]int

// lines lists them, the most frequent first.
func (h hits) lines() []string {
	var list []string
	for name := range h {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(h[b]-h[a], strings.Compare(a, b)) })
	for i, name := range list {
		list[i] = fmt.Sprintf("%2d %s", h[name], name)
	}
	return list
}

// strace skips the test where it is missing.
func needStrace(t testing.TB, scenario string) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		crashes.skip(t, scenario, "strace is not installed (Debian: strace)")
	}
	if out, err := exec.Command("strace", "-D", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		crashes.skip(t, scenario, "strace does not work here: "+strings.TrimSpace(string(out)))
	}
}

// TestCrashAtSystemCalls kills the server just before a system call that makes, writes, syncs, renames or removes one of
// its files, while every surface uploads; some of the calls come while it is starting. After each kill a server without
// strace is started and every acknowledged line must be there exactly once.
func TestCrashAtSystemCalls(t *testing.T) {
	const scenario = "kill -9 at system calls on files"
	crashes.begin(t, scenario)
	needStrace(t, scenario)
	home, w, random := newPlace(t, crashConfig), newWitness(), newRandom(t)
	n, points, missed := rounds(4, 2*len(attacks)), hits{}, 0
	first := 0
	if n < len(attacks) {
		first = random.IntN(len(attacks))
	}
	round := 0
	for ; round < n || missed == round && round < 3*n; round++ { // more of them while no call has come
		a := attacks[(first+round)%len(attacks)]
		if point := killAt(t, home, w, a, random, fmt.Sprint(round)); point != "" {
			points[point]++
		} else {
			missed++
		}
		home.under = nil
		s := home.start(anyone, anyone)
		w.check(t, s)
		w.replay(t, s)
		s.stop(syscall.SIGKILL)
	}
	sum := w.check(t, home.start(anyone, anyone))
	if missed == round {
		t.Errorf("in %d rounds no system call came at which the server was to be killed", round)
	}
	crashes.row(t, scenario, round, sum, fmt.Sprintf("%d kinds of moment, and %d other moments", len(points), missed), points.lines()...)
}

// killAt runs the server under load until the attack kills it, and names the call; "" when it did not come, and the
// server was killed at that moment.
func killAt(t *testing.T, home *place, w *witness, a attack, random *rand.Rand, round string) string {
	t.Helper()
	trace := filepath.Join(home.dir, "trace-"+round)
	home.under = a.command(home, random, trace, "signal=SIGKILL", "")
	s, err := home.try("logbridge", append(home.args[:len(home.args):len(home.args)], "--http", anyone, "--mqtt", anyone)...)
	if err != nil {
		if s == nil || !s.killed() {
			t.Fatal(err)
		}
		return "before " + latest(trace, home.dir, "")
	}
	when, with := "before ", ""
	if a.calls == watched {
		event := folderEvents[random.IntN(len(folderEvents))]
		when, with = "after "+event.name+", at ", home.dir+"/data/segments"
		go watchFolder(filepath.Join(home.dir, "data", "segments"), event, 1+random.IntN(a.most), s.ended, s.cmd.Process.Kill)
	}
	l := w.load(s, round, leastAnswers+random.IntN(moreAnswers)+250)
	hit := !l.wait(t, s)
	_ = s.cmd.Process.Kill() // no error matters: it may be dead
	<-s.ended
	l.all.Wait()
	if !hit {
		return ""
	}
	return when + latest(trace, home.dir, with)
}

// killed reports whether a signal ended the server.
func (s *process) killed() bool {
	status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
