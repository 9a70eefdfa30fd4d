package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
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
type said struct{ level, text string }

// say stores lines of a service, in this order; their times are a millisecond apart and end now.
func (s *process) say(service string, list ...said) {
	t := s.place.t
	t.Helper()
	streams := []any{}
	begin := time.Now().Add(-time.Duration(len(list)) * time.Millisecond)
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
