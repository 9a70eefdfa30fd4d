package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// logcliFolder is where .ci/logcli puts what it builds, in the user's cache folder.
const logcliFolder = "logbridge/logcli-v3.7.8"

// logcliPath finds Grafana's own client of Loki's API: the one that LOGCLI names, that .ci/logcli has built, or that is
// installed.
func logcliPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("LOGCLI"); path != "" {
		return path
	}
	if cache, err := os.UserCacheDir(); err == nil {
		path := filepath.Join(cache, filepath.FromSlash(logcliFolder), "logcli")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath("logcli")
	if err != nil {
		t.Skip("NOT TESTED with the real logcli: it is not here; run .ci/logcli, which builds it, or name one by LOGCLI")
	}
	return path
}

// reader runs logcli against a server.
type reader struct {
	t         *testing.T
	path, url string
	token     string
}

func newReader(t *testing.T, s *process) *reader {
	t.Helper()
	token, err := os.ReadFile(s.place.tokenFile())
	if err != nil {
		t.Fatal(err)
	}
	return &reader{t: t, path: logcliPath(t), url: s.url(), token: strings.TrimSpace(string(token))}
}

// run gives what logcli prints on its standard output; it must succeed. The token is the password of basic auth, as most
// have it.
func (r *reader) run(args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.path, args...)
	cmd.Env = append(os.Environ(), "LOKI_ADDR="+r.url, "LOKI_USERNAME=anyone", "LOKI_PASSWORD="+r.token)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("logcli %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// wants runs logcli and wants these texts in what it prints.
func (r *reader) wants(texts []string, args ...string) string {
	r.t.Helper()
	out := r.run(args...)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			r.t.Errorf("logcli %s printed no %q:\n%s", strings.Join(args, " "), text, out)
		}
	}
	return out
}

// TestLogcliReads runs Grafana's logcli against the whole program.
func TestLogcliReads(t *testing.T) {
	path := logcliPath(t)
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	client := &http.Client{Timeout: patience}
	now := time.Now().UTC()
	var lines []string
	for i, text := range []string{"ERR|%|main.c|sensor: no answer, code=7", "INF|%|main.c|sensor answers"} {
		lines = append(lines, strings.Replace(text, "%", now.Add(time.Duration(i-10)*time.Second).Format(time.DateTime), 1))
	}
	up, err := newUpload(device("dev_01"), "1", lines...)
	if err == nil {
		err = up.send(client, s.url())
	}
	for _, err := range []error{err, track(client, s.url(), "cart", "buy")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := newReader(t, s)
	r.path = path
	const device01 = `{product="ABCDE12345", device="dev_01"}`

	out := r.wants([]string{"sensor: no answer, code=7", "sensor answers"}, "query", "--quiet", device01)
	if newest, oldest := strings.Index(out, "sensor answers"), strings.Index(out, "no answer"); newest > oldest {
		t.Errorf("the newest line is not the first:\n%s", out)
	}
	out = r.run("query", "--quiet", "--forward", "--include-common-labels", "-o", "jsonl", device01+` |= "code=7" | logfmt | code > 6`)
	var line struct {
		Labels map[string]string `json:"labels"`
		Line   string            `json:"line"`
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil || line.Line != "sensor: no answer, code=7" || line.Labels["level"] != "error" || line.Labels["code"] != "7" {
		t.Errorf("query -o jsonl printed %q: %v", out, err)
	}
	r.wants([]string{`{"event":"cart","__topic__":"shop"`}, "query", "--quiet", "-o", "raw", `{logstore="mystore"} | json | event="cart"`)
	r.wants([]string{"device\n", "detected_level\n", "service_name\n", "source\n"}, "labels", "--quiet")
	if out := r.run("labels", "--quiet", "device"); out != "dev_01\n" {
		t.Errorf("labels device printed %q", out)
	}
	r.wants([]string{`device="dev_01"`, `level="error"`, `logstore="mystore"`, `source="audit"`}, "series", "--quiet", "{}")
	r.wants([]string{`"level": "error"`, `"level": "info"`, `"1"`}, "instant-query", "--quiet", `sum by (level) (count_over_time({product="ABCDE12345"}[1h]))`)
	r.wants([]string{"entries", ": 2", "bytes"}, "stats", "--quiet", device01)
	r.wants([]string{`"ABCDE12345"`, `"mystore"`}, "volume", "--quiet", "--targetLabels", "service_name", `{service_name=~".+"}`)
	r.wants([]string{`"values"`, `"ABCDE12345"`}, "volume_range", "--quiet", "--step", "1m", "--targetLabels", "service_name", `{service_name=~".+"}`)
	r.wants([]string{"code", "int", "tag", "string"}, "detected-fields", "--quiet", device01)
	r.wants([]string{"event", "string"}, "detected-fields", "--quiet", `{logstore="mystore"}`)
}
