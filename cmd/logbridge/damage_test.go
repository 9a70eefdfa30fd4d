package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCrashFlippedByte turns one byte in the footer of a segment and one in a page of another, while the server is stopped.
// The first is found at the start, the second by a query; both files are set aside and reported, and every
// acknowledged line that was not in them is served.
func TestCrashFlippedByte(t *testing.T) {
	const scenario = "flipped bytes in 2 segments"
	crashes.begin(t, scenario)
	n := rounds(1, 5)
	var sum tally
	lost := 0
	for round := range n {
		home, w := newPlace(t, crashConfig), newWitness()
		s := home.start(anyone, anyone)
		l := w.load(s, fmt.Sprint("flip", round), 1500)
		l.wait(t, s)
		s.stop(syscall.SIGTERM)
		l.all.Wait()
		whole := home.copied(t) // a server that is asked for all may merge the segments meanwhile
		s = whole.start(anyone, anyone)
		w.check(t, s)
		records := s.records("")
		s.stop(syscall.SIGKILL)
		files := home.segmentFiles(t)
		if len(files) < 3 {
			t.Fatalf("only %d segments", len(files))
		}
		atStart, atQuery := files[0], files[1]
		flip(t, atStart, -20)  // of the footer's end
		flip(t, atQuery, 1024) // of the first pages

		s = home.start(anyone, anyone)
		wantAside(t, s, 1, atStart)
		promised := w.promised()
		all := len(promised)
		for _, r := range records {
			if inSegment(t, r, atStart) || inSegment(t, r, atQuery) {
				delete(promised, bodies([]found{r})[0])
			}
		}
		s.records("source=mqtt") // finds the second: its answer may lack what was being read
		c := w.compare(t, s, promised)
		wantAside(t, s, 2, atStart, atQuery)
		sum.add(c)
		lost += all - c.acked
	}
	crashes.row(t, scenario, n, sum, fmt.Sprintf("%d segments set aside, the %d lines in them not counted", 2*n, lost))
}

// copied is a place of the crash tests with the same key and data. No server may be running.
func (p *place) copied(t testing.TB) *place {
	t.Helper()
	c := newPlace(t, crashConfig)
	c.copyFile("seal-key", p.dir)
	if err := os.CopyFS(c.file("data"), os.DirFS(p.file("data"))); err != nil {
		t.Fatal(err)
	}
	return c
}

// segmentFiles lists the segments, oldest first.
func (p *place) segmentFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "data", "segments", "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flip turns the bits of one byte; one that is counted from the end when at is negative.
func flip(t testing.TB, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0xff
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// inSegment reports whether a record is in a segment, whose name begins with the first and the last sequence it holds.
func inSegment(t testing.TB, r found, file string) bool {
	t.Helper()
	var first, last, seq uint64
	_, err := fmt.Sscanf(filepath.Base(file), "%016x-%016x-", &first, &last)
	if err == nil {
		_, err = fmt.Sscanf(r.Seq, "%d", &seq)
	}
	if err != nil {
		t.Fatalf("record %q, segment %s: %v", r.Seq, file, err)
	}
	return first <= seq && seq <= last
}

// wantAside wants these files renamed, reported in the log, and n counted in the metrics.
func wantAside(t testing.TB, s *process, n int, files ...string) {
	t.Helper()
	for _, file := range files {
		if _, err := os.Stat(file + ".damaged"); err != nil {
			t.Errorf("a damaged segment is not set aside: %v", err)
		}
		if !strings.Contains(s.output(), filepath.Base(file)) {
			t.Errorf("the log does not name %s:\n%s", filepath.Base(file), s.output())
		}
	}
	req, err := http.NewRequest(http.MethodGet, s.url()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.place.token())
	text, err := call(&http.Client{Timeout: patience}, req)
	if want := fmt.Sprintf("\nlogbridge_sink_set_aside_segments_total %d\n", n); err != nil || !strings.Contains(text, want) {
		t.Errorf("the metrics lack %q: %v", want, err)
	}
}

// token is the administrator's.
func (p *place) token() string {
	p.t.Helper()
	b, err := os.ReadFile(p.tokenFile())
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
