package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/logbridge/logbridge"
)

const clsStream = "cls/topic-1"

// newClient makes a client of the CLS SDK in the page. Its function put sends events in one request, and gives the status, with
// the code of a refusal that the SDK does not throw.
func (p *sitePage) newClient(kind, topic string, retries int) {
	p.t.Helper()
	p.eval(fmt.Sprintf(`
		window.kind = %q;
		window.numbered = (n, more) => Array.from({length: n}, (_, i) => ({kind, n: String(i).padStart(3, '0'), ...more}));
		const client = new CLS.AsyncClient({endpoint: LOGBRIDGE, retry_times: %d});
		window.put = async (events, time) => {
			const group = new CLS.LogGroup();
			group.setSource('web-1');
			for (const e of events) {
				const log = new CLS.Log(time ?? Date.now());
				for (const key in e) log.addContent(key, e[key]);
				group.addLog(log);
			}
			const answer = await client.PutLogs(new CLS.PutLogsRequest(%q, group));
			return answer.getHttpStatusCode() + ' ' + (answer.getErrorCode() ?? '');
		}`, kind, retries, topic))
}

// TestCLSClient is tencentcloud-cls-sdk-js-web 1.0.13 as it comes from npm, in a page of another origin: by the sections of
// web-tracking.md 5.1. It neither buffers nor batches, so leaving the page is nothing to it.
func TestCLSClient(t *testing.T) {
	w := newSite(t)
	t.Run("events", func(t *testing.T) { w.clsEvents(t) })
	t.Run("retries", func(t *testing.T) { w.clsRetries(t) })
	t.Run("2.0.0", func(t *testing.T) { w.clsPlain(t) })
}

// clsEvents: single with the SDK's broken emoji, a time in milliseconds and in seconds, batch, large, and the request id that the
// SDK reads.
func (w *site) clsEvents(t *testing.T) {
	p := w.open(t)
	p.newClient("put", "topic-1", 3)
	at := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	send := func(script string) {
		t.Helper()
		if got := p.eval("return put(" + script + ")"); got != "200 " {
			t.Errorf("%s: %q", script, got)
		}
	}
	send(fmt.Sprintf(`[{...numbered(1)[0], text: 'Grüße 中文 😀👩‍🚀', number: 5, part: 1.5, yes: true, none: null, deep: {a: [1]}}], %d`, at.UnixMilli()))
	send(fmt.Sprintf(`[numbered(2)[1]], %d`, at.Unix()))
	send(`[{...numbered(3)[2], text: '中😀'.repeat(12000)}]`)
	send(`numbered(103).slice(3)`)
	want := numbered(103)
	for name, value := range (event{"text": "Grüße 中文 😀👩‍🚀", "number": "5", "part": "1.5", "yes": "true", "none": "null", "deep": `{"a":[1]}`}) {
		want[0][name] = value
	}
	want[2]["text"] = strings.Repeat("中😀", 12000)
	w.s.holds(clsStream, "put", want, event{"__source__": "web-1"})
	for _, r := range w.s.records("field.kind=put") {
		if n := r.Attributes["n"]; n == "000" && !r.Time.Equal(at) || n == "001" && !r.Time.Equal(at.Truncate(time.Second)) {
			t.Errorf("event %s has time %s, want %s", n, r.Time, at)
		}
	}
	if list, preflights := p.requests(4); list[0].path != "/tracklog" || len(preflights) == 0 {
		t.Errorf("%+v, preflights %+v", list, preflights)
	}
	if id := p.eval(`
		const r = await fetch(LOGBRIDGE + '/tracklog?topic_id=topic-1', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"logs":[]}'});
		return r.headers.get('x-cls-requestid')`); len(id) < 20 {
		t.Errorf("request id %q", id)
	}
}

// clsRetries: what the SDK does with each refusal, in requests: it sends again at once what is not 413, up to its retry_times.
// Each is counted. A page whose origin is refused does not get beyond the preflight, so no logs come.
func (w *site) clsRetries(t *testing.T) {
	p := w.open(t)
	const tries = 4
	for _, row := range []struct {
		topic, events, reason, code string
		stream                      logbridge.Stream
		requests, counted           int
	}{
		{"topic-closed", `numbered(1)`, "anonymous_off", "NotAllowed", "cls/topic-closed", tries, tries},
		{"topic-nowhere", `numbered(1)`, "unknown", "TopicNotExist", logbridge.UnknownStream, tries, tries},
		{"topic-1", `[{text: '中'.repeat(400000)}]`, "too_large", "413 LogSizeExceed", clsStream, 1, 1}, // a value over 1 MB
		{"topic-elsewhere", `numbered(1)`, "origin", "Network Error", "cls/topic-elsewhere", tries, 0},
	} {
		before := w.s.ledger()
		p.newClient("refused", row.topic, tries)
		got := p.eval(`return put(` + row.events + `).then((answer) => answer, (e) => e.message)`)
		if !strings.Contains(got, row.code) {
			t.Errorf("%s: %s", row.topic, got)
		}
		list, preflights := p.requests(row.requests)
		if row.counted == 0 && len(preflights) != row.requests {
			t.Errorf("%s: %+v, preflights %+v", row.topic, list, preflights)
		}
		w.s.awaitRefused(before, row.stream, row.reason, uint64(row.counted))
	}
	if list := w.s.records("field.kind=refused"); len(list) != 0 {
		t.Errorf("stored: %v", list)
	}
}

