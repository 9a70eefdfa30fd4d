package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/logbridge/logbridge"
)

// webConfig is what the pages write to; %[1]s is the origin of the pages.
const webConfig = `
provision:
  sls:
    - project: myproj
      hosts: [127.0.0.1]
      logstores:
        - {name: mystore, web_tracking: true, origins: ["%[1]s"]}
        - {name: other, web_tracking: true}
        - {name: closed}
        - {name: elsewhere, web_tracking: true, origins: ["https://shop.example.com"]}
  cls:
    - {topic: topic-1, anonymous_write: true, origins: ["%[1]s"]}
    - {topic: topic-closed}
    - {topic: topic-elsewhere, anonymous_write: true, origins: ["https://shop.example.com"]}
`

// sdkScripts are what .ci/websdk makes of the vendors' packages.
var sdkScripts = []string{"web-track-browser.global.js", "web-sts-plugin.global.js", "tencentcloud-cls-sdk-js-web.js"}

// sdkFolder is where .ci/websdk puts them: its name has the checksum of the lock, so that others are never taken for them.
func sdkFolder(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile("testdata/websdk/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	cache, err := os.UserCacheDir()
	folder := filepath.Join(cache, "logbridge", "websdk-"+hex.EncodeToString(sum[:8]))
	if err == nil {
		_, err = os.Stat(folder)
	}
	if err != nil {
		t.Skip("SKIPPED: the vendors' SDKs for web pages are not here; .ci/websdk fetches them where npm is")
	}
	return folder
}

// site is a web site with pages that use the SDKs, and with the backend that gets their temporary credentials. It is another
// origin than the server: another port, and another name of the host.
type site struct {
	*httptest.Server
	s *process
	// mu guards life and issued.
	mu     sync.Mutex
	life   string // how long credentials are good for
	issued int
	// leave holds back the page /later until it is closed.
	leave chan struct{}
}

// newSite starts a site and the server that its pages log into.
func newSite(t *testing.T) *site {
	t.Helper()
	w := &site{life: "15m", leave: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("/sdk/", http.StripPrefix("/sdk/", http.FileServer(http.Dir(sdkFolder(t)))))
	mux.HandleFunc("/page", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(rw, `<!doctype html><link rel="icon" href="data:,"><title>shop</title>`)
		for _, name := range sdkScripts {
			fmt.Fprintf(rw, `<script src="/sdk/%s"></script>`, name)
		}
	})
	mux.HandleFunc("/left", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprint(rw, `<link rel="icon" href="data:,"><title>left</title>`)
	})
	mux.HandleFunc("/later", func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-w.leave:
		case <-r.Context().Done():
		}
		http.Redirect(rw, r, "/left", http.StatusFound)
	})
	mux.HandleFunc("/get_sts_token", w.credentials)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	home := newPlace(t, fmt.Sprintf(webConfig, w.origin()))
	home.authority("ca").issue("tls", time.Hour)
	home.args = append(home.args, home.tlsArgs()...)
	w.s = home.start(anyone, anyone)
	return w
}

func (w *site) origin() string { return strings.Replace(w.URL, "127.0.0.1", "localhost", 1) }

// credentials is the backend of seeds/003 with its AssumeRole replaced: it asks the server and hands on the answer.
func (w *site) credentials(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	life := w.life
	w.issued++
	w.mu.Unlock()
	ask := map[string]string{"project": "myproj", "logstore": "mystore", "for": life}
	var answer json.RawMessage
	if err := w.s.operator().call(r.Context(), http.MethodPost, "/sts", ask, &answer); err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write(answer)
}

// issues sets how long credentials are good for from now on, and returns how many were given.
func (w *site) issues(life string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = life
	return w.issued
}

// sent is a request that a page made to the server.
type sent struct {
	kind   network.ResourceType // Ping is a beacon
	method string
	path   string
	status int64 // 0 until it was answered, noAnswer if the page saw none
}

const noAnswer = -1

// sitePage is a page in the browser.
type sitePage struct {
	t    *testing.T
	w    *site
	ctx  context.Context
	mu   sync.Mutex
	list []*sent
	news chan struct{} // after each change of list
}

