package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// cutServer answers GET /logs with records from behind "after" on, and cuts the connection after each few of them.
type cutServer struct {
	last  int // the last record there is
	piece int // records before each cut
	mu    sync.Mutex
	asked []string
}

func (c *cutServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.URL.Query().Get("after"))
	n := len(c.asked)
	c.mu.Unlock()
	if n == 3 {
		http.Error(w, "restarting", http.StatusServiceUnavailable)
		return
	}
	from := 0
	if after := r.URL.Query().Get("after"); after != "" {
		_, _ = fmt.Sscanf(after, "%d.0", &from)
	}
	for i := from + 1; i <= min(from+c.piece, c.last); i++ {
		_, _ = fmt.Fprintf(w, `{"seq":"%d.0","time":"2026-11-21T10:00:00Z","stream":"device/ABCDE12345/d","level":"info","body":"line %d","attributes":{}}`+"\n\n", i, i)
	}
	_ = http.NewResponseController(w).Flush()
	if n%2 == 0 {
		panic(http.ErrAbortHandler) // in mid-stream, and else a clean end
	}
}

func TestFollowHasNoGapAndNoRepeat(t *testing.T) {
	const last = 20
	handler := &cutServer{last: last, piece: 7}
	server := httptest.NewServer(handler)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	stop := writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte(fmt.Sprintf(`"line %d"`, last))) {
			cancel()
		}
		return out.Write(b)
	})
	var remarks bytes.Buffer
	code := execute(program{ctx, stop, &remarks}, []string{"logs", "-f", "-o", "json", "--url", server.URL, "--token", "x"})
	if code != exitOK {
		t.Errorf("exit code %d: %s", code, remarks.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != last {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), last, out.String())
	}
	for i, line := range lines {
		if !strings.Contains(line, fmt.Sprintf(`"line %d"`, i+1)) {
			t.Errorf("line %d is %s", i+1, line)
		}
	}
	if !strings.Contains(remarks.String(), "connection lost") || !strings.Contains(remarks.String(), "connected again") {
		t.Errorf("remarks: %q", remarks.String())
	}
}

// TestFollowSaysWhatWasDropped: as text on standard error, as JSON in its place; it is no line of the limit, and a lost connection
// is taken up behind it.
func TestFollowSaysWhatWasDropped(t *testing.T) {
	const notice = `{"dropped":12345,"seq":"7.4294967295"}`
	for output, shows := range map[string]bool{"json": true, "text": false} {
		var mu sync.Mutex
		var asked []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			n := len(asked)
			asked = append(asked, r.URL.Query().Get("after"))
			if n == 0 {
				_, _ = fmt.Fprintf(w, "\n%s\n\n", notice)
			} else {
				_, _ = io.WriteString(w, `{"seq":"8.0","time":"2026-11-21T10:00:00Z","stream":"audit","level":"info","body":"behind"}`+"\n")
			}
		}))
		var stdout, stderr strings.Builder
		code := execute(program{t.Context(), &stdout, &stderr}, []string{"logs", "-f", "-n", "1", "-o", output, "--url", server.URL, "--token", "x"})
		server.Close()
		if code != exitOK || fmt.Sprint(asked) != "[ 7.4294967295]" || strings.Contains(stdout.String(), notice+"\n") != shows || !strings.Contains(stdout.String(), "behind") {
			t.Errorf("%s: exit code %d, asked %q, %q", output, code, asked, stdout.String())
		}
		if says := strings.Contains(stderr.String(), "12345 lines dropped: this reader was too slow\n"); says == shows {
			t.Errorf("%s: %q", output, stderr.String())
		}
	}
}

func TestFollowEnds(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		answer http.HandlerFunc
		code   int
		say    string
	}{
		"refused":      {nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, exitFailure, "Unauthorized"},
		"at its limit": {[]string{"-n", "2"}, (&cutServer{last: 9, piece: 2}).ServeHTTP, exitOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			var stderr strings.Builder
			code := execute(program{t.Context(), io.Discard, &stderr}, append([]string{"logs", "-f", "--url", server.URL, "--token", "x"}, c.args...))
			if code != c.code || !strings.Contains(stderr.String(), c.say) {
				t.Errorf("exit code %d, %q", code, stderr.String())
			}
		})
	}
	var stderr strings.Builder
	if code := execute(program{t.Context(), io.Discard, &stderr}, []string{"logs", "-f", "--url", "http://127.0.0.1:1", "--token", "x"}); code != exitFailure {
		t.Errorf("without a server: exit code %d, %q", code, stderr.String())
	}
}

func TestAnswerCutByTheServerIsAFailure(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"error":"the disk is gone"}`+"\n")
	}))
	defer server.Close()
	var stderr strings.Builder
	code := execute(program{t.Context(), io.Discard, &stderr}, []string{"logs", "--url", server.URL, "--token", "x"})
	if code != exitFailure || !strings.Contains(stderr.String(), "the disk is gone") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"": "''", "plain-1_2.3/4": "plain-1_2.3/4", "a b": "'a b'", "$log/x": "'$log/x'", "it's": `'it'\''s'`, "a;b": "'a;b'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
