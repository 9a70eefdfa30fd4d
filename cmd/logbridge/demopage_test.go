package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestDemoPage presses each button of the demo page in a browser; the page says what became of it, and the event is stored.
func TestDemoPage(t *testing.T) {
	ctx := chromium(t)
	_, _, told := startDemo(t)
	url, token := demoAddress(t, told)
	server, err := Client{URL: url, TokenFile: token}.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/demo")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ button, answer, event string }{
		{"slsBeacon", "queued", "cart"},
		{"slsFetch", "200", "results"},
		{"slsImage", "image loaded", "page"},
		{"slsSigned", "200", "login"},
		{"clsFetch", "200", "buy"},
		{"clsImage", "image loaded", "advertisement"},
	} {
		said, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector('[data-send=%s]').click();
			new Promise((done) => new MutationObserver((_, o) => { o.disconnect(); done(document.querySelector('#sent li').textContent) })
				.observe(document.getElementById('sent'), {childList: true}))`, row.button), chromedp.EvalAwaitPromise))
		if err != nil || !strings.HasSuffix(said, ": "+row.answer) {
			t.Errorf("%s: %q %v", row.button, said, err)
		}
		await(t, server, "field.event="+row.event, 1)
	}
}

// TestDemoCredentials: only the demo has the page at which a backend gives credentials, and no other page can read them.
func TestDemoCredentials(t *testing.T) {
	_, _, told := startDemo(t)
	url, _ := demoAddress(t, told)
	client := &http.Client{Timeout: patience}
	get := func(url string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/get_sts_token", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://elsewhere.example")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		return res, string(b)
	}
	res, body := get(url)
	var k stsAnswer
	if err := json.Unmarshal([]byte(body), &k); err != nil || !strings.HasPrefix(k.AccessKeyId, "STS.") || k.AccessKeySecret == "" || k.SecurityToken == "" || k.Expiration == "" {
		t.Errorf("%s: %v", body, err)
	}
	if h := res.Header; h.Get("Access-Control-Allow-Origin") != "" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", h)
	}
	if res, body := get(newPlace(t, e2eConfig).start(anyone, anyone).url()); res.StatusCode != http.StatusNotFound || strings.Contains(body, "STS.") {
		t.Errorf("without --demo: %d %s", res.StatusCode, body)
	}
}