// clsPlain sends what SDK 2.0.0 sends, which is not on npm: JSON as text/plain by fetch, without a preflight, and with keepalive
// when the page is left (5.2).
func (w *site) clsPlain(t *testing.T) {
	p := w.open(t)
	p.eval(`
		window.send = (n, more) => fetch(LOGBRIDGE + '/tracklog?topic_id=topic-1', {method: 'POST', headers: {'Content-Type': 'text/plain'}, ...more,
			body: JSON.stringify({logs: n.map((n) => ({time: Date.now(), contents: {kind: 'plain', n, text: '😀'}})), source: '10.1.2.3'})});
		window.addEventListener('pagehide', () => send(['002', '003'], {keepalive: true}));`)
	if status := p.eval(`return (await send(['000', '001'])).status`); status != "200" {
		t.Errorf("status %s", status)
	}
	if _, preflights := p.requests(1); len(preflights) != 0 {
		t.Errorf("preflights %+v", preflights)
	}
	p.do(chromedp.Navigate(w.origin() + "/left"))
	w.s.holds(clsStream, "plain", numbered(4), event{"text": "😀", "__source__": "10.1.2.3"})
}

// TestPixelsAndBeacons: the forms that need no SDK, from the same page: images, and beacons by hand (web-tracking.md 4.5, 5.3).
func TestPixelsAndBeacons(t *testing.T) {
	w := newSite(t)
	p := w.open(t)
	p.eval(`window.load = (path) => new Promise((done) => {
		const image = new Image();
		image.onload = () => done('loaded ' + image.width + 'x' + image.height);
		image.onerror = () => done('failed');
		image.src = LOGBRIDGE + path;
	})`)
	load := func(path string) {
		t.Helper()
		if got := p.eval("return load(" + quoted(path) + ")"); got != "loaded 1x1" {
			t.Errorf("%s: %s", path, got)
		}
	}
	const fields = "&n=000&text=a%20b+c%F0%9F%98%80"
	agent := p.eval("return navigator.userAgent")
	text := func() []event { return []event{{"n": "000", "text": "a b c😀"}} }
	load("/logstores/mystore/track.gif?APIVersion=0.6.0&__topic__=shop&kind=gif" + fields)
	w.s.holds(slsStream, "gif", text(), event{"__topic__": "shop", "__source__": "127.0.0.1"})
	load("/logstores/mystore/track_ua.gif?APIVersion=0.6.0&kind=ua" + fields)
	w.s.holds(slsStream, "ua", text(), event{"__userAgent__": agent, "__referer__": w.origin() + "/", "__source__": "127.0.0.1"})
	load("/track.gif?topic_id=topic-1&kind=cls-gif" + fields)
	w.s.holds(clsStream, "cls-gif", text(), event{"__userAgent__": agent, "__source__": "127.0.0.1"})

	before := w.s.ledger()
	load("/logstores/closed/track.gif?APIVersion=0.6.0&kind=no") // an image can be told nothing
	w.s.awaitRefused(before, "sls/myproj/closed", "anonymous_off", 1)
	load("/track.gif?topic_id=topic-closed&kind=no")
	w.s.awaitRefused(before, "cls/topic-closed", "anonymous_off", 1)
	p.requests(5)

	p.eval(`
		const body = (n) => JSON.stringify({__logs__: [{kind: 'beacon', n, text: '😀'}]});
		navigator.sendBeacon(LOGBRIDGE + '/logstores/mystore/track?APIVersion=0.6.0', body('000'));
		navigator.sendBeacon(LOGBRIDGE + '/logstores/mystore/track?APIVersion=0.6.0', new Blob([body('001')]));
		navigator.sendBeacon(LOGBRIDGE + '/tracklog?topic_id=topic-1', JSON.stringify({logs: [{contents: {kind: 'beacon', n: '000'}, time: Date.now()}]}));`)
	w.s.holds(slsStream, "beacon", numbered(2), event{"text": "😀", "__source__": "127.0.0.1"})
	w.s.holds(clsStream, "beacon", numbered(1), event{"__source__": "127.0.0.1"})
	if list, preflights := p.requests(3); list[0].status != http.StatusOK || len(preflights) != 0 {
		t.Errorf("%+v, preflights %+v", list, preflights)
	}
}
