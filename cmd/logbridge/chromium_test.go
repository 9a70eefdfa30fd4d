package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browserPatience is how long one test may use the browser before that counts as broken.
const browserPatience = 4 * patience

// visitor is what the browser says it is: its own name without a head is one of a robot.
const visitor = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"

// shared is the browser of all tests of this package, started by the first that needs it: a start costs more than most tests.
var shared browser

// browser is a running chromium.
type browser struct {
	once sync.Once
	ctx  context.Context
	err  error
	end  func() // nil if it was never started
}

// chromium gives a test an empty profile in the shared browser, with a tab: actions of chromedp run in the context. It is closed
// with the test. Without chromium the test is skipped.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path := chromiumPath()
	if path == "" {
		t.Skip("SKIPPED: chromium is not installed (Debian: chromium); what needs a browser is not tried")
	}
	shared.once.Do(func() { shared.start(path) })
	if shared.err != nil {
		t.Fatalf("%s does not start: %v", path, shared.err)
	}
	limited, stop := context.WithTimeout(shared.ctx, browserPatience)
	ctx, _ := chromedp.NewContext(limited, chromedp.WithNewBrowserContext())
	t.Cleanup(func() {
		defer stop()
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the tab does not close: %v", err)
		}
	})
	if err := chromedp.Do(ctx); err != nil { // opens the tab
		t.Fatal(err)
	}
	return ctx
}

// chromiumPath is where the browser is, "" if there is none.
func chromiumPath() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// start runs the browser with a new folder of its own.
func (b *browser) start(path string) {
	dir, err := os.MkdirTemp("", "logbridge-chromium-")
	if err != nil {
		b.err = err
		return
	}
	allocator, free := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(dir),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.UserAgent(visitor),
		// /dev/shm is small in containers.
		chromedp.Flag("disable-dev-shm-usage", true),
	)
	ctx, _ := chromedp.NewContext(allocator)
	b.ctx, b.end = ctx, func() {
		closing, stop := context.WithTimeout(ctx, 10*time.Second)
		_ = chromedp.Cancel(closing) // asks it to end; free kills what does not
		stop()
		free()
		_ = os.RemoveAll(dir)
	}
	b.err = chromedp.Do(ctx)
}

// close ends the browser, if it was started.
func (b *browser) close() {
	if b.end != nil {
		b.end()
	}
}

// TestChromium opens a page, as all tests with a browser do.
func TestChromium(t *testing.T) {
	ctx := chromium(t)
	if err := chromedp.Do(ctx, chromedp.Navigate("data:text/html,<title>here</title>")); err != nil {
		t.Fatal(err)
	}
	if title, err := chromedp.Run(ctx, chromedp.Title()); err != nil || title != "here" {
		t.Errorf("title %q: %v", title, err)
	}
}
