package httpapi

import (
	"net/http"
	"strings"
	"testing"
)

// TestUnknownPaths: whoever asks for what is not there is told what is, in the form that they read, and gets nothing of the request back.
func TestUnknownPaths(t *testing.T) {
	w := start(t) // with the console, that is what browsers get: TestConsoleForAPageThatIsNone
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, row := range []struct{ path, accept, kind, says string }{
		{"/nosuch", browser, "text/html; charset=UTF-8", `<a href="/">/</a>, the operator API at <a href="/api/v1/">/api/v1/</a>.`},
		{"/nosuch", "application/json", "application/problem+json", `"detail":"there is no such call: the console is at /, the operator API at /api/v1/"`},
		{"/nosuch", "application/problem+json", "application/problem+json", `"code":"not_found"`},
		{"/nosuch", "*/*", "text/plain; charset=UTF-8", "The console is at /, the operator API at /api/v1/."},
		{"/nosuch", "", "text/plain; charset=UTF-8", "/api/v1/"},
		{"/api/v1/nosuch", browser, "application/problem+json", "/api/v1/"},
		{"/api", browser, "application/problem+json", "/api/v1/"},
		{"/x%3Cscript%3Ealert(1)%3C/script%3E?q=%3Cscript%3E", browser, "text/html; charset=UTF-8", "nothing at this path"},
		{"/assets/%22onload=alert", browser, "text/html; charset=UTF-8", "nothing at this path"},
	} {
		a := w.send("GET", row.path, "", "Accept", row.accept, "Referer", "https://evil.example/<script>")
		policy := a.Header.Get("Content-Security-Policy")
		if a.StatusCode != http.StatusNotFound || a.Header.Get("Content-Type") != row.kind || !strings.Contains(a.body, row.says) || strings.Contains(a.body, "alert") || strings.Contains(a.body, "<script") {
			t.Errorf("%s for %q: %d %s %s", row.path, row.accept, a.StatusCode, a.Header.Get("Content-Type"), a.body)
		}
		if !strings.HasPrefix(row.path, "/api") && (!strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || a.Header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s for %q: %v", row.path, row.accept, a.Header)
		}
	}
	for _, accept := range []string{browser, "application/json", ""} {
		if a := w.send("PUT", "/healthz", "", "Accept", accept); a.StatusCode != http.StatusMethodNotAllowed || strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") != (accept == "application/json") {
			t.Errorf("PUT for %q: %d %v %s", accept, a.StatusCode, a.Header, a.body)
		}
	}
	if a := w.send("GET", "/favicon.ico", ""); a.StatusCode != http.StatusNoContent || a.body != "" {
		t.Errorf("favicon.ico: %d %q", a.StatusCode, a.body)
	}
}

// TestUnknownPathsOfThePublicAddress do not tell of the other one.
func TestUnknownPathsOfThePublicAddress(t *testing.T) {
	w := start(t, func(cfg *Config, _ *Deps) { cfg.AdminAddr = "localhost:0" })
	admin := "http://" + w.AdminAddr().String()
	for _, accept := range []string{"text/html", "application/json", "*/*"} {
		for _, path := range []string{"/nosuch", "/", "/api/v1/logs"} {
			if a := w.send("GET", path, "", "Accept", accept); a.StatusCode != http.StatusNotFound || strings.Contains(a.body, "console") || strings.Contains(a.body, "/api/v1") {
				t.Errorf("%s for %q: %d %s", path, accept, a.StatusCode, a.body)
			}
		}
		if a := w.sendTo(admin, "GET", "/nosuch", "", "Accept", accept); !strings.Contains(a.body, "/api/v1/") {
			t.Errorf("admin for %q: %s", accept, a.body)
		}
	}
}
