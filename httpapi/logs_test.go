package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

// line is one line of NDJSON.
type line struct {
	Seq, Time, Source, Stream, Level, Body, Product, Device, Error string
	Observed_Time, Time_Quality                                    string
	Attributes                                                     map[string]string
}

// logs queries as admin and gives the lines.
func (w *world) logs(query string) []line {
	w.t.Helper()
	a := w.send("GET", apiPath+"/logs?"+query, "", "Authorization", "Bearer "+adminToken)
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/x-ndjson" {
		w.t.Fatalf("%s: %d %s", query, a.StatusCode, a.body)
	}
	var lines []line
	for text := range strings.Lines(a.body) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || !strings.HasSuffix(text, "}\n") {
			w.t.Fatalf("%s: line %q: %v", query, text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// append stores records at minute i of the past hour.
func (w *world) store(records ...logbridge.Record) {
	w.t.Helper()
	for _, r := range records {
		_, err := w.sink.Append(w.t.Context(), logbridge.Batch{Records: []logbridge.Record{r}})
		check(w.t, err)
	}
}

func record(stream logbridge.Stream, source logbridge.Source, level logbridge.Level, age time.Duration, body string, attrs ...logbridge.Attr) logbridge.Record {
	now := time.Now()
	return logbridge.Record{Time: now.Add(-age), ObservedTime: now, Source: source, Stream: stream, Severity: level, Body: body, Attributes: attrs}
}

func TestLogsQuery(t *testing.T) {
	w := start(t)
	w.store(
		record("device/ABCDE12345/dev_01", "mqtt", 1, 50*time.Minute, "disk full", logbridge.Attr{Key: "tag", Value: "a.c"}),
		record("device/ABCDE12345/dev_02", "reportlog", 3, 40*time.Minute, "hello"),
		record("device/ABCDE12345/gate", "mqtt", 4, 30*time.Minute, "bye"),
		record("sls/myproj/mystore", "sls", 3, 20*time.Minute, "", logbridge.Attr{Key: "event", Value: "click"}, logbridge.Attr{Key: "event", Value: "again"}),
		record("cls/topic-1", "cls", 2, 10*time.Minute, "", logbridge.Attr{Key: "k", Value: "v"}),
		record("cls/topic-1", "cls", 2, 3*time.Hour, "", logbridge.Attr{Key: "k", Value: "old"}),
	)
	for _, row := range []struct{ query, want string }{
		{"", "v click bye hello disk"},
		{"direction=forward", "disk hello bye click v"},
		{"direction=forward&limit=2", "disk hello"},
		{"limit=2", "v click"},
		{"since=4h", "v click bye hello disk old"},
		{"since=4h&until=1h", "old"},
		{"since=" + fmt.Sprint(time.Now().Add(-25*time.Minute).Unix()), "v click"},
		{"since=" + url.QueryEscape(time.Now().Add(-15*time.Minute).Format(time.RFC3339)), "v"},
		{"product=ABCDE12345", "bye hello disk"},
		{"device=dev_0*", "hello disk"},
		{"device=gate", "bye"},
		{"source=cls", "v"},
		{"project=myproj", "click"},
		{"logstore=mystore", "click"},
		{"topic=topic-1", "v"},
		{"stream=cls/topic-1", "v"},
		{"level=warn", "v disk"},
		{"level=1", "disk"},
		{"q=ell", "hello"},
		{"q=lic", "click"},
		{"field.k=v", "v"},
		{"field.event=again", "click"},
		{"field.tag=a.c&field.other=", ""},
		{"q=&level=&after=&follow=false&limit=", "v click bye hello disk"},
	} {
		var got []string
		for _, l := range w.logs(row.query) {
			name, _, _ := strings.Cut(l.Body, " ")
			for _, key := range []string{"k", "event"} {
				name += l.Attributes[key]
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, want %q", row.query, got, row.want)
		}
	}
	all := w.logs("direction=forward&source=mqtt")
	var rest []line
	for after, n := all[0].Seq, 0; n < 10; n++ { // pages by position reach everything that came later
		page := w.logs("limit=2&after=" + after)
		if len(page) == 0 {
			break
		}
		rest = append(rest, page...)
		after = page[len(page)-1].Seq
	}
	if len(rest) != 5 || rest[0].Body != "hello" || rest[4].Attributes["k"] != "old" {
		t.Errorf("%+v behind %s, want the 5 that came in later in that order", rest, all[0].Seq)
	}
}

func TestLogsShape(t *testing.T) {
	w := start(t)
	at := time.Date(2026, 11, 21, 10, 55, 44, 120000000, time.FixedZone("", 8*3600))
	w.store(logbridge.Record{Time: at, ObservedTime: at.Add(time.Second), TimeQuality: logbridge.TimeReceived, Source: "mqtt",
		Stream: device01.Stream(), Severity: 2, Body: "a \"b\"\n\t\x01<中😀>", Attributes: []logbridge.Attr{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}, {Key: "k#2", Value: "3"}, {Key: "k", Value: "4"}}})
	a := w.send("GET", apiPath+"/logs?since=0", "", "Authorization", "Bearer "+adminToken)
	_, rest, ok := strings.Cut(a.body, `",`)
	want := `"time":"2026-11-21T02:55:44.12Z","observed_time":"2026-11-21T02:55:45.12Z","time_quality":"received","source":"mqtt",` +
		`"stream":"device/ABCDE12345/dev_01","product":"ABCDE12345","device":"dev_01","level":"warn","body":"a \"b\"\u000a\u0009\u0001<中😀>",` +
		`"attributes":{"k":"1","k#3":"2","k#2":"3","k#4":"4"}}` + "\n"
	if !ok || rest != want || !strings.HasPrefix(a.body, `{"seq":"`) {
		t.Errorf("got  %s\nwant …%s", a.body, want)
	}
}

func TestLogsParameterErrors(t *testing.T) {
	w := start(t)
	for query, says := range map[string]string{
		"level=loud": "level", "since=yesterday": "since", "until=x": "until", "after=x": "after", "limit=0": "limit", "limit=1000001": "limit",
		"limit=x": "limit", "follow=maybe": "follow", "direction=up": "direction", "source=fax": "source", "nonsense=1": "nonsense",
		"q=a&q=b": "q", "device=[": "device", "field.=x": "field", "since=-1h": "since", "%zz=1": "escaped", "follow=1&direction=backward": "direction",
		"q=" + strings.Repeat("x", maxQueryText+1): "q", strings.Repeat("field.a=b&", maxFields+1): "field",
	} {
		a := w.send("GET", apiPath+"/logs?"+query, "", "Authorization", "Bearer "+adminToken)
		checkProblem(t, query[:min(40, len(query))], a, 400, "invalid")
		var p struct{ Detail string }
		check(t, json.Unmarshal([]byte(a.body), &p))
		if !strings.Contains(p.Detail, says) || strings.Count(p.Detail, "\n") > 0 {
			t.Errorf("%.40s: %q does not name %s", query, p.Detail, says)
		}
	}
}

// tail follows and gives a function that reads the next line; the context of the request ends with cancel.
func (w *world) tail(query string) (next func() line, cancel func()) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	r, err := http.NewRequestWithContext(ctx, "GET", w.url+apiPath+"/logs?"+query, nil)
	check(w.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(r) // returns as soon as the header is there, before any record
	check(w.t, err)
	w.t.Cleanup(func() { cancel(); resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	return func() line {
		w.t.Helper()
		text, err := lines.ReadString('\n')
		if err != nil {
			return line{Error: err.Error()}
		}
		var l line
		check(w.t, json.Unmarshal([]byte(text), &l))
		return l
	}, cancel
}

func TestLogsFollow(t *testing.T) {
	w := start(t)
	stream := device01.Stream()
	w.store(record(stream, "mqtt", 3, 2*time.Hour, "too old"), record(stream, "mqtt", 3, time.Minute, "h1"), record("cls/topic-1", "cls", 3, time.Minute, "other"), record(stream, "mqtt", 3, 2*time.Minute, "h2"))
	next, _ := w.tail("follow=1&device=dev_01")
	expect := func(next func() line, bodies ...string) (last line) {
		t.Helper()
		for _, want := range bodies {
			if last = next(); last.Body != want {
				t.Fatalf("%+v, want %q", last, want)
			}
		}
		return last
	}
	h2 := expect(next, "h1", "h2") // in the order in which they came in
	for i := range 3 {
		w.store(record(stream, "mqtt", 3, 0, fmt.Sprint("live", i)), record("cls/topic-1", "cls", 3, 0, "other"))
		expect(next, fmt.Sprint("live", i)) // each is flushed as it comes
	}
	again, _ := w.tail("follow=true&device=dev_01&after=" + h2.Seq)
	expect(again, "live0", "live1", "live2")
	limited, _ := w.tail("follow=true&device=dev_01&limit=1")
	expect(limited, "h1")
	if l := limited(); l.Error != "EOF" {
		t.Errorf("after the limit: %+v", l)
	}
	w.Server.drain() // what Run does first when it is told to stop
	for _, n := range []func() line{next, again} {
		if l := n(); l.Error != "EOF" {
			t.Errorf("at shutdown: %+v", l)
		}
	}
	if a := w.send("GET", "/readyz", ""); a.StatusCode != 503 {
		t.Errorf("readyz at shutdown: %d", a.StatusCode)
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	ended := make(chan struct{})
	w := start(t, func(_ *Config, d *Deps) { d.Log = watchedTail{d.Log, ended} })
	_, cancel := w.tail("follow=1")
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the tail goes on without its reader")
	}
}

// watchedTail waits for the end of its context and says so.
type watchedTail struct {
	Log
	ended chan struct{}
}

func (l watchedTail) Tail(ctx context.Context, _ logbridge.Position, _ logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(func(logbridge.Record, error) bool) {
		<-ctx.Done()
		close(l.ended)
	}
}

func TestRunWaitsForFollowersAndReturns(t *testing.T) {
	w := start(t)
	next, _ := w.tail("follow=1")
	w.stop() // waits for Run
	if l := next(); l.Error != "EOF" {
		t.Errorf("%+v", l)
	}
}

func TestLogsErrors(t *testing.T) {
	var records int
	var fault error
	seq := func(yield func(logbridge.Record, error) bool) {
		for i := range records {
			if !yield(record(device01.Stream(), "mqtt", 3, 0, fmt.Sprint(i)), nil) {
				return
			}
		}
		if fault == nil {
			panic("inner")
		}
		yield(logbridge.Record{}, fault)
	}
	w := start(t, func(_ *Config, d *Deps) { d.Log = scripted{d.Log, seq} })
	ask := func() answered {
		return w.send("GET", apiPath+"/logs", "", "Authorization", "Bearer "+adminToken)
	}
	fault = fmt.Errorf("%w: segment is busy", logbridge.ErrUnavailable)
	checkProblem(t, "error before any record", ask(), 503, "unavailable")
	fault = fmt.Errorf("%w: the query has worked for more than 1m0s", logbridge.ErrTooLarge)
	checkProblem(t, "query over its bounds", ask(), 422, "too_large")
	fault = errors.New("inner")
	if a := ask(); a.StatusCode != 500 || strings.Contains(a.body, "inner") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	fault = nil
	checkProblem(t, "panic", ask(), 500, "internal")
	records, fault = 3, fmt.Errorf("%w: segment \"x\" is busy", logbridge.ErrUnavailable)
	a := ask()
	if lines := strings.Split(a.body, "\n"); a.StatusCode != 200 || len(lines) != 5 || lines[3] != `{"error":"segment \"x\" is busy"}` {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
}

// TestSlowReaderHoldsBackTheLog: a reader that takes nothing stops the reading of the log at a bound.
func TestSlowReaderHoldsBackTheLog(t *testing.T) {
	f := newFeed(maxPending)
	big := record(device01.Stream(), "mqtt", 3, 0, strings.Repeat("x", 10<<10))
	blocked := make(chan int)
	go func() {
		n := 0
		for f.put(&big, nil) {
			n++
		}
		blocked <- n
	}()
	f.mu.Lock()
	for len(f.lines) <= maxPending {
		f.mu.Unlock()
		f.mu.Lock()
	}
	pending := len(f.lines)
	f.mu.Unlock()
	if pending > maxPending+11<<10 {
		t.Errorf("%d bytes pending", pending)
	}
	f.stop()
	if n := <-blocked; n > maxPending/(10<<10)+1 {
		t.Errorf("%d records taken", n)
	}
}

// TestFollowIsNeverSilentForLong, and no sign is given where lines are, or nobody is left.
func TestFollowIsNeverSilentForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(maxPending)
		f.breakSilence(longestSilence)
		r := record(device01.Stream(), "mqtt", 3, 0, "x")
		go func() {
			for range 7 {
				time.Sleep(longestSilence / 3)
				f.put(&r, nil)
			}
		}()
		lines, signs, last := 0, 0, time.Now()
		for begin := last; time.Since(begin) < 10*longestSilence; {
			b, err := f.take(nil)
			if err != nil || len(b) == 0 || time.Since(last) > longestSilence {
				t.Fatalf("%q, %v after %s", b, err, time.Since(last))
			}
			last = time.Now()
			if string(b) == "\n" {
				signs++
			} else {
				lines++
			}
		}
		if lines != 7 || signs < 8 || signs > 20 {
			t.Errorf("%d lines, %d signs", lines, signs)
		}
		f.put(&r, nil)
		time.Sleep(10 * longestSilence) // the reader is busy with what he has
		if b, _ := f.take(nil); bytes.HasSuffix(b, []byte("\n\n")) {
			t.Errorf("%q", b)
		}
		f.stop()
		time.Sleep(10 * longestSilence)
		if len(f.lines) > 0 {
			t.Errorf("%q after the end", f.lines)
		}
	})
}

// TestIdleFeedIsSmall: what a burst needed is given back when the reader has caught up.
func TestIdleFeedIsSmall(t *testing.T) {
	f := newFeed(maxPending)
	big := record(device01.Stream(), "mqtt", 3, 0, strings.Repeat("x", 100<<10))
	f.put(&big, nil)
	first, _ := f.take(nil)
	f.put(&big, nil)
	second, _ := f.take(first[:0])
	taken := make(chan []byte)
	go func() {
		b, _ := f.take(second[:0])
		taken <- b
	}()
	for idle := false; !idle; runtime.Gosched() {
		f.mu.Lock()
		idle = f.lines == nil
		f.mu.Unlock()
	}
	small := record(device01.Stream(), "mqtt", 3, 0, "x")
	f.put(&small, nil)
	if b := <-taken; cap(b) > idleRoom || cap(f.lines) > idleRoom {
		t.Errorf("an idle feed has kept %d and %d bytes", cap(b), cap(f.lines))
	}
}

// TestFollowSaysWhatWasDropped, and goes on; what was dropped is not of the limit.
func TestFollowSaysWhatWasDropped(t *testing.T) {
	at := logbridge.Position{Seq: 77, Index: 4294967295}
	w := start(t, func(_ *Config, d *Deps) {
		d.Log = scriptedTail{d.Log, func(yield func(logbridge.Record, error) bool) {
			_ = yield(record(device01.Stream(), "mqtt", 3, 0, "before"), nil) && yield(logbridge.Record{}, &logbridge.Lost{Records: 12345, To: at}) &&
				yield(record(device01.Stream(), "mqtt", 3, 0, "behind"), nil) && yield(record(device01.Stream(), "mqtt", 3, 0, "too many"), nil)
		}}
	})
	a := w.send("GET", apiPath+"/logs?follow=true&limit=2", "", "Authorization", "Bearer "+adminToken)
	lines := strings.Split(a.body, "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], "before") || lines[1] != `{"dropped":12345,"seq":"77.4294967295"}` || !strings.Contains(lines[2], "behind") {
		t.Errorf("%q", a.body)
	}
	if p, err := logbridge.ParsePosition("77.4294967295"); err != nil || p != at {
		t.Errorf("%v, %v: the notice says where to go on", p, err)
	}
}

// scriptedTail is a log that is followed to these records.
type scriptedTail struct {
	Log
	seq iter.Seq2[logbridge.Record, error]
}

func (l scriptedTail) Tail(context.Context, logbridge.Position, logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return l.seq
}

func FuzzParseLogsQuery(f *testing.F) {
	for _, s := range []string{"", "since=1h&until=2026-11-21T10:55:44Z&limit=5", "follow=1&after=12.3", "level=warn&device=dev-0*&field.a=b&field.a=c", "q=%zz", "since=0&direction=forward", "source=mqtt&level=9", "limit=-1;x"} {
		f.Add(s)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseLogsQuery(raw, now)
		if err != nil {
			if !errors.Is(err, logbridge.ErrInvalid) {
				t.Fatalf("%q: %v has no kind", raw, err)
			}
			return
		}
		if q.Limit < 0 || q.Limit > maxLimit || q.Limit == 0 && !q.follow || q.Levels > logbridge.AtLeast(logbridge.LevelDebug) || len(q.Fields) > maxFields || q.Validate() != nil {
			t.Fatalf("%q: %+v", raw, q)
		}
		if q.Since.IsZero() && q.After.IsZero() || q.follow && q.Order != logbridge.ByPosition {
			t.Fatalf("%q: %+v", raw, q)
		}
		if again, err := parseLogsQuery(raw, now); err != nil || fmt.Sprint(again.Query.Since) != fmt.Sprint(q.Query.Since) {
			t.Fatalf("%q is read differently the second time", raw)
		}
	})
}

func BenchmarkAppendRecord(b *testing.B) {
	r := record(device01.Stream(), "mqtt", 3, 0, strings.Repeat("connected to the gateway ", 4), logbridge.Attr{Key: "tag", Value: "main.c"}, logbridge.Attr{Key: "user", Value: "u123"})
	var buf []byte
	for b.Loop() {
		buf = appendRecord(buf[:0], &r)
	}
	b.SetBytes(int64(len(buf)))
}
