package cls

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
	"github.com/logbridge/logbridge/wire/recorded"
)

func attrs(pairs ...string) []logbridge.Attr {
	all := []logbridge.Attr{}
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, logbridge.Attr{Key: pairs[i], Value: pairs[i+1]})
	}
	return all
}

func TestDecodeJSON(t *testing.T) {
	at := time.Unix(1700000000, 0).UTC()
	for body, want := range map[string]Group{
		`{"logs":[]}`: {Logs: []Log{}},
		`{"logs":[{"contents":{"a":"b"},"time":1700000000}],"source":"127.0.0.1"}`: {
			Source: "127.0.0.1", Logs: []Log{{Time: at, Fields: attrs("a", "b")}}},
		`{"logs":[{"time":1700000000000,"contents":{}},{"time":"1700000000000000","contents":{"x":1}},{"contents":{"y":null},"time":null}]}`: {
			Logs: []Log{{Time: at, Fields: attrs()}, {Time: at, Fields: attrs("x", "1")}, {Fields: attrs("y", "null")}}},
		`{"logs":[{"time":0,"contents":{}},{"contents":{"a":"b"},"time":"today"},{"time":-7,"contents":{}}]}`: {
			Logs: []Log{{Fields: attrs()}, {Fields: attrs("a", "b", "time_raw", "today")}, {Fields: attrs("time_raw", "-7")}}},
		`{"source":null,"filename":"app.js","contextflow":"c","logs":[{"length":3,"contents":{"o":{"a":[true]}}}],"logTags":[]}`: {
			Filename: "app.js", ContextFlow: "c", Logs: []Log{{Fields: attrs("o", `{"a":[true]}`)}}},
		// As a mini-program sends it: more members in the log, an empty filename (5.2).
		`{"source":"10.0.0.1","filename":"","logs":[{"time":1700000000000,"contents":{"page":"pages/index","n":1},"length":14}]}`: {
			Source: "10.0.0.1", Logs: []Log{{Time: at, Fields: attrs("page", "pages/index", "n", "1")}}},
		"{\"logs\":[{\"contents\":{\"e\":\"\xed\xa0\xbd\xed\xb8\x80\",\"bad\":\"\xff\"}}],\"source\":\"null\"}": {
			Source: "null", Logs: []Log{{Fields: attrs("e", "😀", "bad", "\ufffd")}}},
	} {
		got, err := DecodeJSON([]byte(body))
		if err != nil || !reflect.DeepEqual(roomless(got), want) {
			t.Errorf("%s: %+v, %v\nwant %+v", body, got, err, want)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxValue+1)
	many := func(n int) string {
		return `[{"contents":{}}` + strings.Repeat(`,{"contents":{}}`, n-1) + `]`
	}
	for name, row := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"empty":              {"", 400, "MissingContent"},
		"array":              {"[]", 400, "InvalidContent"},
		"no logs":            {`{"source":"x"}`, 400, "InvalidContent"},
		"no contents":        {`{"logs":[{"time":1}]}`, 400, "InvalidContent"},
		"contents no object": {`{"logs":[{"contents":"x"}]}`, 400, "InvalidContent"},
		"cut off":            {`{"logs":[{"contents":{"a":"b`, 400, "InvalidContent"},
		"trailing":           {`{"logs":[]}x`, 400, "InvalidContent"},
		"body":               {strings.Repeat(" ", MaxBody+1), 413, "LogSizeExceed"},
		"logs":               {`{"logs":` + many(MaxLogs+1) + `}`, 413, "LogSizeExceed"},
		"value":              {`{"logs":[{"contents":{"a":"` + long + `"}}]}`, 413, "LogSizeExceed"},
		"key":                {`{"logs":[{"contents":{"` + long + `":1}}]}`, 413, "LogSizeExceed"},
		"fields":             {`{"logs":[{"contents":{"":0` + strings.Repeat(`,"":0`, maxFields) + `}}]}`, 413, "LogSizeExceed"},
		"source":             {`{"logs":[],"source":"` + long + `"}`, 413, "LogSizeExceed"},
		"source in each log": {`{"logs":` + many(1000) + `,"source":"` + long[:MaxBody/1000+1] + `"}`, 413, "LogSizeExceed"},
	} {
		g, err := DecodeJSON([]byte(row.body))
		own := (*Error)(nil)
		if !errors.As(err, &own) || own.Code != row.code || own.Status != row.status {
			t.Errorf("%s: %d logs, %v", name, len(g.Logs), err)
		}
		if kind := map[int]error{400: logbridge.ErrInvalid, 413: logbridge.ErrTooLarge}[row.status]; !errors.Is(err, kind) {
			t.Errorf("%s: %v is not %v", name, err, kind)
		}
	}
	if g, err := DecodeJSON([]byte(`{"logs":` + many(MaxLogs) + `}`)); err != nil || len(g.Logs) != MaxLogs {
		t.Errorf("the full number of logs: %d, %v", len(g.Logs), err)
	}
}

