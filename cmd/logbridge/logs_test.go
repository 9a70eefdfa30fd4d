package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLogsFlagsBecomeAQuery(t *testing.T) {
	var asked url.Values
	path := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, path = r.URL.Query(), r.URL.Path
		if strings.HasSuffix(path, "/histogram") {
			_, _ = io.WriteString(w, `{}`)
		}
	}))
	defer server.Close()
	for args, want := range map[string]string{
		"":                                     "limit=100&since=",
		"-p P -d g* --project pr --logstore l": "device=g%2A&limit=100&logstore=l&product=P&project=pr&since=",
		"--topic t --source sls --level WARN -n 5": "level=WARN&limit=5&since=&source=sls&topic=t",
		"--stream audit --grep a=b":                "limit=100&q=a%3Db&since=&stream=audit",
		"--field a=b=c --field k=x,y --field e=":   "field.a=b%3Dc&field.e=&field.k=x%2Cy&limit=100&since=",
		"--since 2026-11-21 --until 2026-11-22":    "limit=100&since=&until=",
		"--count level --level error":              "by=level&level=error&since=&step=0",
		"--count field.code --step 5m":             "by=field.code&since=&step=5m",
		"--count all --since 2026-11-21T10:00:00Z": "since=&step=0",
		"--exit-code": "limit=100&since=",
	} {
		code, _, stderr := cli(t, append([]string{"logs", "--url", server.URL, "--token", "t"}, strings.Fields(args)...)...)
		wantCode := exitOK
		if args == "--exit-code" {
			wantCode = exitNothing
		}
		for _, name := range []string{"since", "until"} {
			if _, err := time.Parse(time.RFC3339Nano, asked.Get(name)); err == nil {
				asked.Set(name, "")
			}
		}
		if got := asked.Encode(); got != want || code != wantCode || stderr != "" {
			t.Errorf("%s: exit code %d, asked %s, want %s; %s", args, code, got, want, stderr)
		}
		if strings.Contains(args, "--count") != strings.HasSuffix(path, "/histogram") {
			t.Errorf("%s: asked %s", args, path)
		}
	}
}

func TestLogsUsage(t *testing.T) {
	for args, want := range map[string]string{
		"--field a":                "--field: \"a\" is not of the form KEY=VALUE",
		"--field =a":               "--field:",
		"--step 5m":                "--step: give --count too",
		"--count level --step x":   "--step: \"x\"",
		"--count level --step=-5m": "--step: \"-5m\"",
		"--count level -f":         "--count: what is followed",
		"--count level -n 3":       "--count: everything is counted",
		"--color sometimes":        "--color must be one of",
		"-f --until 1h":            "--until:",
		"-n 0":                     "--limit:",
	} {
		if code, out, stderr := cli(t, append([]string{"logs", "--token", "t"}, strings.Fields(args)...)...); code != exitUsage || !strings.Contains(stderr, want) || out != "" {
			t.Errorf("%s: exit code %d, %q %q", args, code, out, stderr)
		}
	}
	if _, out, _ := cli(t, "logs", "--help"); !strings.Contains(out, "Exit codes: 0 done") {
		t.Errorf("the help does not name the exit codes:\n%s", out)
	}
}

func TestCounts(t *testing.T) {
	const buckets = `{"since":"2026-11-21T10:00:00Z","until":"2026-11-21T11:00:00Z","step":"5m0s","by":"level","total":31,"buckets":[
		{"time":"2026-11-21T10:00:00Z","value":"error","records":1},{"time":"2026-11-21T10:05:00Z","value":"","records":30}]}`
	first := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC).Local().Format(time.DateTime)
	second := time.Date(2026, 11, 21, 10, 5, 0, 0, time.UTC).Local().Format(time.DateTime)
	stub := newStubAPI(t, 200, buckets)
	for args, want := range map[string]string{
		"--count level":                                   "error   1\n(none)  30\ntotal   31\n",
		"--count level --step 5m":                         first + "  error   1   ##\n" + second + "  (none)  30  " + strings.Repeat("#", widestBar) + "\n",
		"--count all --step 5m":                           first + "  1   ##\n" + second + "  30  " + strings.Repeat("#", widestBar) + "\n",
		"--count level -o json":                           `{"time":"2026-11-21T10:00:00Z","value":"error","records":1}` + "\n" + `{"time":"2026-11-21T10:05:00Z","value":"","records":30}` + "\n",
		"--count level --step 5m --color always --grep x": first + "  error   1   \x1b[31m##\x1b[0m\n" + second + "  (none)  30  " + strings.Repeat("#", widestBar) + "\n",
	} {
		if code, out, stderr := cli(t, append([]string{"logs", "--url", stub.url, "--token", "t"}, strings.Fields(args)...)...); code != exitOK || out != want {
			t.Errorf("%s: exit code %d\n%q, want\n%q; %s", args, code, out, want, stderr)
		}
	}
	none := newStubAPI(t, 200, `{"total":0,"buckets":[]}`)
	if code, out, _ := cli(t, "logs", "--count", "level", "--exit-code", "--url", none.url, "--token", "t"); code != exitNothing || out != "total  0\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
	wrong := newStubAPI(t, 400, `{"detail":"parameter by: cannot count by that","code":"invalid"}`)
	if code, _, stderr := cli(t, "logs", "--count", "that", "--url", wrong.url, "--token", "t"); code != exitUsage || !strings.Contains(stderr, "cannot count by that") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// TestReadersOfAPipeMayGoAway is "logbridge logs | head -1", and the same with -f: the real program, and a real pipe whose
// reader leaves after one line.
func TestReadersOfAPipeMayGoAway(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(anyone, anyone)
	const lines = 3000 // far more than a pipe holds
	var body strings.Builder
	body.WriteString(`{"streams":[{"stream":{"service_name":"pipe"},"values":[`)
	for i := range lines {
		_, _ = fmt.Fprintf(&body, `["%d","line %d %s"],`, time.Now().UnixNano(), i, strings.Repeat("x", 100))
	}
	s.push(strings.TrimSuffix(body.String(), ",") + `]}]}`)
	for _, args := range [][]string{{"-n", "100000"}, {"-n", "100000", "-o", "json"}, {"-f"}} {
		cmd := home.program("logbridge", append([]string{"logs", "--url", s.url(), "--stream", "otlp/-/pipe"}, args...)...)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || !strings.Contains(line, "line ") {
			t.Errorf("%v: %q %v", args, line, err)
		}
		_ = r.Close()
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%v: %v, %s", args, err, stderr.String())
		}
	}
	if out := s.run("logs", "--count", "stream", "--stream", "otlp/-/pipe"); out != fmt.Sprintf("otlp/-/pipe  %d\n", lines) {
		t.Errorf("counted %q", out)
	}
}

// push sends entries to Loki's push as the administrator.
func (s *process) push(body string) {
	s.place.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url()+"/loki/api/v1/push", strings.NewReader(body))
	if err != nil {
		s.place.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("test", s.token())
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		s.place.t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusNoContent {
		s.place.t.Fatalf("status %d", res.StatusCode)
	}
}
