package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestConsoleStores makes a project, a logstore and a topic as an operator does, and then does what the snippets say: what they
// send arrives.
func TestConsoleStores(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	c := openConsole(t, s, "/stores")
	c.has("sls/myproj/mystore")

	c.press("New project")
	c.fill("Project", "shop")
	c.fill("Hosts", "logs.example.com\nlogs2.example.com")
	c.accessible("new project")
	c.press("Create")
	c.has("A project without a logstore takes nothing.")
	c.press("New logstore")
	c.fill("Logstore", "web")
	c.fill("Origins", "https://shop.example.com")
	c.accessible("new logstore")
	c.shot("form")
	c.press("Create")
	c.has("shop.example.com")
	c.until(`location.search.includes('store=sls%2Fshop%2Fweb')`)
	c.press("curl")
	c.until(`document.querySelector('.copy code').textContent.startsWith('curl')`)
	c.looks("logstore")
	s.runSnippet(c)
	s.waitFor("stream=sls/shop/web", 1)

	// A change of what is asked of pages.
	c.press("Change")
	c.fill("Origins", "")
	c.unfold("Limits")
	c.fill("Events a second of each address", "50")
	c.press("Make one")
	c.until(`document.querySelector('dialog .field textarea[spellcheck]').closest('form').innerText.includes('These replace the former ones')`)
	token := eval[string](c, `[...document.querySelectorAll('dialog label')].find((l) => l.textContent === 'Write tokens').control.value`)
	c.unfold("Privacy")
	c.fill("Of an address is kept", "masked")
	c.shot("change")
	c.accessible("change")
	c.press("Save")
	c.has("events a second of each address 50")
	c.has("the network: /24, or /48 of IPv6")
	var store struct {
		Origins []string         `json:"origins"`
		Limits  map[string]int64 `json:"limits"`
		Privacy map[string]any   `json:"privacy"`
	}
	s.operate(http.MethodGet, "/sls/shop/logstores/web", nil, &store)
	if len(store.Origins) != 0 || store.Limits["address_events"] != 50 || store.Privacy["address"] != "masked" {
		t.Errorf("after the change: %+v", store)
	}
	c.has("anonymous with a write token")
	c.fill("Write token", token)
	c.press("Image")
	c.until(`document.querySelector('.copy code').textContent.startsWith('<img')`)
	c.has("/w/" + token)
	s.getImage(c)
	s.waitFor("stream=sls/shop/web&field.page=home", 1)

	// A key: its secret is shown once.
	c.press("New key")
	c.fill("Id", "LTAIshop")
	c.press("Create")
	c.has("This is the only time that the secret is shown.")
	if secret := eval[string](c, `document.querySelector('dialog .copy code').textContent`); len(secret) != 24 {
		t.Errorf("secret %q", secret)
	}
	c.press("Done")
	c.has("LTAIshop")

	// A topic with a signed and an anonymous snippet.
	c.press("New topic")
	c.fill("Topic", "topic-7")
	c.press("Create")
	c.until(`location.search.includes('store=cls%2Ftopic-7')`)
	c.until(`document.querySelector('.copy code').textContent.includes('topic_id=topic-7')`)
	s.getImage(c)
	s.waitFor("stream=cls/topic-7", 1)
	c.press("CLS SDK")
	c.has("tencentcloud-cls-sdk-js-web")
	c.press("Delete")
	c.press("Delete now")
	c.has("cls/topic-7 is deleted.")
	if err := s.operator().call(t.Context(), http.MethodGet, "/cls/topic-7", nil, nil); !notFound(err) {
		t.Errorf("the topic after its deletion: %v", err)
	}

	// Who only reads is offered no change.
	v := openTab(t, s)
	v.open("/stores?store=sls/shop/web")
	v.signIn(s.makeToken("reader", "viewer").Token)
	v.has("Address that pages reach")
	if n := eval[int](v, `[...document.querySelectorAll('main button')].filter((b) => /New|Change|Delete/.test(b.textContent)).length`); n != 0 {
		t.Errorf("a viewer is offered %d buttons that change things", n)
	}
}