func TestDecodeQuery(t *testing.T) {
	topic, g, err := DecodeQuery("topic_id=topic-1&key1=val1&key2=a+b&%E4%B8%AD=%zz")
	if want := (Group{Logs: []Log{{Fields: attrs("key1", "val1", "key2", "a b", "中", "%zz")}}}); topic != "topic-1" || err != nil || !reflect.DeepEqual(g, want) {
		t.Errorf("%q, %+v, %v", topic, g, err)
	}
	if topic, g, err := DecodeQuery("topic_id=topic-1"); topic != "topic-1" || len(g.Logs) != 0 || err != nil {
		t.Errorf("without fields: %q, %+v, %v", topic, g, err)
	}
	for query, code := range map[string]string{
		"": "InvalidParam", "k=v": "InvalidParam", "topic_id=&k=v": "InvalidParam", "topic_id=t&k=" + strings.Repeat("x", MaxQuery): "LogSizeExceed",
	} {
		_, _, err := DecodeQuery(query)
		if own := (*Error)(nil); !errors.As(err, &own) || own.Code != code {
			t.Errorf("%.40s: %v, want %s", query, err, code)
		}
	}
}

// TestRecordedRequests: every upload and picture that was recorded decodes to what the page sent.
func TestRecordedRequests(t *testing.T) {
	requests, err := recorded.WebRequests()
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1700000000123).UTC()
	plain := Group{Source: "127.0.0.1", Logs: []Log{{Time: at, Fields: attrs("hello", "hello world中文", "emoji", "plain", "num", "5")}}}
	file, emoji := plain, plain
	file.Filename = "app.js"
	emoji.Logs = []Log{{Time: at, Fields: attrs("hello", "hello world中文", "emoji", "😀", "num", "5")}}
	want := map[string]Group{
		"cls-01-web1013-127": plain, "cls-02-web1013-bare": file, "cls-03-web1013-emoji": emoji, "cls-04-web1013-413": plain,
		"cls-12-web1013-path-prefix": plain, "img-01-sls-track-gif": {Logs: []Log{{Fields: attrs("key1", "val1", "key2", "a b")}}},
	}
	seen := 0
	for _, r := range requests {
		var g Group
		switch path := strings.TrimPrefix(r.URL.Path, "/cls"); {
		case path == "/tracklog" && r.Method == "POST":
			g, err = DecodeJSON(r.Content)
		case path == "/track.gif":
			var topic string
			if topic, g, err = DecodeQuery(r.URL.RawQuery); topic != "topic-1" {
				t.Errorf("%s %d: topic %q", r.Capture, r.Index, topic)
			}
		default:
			continue
		}
		seen++
		if err != nil || !reflect.DeepEqual(roomless(g), want[r.Capture]) {
			t.Errorf("%s %d: %+v, %v\nwant %+v", r.Capture, r.Index, g, err, want[r.Capture])
		}
	}
	if seen != len(want) {
		t.Errorf("%d requests, want %d", seen, len(want))
	}
}

