package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/logbridge/logbridge/httpapi/console"
)

// What the tests of the console share: a tab of a real browser on a real server, signed in through the page.

// screenshotsEnv names a folder for the screenshots that the tests take; without it they are in the test's own.
const screenshotsEnv = "LOGBRIDGE_SCREENSHOTS"

// axeFile is where npm has put the library that checks accessibility.
const axeFile = "../../httpapi/console/node_modules/axe-core/axe.min.js"

// tab is a tab with the console. What its page does that no page of ours may (an exception, an error on its console, a breach of
// its policy, a request to another host) fails the test at its end.
type tab struct {
	t      *testing.T
	ctx    context.Context
	server *process

	mu     sync.Mutex // guards what the browser's goroutine writes
	faults []string
}

// openConsole opens a path of the console of s, and signs in with the administrator's token.
func openConsole(t *testing.T, s *process, path string) *tab {
	t.Helper()
	c := openTab(t, s)
	c.open(path)
	c.signIn(s.token())
	return c
}

// token is the administrator's.
func (s *process) token() string {
	s.place.t.Helper()
	token, err := os.ReadFile(s.place.tokenFile())
	if err != nil {
		s.place.t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// openTab is an empty tab that watches its page. Without chromium or the console's build the test is skipped.
func openTab(t *testing.T, s *process) *tab {
	t.Helper()
	if console.Files() == nil {
		t.Skip("SKIPPED: the console is not built (make build, with npm); its views are not tried")
	}
	c := &tab{t: t, server: s, ctx: chromium(t)}
	if err := chromedp.Listen(c.ctx, c.watch); err != nil {
		t.Fatal(err)
	}
	c.do(chromedp.EmulateViewport(1280, 800))
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, f := range c.faults {
			t.Errorf("the page: %s", f)
		}
	})
	return c
}

func (c *tab) watch(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "exception: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			fault += " " + x.Description
		}
	case *log.EventEntryAdded:
		// A refused request is an entry too, and part of some tests: they look at what the page shows then.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			fault = "log: " + e.Entry.Text
		}
	case *network.EventRequestWillBeSent:
		u := e.Request.URL
		if !strings.HasPrefix(u, c.server.adminURL()+"/") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:"+c.server.adminURL()) {
			fault = "asks another host: " + u
		}
	case *page.EventJavascriptDialogOpening:
		fault = "dialog: " + e.Message
	}
	if fault != "" {
		c.mu.Lock()
		c.faults = append(c.faults, fault)
		c.mu.Unlock()
	}
}

// adminURL is where the console is.
func (s *process) adminURL() string {
	if addr := s.addr("admin"); addr != "" {
		return "http://" + addr
	}
	return s.url()
}

// do runs actions one after the other.
func (c *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	if err := chromedp.Do(c.ctx, actions...); err != nil {
		c.t.Fatal(err)
	}
}

// open goes to a path with its query string, by a new load of the page.
func (c *tab) open(path string) {
	c.t.Helper()
	c.do(chromedp.Navigate(c.server.adminURL() + path))
}

