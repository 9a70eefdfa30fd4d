package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/devicesim"
)

// talk lets both devices of the configuration log until the test ends, and returns when they have begun.
func (s *process) talk(rate float64) {
	t := s.place.t
	t.Helper()
	began := make(chan struct{}, 1)
	fleet, err := devicesim.New(devicesim.Config{
		Broker: s.addr("mqtt"), HTTP: s.url(), LineRate: rate, UploadEvery: 100 * time.Millisecond,
		Devices: []devicesim.Credential{{ID: device("dev_01"), PSK: e2ePSK}, {ID: device("dev_02"), PSK: e2ePSK}},
		Acked: func(_ logbridge.DeviceID, _ []string) {
			select {
			case began <- struct{}{}:
			default:
			}
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = fleet.Run(ctx) }) // always nil
	t.Cleanup(func() { cancel(); running.Wait() })
	select {
	case <-began:
	case <-time.After(patience):
		t.Fatal("the fleet does not log")
	}
}

// said is a line of a service.
type saidLine struct{ level, text string }

// say stores lines of a service, in this order; their times are a millisecond apart, from the one that it returns, and end now.
func (s *process) say(service string, list ...saidLine) (begin time.Time) {
	t := s.place.t
	t.Helper()
	streams := []any{}
	begin = time.Now().Add(-time.Duration(len(list)) * time.Millisecond)
	for i, l := range list {
		at := begin.Add(time.Duration(i) * time.Millisecond)
		streams = append(streams, map[string]any{
			"stream": map[string]string{"service_name": service, "level": l.level},
			"values": [][]string{{strconv.FormatInt(at.UnixNano(), 10), l.text}},
		})
	}
	body, err := json.Marshal(map[string]any{"streams": streams})
	if err != nil {
		t.Fatal(err)
	}
	s.push(string(body))
	return begin
}

// TestConsoleLogs is the view's main task: a fleet logs, the operator searches, follows, pauses, goes back, looks at one line and at
// what is around it, and shares it.
func TestConsoleLogs(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.run("level", "set", "ABCDE12345/dev_01", "debug", "--for", "30m", "--reason", "console")
	s.talk(20)
	if err := track(http.DefaultClient, s.url(), "cart", "buy"); err != nil {
		t.Fatal(err)
	}
	c := openConsole(t, s, "/logs")
	c.until(`document.querySelectorAll('.line:not(.probe)').length > 20`)
	c.until(`document.querySelector('.status .state').textContent === 'live'`)
	c.looks("live")

	// Pause keeps its place, and what came meanwhile is there afterwards.
	c.press("Pause")
	c.until(`/\(\d+\+? new\)/.test(document.querySelector('.status').textContent)`)
	first := eval[string](c, `document.querySelector('.line[role="option"]').id`)
	c.until(`Number(/\((\d+)/.exec(document.querySelector('.status').textContent)[1]) > 20`)
	if now := eval[string](c, `document.querySelector('.line[role="option"]').id`); now != first {
		t.Errorf("while it is paused the first line becomes %s, was %s", now, first)
	}
	c.press("Resume")
	c.until(`document.querySelector('.status .state').textContent === 'live'`)

	// A search by keyboard, and its address.
	c.key("/")
	c.do(chromedp.KeyEvent("source:sls buy" + kb.Enter))
	c.until(`document.querySelectorAll('.line[role="option"]').length === 1`)
	if at := eval[string](c, `location.search`); at != "?source=sls&q=buy" {
		t.Errorf("the search is at %s", at)
	}
	c.click(".line[role=option]")
	c.until(`document.querySelector('.details')?.innerText.includes('event')`)
	c.looks("event")
	c.press("Lines around it")
	c.until(`document.querySelectorAll('.line[role="option"]').length === 2 && document.querySelector('.line.chosen')`)
}

// hostile are texts that some reader of logs somewhere would obey.
var hostile = []string{
	`<img src=x onerror="window.owned=1">`,
	`</script><script>window.owned=2</script>`,
	`javascript:window.owned=3//`,
	`"><svg onload=window.owned=4>`,
	`{{constructor.constructor('window.owned=5')()}} ${window.owned=6}`,
	"\x1b]0;owned\x07\x1b[31mred\x1b[2J\u202egnp.exe\u2066",
	`<a href="javascript:window.owned=7">click</a><iframe srcdoc="<script>parent.owned=8</script>">`,
	`<style>@import url(//evil.example/x.css)</style>`,
}

// TestConsoleObeysNoLine puts hostile texts into lines, names and values of fields, and into the address, and looks at everything
// that shows them: they are there as text, and nothing else is.
func TestConsoleObeysNoLine(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	var lines []saidLine
	for _, text := range hostile {
		lines = append(lines, saidLine{"error", text})
		event, err := json.Marshal(map[string]any{"__logs__": []map[string]string{{"event": text, text: "name"}}})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodPost, s.url()+"/logstores/mystore/track?APIVersion=0.6.0", bytes.NewReader(event))
		if err == nil {
			_, err = call(http.DefaultClient, req)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.say("<b>bold</b>", lines...)
	c := openConsole(t, s, "/logs?q="+url.QueryEscape(`<img src=x onerror="window.owned=9">`)+"&field.a="+url.QueryEscape(hostile[0]))
	c.until(`document.querySelector('.chip').textContent.includes('<img')`)
	c.open("/logs?source=" + url.QueryEscape(hostile[0])) // refused by the server, in whose words it is
	c.until(`document.querySelector('.instead [class=wrong], .instead .wrong')?.textContent.includes('<img')`)
	c.open("/logs?live=0")
	c.until(`document.querySelectorAll('.line[role="option"]').length >= ` + strconv.Itoa(2*len(hostile)))
	for _, text := range hostile[:5] {
		c.has(text)
	}
	c.has("⟨1B⟩]0;owned⟨07⟩⟨1B⟩[31mred⟨1B⟩[2J⟨202E⟩gnp.exe⟨2066⟩")
	for i := range 2 * len(hostile) {
		eval[bool](c, `(document.querySelectorAll('.line[role="option"]')[`+strconv.Itoa(i)+`].click(), true)`)
		c.until(`document.querySelector('.line.chosen') === document.querySelectorAll('.line[role="option"]')[` + strconv.Itoa(i) + `] && document.querySelector('.details')`)
		if n := eval[int](c, `document.querySelectorAll('main :is(img, script, svg:not(.mark), iframe, style, b b, a[href^="javascript"])').length`); n > 0 {
			t.Errorf("line %d: the page has %d elements that a log line made", i, n)
		}
	}
	c.shot("hostile")
	c.open("/")
	c.has("Errors by product")
	c.open("/logs?live=0") // after everything had its time
	c.until(`document.querySelector('.line.error')`)
	if owned := eval[string](c, `String(window.owned)`); owned != "undefined" {
		t.Errorf("text %s of a log line was executed", owned)
	}
	if title := eval[string](c, `document.title`); title != "Logs · logbridge" {
		t.Errorf("the title is %q", title)
	}
}

// TestConsoleLogsOut takes lines out of the page: copied, downloaded as the API wrote them, shared by a link that shows the same
// later; and zooms in and out of time.
func TestConsoleLogsOut(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	said := s.say("shop", saidLine{"error", "no stock"}, saidLine{"info", "stock again"}, saidLine{"warn", `tab	and "quotes" and ünïcode`})
	said = said.Add(time.Millisecond) // the second line's
	c := openConsole(t, s, "/logs?source=loki&live=0")
	c.has("stock again")
	eval[bool](c, `(() => {
		navigator.clipboard.writeText = async (text) => { window.copied = text }
		const make = URL.createObjectURL
		URL.createObjectURL = (blob) => { window.blob = blob; return make(blob) }
		return true
	})()`)
	c.press("Copy")
	c.has("The lines copied.")
	if got := eval[string](c, `window.copied`); strings.Count(got, "\n") != 2 || !strings.Contains(got, " ERROR otlp/-/shop no stock\n") {
		t.Errorf("copied %q", got)
	}
	c.press("Download")
	res, err := s.operator().send(t.Context(), http.MethodGet, "/logs?source=loki&direction=forward", nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if got := eval[string](c, `window.blob.text()`); err != nil || got != string(want) {
		t.Errorf("downloaded\n%s, want\n%s", got, want)
	}
	c.press("Copy link")
	c.until(`window.copied.startsWith(location.origin + '/logs?source=loki&since=2')`)
	link := eval[string](c, `window.copied`)

	// A click on a bar zooms into it; the lines of that time are still there, and out again.
	c.until(`document.querySelector('.rates .u-over') && /error 1/.test(document.querySelector('.chart-box').ariaLabel)`)
	box := eval[[]float64](c, `(() => { const r = document.querySelector('.rates .u-over').getBoundingClientRect(); return [r.left, r.top, r.width, r.height] })()`)
	// A minute may have begun since the lines were said, whose bar is the last; and a drag ends some seconds before the chart does.
	zoomed := func() {
		t.Helper()
		c.until(`/since=2.*until=2/.test(location.search)`)
		zoom := eval[[]time.Time](c, `['since', 'until'].map((name) => new URLSearchParams(location.search).get(name))`)
		if said.Before(zoom[0]) || said.After(zoom[1]) {
			c.has("No lines match.")
		} else {
			c.has("stock again")
		}
	}
	c.do(chromedp.MouseClickXY(box[0]+box[2]-12, box[1]+box[3]/2))
	zoomed()
	c.press("Zoom out")
	c.until(`['live', 'not live'].includes(document.querySelector('.status .state').textContent)`)

	// Dragging over a part of it zooms into that part, and not into the bar at its end.
	c.open("/logs?source=loki&live=0")
	c.until(`document.querySelector('.rates .u-over') && /error 1/.test(document.querySelector('.chart-box').ariaLabel)`)
	c.do(chromedp.MouseEvent(chromedp.MousePressed, box[0]+box[2]/2, box[1]+10, chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent(chromedp.MouseMoved, box[0]+box[2]*3/4, box[1]+10, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseMoved, box[0]+box[2]-2, box[1]+10, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseReleased, box[0]+box[2]-2, box[1]+10, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	zoomed()
	minutes := eval[float64](c, `(() => { const p = new URLSearchParams(location.search); return (Date.parse(p.get('until')) - Date.parse(p.get('since'))) / 60000 })()`)
	if minutes < 25 || minutes > 35 {
		t.Errorf("dragging over half an hour shows %.1f minutes", minutes)
	}

	s.say("shop", saidLine{"error", "later"})
	c.do(chromedp.Navigate(link))
	c.has("stock again")
	if eval[bool](c, `document.body.innerText.includes('later')`) {
		t.Error("a link shows more than what was shared")
	}
}

// TestConsoleEmptyChart drags over a chart whose bars are not there yet: there is no time that it could zoom into.
func TestConsoleEmptyChart(t *testing.T) {
	c := openConsole(t, newPlace(t, e2eConfig).start(anyone, anyone), "/devices")
	eval[bool](c, `(() => {
		const real = window.fetch
		window.fetch = (url, init) => String(url).includes('/histogram') ? new Promise(() => {}) : real(url, init)
		return true
	})()`)
	c.click(`nav a[href="/logs"]`)
	c.until(`document.querySelector('.rates .u-over')`)
	box := eval[[]float64](c, `(() => { const r = document.querySelector('.rates .u-over').getBoundingClientRect(); return [r.left, r.top, r.width] })()`)
	c.do(chromedp.MouseEvent(chromedp.MousePressed, box[0]+box[2]/4, box[1]+10, chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent(chromedp.MouseMoved, box[0]+box[2]/2, box[1]+10, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseReleased, box[0]+box[2]/2, box[1]+10, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	if at := eval[string](c, `location.pathname + location.search`); at != "/logs" {
		t.Errorf("the page is %s", at)
	}
}

// TestConsoleLogsHistory goes back in time by scrolling, until the first line, with no gap and no repeat.
func TestConsoleLogsHistory(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	const all = 1800
	s.say("burst", burst(0, all)...)
	c := openConsole(t, s, "/logs?source=loki")
	c.has("burst line " + strconv.Itoa(all-1))
	c.until(`document.querySelector('.status .state').textContent === 'live'`)
	c.do(chromedp.Focus(".lines"))
	c.key("k")
	c.until(`document.querySelector('.line.chosen .body').textContent === 'burst line ` + strconv.Itoa(all-1) + `'`)
	c.until(`document.querySelector('.status .state').textContent === 'paused'`)
	c.until(`(() => { const l = document.querySelector('.lines'); l.scrollTop = 0; return document.querySelector('.line .body').textContent === 'burst line 0' })()`)
	c.until(`document.querySelector('.status').textContent.includes('1,800 lines')`)
	c.key("End")
	c.has("burst line " + strconv.Itoa(all-1))
	c.until(`document.querySelector('.status .state').textContent === 'live'`)
	c.key(" ")
	c.until(`document.querySelector('.status .state').textContent === 'paused'`)
	c.key("?")
	c.until(`document.querySelector('dialog[open]')`)
	c.accessible("keys")
	c.press("Close")
	c.key("g")
	c.key("o")
	c.until(`location.pathname === '/'`)
}

// TestConsoleLogsLooks opens everything that can be open, and looks at it.
func TestConsoleLogsLooks(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.say("shop", burst(0, 60)...)
	s.say("shop", saidLine{"error", "panic: runtime error: index out of range\n\tgoroutine 17 [running]:\n\tmain.main()\n" + strings.Repeat("a long line goes on ", 30)})
	s.say("shop", burst(60, 60)...)
	c := openConsole(t, s, "/logs?source=loki&q=panic")
	c.until(`document.querySelector('.line.error')`)
	c.press("Filters")
	c.has("Logstore")
	c.looks("filters")
	c.fill("Device", "dev-0*")
	c.until(`location.search.includes('device=dev-0')`)
	c.has("No lines yet")
	c.press("Remove device: dev-0*")
	c.press("Filters")
	c.click(".line.error")
	c.press("Lines around it")
	c.until(`document.querySelectorAll('.line[role="option"]').length > 30 && document.querySelector('.line.chosen')`)
	c.click(".line.chosen")
	c.looks("around")
	c.key("Escape")
	c.until(`!document.querySelector('.details')`)
	c.press("Keys")
	c.until(`document.querySelector('dialog[open]')`)
	c.looks("keys")
}