// unfold opens a part of a form.
func (c *tab) unfold(name string) {
	c.t.Helper()
	eval[bool](c, `([...document.querySelectorAll('dialog summary')].find((e) => e.textContent === `+quoteJS(name)+`).click(), true)`)
}

// snippet is what the page offers to copy.
func (c *tab) snippet() string {
	c.t.Helper()
	return eval[string](c, `document.querySelector('.copy code').textContent`)
}

// runSnippet runs a snippet in a shell; where there is no curl, a request by the same words is made.
func (s *process) runSnippet(c *tab) {
	s.place.t.Helper()
	text := c.snippet()
	if _, err := exec.LookPath("curl"); err != nil {
		s.place.t.Log("SKIPPED: curl is not installed; its snippet is not run but read")
		s.sendAs(text)
		return
	}
	out, err := exec.CommandContext(s.place.t.Context(), "sh", "-c", text).CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 200 ") {
		s.place.t.Fatalf("%s\n%v\n%s", text, err, out)
	}
}

// sendAs makes the request that a curl command line of ours means.
func (s *process) sendAs(text string) {
	t := s.place.t
	t.Helper()
	words := regexp.MustCompile(`'([^']*)'`).FindAllStringSubmatch(text, -1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, words[0][1], strings.NewReader(words[len(words)-1][1]))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", strings.TrimPrefix(words[1][1], "Origin: "))
	if _, err := call(http.DefaultClient, req); err != nil {
		t.Fatal(err)
	}
}

// getImage loads the image of a snippet, as a browser that reads the tag would.
func (s *process) getImage(c *tab) {
	t := s.place.t
	t.Helper()
	src := eval[string](c, `/src="([^"]*)"/.exec(`+quoteJS(c.snippet())+`)[1].replaceAll('&amp;', '&')`)
	res, err := http.Get(src)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(b), "GIF8") {
		t.Fatalf("%s: %d, %v", src, res.StatusCode, err)
	}
}

// waitFor waits until so many records match.
func (s *process) waitFor(query string, n int) []found {
	t := s.place.t
	t.Helper()
	for end := time.Now().Add(patience); ; {
		if got := s.records(query); len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d records, want %d", query, len(s.records(query)), n)
		}
	}
}

