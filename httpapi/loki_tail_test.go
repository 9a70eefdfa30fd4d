package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// frame is what a tail sends.
type frame struct {
	Streams []struct {
		Stream map[string]string `json:"stream"`
		Values [][]any           `json:"values"`
	} `json:"streams"`
	Dropped []struct {
		Timestamp string            `json:"timestamp"`
		Labels    map[string]string `json:"labels"`
	} `json:"dropped_entries"`
}

// lokiTailer is a client of the tail.
type lokiTailer struct {
	t    *testing.T
	conn *websocket.Conn
	text []string // of lines that were not asked for yet
	last frame
}

// followLoki opens a tail as basic-auth user, as Grafana does.
func (w *world) followLoki(params url.Values, header ...string) *lokiTailer {
	w.t.Helper()
	h := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("grafana:"+adminToken))}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, _, err := websocket.Dial(w.t.Context(), w.url+lokiPath+"/tail?"+params.Encode(), &websocket.DialOptions{HTTPHeader: h})
	check(w.t, err)
	conn.SetReadLimit(-1)
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &lokiTailer{t: w.t, conn: conn}
}

// read reads a frame.
func (l *lokiTailer) read() (f frame, err error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	_, b, err := l.conn.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// expect reads frames until as many lines have come, which must be these.
func (l *lokiTailer) expect(want ...string) {
	l.t.Helper()
	for len(l.text) < len(want) {
		f, err := l.read()
		if err != nil {
			l.t.Fatalf("%v after %q, want %q", err, l.text, want)
		}
		l.last = f
		for _, s := range f.Streams {
			for _, v := range s.Values {
				l.text = append(l.text, v[1].(string))
			}
		}
	}
	if got := l.text[:len(want)]; fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Fatalf("%q, want %q", got, want)
	}
	l.text = l.text[len(want):]
}

func (w *world) keep(records ...logbridge.Record) {
	w.t.Helper()
	_, err := w.sink.Append(w.t.Context(), logbridge.Batch{Records: records})
	check(w.t, err)
}

