package httpapi

import (
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestEraseLogs: what one stream has is gone, what it gets later and what others have stays; nothing else is erased by a call that
// does not say exactly one.
func TestEraseLogs(t *testing.T) {
	w := start(t)
	put := func(stream logbridge.Stream, source logbridge.Source, text string) {
		w.keep(record(stream, source, logbridge.LevelInfo, time.Minute, text))
	}
	streams := map[string]logbridge.Stream{
		"product=ABCDE12345&device=dev_01": device01.Stream(), "project=myproj&logstore=mystore": logbridge.SLSStream("myproj", "mystore"),
		"topic=topic-1": logbridge.CLSStream("topic-1"), "stream=otlp/shop/cart": "otlp/shop/cart",
	}
	for _, s := range streams {
		put(s, logbridge.SourceMQTT, "one")
		put(s, logbridge.SourceMQTT, "two")
	}
	for _, query := range []string{"", "product=ABCDE12345", "device=dev_01", "project=myproj", "logstore=mystore", "product=ABCDE12345&device=dev_*", "stream=device/*",
		"topic=topic-1&stream=otlp/shop/cart", "product=ABCDE12345&device=dev_01&topic=topic-1"} {
		if status, body := w.call("DELETE", "/logs?reason=x&"+query, ""); status != 400 || body["code"] != "invalid" {
			t.Errorf("%q: %d %v", query, status, body)
		}
	}
	if status, _ := w.call("DELETE", "/logs?topic=topic-1", ""); status != 400 {
		t.Errorf("without a reason: %d", status)
	}
	if status, body := w.call("DELETE", "/logs?stream=audit&reason=x", ""); status != 403 {
		t.Errorf("audit: %d %v", status, body)
	}
	operator, _ := w.issue(logbridge.RoleOperator)
	if a := w.send("DELETE", apiPath+"/logs?topic=topic-1&reason=x", "", "Authorization", "Bearer "+operator); a.StatusCode != 403 {
		t.Errorf("operator: %d %s", a.StatusCode, a.body)
	}
	left := len(streams)
	for query, s := range streams {
		status, body := w.call("DELETE", "/logs?reason=asked+for&"+query, "")
		if status != 200 || body["stream"] != string(s) || body["records"] != 2.0 {
			t.Errorf("%q: %d %v", query, status, body)
		}
		left--
		if n := len(w.records(logbridge.Query{Stream: s})); n != 0 {
			t.Errorf("%q: %d records are left", query, n)
		}
		if n := len(w.records(logbridge.Query{Sources: logbridge.SourcesOf(logbridge.SourceMQTT)})); n != 2*left {
			t.Errorf("%q: %d records of the others, want %d", query, n, 2*left)
		}
	}
	put(device01.Stream(), logbridge.SourceMQTT, "three")
	if got := w.records(logbridge.Query{Stream: device01.Stream()}); len(got) != 1 || got[0].Body != "three" {
		t.Errorf("later: %+v", got)
	}
}