// TestConsoleLedger looks at sums, reasons and streams, sorts and filters them.
func TestConsoleLedger(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	for range 3 {
		if err := track(http.DefaultClient, s.url(), "stored"); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.Post(s.url()+"/sls/myproj/logstores/mystore/track?APIVersion=0.6.0", "application/json", strings.NewReader("{"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	s.waitFor("source=sls", 3)

	c := openConsole(t, s, "/ledger")
	// Audit records count too, so the sums are held against each other, and the numbers against the row of the source.
	sums := `[...document.querySelectorAll('.ledger-sums .figure')].map((e) => Number(e.textContent))`
	c.until(sums + `.length === 5 && ` + sums + `[0] >= 4 && ` + sums + `[0] === ` + sums + `.slice(1).reduce((a, b) => a + b)`)
	row := `[...document.querySelectorAll('tbody tr')].find((e) => e.firstChild.textContent === 'sls')?.innerText.split('\t').slice(1, 6).join()`
	c.until(row + ` === '4,3,0,1,0'`)
	c.has("malformed")
	c.has("sls/myproj/mystore")
	c.looks("ledger")
	c.press("Refused")
	c.until(`location.search.includes('sort=refused.down')`)
	c.until(`document.querySelector('th[aria-sort="descending"]')?.textContent.startsWith('Refused')`)
	c.click(`th[aria-sort="descending"] .sort`)
	c.until(`document.querySelector('th[aria-sort="ascending"]')?.textContent.startsWith('Refused')`)
	c.fill("Stream", "nosuch")
	c.has("No stream is like that.")
	c.fill("Stream", "")
	c.fill("Which", "lossy")
	c.has("sls/myproj/mystore")
	if err := track(http.DefaultClient, s.url(), "later"); err != nil {
		t.Fatal(err)
	}
	c.until(row + ` === '5,4,0,1,0'`) // by itself
}

// TestConsoleAudit finds a change by its filters and shows what was before and after.
func TestConsoleAudit(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "5m", "--reason", "ticket 4711")
	s.run("level", "set", "all", "warn", "--reason", "quiet please")
	viewer := s.makeToken("nosy", "viewer")
	if err := (&api{base: s.url() + "/api/v1", token: viewer.Token, http: http.DefaultClient}).call(t.Context(), http.MethodPut, "/level", map[string]string{"level": "debug"}, nil); err == nil {
		t.Fatal("a viewer has changed the level of all")
	}
	c := openConsole(t, s, "/audit")
	c.has("ticket 4711")
	c.has("refused")
	c.looks("audit")
	c.fill("Text", "4711")
	c.until(`location.search.includes('q=4711')`)
	c.until(`document.querySelectorAll('tbody tr').length === 1`)
	c.click("tbody button.link")
	c.has("Before")
	for _, text := range []string{"admin", "127.0.0.1", "level.set", "ABCDE12345/dev_01", "ticket 4711", "debug"} {
		c.until(`document.querySelector('dialog').innerText.includes(` + quoteJS(text) + `)`)
	}
	c.accessible("details")
	c.shot("details")
	c.press("Close")
	c.open("/audit?outcome=refused") // a link that a colleague got
	c.until(`document.querySelector('tbody .state.warn')`)
	if n := eval[int](c, `document.querySelectorAll('tbody tr').length`); n != 1 {
		t.Errorf("%d refusals", n)
	}
}

// TestConsoleTokens makes a limited token that is shown once, uses it, and revokes it.
func TestConsoleTokens(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.makeToken("grafana", "viewer")
	c := openConsole(t, s, "/tokens")
	c.has("grafana")
	c.press("New token")
	c.accessible("new token")
	c.fill("Name", "shop team")
	c.fill("Role", "operator")
	c.fill("Good for", "sls/myproj\nnonsense/x")
	c.press("Create")
	c.has("nonsense")
	c.fill("Good for", "sls/myproj/mystore")
	c.shot("form")
	c.press("Create")
	c.has("This is the only time that it is shown.")
	plain := eval[string](c, `document.querySelector('dialog .copy code').textContent`)
	c.shot("shown")
	c.accessible("shown once")
	c.press("Done")
	c.has("shop team")
	if text := eval[string](c, `document.body.innerText`); strings.Contains(text, plain) || len(plain) < 20 {
		t.Errorf("the token %q is shown again", plain)
	}
	c.looks("tokens")

	owner := &api{base: s.url() + "/api/v1", token: plain, http: http.DefaultClient}
	var answer json.RawMessage
	if err := owner.call(t.Context(), http.MethodGet, "/sls/myproj/logstores/mystore", nil, &answer); err != nil {
		t.Errorf("within its scope: %v", err)
	}
	if err := owner.call(t.Context(), http.MethodGet, "/products/ABCDE12345", nil, &answer); !notFound(err) {
		t.Errorf("outside of its scope: %v, %s", err, answer)
	}
	c.press("Revoke shop team")
	c.has("refused from this moment on")
	c.press("Revoke now")
	c.has("Token shop team is revoked.")
	c.until(`![...document.querySelectorAll('tbody th')].some((e) => e.textContent.startsWith('shop team'))`)
	if err := owner.call(t.Context(), http.MethodGet, "/session", nil, &answer); err == nil {
		t.Error("a revoked token is good")
	}
}
