package httpapi

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
)

// consoleFiles stand for a build: what is served does not depend on it.
func consoleFiles() fstest.MapFS {
	return fstest.MapFS{
		"index.html":             {Data: []byte("<!doctype html><title>console</title>" + strings.Repeat(" ", 100))},
		"assets/index-abc123.js": {Data: []byte(strings.Repeat("let a = 1\n", 100))},
		"assets/icon-abc123.svg": {Data: []byte("<svg/>")},
		"README":                 {Data: []byte("no")},
	}
}

func withConsole(cfg *Config, _ *Deps) { cfg.Console = consoleFiles() }

// fetch makes a GET with headers given as pairs, and does not unpack the answer.
func fetch(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	check(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	check(t, err)
	return res, string(body)
}

func TestConsoleIsServedSafely(t *testing.T) {
	w := start(t, withConsole)
	for _, p := range []string{"/", "/logs", "/logs?q=x", "/devices", "/devices/ABCDE12345/dev_01", "/rules", "/stores", "/ledger", "/audit", "/tokens"} {
		res, body := fetch(t, w.url+p)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "<title>console") || res.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %q, kept %q", p, res.StatusCode, body, res.Header.Get("Cache-Control"))
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Type": "text/html; charset=utf-8",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", p, name, got)
			}
		}
		policy := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, part) || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: policy %q lacks %q", p, policy, part)
			}
		}
	}
	for _, p := range []string{"/README", "/assets/", "/assets/none.js", "/assets/../README", "/nothing", "/index.html"} {
		if res, body := fetch(t, w.url+p); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %q", p, res.StatusCode, body)
		}
	}
}

// TestConsoleForAPageThatIsNone: a browser gets the console, which says that there is no such view; programs, and all paths of other
// surfaces, get what they got before.
func TestConsoleForAPageThatIsNone(t *testing.T) {
	w := start(t, withConsole)
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	for _, p := range []string{"/devicez", "/rules/a", "/index.html", "/README"} {
		res, body := fetch(t, w.url+p, "Accept", browser)
		if res.StatusCode != http.StatusNotFound || !strings.Contains(body, "<title>console") || res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q %v", p, res.StatusCode, body, res.Header)
		}
		if res, body := fetch(t, w.url+p, "Accept", "*/*"); res.StatusCode != http.StatusNotFound || strings.Contains(body, "<title>console") {
			t.Errorf("%s for a program: %d %q", p, res.StatusCode, body)
		}
	}
	for _, p := range []string{"/api/v1/devicez", "/loki/api/v1/none", "/assets/none.js", "/logstores/none/none"} {
		if res, body := fetch(t, w.url+p, "Accept", browser); res.StatusCode == http.StatusOK || strings.Contains(body, "<title>console") {
			t.Errorf("%s: %d %q", p, res.StatusCode, body)
		}
	}
	res, err := http.Post(w.url+"/logs", "text/html", nil)
	check(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /logs: %d", res.StatusCode)
	}
}

// TestIcon: what browsers ask for of their own is no error, with the console and without.
func TestIcon(t *testing.T) {
	res, body := fetch(t, start(t, withConsole).url+iconPath)
	if res.StatusCode != http.StatusOK || body != "<svg/>" || res.Header.Get("Content-Type") != "image/svg+xml" || res.Header.Get("Cache-Control") != iconCache {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
	if res, body := fetch(t, start(t).url+iconPath); res.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("without the console: %d %q", res.StatusCode, body)
	}
}

func TestConsoleAssetsAreKeptAndCompressed(t *testing.T) {
	w := start(t, withConsole)
	const name = "/assets/index-abc123.js"
	plain, body := fetch(t, w.url+name)
	packed, small := fetch(t, w.url+name, "Accept-Encoding", "br, gzip;q=0.5")
	for _, res := range []*http.Response{plain, packed} {
		if res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || res.Header.Get("Vary") != "Accept-Encoding" ||
			!strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") {
			t.Errorf("headers %v", res.Header)
		}
	}
	r, err := gzip.NewReader(strings.NewReader(small))
	check(t, err)
	unpacked, err := io.ReadAll(r)
	check(t, err)
	if packed.Header.Get("Content-Encoding") != "gzip" || len(small) >= len(body) || string(unpacked) != body || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d bytes, packed %d, unpacked the same: %v", len(body), len(small), string(unpacked) == body)
	}
	if plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("both forms have one ETag")
	}
	if res, body := fetch(t, w.url+"/", "If-None-Match", first(fetch(t, w.url+"/")).Header.Get("ETag")); res.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("asked again: %d %q", res.StatusCode, body)
	}
	if res, _ := fetch(t, w.url+name, "Accept-Encoding", "gzip;q=0"); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip for a client that will not have it")
	}
}

func first(res *http.Response, _ string) *http.Response { return res }

func TestConsoleIsOnTheAdminAddressAlone(t *testing.T) {
	w := start(t, withConsole, func(cfg *Config, _ *Deps) { cfg.AdminAddr = "localhost:0" })
	admin := "http://" + w.AdminAddr().String()
	for _, p := range []string{"/", "/logs", "/assets/index-abc123.js", "/favicon.ico", "/api/v1/session"} {
		if res, body := fetch(t, w.url+p); res.StatusCode != http.StatusNotFound {
			t.Errorf("public %s: %d %q", p, res.StatusCode, body)
		}
		if res, _ := fetch(t, admin+p); res.StatusCode == http.StatusNotFound {
			t.Errorf("admin %s is not there", p)
		}
	}
}

func TestWithoutTheConsoleThePageSaysHowToGetIt(t *testing.T) {
	w := start(t)
	for _, p := range []string{"/", "/logs"} {
		res, body := fetch(t, w.url+p)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "make build") || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %q", p, res.StatusCode, body)
		}
	}
	if _, err := New(Config{Addr: "127.0.0.1:0", Console: fstest.MapFS{}}, w.deps, w.log); err == nil {
		t.Error("a console without index.html is taken")
	}
}
