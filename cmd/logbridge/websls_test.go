package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"

	"github.com/logbridge/logbridge"
)

const slsStream = "sls/myproj/mystore"

// newTracker makes a tracker of the SLS SDK for one kind of events in the page; more are further options.
func (p *sitePage) newTracker(kind, more string) {
	p.t.Helper()
	p.eval(`
		window.kind = ` + quoted(kind) + `;
		window.numbered = (n, more) => Array.from({length: n}, (_, i) => ({kind, n: String(i).padStart(3, '0'), ...more}));
		window.tracker = new SLS_Tracker({host: LOGBRIDGE, project: 'myproj', logstore: 'mystore', topic: 'shop', tags: {page: '/lamps', build: 7}, ` + more + `});`)
}

// slsExtra is what is stored with each event of newTracker's.
func slsExtra() event {
	return event{"__topic__": "shop", "__tag__:page": "/lamps", "__tag__:build": "7", "__source__": "127.0.0.1"}
}

// TestSLSTracker is @aliyun-sls/web-track-browser 0.3.9 as it comes from npm, in a page of another origin, anonymous: by the
// sections of web-tracking.md 2.
func TestSLSTracker(t *testing.T) {
	w := newSite(t)
	t.Run("single", func(t *testing.T) { w.slsSingle(t) })
	t.Run("batches", func(t *testing.T) { w.slsBatches(t) })
	t.Run("large", func(t *testing.T) { w.slsLarge(t) })
	t.Run("unload", func(t *testing.T) { w.slsUnload(t) })
	t.Run("hosts", func(t *testing.T) { w.slsHosts(t) })
	t.Run("refused", func(t *testing.T) { w.slsRefused(t) })
}

// slsSingle: each kind of value arrives as the SDK writes it (2.4), by a beacon without a preflight.
func (w *site) slsSingle(t *testing.T) {
	p := w.open(t)
	p.newTracker("single", `source: 'web-1'`)
	p.eval(`tracker.sendImmediate({kind, n: '000', text: 'Grüße 中文 😀 \u0001"\\', number: 500, part: 1.5, yes: true, none: null, gone: undefined,
		list: [1, {a: 2}], deep: {a: {b: 'c'}}, empty: '', 'a key.with-signs': 'v', time: 5})`)
	extra := slsExtra()
	extra["__source__"] = "web-1"
	w.s.holds(slsStream, "single", []event{{
		"n": "000", "text": "Grüße 中文 😀 \x01\"\\", "number": "500", "part": "1.5", "yes": "true", "none": "null", "gone": "undefined",
		"list": `[1,{"a":2}]`, "deep": `{"a":{"b":"c"}}`, "empty": "", "a key.with-signs": "v", "time": "5",
	}}, extra)
	list, preflights := p.requests(1)
	if list[0].kind != network.ResourceTypePing || list[0].status != http.StatusOK || len(preflights) != 0 {
		t.Errorf("%+v, preflights %+v", list, preflights)
	}
}

// slsBatches: a batch at once, by count and by time; each is one request (2.3).
func (w *site) slsBatches(t *testing.T) {
	p := w.open(t)
	p.newTracker("batch", "count: 100, time: 3600")
	p.eval(`tracker.sendBatchLogsImmediate(numbered(7))`)
	w.s.holds(slsStream, "batch", numbered(7), slsExtra())
	p.requests(1)

	p.newTracker("count", "count: 3, time: 3600")
	p.eval(`numbered(9).forEach((e) => tracker.send(e))`)
	w.s.holds(slsStream, "count", numbered(9), slsExtra())
	p.requests(3)

	p.newTracker("time", "count: 100, time: 0.2")
	p.eval(`numbered(4).forEach((e) => tracker.send(e))`)
	w.s.holds(slsStream, "time", numbered(4), slsExtra())
	p.requests(1)
}

