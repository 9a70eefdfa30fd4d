package main

import (
	"net/http"
	"testing"
)

// TestConsoleOverview shows a fleet at work, and to a limited token no more than its own.
func TestConsoleOverview(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "30m", "--reason", "console")
	s.talk(20)
	for _, err := range []error{track(http.DefaultClient, s.url(), "cart", "buy"), trackCLS(http.DefaultClient, s.url(), "page")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.say("shop", saidLine{"error", "no stock"}, saidLine{"info", "stock again"})
	res, err := http.Get(s.url() + "/track?topic_id=topic-2&event=lost")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()

	c := openConsole(t, s, "/")
	c.until(`document.querySelector('[aria-label="Devices connected"] .figure').textContent === '2'`)
	c.until(`document.querySelector('[aria-label="Ledger"] .figure').textContent === 'exact'`)
	c.until(`Number(document.querySelector('[aria-label="Lines a second"] .figure').textContent) > 0`)
	for _, text := range []string{"Segments", "Commit log", "refused: ", "ABCDE12345", "not of a device"} {
		c.has(text)
	}
	c.until(`/mqtt \d+.*sls \d+/.test(document.querySelector('.chart-box').ariaLabel)`)
	c.until(`document.querySelector('.loud a').getAttribute('href').startsWith('/devices/ABCDE12345/dev_0')`)
	c.until(`document.querySelector('[aria-label="Loudest device"] a').textContent === document.querySelector('.loud a').firstChild.textContent.trim()`)
	c.looks("overview")

	c.press("ABCDE12345")
	c.until(`location.pathname === '/logs' && location.search.includes('product=ABCDE12345') && document.querySelector('.line.error')`)

	limited := openTab(t, s)
	limited.open("/")
	limited.signIn(s.makeToken("shop", "viewer", "sls/myproj").Token)
	limited.until(`document.querySelector('[aria-label="Devices connected"] .figure').textContent === '0'`)
	limited.has("of 0 in your scope")
	limited.until(`document.querySelector('.chart-box').ariaLabel === 'Lines over time by source: sls 2'`)
	for _, text := range []string{"Segments", "Commit log", "ABCDE12345"} {
		if eval[bool](limited, `document.body.innerText.includes(`+quoteJS(text)+`)`) {
			t.Errorf("a limited token sees %q", text)
		}
	}
}