func TestLokiTail(t *testing.T) {
	w := start(t)
	stream := device01.Stream()
	info := func(age time.Duration, body string) logbridge.Record {
		return record(stream, "mqtt", logbridge.LevelInfo, age, body, logbridge.Attr{Key: "tag", Value: "main.c"})
	}
	for _, r := range []logbridge.Record{info(2*time.Hour, "too old"), info(3*time.Minute, "h2"), info(4*time.Minute, "h1 x"), info(2*time.Minute, "h3 x"), record("cls/topic-1", "cls", 3, time.Minute, "other x")} {
		w.keep(r)
	}
	query := func(q string, more ...string) url.Values {
		v := url.Values{"query": {q}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return v
	}
	const device = `{device="dev_01"}`
	all, two := w.followLoki(query(device)), w.followLoki(query(device, "limit", "2"))
	filtered := w.followLoki(query(device+` |= "x"`, "delay_for", "1"))
	parsed := w.followLoki(query(`{product=~"ABC.*"} | tag = "main.c" |~ "[hl]1"`, "limit", "1"), "X-Loki-Response-Encoding-Flags", "categorize-labels")
	since := w.followLoki(query(device, "start", fmt.Sprint(time.Now().Add(-150*time.Second).UnixNano())))
	nobody := w.followLoki(query(`{device="dev_01", level="nothing"}`))
	all.expect("h1 x", "h2", "h3 x") // oldest first
	two.expect("h2", "h3 x")         // the newest
	filtered.expect("h1 x", "h3 x")
	parsed.expect("h1 x")
	since.expect("h3 x")
	w.keep(info(3*time.Hour, "l1 x"), record("cls/topic-1", "cls", 3, 0, "other x"), info(0, "l2")) // a line that comes in late is new, too
	all.expect("l1 x", "l2")
	two.expect("l1 x", "l2")
	since.expect("l1 x", "l2")
	filtered.expect("l1 x")
	parsed.expect("l1 x")
	got := parsed.last.Streams[0]
	metadata := got.Values[0][2].(map[string]any)["structuredMetadata"].(map[string]any)
	if fmt.Sprint(got.Stream) != "map[detected_level:info device:dev_01 level:info product:ABCDE12345 service_name:ABCDE12345 source:mqtt]" || metadata["tag"] != "main.c" || metadata["seq"] == nil {
		t.Errorf("%+v", parsed.last)
	}
	if got := all.last.Streams[0]; got.Stream["tag"] != "main.c" || len(got.Values[0]) != 2 {
		t.Errorf("%+v", all.last)
	}
	for i := range 3 { // as it comes
		w.keep(info(0, fmt.Sprint("live", i)))
		all.expect(fmt.Sprint("live", i))
	}
	check(t, all.conn.Close(websocket.StatusNormalClosure, ""))
	w.Server.drain() // what Run does first when it is told to stop
	for _, l := range []*lokiTailer{two, nobody} {
		for {
			f, err := l.read()
			if err == nil && l != nobody {
				continue
			}
			if err == nil {
				t.Fatalf("a line that no level has: %+v", f)
			}
			if status := websocket.CloseStatus(err); status != -1 {
				t.Errorf("closed by a frame with %d, want none: %v", status, err)
			}
			break
		}
	}
	w.stop()
}

// TestLokiTailBetweenHistoryAndLive: what comes while the history is read is shown once; lines of the same time stay in their order.
func TestLokiTailBetweenHistoryAndLive(t *testing.T) {
	var w *world
	at := time.Now()
	keep := func(body string) {
		r := record(device01.Stream(), "mqtt", 3, 0, body)
		r.Time = at
		w.keep(r)
	}
	w = start(t, func(_ *Config, d *Deps) {
		d.Log = busyLog{d.Log, func() { keep("c") }}
	})
	keep("a")
	keep("b")
	l := w.followLoki(url.Values{"query": {`{device="dev_01"}`}, "limit": {"3"}})
	l.expect("a", "b", "c")
	keep("d")
	l.expect("d")
}

// busyLog is a log to which something comes right behind what is the newest position.
type busyLog struct {
	Log
	come func()
}

func (l busyLog) Newest() logbridge.Position {
	defer l.come()
	return l.Log.Newest()
}

func TestLokiTailErrors(t *testing.T) {
	w := start(t)
	for _, row := range []struct {
		query  string
		status int
		says   string
		header []string
	}{
		{`query={a="b"}`, 401, "", []string{"Authorization", "Bearer wrong"}},
		{`query={a="b`, 400, "", nil},
		{`query=rate({a="b"}[1m])`, 400, "only a log query can be followed", nil},
		{`query={a="b"}&delay_for=6`, 400, "delay_for: give a number of seconds from 0 to 5", nil},
		{`query={a="b"}&delay_for=x`, 400, "delay_for", nil},
		{`query={a="b"}&limit=50001`, 400, "limit", nil},
		{`query={a="b"}`, 426, "Upgrade", []string{"Upgrade", "none"}},
		{`query={a="b"}`, 403, "", []string{"Origin", evilPage}},
	} {
		header := append([]string{"Authorization", "Bearer " + adminToken, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
			"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}, row.header...)
		a := w.send("GET", lokiPath+"/tail?"+strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", "[", "%5B", "]", "%5D").Replace(row.query), "", header...)
		var p struct{ Message string }
		if row.status != 403 { // that one is the library's own
			check(t, json.Unmarshal([]byte(a.body), &p))
		}
		if a.StatusCode != row.status || !strings.Contains(p.Message, row.says) {
			t.Errorf("%s %v: %d %s", row.query, row.header, a.StatusCode, a.body)
		}
	}
	fault := fmt.Errorf("%w: the query has read more than %s", logbridge.ErrTooLarge, strings.Repeat("very ", 50)+"much")
	w = start(t, func(_ *Config, d *Deps) {
		d.Log = scriptedTail{d.Log, func(yield func(logbridge.Record, error) bool) {
			_ = yield(record(device01.Stream(), "mqtt", 3, 0, "before"), nil) && yield(logbridge.Record{}, fault)
		}}
	})
	l := w.followLoki(url.Values{"query": {`{device="dev_01"}`}})
	l.expect("before")
	_, err := l.read()
	closed := websocket.CloseError{}
	if !errors.As(err, &closed) || closed.Code != websocket.StatusInternalError || !strings.HasPrefix(closed.Reason, "the query has read more than very") {
		t.Errorf("%v", err)
	}
}

// TestLokiTailSaysWhatWasDropped, as a number, since Loki's entry for each line has no text anyway.
func TestLokiTailSaysWhatWasDropped(t *testing.T) {
	w := start(t, func(_ *Config, d *Deps) {
		d.Log = scriptedTail{d.Log, func(yield func(logbridge.Record, error) bool) {
			_ = yield(logbridge.Record{}, &logbridge.Lost{Records: 12345, To: logbridge.Position{Seq: 7, Index: 8}}) && yield(record(device01.Stream(), "mqtt", 3, 0, "behind x"), nil)
		}}
	})
	for query, want := range map[string]string{
		`{device="dev_01", source!="sls"}`:              "map[device:dev_01 dropped:12345 seq:7.8]",
		`{device="dev_01"} |= "x" |~ "beh[i]nd" != "y"`: "map[device:dev_01 dropped_at_most:12345 seq:7.8]",
	} {
		l := w.followLoki(url.Values{"query": {query}})
		f, err := l.read()
		check(t, err)
		if len(f.Dropped) != 1 || fmt.Sprint(f.Dropped[0].Labels) != want || len(f.Dropped[0].Timestamp) != 19 {
			t.Errorf("%s: %+v, want %s", query, f, want)
		}
		if len(f.Streams) == 0 {
			l.expect("behind x")
		}
	}
}

// TestSlowLokiTailHoldsBackTheLog: a reader that takes nothing stops the reading of the log at a bound.
func TestSlowLokiTailHoldsBackTheLog(t *testing.T) {
	s := &Server{}
	taken := 0
	s.deps.Log = scriptedTail{nil, func(yield func(logbridge.Record, error) bool) {
		for r := record(device01.Stream(), "mqtt", 3, 0, strings.Repeat("x", 10<<10)); yield(r, nil); taken++ {
		}
	}}
	tail := newTestTail(t, s, 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); tail.collect(ctx) }()
	for full := false; !full; runtime.Gosched() {
		tail.mu.Lock()
		full = tail.lines.bytes >= maxPending
		tail.mu.Unlock()
	}
	if lines, _, wait := tail.take(); wait > 0 || len(lines) != 1 || len(lines[0].Entries) > maxPending/(10<<10)+1 {
		t.Errorf("%d lines are pending, %s", len(lines[0].Entries), wait)
	}
	cancel()
	<-done
	if taken > 3*maxPending/(10<<10) {
		t.Errorf("%d lines were taken", taken)
	}
}

// TestLokiTailDelays: with delay_for what comes within it is sent together, in order of time, and at the latest when it is over.
func TestLokiTailDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 5 * time.Second
		tail := newTestTail(t, &Server{}, delay)
		put := func(at int64, body string) {
			e := lokiEntry{at: time.Unix(at, 0), line: body, labels: loki.Labels{Stream: []loki.Label{{Name: "a", Value: "b"}}}}
			if err := tail.put(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if lines, _, wait := tail.take(); len(lines) != 0 || wait != 0 {
			t.Errorf("%v, %s", lines, wait)
		}
		put(20, "second")
		time.Sleep(2 * time.Second)
		put(10, "first")
		if lines, _, wait := tail.take(); len(lines) != 0 || wait != 3*time.Second {
			t.Errorf("%v, %s", lines, wait)
		}
		time.Sleep(3 * time.Second)
		lines, _, wait := tail.take()
		if len(lines) != 1 || len(lines[0].Entries) != 2 || lines[0].Entries[0].Line != "first" || wait != 0 {
			t.Errorf("%v, %s", lines, wait)
		}
		put(20, strings.Repeat("x", maxPending))
		if lines, _, wait := tail.take(); len(lines) != 1 || wait != 0 {
			t.Error("a full tail waits")
		}
	})
}

func newTestTail(t *testing.T, s *Server, delay time.Duration) *lokiTail {
	expr, err := loki.Parse(`{device="dev_01"}`)
	check(t, err)
	s.deps.Share = func(context.Context) Share { return freely{} }
	return s.makeLokiTail(&lokiRequest{}, expr.(*loki.LogExpr), delay)
}

// freely is a share of somebody who is alone.
type freely struct{}

func (freely) Begin() bool { return true }
func (freely) End()        {}
func (freely) Pause() bool { return true }
