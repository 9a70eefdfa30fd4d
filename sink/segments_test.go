package sink

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// fill appends n lines, each of about 1 kB, numbered from first on, and settles.
func (e *env) fill(first, n int) {
	e.t.Helper()
	for i := range n {
		r := line(fmt.Sprint("dev_", i%7), fmt.Sprint(first+i, " ", strings.Repeat("x", 1000)))
		r.Time = epoch.Add(time.Duration(first+i) * time.Second)
		r.Attributes = []logbridge.Attr{{Key: "number", Value: fmt.Sprint(first + i)}}
		e.append(logbridge.Batch{Records: []logbridge.Record{r}})
	}
	e.settle()
}

// settle waits until no memtable is being written or about to be.
func (e *env) settle() {
	e.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		e.log.mu.RLock()
		_, size := e.log.active.size()
		busy := e.log.frozen != nil || size >= e.log.cfg.MemtableBytes
		e.log.mu.RUnlock()
		if !busy {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatal("a memtable is still being written")
		}
		runtime.Gosched()
	}
}

// numbers gives how often each line of fill is found.
func numbers(t testing.TB, records []logbridge.Record) map[int]int {
	t.Helper()
	found := map[int]int{}
	for _, r := range records {
		var n int
		if _, err := fmt.Sscan(r.Body, &n); err != nil {
			t.Fatal(err)
		}
		found[n]++
	}
	return found
}

// once checks that exactly the numbers from first to last, without those that may be missing, are there, once each.
func once(t testing.TB, what string, found map[int]int, first, last int, missing func(int) bool) {
	t.Helper()
	for i := first; i <= last; i++ {
		if n := found[i]; n > 1 || n == 0 && !missing(i) {
			t.Errorf("%s: line %d is found %d times", what, i, n)
		}
	}
	for i := range found {
		if i < first || i > last {
			t.Errorf("%s: line %d is found", what, i)
		}
	}
}

func none(int) bool { return false }

func (e *env) files(pattern string) []string {
	files, err := filepath.Glob(filepath.Join(e.cfg.Dir, pattern))
	if err != nil {
		e.t.Fatal(err)
	}
	return files
}

// linesOf gives the numbers of the lines in a segment.
func (e *env) linesOf(m *member) map[int]bool {
	e.t.Helper()
	open, done, err := e.log.segments.opened(m)
	if err != nil {
		e.t.Fatal(err)
	}
	defer done()
	lines := map[int]bool{}
	err = eachRecord(e.t.Context(), open, func(r *logbridge.Record) error {
		for n := range numbers(e.t, []logbridge.Record{*r}) {
			lines[n] = true
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return lines
}

// answers runs queries, a tail and a count that all should see every line, and gives what each found.
func (e *env) answers() map[string]map[int]int {
	e.t.Helper()
	found := map[string]map[int]int{}
	for name, q := range map[string]logbridge.Query{
		"newest first": {}, "oldest first": {Order: logbridge.OldestFirst}, "by position": {Order: logbridge.ByPosition},
		"by content": {Contains: "xxx"}, "by product": {Product: "ABCDE12345"},
	} {
		found[name] = numbers(e.t, e.query(q))
	}
	e.log.mu.RLock()
	end := e.log.last.Seq
	e.log.mu.RUnlock()
	var tailed []logbridge.Record
	for r, err := range e.log.Tail(e.t.Context(), logbridge.Position{}, logbridge.Query{}) {
		if err != nil {
			e.t.Fatal(err)
		}
		if tailed = append(tailed, r); r.Position.Seq == end {
			break
		}
	}
	found["tail"] = numbers(e.t, tailed)
	counts, err := e.log.Count(e.t.Context(), logbridge.Query{}, logbridge.CountBy{Field: "field.number"})
	if err != nil {
		e.t.Fatal(err)
	}
	found["count"] = map[int]int{}
	for _, c := range counts {
		var n int
		fmt.Sscan(c.Value, &n)
		found["count"][n] += int(c.Records)
	}
	return found
}

// TestReadersKeepWhatTheyRead: a file that left the set is there until its last reader ends, however he ends.
func TestReadersKeepWhatTheyRead(t *testing.T) {
	const lines = 40
	for name, leave := range map[string]func(seen int) bool{
		"at the end": func(int) bool { return false },
		"early":      func(int) bool { return true },
		"by a panic": func(int) bool { panic("reader") },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, Config{MemtableBytes: 64 << 10})
			for i := range lines { // several pages of them
				e.append(logbridge.Batch{Records: []logbridge.Record{line("dev", fmt.Sprint(i, strings.Repeat(" x", 10<<10)))}})
			}
			e.settle()
			all := e.log.held()
			e.log.letGo(all)
			removed := all[len(all)-1]
			seen := map[int]int{}
			func() {
				defer func() { _ = recover() }()
				for r, err := range e.log.Query(t.Context(), logbridge.Query{Order: logbridge.ByPosition}) {
					if err != nil {
						t.Fatal(err)
					}
					for n := range numbers(t, []logbridge.Record{r}) {
						seen[n]++
					}
					if len(seen) == 1 && !e.log.swap([]*member{removed}) {
						t.Error("not removed")
					}
					if _, err := os.Stat(removed.path); len(seen) == 1 && err != nil {
						t.Error(err)
					}
					if leave(len(seen)) {
						break
					}
				}
				once(t, name, seen, 0, lines-1, func(int) bool { return leave(0) })
			}()
			for _, m := range all {
				want := int32(1)
				if m == removed {
					want = 0
				}
				if got := m.users.Load(); got != want {
					t.Errorf("a segment is held %d times, want %d", got, want)
				}
			}
			if _, err := os.Stat(removed.path); err == nil {
				t.Error("the file is left behind")
			}
			if got := e.log.queries.there.Load(); got != 0 || len(e.log.queries.slots) != 0 {
				t.Errorf("%d queries and %d turns left", got, len(e.log.queries.slots))
			}
		})
	}
}