// open opens the page and watches what it sends.
func (w *site) open(t *testing.T) *sitePage {
	t.Helper()
	p := &sitePage{t: t, w: w, ctx: chromium(t), news: make(chan struct{}, 1)}
	requests := map[network.RequestID]*sent{}
	err := chromedp.Listen(p.ctx, func(event any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err == nil && u.Port() != w.port() && strings.HasPrefix(u.Scheme, "http") {
				r := &sent{kind: e.Type, method: e.Request.Method, path: u.Path}
				requests[e.RequestID], p.list = r, append(p.list, r)
			}
		case *network.EventResponseReceived:
			if r := requests[e.RequestID]; r != nil {
				r.status = e.Response.Status
			}
		case *network.EventLoadingFailed:
			if r := requests[e.RequestID]; r != nil && r.status == 0 {
				r.status = noAnswer
			}
		}
		select {
		case p.news <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(w.origin() + "/page"))
	p.eval(`window.LOGBRIDGE = ` + quoted(w.s.url()))
	return p
}

func (w *site) port() string {
	u, _ := url.Parse(w.URL)
	return u.Port()
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

func (p *sitePage) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// eval runs the body of an async function in the page and gives what it returns, as text.
func (p *sitePage) eval(script string) string {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string]("(async () => { "+script+" })().then(String)", chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%v\n%s", err, script)
	}
	return text
}

// requests waits until the page has sent so many requests since the last call, preflights apart, and all are answered, and returns
// them and the preflights.
func (p *sitePage) requests(n int) (real, preflights []sent) {
	p.t.Helper()
	for {
		p.mu.Lock()
		real, preflights = nil, nil
		open := 0
		for _, r := range p.list {
			if r.status == 0 {
				open++
			}
			if r.method == http.MethodOptions {
				preflights = append(preflights, *r)
			} else {
				real = append(real, *r)
			}
		}
		if len(real) >= n && open == 0 {
			p.list = nil
			p.mu.Unlock()
			if len(real) > n {
				p.t.Errorf("%d requests, want %d: %+v", len(real), n, real)
			}
			return real, preflights
		}
		p.mu.Unlock()
		select {
		case <-p.news:
		case <-p.ctx.Done():
			p.t.Fatalf("%d requests of %d, %d of them not answered: %+v", len(real), n, open, real)
		}
	}
}

// seen are the requests since the last call of requests, answered or not.
func (p *sitePage) seen() []sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []sent
	for _, r := range p.list {
		list = append(list, *r)
	}
	return list
}

// kinds counts requests by how they were sent.
func kinds(list []sent) map[network.ResourceType]int {
	n := map[network.ResourceType]int{}
	for _, r := range list {
		n[r.kind]++
	}
	return n
}

// event is what a page sends and what is found: the attributes of a record.
type event map[string]string

// await follows what matches a query until so many records have come.
func await(t testing.TB, server *api, query string, n int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	res, err := server.send(ctx, http.MethodGet, "/logs?follow=true&since=0&limit=1000000&"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	enough := errors.New("enough")
	err = readLines(res.Body, func([]byte) error {
		if seen++; seen == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("%s: %d of %d records came: %v", query, seen, n, err)
	}
}

// holds waits for the events of a kind and wants exactly these, in any order, with these fields and no others but extra ones.
func (s *process) holds(stream, kind string, want []event, extra event) {
	t := s.place.t
	t.Helper()
	query := "stream=" + url.QueryEscape(stream) + "&field.kind=" + url.QueryEscape(kind)
	await(t, s.operator(), query, len(want))
	var got []event
	for _, r := range s.records(query) {
		got = append(got, r.Attributes)
	}
	for _, e := range want {
		e["kind"] = kind
		for name, value := range extra {
			e[name] = value
		}
	}
	order := func(a, b event) int { return cmp.Compare(a["n"], b["n"]) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s %s: %d events, want %d\ngot  %.2000s\nwant %.2000s", stream, kind, len(got), len(want), fmt.Sprint(got), fmt.Sprint(want))
	}
}

// numbered are n events that differ in one field.
func numbered(n int) []event {
	list := make([]event, n)
	for i := range list {
		list[i] = event{"n": fmt.Sprintf("%03d", i)}
	}
	return list
}

// awaitRefused waits until so many lines of a stream were refused for this reason since before, and wants no more and none else.
func (s *process) awaitRefused(before logbridge.Ledger, stream logbridge.Stream, reason string, n uint64) {
	t := s.place.t
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for {
		was, is := streamCounts(before, stream), streamCounts(s.ledger(), stream)
		if got := is.Refused[reason] - was.Refused[reason]; got >= n || ctx.Err() != nil {
			if got != n || is.Received-was.Received != n {
				t.Errorf("%s: %d lines refused as %s of %d received, want %d", stream, got, reason, is.Received-was.Received, n)
			}
			return
		}
	}
}

func streamCounts(l logbridge.Ledger, stream logbridge.Stream) logbridge.Counts {
	for _, row := range l.Streams {
		if row.Stream == stream {
			return row.Counts
		}
	}
	return logbridge.Counts{}
}
