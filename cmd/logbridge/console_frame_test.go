package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// The browser tests of what is around all views.

// TestConsoleNowhere opens an address that is no view: the page says so, and leads on.
func TestConsoleNowhere(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	c := openConsole(t, s, "/devicez?product=ABCDE12345")
	c.has("There is no view at /devicez")
	c.looks("nowhere")
	c.until(`document.querySelector('.nowhere p a').textContent === 'Devices'`)
	c.click(".nowhere p a")
	c.until(`location.pathname + location.search === '/devices?product=ABCDE12345' && document.body.innerText.includes('dev_01')`)
	c.open("/devices/ABCDE12345")
	c.press("Devices of product ABCDE12345")
	c.until(`location.pathname === '/devices' && document.body.innerText.includes('dev_01')`)
	c.open("/devices/ABCDE12345/dev_01")
	c.until(`document.title === 'dev_01 · logbridge'`)

	// The icon of its tab is a picture that the policy of the page lets in, and so is what browsers ask for of their own.
	for _, icon := range []string{`document.querySelector('link[rel=icon]').href`, `'/favicon.ico'`} {
		width := eval[int](c, `new Promise((done) => {
			const i = new Image()
			i.onload = () => done(i.naturalWidth)
			i.onerror = () => done(-1)
			i.src = `+icon+`
		})`)
		if width <= 0 {
			t.Errorf("%s is no picture", icon)
		}
	}
}

// TestConsoleServerAway takes the server away under an open page, and brings it back: the page says both, and a view that found
// nothing then loads by itself.
func TestConsoleServerAway(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(kept(t))
	c := openConsole(t, s, "/devices")
	c.has("dev_01")
	top := eval[float64](c, `document.querySelector('table').getBoundingClientRect().top`)
	http, mqtt := s.addr("http"), s.addr("mqtt")
	s.stop(syscall.SIGKILL)
	c.has("The server has not answered since")
	if now := eval[float64](c, `document.querySelector('table').getBoundingClientRect().top`); now != top {
		t.Errorf("the notice moves the page by %.0f px", now-top)
	}
	c.shot("away")
	c.accessible("a server that is away")
	c.press("Stores")
	c.has("the server cannot be reached")
	home.start(http, mqtt)
	c.has("sls/myproj/mystore")
	c.until(`!document.querySelector('.away p')`)
}

// TestConsoleChartLabels looks at what is written beside a chart: the last label of the time axis, of a bar at the right edge, is
// there as a whole or not at all, and the zone of the times is said.
func TestConsoleChartLabels(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	c := openConsole(t, s, "/")
	if _, err := chromedp.Call(c.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kolkata"}); err != nil {
		t.Fatal(err)
	}
	half := time.Now().Truncate(30 * time.Minute)
	c.open(fmt.Sprintf("/logs?since=%s&until=%s", half.Add(-time.Hour).UTC().Format(time.RFC3339), half.Add(time.Minute).UTC().Format(time.RFC3339)))
	c.has("times are UTC+5:30")
	eval[bool](c, `(() => {
		window.labels = []
		const write = CanvasRenderingContext2D.prototype.fillText
		CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
			const m = this.measureText(text)
			const edge = this.getTransform().e + x
			if (text !== '') window.labels.push({text, left: edge - m.actualBoundingBoxLeft, right: this.canvas.width - edge - m.actualBoundingBoxRight})
			return write.call(this, text, x, y, ...rest)
		}
		return true
	})()`)
	for _, size := range []func(){c.phone, c.desk} {
		eval[bool](c, `(window.labels.length = 0, true)`)
		size() // draws the chart again
		c.until(`window.labels.some((l) => /^\d\d:\d\d$/.test(l.text))`)
		if cut := eval[[]string](c, `window.labels.filter((l) => l.left < 0 || l.right < 0).map((l) => l.text + ' by ' + Math.min(l.left, l.right))`); len(cut) > 0 {
			t.Errorf("cut off: %v", cut)
		}
	}
}