// writeLines writes a segment for a range of sequences, with one line for each but those left out.
func writeLines(t *testing.T, dir string, first, last uint64, without ...uint64) string {
	t.Helper()
	var groups [][]logbridge.Record
	for seq := first; seq <= last; seq++ {
		var records []logbridge.Record
		if !slices.Contains(without, seq) {
			records = append(records, line("dev", fmt.Sprint(seq)))
		}
		groups = append(groups, records)
	}
	path, err := writeSegment(dir, tableOf(t, first, groups...), first, last)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOverlapsAtStart: what an interrupted merge left is removed, anything else that overlaps is set aside, whole.
func TestOverlapsAtStart(t *testing.T) {
	dir := t.TempDir()
	write := func(first, last uint64, without ...uint64) string { return writeLines(t, dir, first, last, without...) }
	want := map[string]string{ // by path, the suffix it has afterwards, "-" when it is gone
		write(1, 3): "-", write(4, 6): "-", write(1, 6): "", // a merge and its parts
		write(7, 9): "", // beside it
		// Parts whose sum is not what it should be: nothing is lost with it.
		write(20, 22): "", write(23, 25): "", write(20, 25, 21, 22, 23): overlapSuffix,
		// The same range twice: an empty one was about to take its place.
		write(30, 31): "", write(30, 31, 30, 31): "-",
		// Overlapping: the larger one stays.
		write(40, 45): overlapSuffix, write(44, 60): "", write(58, 61): overlapSuffix,
	}
	set, last, err := loadSegments(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for path, suffix := range want {
		_, gone := os.Stat(path + strings.Trim(suffix, "-"))
		if (gone != nil) != (suffix == "-") {
			t.Errorf("%s: %v, want it to become %q", filepath.Base(path), gone, suffix)
		}
	}
	var ranges [][2]uint64
	for _, m := range set.list {
		ranges = append(ranges, [2]uint64{m.first, m.last})
	}
	if want := [][2]uint64{{1, 6}, {7, 9}, {20, 22}, {23, 25}, {30, 31}, {44, 60}}; !slices.Equal(ranges, want) || last != 60 {
		t.Errorf("%v up to %d, want %v", ranges, last, want)
	}
	if got := set.aside.Load(); got != 3 {
		t.Errorf("%d set aside", got)
	}
}

// TestTwoMergesAtStart: queries held the parts of a merge, and the merge itself, while that was merged again, and nothing held the
// part that came later. All that the last merge holds stays, and what lies within it goes.
func TestTwoMergesAtStart(t *testing.T) {
	dir := t.TempDir()
	parts := []string{writeLines(t, dir, 1, 3), writeLines(t, dir, 4, 6), writeLines(t, dir, 1, 6)}
	sum := writeLines(t, dir, 1, 8) // 7 and 8 are nowhere else
	set, last, err := loadSegments(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.list) != 1 || set.list[0].path != sum || last != 8 {
		t.Errorf("%d segments up to %d, want the last merge alone", len(set.list), last)
	}
	for _, path := range parts {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", filepath.Base(path))
		}
	}
}

// TestOtherVersionAtStart: a whole segment of another version's format stays as it is, and the start says why it fails.
func TestOtherVersionAtStart(t *testing.T) {
	dir := t.TempDir()
	path := writeLines(t, dir, 1, 3)
	name, _ := parseSegmentName(filepath.Base(path))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tail := b[len(b)-int(name.tail):]
	at := bytes.Index(tail, []byte(`"format":2`))
	tail[at+len(`"format":`)] = '9'
	name.sum = crc32.Checksum(tail, castagnoli)
	other := filepath.Join(dir, name.String())
	if err := errors.Join(os.Remove(path), os.WriteFile(other, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadSegments(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, errFormat) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
