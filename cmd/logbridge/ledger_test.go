package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/cls"
	"github.com/logbridge/logbridge/wire/sls"
	"github.com/logbridge/logbridge/wire/tencent"
)

const ledgerConfig = `
provision:
  products:
    - id: ABCDE12345
      devices:
        - {name: dev_01, psk: bXktMTYtYnl0ZS1rZXkhIQ==}
        - {name: dev_02, psk: bXktMTYtYnl0ZS1rZXkhIQ==}
  sls:
    - project: myproj
      hosts: [127.0.0.1]
      access_keys: [{id: LTAItestkey, secret: secret}]
      logstores: [{name: mystore, web_tracking: true}, {name: closed}, {name: narrow, web_tracking: true, origins: ["https://good.example"]}]
  cls:
    - {topic: topic-1, anonymous_write: true}
    - {topic: topic-closed}
    - {topic: topic-narrow, anonymous_write: true, origins: ["https://good.example"]}
`

func (s *process) ledger() (l logbridge.Ledger) {
	s.place.t.Helper()
	if err := s.operator().call(s.place.t.Context(), http.MethodGet, "/ledger", nil, &l); err != nil {
		s.place.t.Fatal(err)
	}
	return l
}

// post sends a body whose answer does not matter.
func post(t *testing.T, method, url, body string, headers http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = headers
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// outcome is what one row of the test brings into the ledger: "stored", "duplicate" or a reason, in lines.
type outcome struct {
	name   string
	source logbridge.Source
	stream logbridge.Stream
	what   string
	lines  uint64
	send   func()
}

// outcomes drives every reason that the program's clients can cause. The rest are faults of the machine or the program, and
// settings that only a caller of the packages has; they are tested there: internal, expired on the device surface,
// malformed of MQTT (httpapi, bridge), unavailable (sink).
func outcomes(t *testing.T, s *process) []outcome {
	url := s.url()
	dev := s.dial(device("dev_01"))
	const track, event = "/logstores/mystore/track?APIVersion=0.6.0", `{"__logs__":[{"event":"a"}]}`
	const topic, logs = "/tracklog?topic_id=", `{"logs":[{"contents":{"event":"a"},"time":1795000000000}]}`
	unknown, dev1 := logbridge.UnknownStream, device("dev_01").Stream()
	signed := func(id logbridge.DeviceID, nonce string, change func(http.Header), lines ...string) func() {
		u, err := newUpload(id, nonce, lines...)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(u.header)
		}
		return func() { post(t, "POST", url+"/device/reportlog", string(u.body), u.header) }
	}
	plain := func(method, path, body string, headers ...string) func() {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return func() { post(t, method, url+path, body, h) }
	}
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	const first, second = "INF|2026-11-21 10:55:44|a.c|first", "INF|2026-11-21 10:55:45|a.c|second"
	mqtt, report, web, tracking := logbridge.SourceMQTT, logbridge.SourceReportLog, logbridge.SourceSLS, logbridge.SourceCLS
	return []outcome{
		{"lines by MQTT", mqtt, dev1, "stored", 2, func() { dev.report(first, second) }},
		{"the same lines by HTTP", report, dev1, "duplicate", 2, signed(device("dev_01"), "1", nil, second, first)},
		{"a replay as a whole", report, dev1, "duplicate", 2, signed(device("dev_01"), "1", nil, second, first)},
		{"too many lines", mqtt, dev1, "too_large", 1, func() { dev.report(strings.Repeat("x\n", tencent.MaxLines+1)) }},
		{"topic of another", mqtt, unknown, "forbidden", 1, func() {
			dev.done(dev.client.Publish(tencent.ReportTopic(device("dev_02")), 1, false, "INFx"))
		}},

		{"no JSON", report, unknown, "malformed", 1, plain("POST", "/device/reportlog", "{", "X-TC-Algorithm", "hmacsha1", "X-TC-Timestamp", "1", "X-TC-Nonce", "2", "X-TC-Signature", "x")},
		{"header too long", report, unknown, "bad_value", 1, signed(device("dev_01"), "3", set("X-TC-Signature", strings.Repeat("A", 2000)), first)},
		{"no such algorithm", report, dev1, "bad_value", 2, signed(device("dev_01"), "4", set("X-TC-Algorithm", "md5"), first, second)},
		{"no signature", report, unknown, "missing", 1, plain("POST", "/device/reportlog", "{}")},
		{"body too large", report, unknown, "too_large", 1, plain("POST", "/device/reportlog", strings.Repeat(" ", 4<<20+1))},
		{"wrong signature", report, dev1, "signature", 2, signed(device("dev_01"), "5", set("X-TC-Nonce", "6"), first, second)},
		{"no such device", report, unknown, "unknown", 2, signed(device("dev_99"), "7", nil, first, second)},
		{"no such call", report, unknown, "unsupported", 1, plain("POST", "/device/nosuch", "{}")},

		{"an event", web, "sls/myproj/mystore", "stored", 1, plain("POST", track, event)},
		{"the same event", web, "sls/myproj/mystore", "stored", 1, plain("POST", track, event)},
		{"no JSON", web, "sls/myproj/mystore", "malformed", 1, plain("POST", track, "{")},
		{"body too large", web, "sls/myproj/mystore", "too_large", 1, plain("POST", track, strings.Repeat(" ", sls.MaxBody+1))},
		{"no such logstore", web, unknown, "unknown", 1, plain("POST", "/logstores/nosuch/track?APIVersion=0.6.0", event)},
		{"no web tracking", web, "sls/myproj/closed", "anonymous_off", 1, plain("POST", "/logstores/closed/track?APIVersion=0.6.0", event)},
		{"another page", web, "sls/myproj/narrow", "origin", 1, plain("POST", "/logstores/narrow/track?APIVersion=0.6.0", event, "Origin", "https://evil.example")},
		{"no such method", web, unknown, "method", 1, plain("PUT", track, event)},
		{"no such call", web, unknown, "unsupported", 1, plain("POST", "/logstores/mystore/nosuch", event)},
		{"wrong access key", web, "sls/myproj/closed", "signature", 1, func() { post(t, "POST", url+"/logstores/closed", event, signedSLS(event, "wrong", time.Now())) }},
		{"old signature", web, "sls/myproj/closed", "expired", 1, func() {
			post(t, "POST", url+"/logstores/closed", event, signedSLS(event, "secret", time.Now().Add(-time.Hour)))
		}},
		{"signed", web, "sls/myproj/closed", "stored", 1, func() { post(t, "POST", url+"/logstores/closed", event, signedSLS(event, "secret", time.Now())) }},

		{"a log", tracking, "cls/topic-1", "stored", 1, plain("POST", topic+"topic-1", logs)},
		{"no JSON", tracking, "cls/topic-1", "malformed", 1, plain("POST", topic+"topic-1", "{")},
		{"body too large", tracking, "cls/topic-1", "too_large", 1, plain("POST", topic+"topic-1", strings.Repeat(" ", cls.MaxBody+1))},
		{"no topic", tracking, unknown, "missing", 1, plain("POST", "/tracklog", logs)},
		{"no such topic", tracking, unknown, "unknown", 1, plain("POST", topic+"nosuch", logs)},
		{"no anonymous writes", tracking, "cls/topic-closed", "anonymous_off", 1, plain("POST", topic+"topic-closed", logs)},
		{"another page", tracking, "cls/topic-narrow", "origin", 1, plain("POST", topic+"topic-narrow", logs, "Origin", "https://evil.example")},
		{"no such method", tracking, unknown, "method", 1, plain("PUT", topic+"topic-1", logs)},
		{"no such call", tracking, unknown, "unsupported", 1, plain("POST", "/cls/other", logs)},
	}
}