// slsLarge: what is too large for a beacon comes by XMLHttpRequest, and so does what the browser has no room for beside other
// beacons (2.2).
func (w *site) slsLarge(t *testing.T) {
	p := w.open(t)
	p.newTracker("large", "")
	p.eval(`tracker.sendImmediate({kind, n: '000', text: '中😀'.repeat(12000)})`) // 84 000 bytes, 36 000 units of JavaScript
	p.eval(`tracker.sendImmediate({kind, n: '001', text: 'x'.repeat(40 << 10)})`)
	w.s.holds(slsStream, "large", []event{{"n": "000", "text": strings.Repeat("中😀", 12000)}, {"n": "001", "text": strings.Repeat("x", 40<<10)}}, slsExtra())
	list, preflights := p.requests(2)
	if kinds(list)[network.ResourceTypeXHR] != 2 || len(preflights) != 0 {
		t.Errorf("%+v, preflights %+v", list, preflights)
	}

	p.newTracker("many", "")
	p.eval(`for (const e of numbered(6, {text: 'y'.repeat(30000)})) tracker.sendImmediate(e)`)
	want := numbered(6)
	for _, e := range want {
		e["text"] = strings.Repeat("y", 30000)
	}
	w.s.holds(slsStream, "many", want, slsExtra())
	// A beacon that the browser refused is among what it saw, and has no answer.
	if n := kinds(p.seen()); n[network.ResourceTypePing] == 0 || n[network.ResourceTypeXHR] == 0 || n[network.ResourceTypeXHR] == 6 {
		t.Errorf("all were sent alike: %v", n)
	}
}

// slsUnload: what is still buffered when the visitor leaves goes by a beacon (2.2).
func (w *site) slsUnload(t *testing.T) {
	p := w.open(t)
	p.newTracker("unload", "count: 100, time: 3600")
	p.eval(`numbered(5).forEach((e) => tracker.send(e))`)
	p.do(chromedp.Navigate(w.origin() + "/left"))
	w.s.holds(slsStream, "unload", numbered(5), slsExtra())
}

// slsHosts: the ways to name the server and the project (2.1), with the scheme and without.
func (w *site) slsHosts(t *testing.T) {
	p := w.open(t)
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Call(ctx, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
		return err
	}))
	port := w.s.addr("http")[strings.LastIndex(w.s.addr("http"), ":"):]
	tlsPort := w.s.addr("https")[strings.LastIndex(w.s.addr("https"), ":"):]
	for kind, host := range map[string]string{
		"host-prefix":  w.s.url() + "/sls/myproj",
		"host-project": "http://myproj.localhost" + port,
		"host-default": "localhost" + tlsPort, // https, and the project before it
	} {
		p.newTracker(kind, "host: "+quoted(host))
		p.eval(`tracker.sendImmediate(numbered(1)[0])`)
		w.s.holds(slsStream, kind, numbered(1), slsExtra())
		p.requests(1)
	}
}

// slsRefused: a store that takes nothing from this page is told by its code, is counted, and the SDK does not repeat itself.
func (w *site) slsRefused(t *testing.T) {
	p := w.open(t)
	for _, row := range []struct {
		store, reason, code string
		status              int64
		stream              logbridge.Stream
	}{
		{"closed", "anonymous_off", "Unauthorized", 401, "sls/myproj/closed"},
		{"elsewhere", "origin", "", 401, "sls/myproj/elsewhere"}, // nothing for this page to read
		{"nowhere", "unknown", "LogStoreNotExist", 404, logbridge.UnknownStream},
	} {
		before := w.s.ledger()
		p.newTracker("refused", "logstore: "+quoted(row.store))
		p.eval(`tracker.sendImmediate(numbered(1)[0])`)
		if list, _ := p.requests(1); list[0].status != row.status {
			t.Errorf("%s: %+v", row.store, list)
		}
		w.s.awaitRefused(before, row.stream, row.reason, 1)
		p.eval(`tracker.sendImmediate({...numbered(1)[0], text: 'x'.repeat(40 << 10)})`) // by XMLHttpRequest
		p.requests(1)
		w.s.awaitRefused(before, row.stream, row.reason, 2)

		code := p.eval(`return fetch(LOGBRIDGE + '/logstores/` + row.store + `/track?APIVersion=0.6.0', {method: 'POST', body: '{"__logs__":[{"a":"b"}]}'})
			.then(async (r) => r.headers.get('x-log-requestid') ? (await r.json()).errorCode : 'no id', () => '')`)
		if code != row.code {
			t.Errorf("%s: code %q", row.store, code)
		}
		p.requests(1)
	}
	if list := w.s.records("field.kind=refused"); len(list) != 0 {
		t.Errorf("stored: %v", list)
	}
}

