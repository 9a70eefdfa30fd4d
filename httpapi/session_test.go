package httpapi

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/attempts"
)

// issue makes a token with this role and scope.
func (w *world) issue(role logbridge.Role, scope ...string) (plain, id string) {
	w.t.Helper()
	t, plain, err := w.reg.CreateToken(w.t.Context(), "t-"+string(role), role, time.Time{}, scope...)
	check(w.t, err)
	return plain, t.ID
}

// signIn gives the header Cookie of a session, and what was answered.
func (w *world) signIn(plain string, headers ...string) (cookie string, a answered) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"token": plain})
	check(w.t, err)
	a = w.send("POST", apiPath+"/session", string(body), headers...)
	for _, c := range a.Cookies() {
		if c.Name == sessionCookie {
			return c.Name + "=" + c.Value, a
		}
	}
	return "", a
}

func TestSession(t *testing.T) {
	w := start(t)
	plain, id := w.issue(logbridge.RoleOperator, "device/ABCDE12345")
	cookie, a := w.signIn(plain)
	var v map[string]any
	check(t, json.Unmarshal([]byte(a.body), &v))
	if a.StatusCode != 200 || v["name"] != "t-operator" || v["role"] != "operator" || text(v, "scope") != "[device/ABCDE12345]" || strings.Contains(a.body, plain) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	set := a.Header.Get("Set-Cookie")
	for _, says := range []string{sessionCookie + "=" + plain, "; HttpOnly", "; SameSite=Strict", "; Path=/"} {
		if !strings.Contains(set, says) {
			t.Errorf("the cookie %q does not say %q", set, says)
		}
	}
	if strings.Contains(set, "Secure") { // it would be lost on plain HTTP
		t.Errorf("cookie %q", set)
	}
	if a := w.send("GET", apiPath+"/session", "", "Cookie", cookie); a.StatusCode != 200 || !strings.Contains(a.body, `"t-operator"`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.send("PUT", apiPath+deviceCall+"/level", `{"level":"debug","reason":"test"}`, "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	a = w.send("DELETE", apiPath+"/session", "", "Cookie", cookie)
	if set := a.Header.Get("Set-Cookie"); a.StatusCode != 204 || !strings.Contains(set, sessionCookie+"=;") || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("%d %q", a.StatusCode, set)
	}
	check(t, w.reg.DeleteToken(t.Context(), id))
	checkProblem(t, "revoked", w.send("GET", apiPath+"/session", "", "Cookie", cookie), 401, "unauthorized")
	checkProblem(t, "none", w.send("GET", apiPath+"/session", ""), 401, "unauthorized")
}

// TestSessionOfAnyToken: a token of the operator's own choice may hold characters that a cookie does not.
func TestSessionOfAnyToken(t *testing.T) {
	w := start(t)
	odd := `a;b, "c"\ d=é%2B+`
	w.reg.SetAdminToken(odd)
	cookie, _ := w.signIn(odd)
	if a := w.send("GET", apiPath+"/session", "", "Cookie", cookie); a.StatusCode != 200 || !strings.Contains(a.body, `"admin"`) {
		t.Errorf("%q: %d %s", cookie, a.StatusCode, a.body)
	}
}

func TestSessionIsSecureOverTLS(t *testing.T) {
	lender := httptest.NewTLSServer(nil) // for its certificate and a client that trusts it
	defer lender.Close()
	w := start(t, func(cfg *Config, _ *Deps) { cfg.TLSAddr, cfg.TLS = "127.0.0.1:0", lender.TLS })
	a, err := lender.Client().Post("https://"+w.TLSAddr().String()+apiPath+"/session", "application/json", strings.NewReader(`{"token":"`+adminToken+`"}`))
	check(t, err)
	a.Body.Close()
	if set := a.Header.Get("Set-Cookie"); !strings.Contains(set, "; Secure") {
		t.Errorf("%d %q", a.StatusCode, set)
	}
}

func TestSessionRefuses(t *testing.T) {
	w := start(t)
	ingest, _ := w.issue(logbridge.RoleIngest)
	for name, row := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"wrong":   {`{"token":"lb_nonsense"}`, 401, "unauthorized"},
		"empty":   {`{"token":""}`, 422, "invalid"},
		"ingest":  {`{"token":"` + ingest + `"}`, 403, "forbidden"},
		"no JSON": {`token`, 400, "invalid"},
		"long":    {`{"token":"` + strings.Repeat("x", 2000) + `"}`, 422, "invalid"},
	} {
		a := w.send("POST", apiPath+"/session", row.body)
		checkProblem(t, name, a, row.status, row.code)
		if a.Header.Get("Set-Cookie") != "" || strings.Contains(a.body, "nonsense") || strings.Contains(a.body, ingest) {
			t.Errorf("%s: %v %s", name, a.Header, a.body)
		}
	}
}

