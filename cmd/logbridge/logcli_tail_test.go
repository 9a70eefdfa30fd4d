package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLogcliTailsOverARestart follows with Grafana's logcli while the server ends and is killed. It comes back by itself, by the time of
// the last line that it has shown, so that line may come a second time; none is missing.
func TestLogcliTailsOverARestart(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(kept(t))
	addr := s.addr("http")
	r := newReader(t, s)
	cmd := exec.CommandContext(t.Context(), r.path, "query", "--tail", "--quiet", "-o", "raw", "--limit", "1000", `{logstore="mystore"} | json | event!="none"`)
	cmd.Env = append(os.Environ(), "LOKI_ADDR="+r.url, "LOKI_USERNAME=anyone", "LOKI_PASSWORD="+r.token)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var remarks strings.Builder // read when it has ended
	cmd.Stderr = &remarks
	client := &http.Client{Timeout: patience}
	n, seen := 0, 0
	log := func() {
		t.Helper()
		n++
		if err := track(client, s.url(), strconv.Itoa(n)); err != nil {
			t.Fatal(err)
		}
	}
	log() // history
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	expect := func() {
		t.Helper()
		for seen < n {
			var line struct{ Event string }
			select {
			case text := <-lines:
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
			case <-time.After(patience):
				t.Fatalf("event %d is not shown", seen+1)
			}
			switch line.Event {
			case strconv.Itoa(seen): // once more
			case strconv.Itoa(seen + 1):
				seen++
			default:
				t.Fatalf("event %d: %+v", seen+1, line)
			}
		}
	}
	expect()
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for range 5 {
			log()
			expect()
		}
		s.stop(end)
		s = home.start(addr, anyone)
		for range 5 { // they may come before it is back
			log()
		}
		expect()
	}
	_ = cmd.Process.Signal(os.Interrupt)
	for range lines {
		t.Log("a line at the end")
	}
	_ = cmd.Wait()
	// It may read the answer to its own goodbye before it exits. If the server says goodbye, it ends there, and events are missing above.
	said := strings.Replace(remarks.String(), "Error reading stream: websocket: close 1000 (normal)", "", 1)
	// It may come back so fast that the server which ends has to send it away a second time.
	if n := strings.Count(said, "1006"); n < 2 || strings.Contains(said, "Error reading") {
		t.Errorf("%d ends that logcli comes back from, want 2:\n%s", n, remarks.String())
	}
	t.Logf("%d events shown; logcli said:\n%s", seen, remarks.String())
}
