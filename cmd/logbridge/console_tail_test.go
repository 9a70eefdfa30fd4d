package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// The browser tests of the live tail.

// burst makes n lines that say which they are.
func burst(from, n int) []saidLine {
	list := make([]saidLine, n)
	for i := range list {
		list[i] = saidLine{[]string{"info", "debug", "warn"}[i%3], fmt.Sprintf("burst line %d", from+i)}
	}
	return list
}

// watchFrames makes the page note how long each of its frames took and each of its tasks that the browser calls long; the value of
// its expression framesNoted, later, is what came of it, in milliseconds.
const watchFrames = `(() => {
	const frames = [], tasks = []
	let last = performance.now()
	const look = (now) => { frames.push(now - last); last = now; requestAnimationFrame(look) }
	requestAnimationFrame((now) => { last = now; requestAnimationFrame(look) })
	const watch = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)))
	watch.observe({type: 'longtask'})
	window.framesNoted = () => ({
		frames: frames.length, longest: Math.max(0, ...frames), late: frames.filter((f) => f > 34).length, halting: frames.filter((f) => f > 100).length,
		tasks: tasks.length, longestTask: Math.max(0, ...tasks),
	})
	return true
})()`

// noted is what framesNoted says: how many frames, the longest, those that missed at least one turn of the screen, those that are
// felt as a halt, and the tasks of more than 50 ms.
type noted struct {
	Frames, Late, Halting, Tasks int
	Longest, LongestTask         float64
}

// TestConsoleTailStaysSmall follows a burst of more lines than the page keeps: the newest are there, without a gap, and the page
// has no more elements than a screen has lines. What that cost the page is printed.
func TestConsoleTailStaysSmall(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.say("burst", burst(0, 10)...)
	c := openConsole(t, s, "/logs?source=loki")
	c.has("burst line 9")
	c.until(`document.querySelector('.status .state').textContent === 'live'`)
	eval[bool](c, `(() => {
		window.most = 0
		new MutationObserver(() => { window.most = Math.max(window.most, document.querySelectorAll('.line').length) })
			.observe(document.querySelector('.lines'), {childList: true, subtree: true})
		return true
	})()`)
	if _, err := chromedp.Call(c.ctx, performance.Enable, performance.EnableParams{TimeDomain: "threadTicks"}); err != nil {
		t.Fatal(err)
	}
	before := c.work()
	eval[bool](c, watchFrames)
	const all, part = 25_000, 500
	for n := 10; n < all; n += part {
		s.say("burst", burst(n, part)...)
	}
	last := fmt.Sprintf("burst line %d", (all-10)/part*part+10+part-1)
	if (all-10)%part == 0 {
		last = fmt.Sprintf("burst line %d", all-1)
	}
	c.has(last)
	if most := eval[int](c, `window.most`); most > 150 {
		t.Errorf("the page had %d lines at once", most)
	}
	shown := eval[string](c, `document.querySelector('.status').textContent`)
	if !strings.Contains(shown, "20,") && !strings.Contains(shown, "21,000") || strings.Contains(shown, "passed over") {
		t.Errorf("after %d lines it says %q", all, shown)
	}
	// The lines on the screen are those before the last, one by one.
	for i, text := range eval[[]string](c, `[...document.querySelectorAll('.line .body')].map((b) => b.textContent).reverse()`) {
		var n, newest int
		_, _ = fmt.Sscanf(text, "burst line %d", &n)
		_, _ = fmt.Sscanf(last, "burst line %d", &newest)
		if n != newest-i {
			t.Errorf("line %d from the end is %q", i, text)
		}
	}
	n := eval[noted](c, `window.framesNoted()`)
	t.Logf("of %d frames the longest took %.0f ms, %d came late (over 34 ms), %d were over 100 ms; %d long tasks, the longest of %.0f ms",
		n.Frames, n.Longest, n.Late, n.Halting, n.Tasks, n.LongestTask)
	t.Logf("%d lines cost the page's main thread %.2f s of processor", all, c.work()-before)
}

// work is what the main thread of the page has worked, in seconds of processor, which a busy machine does not change.
func (c *tab) work() float64 {
	c.t.Helper()
	all, err := chromedp.Call(c.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range all.Metrics {
		if m.Name == "TaskDuration" {
			return m.Value
		}
	}
	c.t.Fatal("the browser does not say what it has worked")
	return 0
}

// TestConsoleTailOverARestart follows while the server is killed and started again: each line is there once.
func TestConsoleTailOverARestart(t *testing.T) {
	home := newPlace(t, e2eConfig)
	s := home.start(kept(t))
	c := openConsole(t, s, "/logs?source=loki")
	c.until(`document.querySelector('.status .state').textContent === 'live'`)
	s.say("burst", burst(0, 10)...)
	c.has("burst line 9")
	http, mqtt := s.addr("http"), s.addr("mqtt")
	s.stop(syscall.SIGKILL)
	c.until(`document.querySelector('.status .state').textContent.startsWith('connection lost')`)
	c.phone()
	c.until(`document.querySelector('.away p') && document.querySelector('.rates > .wrong')`)
	if w := eval[int](c, `document.documentElement.scrollWidth`); w > 390 {
		t.Errorf("without the server the page is %d px wide on a phone", w)
	}
	c.shot("away")
	c.desk()
	s = home.start(http, mqtt)
	s.say("burst", burst(10, 10)...)
	c.has("burst line 19")
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("burst line %d", i))
	}
	if got := eval[[]string](c, `[...document.querySelectorAll('.line .body')].map((b) => b.textContent)`); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lines %q", got)
	}
}

// TestConsoleTailTellsWhatItMissed: a notice of lines that this reader was too slow for becomes a line in their place and a
// number. The notice is put into the answer of the real server on its way, since no machine is slow to order.
func TestConsoleTailTellsWhatItMissed(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	s.say("burst", burst(0, 3)...)
	c := openTab(t, s)
	c.open("/")
	eval[bool](c, `(() => {
		const real = window.fetch
		window.fetch = async (url, init) => {
			const res = await real(url, init)
			if (!String(url).includes('follow=true')) return res
			const notice = new TransformStream({start: (to) => to.enqueue(new TextEncoder().encode('{"dropped":1234,"seq":"1.2"}\n'))})
			return new Response(res.body.pipeThrough(notice), {status: res.status, headers: res.headers})
		}
		return true
	})()`)
	c.signIn(s.token())
	c.press("Logs")
	c.has("1,234 lines are not shown here")
	c.has("1,234 passed over")
	s.say("burst", burst(3, 1)...)
	c.has("burst line 3")
	c.shot("missed")
}
