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

// TestWebSTSDocumentation runs what docs/web-sts.md shows, as it stands there but for the addresses and the ten seconds of the tracker: the backend in Python, and
// its page in a browser.
func TestWebSTSDocumentation(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: python3 is not installed; the backend of docs/web-sts.md is not run")
	}
	ctx := chromium(t)
	sdk := sdkFolder(t)
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	page, err := os.ReadFile("../../docs/web-sts.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for kind, name := range map[string]string{"python": "main.py", "html": "index.html", "js": "index.js"} {
		_, rest, _ := strings.Cut(string(page), "\n```"+kind+"\n")
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
	var token struct{ Token string }
	if err := s.operator().call(t.Context(), http.MethodPost, "/tokens", map[string]string{"name": "web-backend", "role": "operator"}, &token); err != nil {
		t.Fatal(err)
	}
	backend := exec.CommandContext(t.Context(), python, "main.py")
	backend.Dir = dir
	backend.Env = append(os.Environ(), "PORT=0", "LOGBRIDGE_URL="+s.url(), "LOGBRIDGE_TOKEN="+token.Token)
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