// eval is the value of a JavaScript expression, which may be a promise.
func eval[T any](c *tab, expression string) T {
	c.t.Helper()
	v, err := chromedp.Run(c.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		c.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until a JavaScript expression is true. (chromedp.Poll makes a function of text, which the page's policy forbids.)
func (c *tab) until(expression string) {
	c.t.Helper()
	ok := eval[bool](c, fmt.Sprintf(`new Promise((done) => {
		const end = Date.now() + %d
		const look = () => {
			let yes = false
			try { yes = Boolean(%s) } catch {}
			if (yes || Date.now() > end) done(yes)
			else setTimeout(look, 25)
		}
		look()
	})`, patience.Milliseconds(), expression))
	if !ok {
		c.shot("failed")
		c.t.Fatalf("never true: %s\nthe page shows:\n%s", expression, eval[string](c, `document.body.innerText`))
	}
}

// has waits for a text on the page.
func (c *tab) has(text string) {
	c.t.Helper()
	c.until(`document.body.innerText.includes(` + quoteJS(text) + `)`)
}

// quoteJS writes a text as a JavaScript string.
func quoteJS(text string) string {
	b, _ := json.Marshal(text) // a string always can be
	return string(b)
}

// click clicks on what a CSS selector finds first, when it is there.
func (c *tab) click(selector string) {
	c.t.Helper()
	c.until(`document.querySelector(` + quoteJS(selector) + `)`)
	c.do(chromedp.Click(selector, chromedp.NodeVisible))
}

// press clicks on the button or link with this text or label, when it is there.
func (c *tab) press(name string) {
	c.t.Helper()
	find := `[...document.querySelectorAll('dialog[open] button, dialog[open] a, button, a')].find((b) => !b.disabled && (b.textContent.trim() === ` +
		quoteJS(name) + ` || b.getAttribute('aria-label') === ` + quoteJS(name) + `))`
	c.until(find)
	eval[bool](c, `(`+find+`.click(), true)`)
}

// fill types a value into the field with this label, in place of what is there, or chooses it.
func (c *tab) fill(label, value string) {
	c.t.Helper()
	find := `[...document.querySelectorAll('label')].find((l) => l.textContent.trim() === ` + quoteJS(label) + `)?.control`
	c.until(find)
	eval[bool](c, `(() => {
		const field = `+find+`
		field.focus()
		field.value = `+quoteJS(value)+`
		field.dispatchEvent(new Event('input', {bubbles: true}))
		field.dispatchEvent(new Event('change', {bubbles: true}))
		return true
	})()`)
}

// signIn gives the sign-in page a token, and waits for the frame of the console.
func (c *tab) signIn(token string) {
	c.t.Helper()
	c.fill("Token", token)
	c.press("Sign in")
	c.until(`document.querySelector('.frame')`)
}

// key presses a key that is a command, and types nothing: chromium, asked to press a key, also types it into whatever has the
// focus by then.
func (c *tab) key(name string) {
	c.t.Helper()
	eval[bool](c, `(document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent('keydown', {key: `+quoteJS(name)+`, bubbles: true, cancelable: true})) || true`)
}

// phone and desk are the sizes that the console is looked at in.
func (c *tab) phone() { c.t.Helper(); c.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile)) }
func (c *tab) desk()  { c.t.Helper(); c.do(chromedp.EmulateViewport(1280, 800)) }

// scheme makes the system prefer "dark" or "light".
func (c *tab) scheme(name string) {
	c.t.Helper()
	_, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
	if err != nil {
		c.t.Fatal(err)
	}
}

// shot keeps a screenshot.
func (c *tab) shot(name string) {
	c.t.Helper()
	dir := os.Getenv(screenshotsEnv)
	if dir == "" {
		dir = c.t.ArtifactDir()
	}
	png, err := chromedp.Run(c.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(c.t.Name(), "/", "-")+"-"+name+".png"), png, 0o644)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// looks takes the four screenshots of a view: desk and phone, dark and light; on the phone nothing may be wider than the screen.
func (c *tab) looks(name string) {
	c.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		c.scheme(scheme)
		c.desk()
		c.shot(name + "-" + scheme)
		c.phone()
		c.until(`innerWidth === 390`)
		c.shot(name + "-phone-" + scheme)
		if w := eval[int](c, `Math.max(document.documentElement.scrollWidth, document.querySelector('main').scrollWidth)`); w > 390 {
			c.t.Errorf("%s: the page is %d px wide on a phone", name, w)
		}
		c.accessible(name + ", " + scheme)
	}
	c.desk()
}

// accessible lets axe-core look at the page as it is now: nothing serious or critical may be found.
func (c *tab) accessible(what string) {
	c.t.Helper()
	source, err := os.ReadFile(axeFile)
	if err != nil {
		c.t.Logf("SKIPPED: axe-core is not there (npm ci in httpapi/console); accessibility is not checked: %v", err)
		return
	}
	if !eval[bool](c, `typeof axe === 'object'`) {
		eval[bool](c, string(source)+"\n;true")
	}
	found := eval[[]string](c, `axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations
		.filter((v) => v.impact === 'serious' || v.impact === 'critical')
		.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.html.slice(0, 200) + ' ' + n.failureSummary)))`)
	for _, f := range found {
		c.t.Errorf("%s: accessibility: %s", what, f)
	}
}

// TestConsoleSignIn signs in, is refused, signs out, and is sent away when the token is revoked.
func TestConsoleSignIn(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	c := openTab(t, s)
	c.open("/?since=15m")
	c.looks("signin")
	c.fill("Token", "no such token")
	c.press("Sign in")
	c.has("This token is not valid")

	made := s.makeToken("console", "viewer")
	c.signIn(made.Token)
	c.has("console")
	if at := eval[string](c, `location.pathname + location.search`); at != "/?since=15m" {
		t.Errorf("after the sign-in the page is at %s", at)
	}
	if cookie := eval[string](c, `document.cookie`); cookie != "" {
		t.Errorf("scripts can read the cookie %q", cookie)
	}
	c.open("/") // a new load: the cookie is enough
	c.until(`document.querySelector('.frame')`)

	s.operate(http.MethodDelete, "/tokens/"+made.ID, nil, nil)
	c.has("The session has ended")

	c.signIn(s.makeToken("second", "viewer").Token)
	c.press("Sign out")
	c.has("Signed out.")
	c.open("/")
	c.until(`document.querySelector('.signin')`)
}

// madeToken is what POST /tokens answers.
type madeToken struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// makeToken makes a token of a role, limited to a scope if there is one.
func (s *process) makeToken(name, role string, scope ...string) (made madeToken) {
	s.place.t.Helper()
	in := map[string]any{"name": name, "role": role}
	if len(scope) > 0 {
		in["scope"] = scope
	}
	s.operate(http.MethodPost, "/tokens", in, &made)
	return made
}

// operate calls the operator API as the administrator, and fails the test if that fails.
func (s *process) operate(method, path string, in, out any) {
	s.place.t.Helper()
	if err := s.operator().call(s.place.t.Context(), method, path, in, out); err != nil {
		s.place.t.Fatalf("%s %s: %v", method, path, err)
	}
}
