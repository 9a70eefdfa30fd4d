package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// stubAPI answers every call with a status and a body, and keeps the last token that it saw.
type stubAPI struct {
	url  string
	last atomic.Value // string
}

func (s *stubAPI) token() string { return s.last.Load().(string) }

func newStubAPI(t *testing.T, status int, body string) *stubAPI {
	t.Helper()
	stub := &stubAPI{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stub.last.Store(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(web.Close)
	stub.url = web.URL
	return stub
}

// cli runs a command line within the test.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, faults strings.Builder
	code = execute(program{context.Background(), &out, &faults}, args)
	return code, out.String(), faults.String()
}

func TestWhatTheServerRefusesAsMalformedIsAUsageError(t *testing.T) {
	for status, want := range map[int]int{400: exitUsage, 422: exitUsage, 401: exitFailure, 404: exitFailure, 409: exitFailure, 503: exitFailure, 200: exitOK} {
		stub := newStubAPI(t, status, `{"detail":"no reason given"}`)
		code, _, stderr := cli(t, "level", "set", "ABCDE12345/dev_01", "debug", "--url", stub.url, "--token", "t")
		if code != want || status != 200 && stderr != "logbridge: no reason given\n" {
			t.Errorf("status %d: exit code %d, want %d; %q", status, code, want, stderr)
		}
	}
}

func TestTokenFlagsBeatTheEnvironmentBeatsTheFileThere(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("data", 0o700); err != nil {
		t.Fatal(err)
	}
	for file, token := range map[string]string{usualTokenFile: "usual", "flag": "of-flag-file", "env": "of-env-file"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stub := newStubAPI(t, 200, `{}`)
	for _, c := range []struct {
		env, envFile string
		args         []string
		want         string
	}{
		{"", "", nil, "usual"},
		{"", "env", nil, "of-env-file"},
		{"of-env", "", nil, "of-env"},
		{"of-env", "env", nil, "of-env"},
		{"of-env", "", []string{"--token-file", "flag"}, "of-flag-file"},
		{"of-env", "flag", []string{"--token-file", "flag"}, "of-flag-file"},
		{"", "env", []string{"--token-file", "flag"}, "of-flag-file"},
		{"of-env", "env", []string{"--token", "of-flag"}, "of-flag"},
	} {
		t.Setenv("LOGBRIDGE_TOKEN", c.env)
		t.Setenv("LOGBRIDGE_TOKEN_FILE", c.envFile)
		if code, _, stderr := cli(t, append([]string{"level", "ls", "--url", stub.url}, c.args...)...); code != exitOK || stub.token() != c.want {
			t.Errorf("%+v: exit code %d, token %q; %s", c, code, stub.token(), stderr)
		}
	}
}

func TestChangesSayWhatTheyDid(t *testing.T) {
	for name, c := range map[string]struct {
		status       int
		answer, want string
		args         []string
	}{
		"new device": {200, `{"psk":"c2VjcmV0"}`, "psk c2VjcmV0\n", []string{"device", "add", "ABCDE12345/dev_01"}},
		"old device": {200, `{}`, "ABCDE12345/dev_01: registered before, and keeps its key\n", []string{"device", "add", "ABCDE12345/dev_01", "--tag", "a=b"}},
		"given key":  {200, `{}`, "ABCDE12345/dev_01: registered with this key\n", []string{"device", "add", "ABCDE12345/dev_01", "--psk", "c2VjcmV0"}},
		"clear":      {200, `{"desired":"error"}`, "ABCDE12345/dev_01: back to error\n", []string{"level", "clear", "ABCDE12345/dev_01"}},
		"ruled":      {200, `{"desired":"debug","rule":"abc"}`, "ABCDE12345/dev_01: no level of its own; debug by rule abc, which level clear abc ends\n", []string{"level", "clear", "ABCDE12345/dev_01"}},
		"end rule":   {204, ``, "rule abc: ended\n", []string{"level", "clear", "abc", "--reason", "r"}},
		"rule":       {201, `{"rule":{"id":"abc","level":"debug"},"matched":30,"connected":2,"sample":["P/a","P/b"]}`, "rule abc: debug, without an end; matched 30 devices, 2 of them connected: P/a P/b …\n", []string{"level", "set", "--tag", "site=a=b;c", "--tag", "x=y", "debug"}},
		"dry run":    {200, `{"matched":1,"connected":1,"decides":0,"sample":["P/a"]}`, "would match   1 device, 1 of them connected: P/a\nwould change  the level of 0 devices\n", []string{"level", "set", "-g", "a*", "4", "--dry-run"}},
		"dry wide": {200, `{"matched":2,"connected":1,"decides":1,"sample":["P/a","P/b"],"levels":{"error":2},"states":{"offline":1,"seen":1}}`,
			"would match   2 devices, 1 of them connected: P/a P/b\nwould change  the level of 1 device\nlevels now    error 2\nstates now    offline 1, seen 1\n", []string{"level", "set", "-g", "a*", "4", "--dry-run", "-o", "wide"}},
		"dry json":   {200, `{"matched":1, "x":[]}`, `{"matched":1, "x":[]}` + "\n", []string{"level", "set", "-g", "a*", "4", "--dry-run", "-o", "json"}},
		"level json": {200, `{"desired":"debug"}`, `{"desired":"debug"}` + "\n", []string{"level", "set", "ABCDE12345/dev_01", "4", "-o", "json"}},
		"no rule":    {200, `{"levels":[],"rules":[]}`, "DEVICE  LEVEL  BASE  ENDS IN  STATE  SET BY  REASON\n", []string{"level", "ls"}},
	} {
		stub := newStubAPI(t, c.status, c.answer)
		if code, out, stderr := cli(t, append(c.args, "--url", stub.url, "--token", "t")...); code != exitOK || out != c.want {
			t.Errorf("%s: exit code %d, %q, want %q; %s", name, code, out, c.want, stderr)
		}
	}
}

// TestSimulationWithoutABrokerFails is the mistake of a wrong --mqtt.
func TestSimulationWithoutABrokerFails(t *testing.T) {
	l, err := net.Listen("tcp", anyone)
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	_ = l.Close()
	stub := newStubAPI(t, 200, `{}`)
	code, out, stderr := cli(t, "sim", "--devices", "2", "--duration", "200ms", "--mqtt", gone, "--url", stub.url, "--token", "t")
	if code != exitFailure || !strings.Contains(out, "summary: 0 logins") || !strings.Contains(out, "connection refused") || !strings.Contains(stderr, "no device could log in") {
		t.Errorf("exit code %d, %q, %q", code, out, stderr)
	}
}

func TestBusyPortsAreNamedTogether(t *testing.T) {
	busy := func() string {
		l, err := net.Listen("tcp", anyone)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	home := newPlace(t, e2eConfig)
	http, mqtt := busy(), busy()
	code, _, stderr := cli(t, append(home.args, "--http", http, "--mqtt", mqtt, "--admin", http)...)
	for _, want := range []string{"--http: listen tcp " + http, "choose another with --http", "--mqtt: listen tcp " + mqtt, "choose another with --mqtt"} {
		if code != exitFailure || strings.Count(stderr, want) != 1 {
			t.Errorf("exit code %d, %q is not there once in:\n%s", code, want, stderr)
		}
	}
	if strings.Contains(stderr, "--admin:") {
		t.Errorf("one listener is named twice:\n%s", stderr)
	}
	free := Config{HTTP: anyone, MQTT: anyone}
	if err := free.taken(); err != nil {
		t.Error(err)
	}
	twice := busy()
	if err := (&Config{HTTP: anyone, MQTT: anyone, Admin: twice}).taken(); err == nil || !strings.HasPrefix(err.Error(), "--admin: ") {
		t.Errorf("a busy admin address: %v", err)
	}
}