// TestSessionIsForOwnPages sends requests as browsers do from pages of other origins that are the same site, or no site.
func TestSessionIsForOwnPages(t *testing.T) {
	w := start(t)
	cookie, _ := w.signIn(adminToken)
	for _, from := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "http://127.0.0.1:1"}, {"Origin", "null"},
	} {
		for _, call := range [][2]string{
			{"PUT", deviceCall + "/level"}, {"DELETE", deviceCall}, {"POST", "/tokens"}, {"POST", "/session"}, {"DELETE", "/session"},
			{"GET", "/logs?follow=true"}, {"GET", "/logs"}, {"GET", "/products"},
		} {
			a := w.send(call[0], apiPath+call[1], `{"level":"debug","reason":"x","token":"`+adminToken+`"}`, append(from, "Cookie", cookie)...)
			checkProblem(t, strings.Join(from, "=")+" "+strings.Join(call[:], " "), a, 403, "forbidden")
			if a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%v: CORS", call)
			}
		}
	}
	for _, from := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, {"Origin", w.url}, nil} {
		if a := w.send("PUT", apiPath+deviceCall+"/level", `{"level":"debug","reason":"x"}`, append(from, "Cookie", cookie)...); a.StatusCode != 200 {
			t.Errorf("%v: %d %s", from, a.StatusCode, a.body)
		}
	}
	// Who has the token itself is no browser that was tricked.
	if a := w.send("GET", apiPath+"/products", "", "Origin", "https://evil.example", "Authorization", "Bearer "+adminToken); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestSessionCountsOnTheAPIAlone offers the cookie everywhere else, and beside a header that is not good.
func TestSessionCountsOnTheAPIAlone(t *testing.T) {
	w := start(t)
	cookie, _ := w.signIn(adminToken)
	for _, call := range [][3]string{
		{"GET", "/loki/api/v1/labels", ""}, {"GET", "/loki/api/v1/query_range?query={source=\"mqtt\"}", ""}, {"GET", "/loki/api/v1/tail", ""},
		{"POST", "/loki/api/v1/push", `{"streams":[]}`}, {"POST", "/v1/logs", "{}"}, {"POST", "/otlp/v1/logs", "{}"},
	} {
		if a := w.send(call[0], strings.ReplaceAll(call[1], `"`, "%22"), call[2], "Cookie", cookie, "Content-Type", "application/json"); a.StatusCode != 401 {
			t.Errorf("%v: %d %s", call, a.StatusCode, a.body)
		}
	}
	checkProblem(t, "both", w.send("GET", apiPath+"/products", "", "Cookie", cookie, "Authorization", "Bearer nonsense"), 401, "unauthorized")
}

// TestSignInIsBounded guesses until it is not heard any more, even with the right token; others are.
func TestSignInIsBounded(t *testing.T) {
	limit := attempts.New()
	w := start(t, func(_ *Config, d *Deps) { d.Attempts = limit })
	const most = 1000
	n := 0
	for ; n < most; n++ {
		if _, a := w.signIn("lb_guess"); a.StatusCode != 401 {
			checkProblem(t, "guess", a, 429, "too_many")
			break
		}
	}
	if n == most || n < 10 {
		t.Errorf("%d guesses", n)
	}
	for range 3 { // a failure is forgiven each second: the next sign-in has a whole one
		limit.Failed(netip.MustParseAddr("127.0.0.1"), noDevice, true)
	}
	if _, a := w.signIn(adminToken); a.StatusCode != 429 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if !limit.Allowed(netip.MustParseAddr("192.0.2.1"), noDevice) {
		t.Error("another address is not heard")
	}
}