// signedSLS are the headers of a signed upload to the logstore that is closed to others.
func signedSLS(body, secret string, now time.Time) http.Header {
	sum := md5.Sum([]byte(body))
	h := http.Header{
		"Content-Type": {"application/json"}, "Content-Md5": {strings.ToUpper(hex.EncodeToString(sum[:]))},
		"X-Log-Apiversion": {"0.6.0"}, "X-Log-Bodyrawsize": {"1"}, "X-Log-Signaturemethod": {"hmac-sha1"},
		"X-Log-Date": {now.UTC().Format(http.TimeFormat)},
	}
	h.Set("Authorization", sls.SignV1("LTAItestkey", secret, sls.Request{Method: "POST", Path: "/logstores/closed", Header: h, Body: []byte(body)}))
	return h
}

// TestLedgerCountsEverything drives every outcome through the whole program and looks at its count, and at the sum over a
// clean end and over a kill.
func TestLedgerCountsEverything(t *testing.T) {
	home := newPlace(t, ledgerConfig)
	s := home.start(anyone, anyone)
	s.run("level", "set", "ABCDE12345/dev_02", "debug", "--for", "5m", "--reason", "ledger") // lines of the program's own
	rows := outcomes(t, s)                                                                   // registers a device, which is an audit record
	before := s.ledger()
	for _, o := range rows {
		o.send()
		after := s.ledger()
		wantChange(t, o, before, after)
		before = after
	}
	uploadSlowly(t, s) // not beside the rows, in whose counts they would end
	after := s.ledger()
	for _, source := range []logbridge.Source{logbridge.SourceReportLog, logbridge.SourceSLS, logbridge.SourceCLS} {
		if n := after.Sources[source].Refused["too_slow"]; n != 1 {
			t.Errorf("%s: %d too slow", source, n)
		}
	}
	fillBodies(t, s)
	want := s.ledger()
	wantLedgerSum(t, want)
	wantLedgerCommand(t, s, want)
	if code := s.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, s.output())
	}
	s = home.start(anyone, anyone)
	if got := s.ledger(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart\n%+v, want\n%+v", got, want)
	}
	s.stop(syscall.SIGKILL)
	s = home.start(anyone, anyone)
	if got := s.ledger(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a kill\n%+v, want\n%+v", got, want)
	}
}