func TestRecords(t *testing.T) {
	received, sent := time.Unix(1795258418, 0), time.Unix(1700000000, 0)
	stream := logbridge.CLSStream("topic-1")
	g := Group{Filename: "app.js", Source: "s", ContextFlow: "flow", Hostname: "host", Tags: attrs("env", "test"), Logs: []Log{{Time: sent, Fields: attrs("k", "v", "level", "error")}, {Fields: attrs("k", "w")}}}
	record := func(at time.Time, quality logbridge.TimeQuality, level logbridge.Level, fields ...string) logbridge.Record {
		return logbridge.Record{Time: at, ObservedTime: received, TimeQuality: quality, Source: logbridge.SourceCLS, Stream: stream,
			Severity: level, Attributes: attrs(append(fields, "__filename__", "app.js", "__hostname__", "host", "__contextflow__", "flow", "__tag__:env", "test", "__source__", "s")...)}
	}
	want := []logbridge.Record{record(sent, logbridge.TimeDevice, logbridge.LevelError, "k", "v", "level", "error"),
		record(received, logbridge.TimeReceived, logbridge.LevelInfo, "k", "w")}
	if got := Records(g, stream, received, "192.0.2.1"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	recs := Records(Group{Logs: []Log{{Fields: attrs("k", "v")}}}, stream, received, "192.0.2.1")
	if want := attrs("k", "v", "__source__", "192.0.2.1"); !reflect.DeepEqual(recs[0].Attributes, want) {
		t.Errorf("%v, want %v", recs[0].Attributes, want)
	}
	if recs := Records(Group{}, stream, received, ""); recs != nil {
		t.Errorf("no logs make %v", recs)
	}
}

// TestErrors: every row has its status, a code, a message and a kind.
func TestErrors(t *testing.T) {
	if got, want := string(NotAllowed(`topic "x"`).JSON()), `{"errorcode":"NotAllowed","errormessage":"topic \"x\""}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, row := range []struct {
		err    *Error
		status int
		kind   error
	}{
		{MissingContent(), 400, logbridge.ErrInvalid}, {InvalidContent("x"), 400, logbridge.ErrInvalid}, {InvalidParam("x"), 400, logbridge.ErrInvalid},
		{MissingAuthorization(), 400, logbridge.ErrUnauthorized}, {InvalidAuthorization("x"), 400, logbridge.ErrUnauthorized},
		{Unauthorized("x"), 401, logbridge.ErrUnauthorized}, {MissingContentType(), 400, logbridge.ErrInvalid},
		{InvalidContentType(), 400, logbridge.ErrInvalid}, {InvalidCompressType(), 400, logbridge.ErrInvalid},
		{NotAllowed("x"), 403, logbridge.ErrForbidden}, {TopicNotExist(), 404, logbridge.ErrNotFound}, {LogSizeExceed("x"), 413, logbridge.ErrTooLarge},
		{SpeedQuotaExceed(true), 429, logbridge.ErrForbidden}, {SpeedQuotaExceed(false), 413, logbridge.ErrForbidden}, {InternalError(), 500, logbridge.ErrUnavailable},
	} {
		if e := row.err; e.Status != row.status || !errors.Is(e, row.kind) || e.Code == "" || e.Message == "" {
			t.Errorf("%+v", e)
		}
	}
}

// encode writes a group as the SDK would, with times in nanoseconds.
func encode(g Group) []byte {
	body := []byte(`{"logs":[`)
	for i, l := range g.Logs {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"contents":{`...)
		for j, f := range l.Fields {
			if j > 0 {
				body = append(body, ',')
			}
			body = loose.AppendString(append(loose.AppendString(body, f.Key), ':'), f.Value)
		}
		body = append(body, '}')
		if !l.Time.IsZero() {
			body = fmt.Appendf(body, `,"time":%d`, l.Time.UnixNano())
		}
		body = append(body, '}')
	}
	body = loose.AppendString(append(body, `],"source":`...), g.Source)
	return append(loose.AppendString(append(body, `,"filename":`...), g.Filename), '}')
}

func FuzzDecodeJSON(f *testing.F) {
	requests, err := recorded.WebRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		if len(r.Content) > 0 {
			f.Add(r.Content)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := DecodeJSON(body)
		if err != nil {
			if own := (*Error)(nil); !errors.As(err, &own) || !json.Valid(own.JSON()) {
				t.Fatal(err)
			}
			return
		}
		size := len(g.Source) + len(g.Filename)
		early := false
		for _, l := range g.Logs {
			early = early || !l.Time.IsZero() && l.Time.UnixNano() < 1e17
			for _, a := range l.Fields {
				size += len(a.Key) + len(a.Value)
				if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) {
					t.Fatalf("%+q", a)
				}
			}
		}
		if size > 3*len(body) || len(g.Logs) > MaxLogs || len(Records(g, "cls/t", time.Now(), "")) != len(g.Logs) {
			t.Fatalf("%d bytes and %d logs of %d bytes", size, len(g.Logs), len(body))
		}
		if early {
			return // encode writes nanoseconds, which so early would be read as another unit
		}
		again, err := DecodeJSON(encode(g))
		if err != nil || fmt.Sprintf("%+v", roomless(again)) != fmt.Sprintf("%+v", roomless(g)) {
			t.Fatalf("%+v\ncomes back as %+v, %v", g, again, err)
		}
		said := fmt.Sprintf("%+v", roomless(g))
		again.Release()
		if again, err = DecodeJSON(body); err != nil || fmt.Sprintf("%+v", roomless(again)) != said { // in the room of another
			t.Fatalf("%s\nis then %+v, %v", said, again, err)
		}
		again.Release()
	})
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("topic_id=topic-1&key1=val1&key2=a+b")
	f.Add("topic_id=%zz&=&&a")
	f.Fuzz(func(t *testing.T, query string) {
		topic, g, err := DecodeQuery(query)
		if (err == nil) != (topic != "") {
			t.Fatalf("%q, %v", topic, err)
		}
		for _, l := range g.Logs {
			for _, a := range l.Fields {
				if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) || len(a.Key)+len(a.Value) > 3*len(query) {
					t.Fatalf("%+q", a)
				}
			}
		}
	})
}

// roomless is what a group tells, without the memory that it is in.
func roomless(g Group) Group {
	g.room = nil
	return g
}
