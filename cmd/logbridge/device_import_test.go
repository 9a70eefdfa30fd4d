package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestImportAndExport of the command line: what was exported with secrets goes into another server, and once more, where it
// changes nothing.
func TestImportAndExport(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	var file strings.Builder
	for i := range 300 {
		fmt.Fprintf(&file, "{\"product\":\"ABCDE12345\",\"device\":\"imported-%03d\",\"tags\":{\"odd\":\"%d\"}}\n", i, i%2)
	}
	name := filepath.Join(t.TempDir(), "devices.ndjson")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file.String())
	if code, out, stderr := cli(t, "device", "import", "--dry-run", "--url", s.url(), "--token-file", s.place.tokenFile(), name); code != exitOK ||
		strings.Count(out, "would create ABCDE12345/imported-") != 300 || !strings.Contains(stderr, "dry run, nothing is changed: 300 devices: 300 new, 0 changed, 0 as they were, 0 bad lines") {
		t.Errorf("dry run: %d %.300s %s", code, out, stderr)
	}
	made := s.run("device", "import", name)
	if n := strings.Count(made, `"psk":"`); n != 300 {
		t.Errorf("%d secrets: %.300s", n, made)
	}
	if out := s.run("device", "import", "-o", "json", name); !strings.Contains(out, `"lines":300,"created":0,"changed":0,"unchanged":300,"bad":0`) {
		t.Errorf("again: %s", out)
	}
	if out := s.run("device", "ls", "--tag", "odd=1", "-q", "imported-1"); strings.Count(out, "\n") != 51 || !strings.Contains(out, "ABCDE12345/imported-199") {
		t.Errorf("ls: %s", out)
	}
	if out := s.run("device", "ls", "-o", "json", "--limit", "7", "-q", "imported"); strings.Count(out, `"device":`) != 7 || !strings.Contains(out, `"next_cursor":`) {
		t.Errorf("ls of a page: %s", out)
	}
	for words, want := range map[string]string{"--limit 7": "7 of 300 devices\nThere are more: --cursor ", "--tag odd=1": "150 devices\n", "-q imported-007": "1 device\n"} {
		args := append([]string{"device", "ls", "--url", s.url(), "--token-file", s.place.tokenFile(), "-q", "imported"}, strings.Fields(words)...)
		if code, _, stderr := cli(t, args...); code != exitOK || !strings.HasPrefix(stderr, want) {
			t.Errorf("ls %s: %d %q, want %q", words, code, stderr, want)
		}
	}
	export := s.run("device", "export", "--secrets", "-q", "imported")
	if strings.Count(export, "\n") != 300 || !strings.Contains(export, strings.Split(made, `"`)[11]) {
		t.Errorf("export: %.300s", export)
	}
	other := newPlace(t, e2eConfig).start(anyone, anyone)
	write(export + "{\"product\":\"NOSUCH1234\",\"device\":\"d\"}\n")
	code, out, stderr := cli(t, "device", "import", "--url", other.url(), "--token-file", other.place.tokenFile(), name)
	if code != exitFailure || out != "" || !strings.Contains(stderr, "line 301: ") || !strings.Contains(stderr, "300 new, 0 changed, 0 as they were, 1 bad line,") || !strings.Contains(stderr, "1 of 301 lines is bad") {
		t.Errorf("%d %q %s", code, out, stderr)
	}
	if got := other.run("device", "export", "--secrets", "-q", "imported"); got != export {
		t.Error("what went in is not what comes out")
	}
}

func TestProgressBar(t *testing.T) {
	now := time.Now()
	b := progressBar{begun: now.Add(-10 * time.Second)}
	n := importCounts{Lines: 20_000, Bytes: 500}
	for _, row := range []struct {
		size int64
		bad  int
		want string
	}{
		{0, 0, "20000 devices, 2000 a second"},
		{0, 3, "20000 devices, 2000 a second, 3 bad"},
		{1000, 0, "[###############...............]  50 %  20000 devices, 2000 a second, 10s left"},
		{400, 0, "[##############################] 100 %  20000 devices, 2000 a second, 0s left"},
	} {
		b.size, n.Bad = row.size, row.bad
		if got := b.text(n, now); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
