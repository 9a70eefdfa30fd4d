package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// readWebSTS gives docs/web-sts.md.
func readWebSTS(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/web-sts.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// obey runs the commands of docs/web-sts.md but those of the backend, and gives the token that they make.
func (s *process) obey(t *testing.T, page string) (token string) {
	t.Helper()
	ran := 0
	for line := range strings.Lines(page) {
		words, ok := strings.CutPrefix(line, "logbridge ")
		if !ok || strings.HasPrefix(words, "= ") { // a line of the backend
			continue
		}
		ran++
		out := s.run(strings.Fields(words)...)
		if strings.HasPrefix(words, "token add ") {
			token = strings.Fields(out)[0]
		}
	}
	if ran != 3 || token == "" {
		t.Fatalf("%d commands in the page, token %q", ran, token)
	}
	return token
}

// TestWebSTSCommands: the commands of docs/web-sts.md make all that its backend needs, and the credentials that it gets are good for the page.
func TestWebSTSCommands(t *testing.T) {
	s := newPlace(t, "").start(anyone, anyone)
	token := s.obey(t, readWebSTS(t))
	var key struct{ SecurityToken string }
	backend := &api{base: s.operator().base, token: token, http: http.DefaultClient}
	role := map[string]string{"project": "myproj", "logstore": "mystore", "for": "15m"}
	if err := backend.call(t.Context(), http.MethodPost, "/sts", role, &key); err != nil || key.SecurityToken == "" {
		t.Errorf("credentials %v, %v", key, err)
	}
	for origin, want := range map[string]int{"http://127.0.0.1:8000": http.StatusOK, "http://other.example": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.url()+"/logstores/mystore", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("a page of %s asks: %d, want %d", origin, res.StatusCode, want)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url()+"/logstores/mystore/track?APIVersion=0.6.0", strings.NewReader(`{"__logs__":[{"a":"b"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "http://127.0.0.1:8000")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode < http.StatusBadRequest {
		t.Errorf("an anonymous write is taken: %d", res.StatusCode)
	}
}

// TestWebSTSDocumentation runs what docs/web-sts.md shows, as it stands there but for the addresses and the ten seconds of the tracker: the backend in Python, and
// its page in a browser.
func TestWebSTSDocumentation(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: python3 is not installed; the backend of docs/web-sts.md is not run")
	}
	ctx := chromium(t)
	sdk := sdkFolder(t)
	s := newPlace(t, "").start(anyone, anyone)
	page := readWebSTS(t)
	token := s.obey(t, page)
	dir := t.TempDir()
	for kind, name := range map[string]string{"python": "main.py", "html": "index.html", "js": "index.js"} {
		_, rest, _ := strings.Cut(page, "\n```"+kind+"\n")
		text, _, found := strings.Cut(rest, "\n```")
		if !found {
			t.Fatalf("no %s in the page", kind)
		}
		text = strings.NewReplacer("http://127.0.0.1:8080", s.url(), "time: 10,", "time: 0.1,").Replace(text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range sdkScripts[:2] {
		if err := os.Symlink(filepath.Join(sdk, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	backend := exec.CommandContext(t.Context(), python, "main.py")
	backend.Dir = dir
	backend.Env = append(os.Environ(), "PORT=0", "LOGBRIDGE_URL="+s.url(), "LOGBRIDGE_TOKEN="+token)
	out, err := backend.StdoutPipe()
	if err == nil {
		err = backend.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Process.Kill(); _ = backend.Wait() })
	said, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(said), "serving ")
	if !ok {
		t.Fatalf("the backend said %q: %v", said, err)
	}
	s.run("sls", "store", "set", "myproj/mystore", "--origin", address) // it took a free port

	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	await(t, s.operator(), "field.eventType=view", 1)
	if err := chromedp.Do(ctx, chromedp.Click("#loginButton")); err != nil {
		t.Fatal(err)
	}
	await(t, s.operator(), "field.eventType=login", 1)
	got := s.records("source=sls")
	if len(got) != 2 || got[1].Attributes["username"] != "Zoë" || got[1].Attributes["__topic__"] != "topic" || got[1].Stream != slsStream {
		t.Errorf("%v", got)
	}
}