// newSigner makes a tracker with the STS plugin, whose credentials come from the site's backend, as the vendor's page does it.
func (p *sitePage) newSigner(kind, more string) {
	p.t.Helper()
	p.newTracker(kind, more)
	p.eval(`
		const o = window.options = {accessKeyId: '', accessKeySecret: '', securityToken: '', refreshSTSToken: async () => {
			const c = await (await fetch('/get_sts_token')).json();
			Object.assign(o, {accessKeyId: c.AccessKeyId, accessKeySecret: c.AccessKeySecret, securityToken: c.SecurityToken});
		}};
		tracker.useStsPlugin(stsPlugin(o))`)
}

// TestSLSSigned is the same tracker with @aliyun-sls/web-sts-plugin 0.3.9 and temporary credentials: by the sections of
// web-tracking.md 3.
func TestSLSSigned(t *testing.T) {
	w := newSite(t)
	t.Run("events", func(t *testing.T) { w.signedEvents(t) })
	t.Run("refresh", func(t *testing.T) { w.signedRefresh(t) })
	t.Run("expired", func(t *testing.T) { w.signedExpired(t) })
	t.Run("refused", func(t *testing.T) { w.signedRefused(t) })
	t.Run("unload", func(t *testing.T) { w.signedUnload(t) })
}

// signedEvents: single, batch, count, time and large; all by XMLHttpRequest behind one preflight (3.1), with the time of the
// event (3.2).
func (w *site) signedEvents(t *testing.T) {
	p := w.open(t)
	p.newSigner("signed", "count: 3, time: 0.2")
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	p.eval(fmt.Sprintf(`tracker.sendImmediate({...numbered(1)[0], __time__: %d, text: '中文😀', number: 5, deep: {a: 1}})`, at.Unix()))
	want := append(numbered(5), event{"n": "005", "text": strings.Repeat("x", 40<<10)})
	maps.Copy(want[0], event{"text": "中文😀", "number": "5", "deep": `{"a":1}`})
	w.s.holds(slsStream, "signed", want[:1], slsExtra())
	if got := w.s.records("field.kind=signed"); !got[0].Time.Equal(at) {
		t.Errorf("time %s, want %s", got[0].Time, at)
	}
	list, preflights := p.requests(1)
	if list[0].kind != network.ResourceTypeXHR || len(preflights) != 1 {
		t.Errorf("%+v, preflights %+v", list, preflights)
	}
	p.eval(`numbered(4).slice(1).forEach((e) => tracker.send(e))`) // by count
	p.requests(1)
	p.eval(`tracker.send(numbered(5)[4])`) // by time
	p.requests(1)
	p.eval(`tracker.sendBatchLogsImmediate([{kind, n: '005', text: 'x'.repeat(40 << 10)}])`)
	if list, preflights := p.requests(1); list[0].status != http.StatusOK || len(preflights) != 0 {
		t.Errorf("%+v, preflights %+v", list, preflights)
	}
	w.s.holds(slsStream, "signed", want, slsExtra())
}

// signedRefresh: the credentials are asked for once, and again when the plugin's interval is over.
func (w *site) signedRefresh(t *testing.T) {
	p := w.open(t)
	p.newSigner("refresh", "")
	send := func(n int) {
		p.eval(fmt.Sprintf(`tracker.sendImmediate(numbered(%d).at(-1))`, n+1))
		p.requests(1)
	}
	before := w.issues("15m")
	for n := range 3 {
		send(n)
	}
	if n := w.issues("15m") - before; n != 1 {
		t.Errorf("asked %d times for credentials, want once", n)
	}
	p.eval(`options.refreshSTSTokenInterval = 1`) // ms, which go by with each request
	for n := range 3 {
		send(3 + n)
	}
	if n := w.issues("15m") - before; n != 4 {
		t.Errorf("asked %d times for credentials, want 4", n)
	}
	w.s.holds(slsStream, "refresh", numbered(6), slsExtra())
}