func countOf(c logbridge.Counts, what string) uint64 {
	switch what {
	case "stored":
		return c.Stored
	case "duplicate":
		return c.Duplicate
	}
	return c.Refused[what] + c.Dropped[what]
}

// wantChange wants an outcome to have changed nothing but its own count: in all, of its source and of its stream.
func wantChange(t *testing.T, o outcome, before, after logbridge.Ledger) {
	t.Helper()
	stream := func(l logbridge.Ledger) (c logbridge.Counts) {
		for _, s := range l.Streams {
			if s.Stream == o.stream {
				c = s.Counts
			}
		}
		return c
	}
	for where, c := range map[string][2]logbridge.Counts{
		"total": {before.Total, after.Total}, "source": {before.Sources[o.source], after.Sources[o.source]}, "stream": {stream(before), stream(after)},
	} {
		if countOf(c[1], o.what)-countOf(c[0], o.what) != o.lines || c[1].Received-c[0].Received != o.lines {
			t.Errorf("%s %s: %s %d: %+v became %+v", o.source, o.name, where, o.lines, c[0], c[1])
		}
	}
}

// uploadSlowly begins an upload to each surface that never ends, and returns when they are refused.
func uploadSlowly(t *testing.T, s *process) {
	var all sync.WaitGroup
	for _, path := range []string{"/device/reportlog", "/logstores/mystore/track?APIVersion=0.6.0", "/tracklog?topic_id=topic-1"} {
		conn, err := net.Dial("tcp", s.addr("http"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{", path); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	all.Wait()
}

// fillBodies sends more bodies at once than the server has memory for, holds the last byte of each until one is refused for
// it, and wants every one of them in the ledger.
func fillBodies(t *testing.T, s *process) {
	t.Helper()
	const uploads, size = 24, 4 << 20
	before := s.ledger().Sources[logbridge.SourceReportLog]
	body := bytes.Repeat([]byte{' '}, size)
	full := make(chan struct{})
	var all sync.WaitGroup
	for range uploads {
		conn, err := net.Dial("tcp", s.addr("http"))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer func() { _ = conn.Close() }()
			// One that is refused is closed under the writer; the ledger tells.
			_, _ = fmt.Fprintf(conn, "POST /device/reportlog HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", size)
			_, _ = conn.Write(body[1:])
			<-full
			_, _ = conn.Write(body[:1])
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	limit := time.Now().Add(patience)
	for s.ledger().Sources[logbridge.SourceReportLog].Refused["overload"] == 0 { // each turn is a request
		if time.Now().After(limit) {
			t.Error("no upload is refused")
			break
		}
	}
	close(full)
	all.Wait()
	after := s.ledger().Sources[logbridge.SourceReportLog]
	if after.Received-before.Received != uploads || after.Refused["overload"] == 0 {
		t.Errorf("%d uploads: %+v became %+v", uploads, before, after)
	}
}

func wantLedgerSum(t testing.TB, l logbridge.Ledger) {
	t.Helper()
	var sources, streams uint64
	check := func(c logbridge.Counts) uint64 {
		if got := c.Stored + c.Duplicate + sum(c.Refused) + sum(c.Dropped); got != c.Received {
			t.Errorf("%+v: the sum is %d", c, got)
		}
		return c.Received
	}
	for _, c := range l.Sources {
		sources += check(c)
	}
	for _, c := range l.Streams {
		streams += check(c.Counts)
	}
	if total := check(l.Total); total != sources || total != streams {
		t.Errorf("received %d, by source %d, by stream %d", total, sources, streams)
	}
}

// wantLedgerCommand looks at what an operator sees, and at the metrics.
func wantLedgerCommand(t *testing.T, s *process, l logbridge.Ledger) {
	t.Helper()
	out := s.run("ledger")
	for _, want := range []string{"RECEIVED", "total", "source mqtt", "device/ABCDE12345/dev_01", "anonymous_off=1", fmt.Sprint(l.Total.Received), "--all shows them"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if all := s.run("ledger", "--all"); strings.Count(all, "\n") < strings.Count(out, "\n") || !strings.Contains(all, "audit") {
		t.Errorf("all streams:\n%s", all)
	}
	if text := s.run("ledger", "-o", "json"); !strings.HasPrefix(text, `{"since":`) || !strings.Contains(text, `"streams":[`) {
		t.Errorf("as JSON:\n%s", text)
	}
	metrics := s.metrics()
	for source, c := range l.Sources {
		for _, reasons := range []map[string]uint64{c.Refused, c.Dropped} {
			for reason, n := range reasons {
				if want := fmt.Sprintf("logbridge_discarded_lines_total{reason=%q,source=%q} %d\n", reason, source, n); !strings.Contains(metrics, want) {
					t.Errorf("%q is missing in the metrics", want)
				}
			}
		}
	}
}