// signedExpired: with credentials that have ended the SDK gets 401 and drops the event, once; with the next refresh all is well.
func (w *site) signedExpired(t *testing.T) {
	w.issues("2s")
	p := w.open(t)
	p.newSigner("expired", "")
	before := w.s.ledger()
	var want []event
	for n := 0; ; n++ { // each turn is a request
		p.eval(fmt.Sprintf(`tracker.sendImmediate({kind, n: '%03d'})`, n))
		list, _ := p.requests(1)
		if list[0].status == http.StatusUnauthorized {
			break
		}
		want = append(want, event{"n": fmt.Sprintf("%03d", n)})
	}
	if len(want) > 0 { // a busy machine may be slower than the credentials' end
		w.s.holds(slsStream, "expired", want, slsExtra())
	}
	w.issues("15m")
	p.eval(`options.refreshSTSTokenInterval = 1; tracker.sendImmediate({kind, n: 'back'})`)
	if list, _ := p.requests(1); list[0].status != http.StatusOK {
		t.Errorf("%+v", list)
	}
	w.s.holds(slsStream, "expired", append(want, event{"n": "back"}), slsExtra())
	was, is := streamCounts(before, slsStream), streamCounts(w.s.ledger(), slsStream)
	if n := is.Refused["expired"] - was.Refused["expired"]; n != 1 {
		t.Errorf("%d refused as expired, want 1", n)
	}
}

// signedRefused: credentials are good for their own store, and none at all are no credentials; one request each.
func (w *site) signedRefused(t *testing.T) {
	p := w.open(t)
	before := w.s.ledger()
	p.newSigner("refused", "logstore: 'other'")
	p.eval(`tracker.sendImmediate(numbered(1)[0])`)
	if list, _ := p.requests(1); list[0].status != http.StatusUnauthorized {
		t.Errorf("%+v", list)
	}
	w.s.awaitRefused(before, "sls/myproj/other", "role", 1)

	p.newSigner("refused", "")
	p.eval(`options.refreshSTSToken = async () => { throw new Error('no backend') }; tracker.sendImmediate(numbered(1)[0])`)
	if list, _ := p.requests(1); list[0].status != http.StatusUnauthorized {
		t.Errorf("%+v", list)
	}
	w.s.awaitRefused(before, slsStream, "signature", 1)

	// The plugin does not wait for credentials that are on their way: what comes after the first event goes without any.
	p.newSigner("hasty", "")
	p.eval(`tracker.sendImmediate(numbered(1)[0]); tracker.sendImmediate(numbered(2)[1])`)
	p.requests(2)
	w.s.holds(slsStream, "hasty", numbered(1), slsExtra())
	if n := streamCounts(w.s.ledger(), slsStream).Refused["signature"]; n != 2 {
		t.Errorf("%d refused without credentials, want 2", n)
	}
	if list := w.s.records("field.kind=refused"); len(list) != 0 {
		t.Errorf("stored: %v", list)
	}
}

// signedUnload: the last batch is an ordinary request, which arrives since the browser keeps the answer to the preflight
// (3.1). The next page lets it: the request ends with the page.
func (w *site) signedUnload(t *testing.T) {
	p := w.open(t)
	p.newSigner("signed-unload", "count: 100, time: 3600")
	p.eval(`tracker.sendImmediate(numbered(1)[0])`)
	p.requests(1)
	p.eval(`numbered(4).slice(1).forEach((e) => tracker.send(e)); location.href = '/later'`)
	w.s.holds(slsStream, "signed-unload", numbered(4), slsExtra())
	close(w.leave)
	if _, preflights := p.requests(1); len(preflights) != 0 {
		t.Errorf("preflights %+v", preflights)
	}
}
