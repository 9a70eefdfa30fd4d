package sls

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
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
		`{"__logs__":[]}`:   {Logs: []Log{}},
		`{"__logs__":[{}]}`: {Logs: []Log{{Fields: attrs()}}},
		`{"__topic__":"t","x":[{"y":1}],"__logs__":[{"a":"b","c":"\u4e2d\n"}],"__source__":"s","__tags__":{"t1":"v1","t2":2}}`: {
			Topic: "t", Source: "s", Tags: attrs("t1", "v1", "t2", "2"), Logs: []Log{{Fields: attrs("a", "b", "c", "中\n")}}},
		`{"__logs__":[{"n":1.50,"b":true,"z":null,"o":{"a":[1]},"l":[1, 2],"n":2}]}`: { // a key may occur twice
			Logs: []Log{{Fields: attrs("n", "1.50", "b", "true", "z", "null", "o", `{"a":[1]}`, "l", "[1, 2]", "n", "2")}}},
		`{"__logs__":[{"__time__":1700000000,"a":"1"},{"a":"2","__time__":"1700000000"},{"__time__":0},{"__time__":1700000000000}]}`: {
			Logs: []Log{{Time: at, Fields: attrs("a", "1")}, {Fields: attrs("a", "2", "__time__", "1700000000")},
				{Fields: attrs("__time__", "0")}, {Time: at, Fields: attrs()}}},
		`{"__logs__":[],"__tags__":{},"__topic__":null,"__source__":7}`:               {Source: "7", Logs: []Log{}},
		`{"__logs__":[],"__tags__":null}`:                                             {Logs: []Log{}},
		"{\"__logs__\":[{\"bad\":\"a\xffb\",\"cesu\":\"\xed\xa0\xbd\xed\xb8\x80\"}]}": {Logs: []Log{{Fields: attrs("bad", "a\ufffdb", "cesu", "😀")}}},
	} {
		got, err := DecodeJSON([]byte(body))
		if err != nil || !reflect.DeepEqual(roomless(got), want) {
			t.Errorf("%s: %+v, %v\nwant %+v", body, got, err, want)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxValue+1)
	for name, row := range map[string]struct {
		body string
		code string
		kind error
	}{
		"empty":             {"", "PostBodyInvalid", logbridge.ErrInvalid},
		"array":             {`[{"a":"b"}]`, "PostBodyInvalid", logbridge.ErrInvalid},
		"no logs":           {`{"__topic__":"x"}`, "PostBodyInvalid", logbridge.ErrInvalid},
		"logs null":         {`{"__logs__":null}`, "PostBodyInvalid", logbridge.ErrInvalid},
		"log no object":     {`{"__logs__":["x"]}`, "PostBodyInvalid", logbridge.ErrInvalid},
		"tags no object":    {`{"__logs__":[],"__tags__":[]}`, "PostBodyInvalid", logbridge.ErrInvalid},
		"cut off":           {`{"__logs__":[{"a":"b`, "PostBodyInvalid", logbridge.ErrInvalid},
		"trailing":          {`{"__logs__":[]}{}`, "PostBodyInvalid", logbridge.ErrInvalid},
		"too deep":          {`{"__logs__":[{"a":` + strings.Repeat("[", 1e5), "PostBodyInvalid", logbridge.ErrInvalid},
		"body":              {strings.Repeat(" ", MaxBody+1), "PostBodyTooLarge", logbridge.ErrTooLarge},
		"logs":              {`{"__logs__":[` + strings.Repeat(`{},`, MaxLogs) + `{}]}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"value":             {`{"__logs__":[{"a":"` + long + `"}]}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"key":               {`{"__logs__":[{"` + long + `":1}]}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"topic":             {`{"__logs__":[],"__topic__":"` + long + `"}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"fields":            {`{"__logs__":[{"":0` + strings.Repeat(`,"":0`, maxFields) + `}]}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"tags":              {`{"__tags__":{"":0` + strings.Repeat(`,"":0`, maxFields) + `},"__logs__":[]}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"tags in each log":  {`{"__logs__":[{}` + strings.Repeat(`,{}`, 999) + `],"__tags__":{"a":"` + long[:MaxBody/1000] + `"}}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
		"topic in each log": {`{"__logs__":[{}` + strings.Repeat(`,{}`, 999) + `],"__topic__":"` + long[:MaxBody/1000+1] + `"}`, "PostBodyTooLarge", logbridge.ErrTooLarge},
	} {
		g, err := DecodeJSON([]byte(row.body))
		own := (*Error)(nil)
		if !errors.As(err, &own) || own.Code != row.code || own.Status != 400 || !errors.Is(err, row.kind) {
			t.Errorf("%s: %d logs, %v", name, len(g.Logs), err)
		}
	}
	if g, err := DecodeJSON([]byte(`{"__logs__":[` + strings.Repeat(`{},`, MaxLogs-1) + `{}]}`)); err != nil || len(g.Logs) != MaxLogs {
		t.Errorf("the full number of logs: %d, %v", len(g.Logs), err)
	}
}

// TestDecodeJSONKeepsNothingOfTheBody: the caller may use its buffer again.
func TestDecodeJSONKeepsNothingOfTheBody(t *testing.T) {
	body := pageBody(3)
	g, err := DecodeJSON(body)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(g)
	clear(body)
	if fmt.Sprint(g) != before {
		t.Error("the group changed with the body")
	}
	first := append(g.Logs[0].Fields, logbridge.Attr{Key: "more"})
	if g.Logs[1].Fields[0] == first[len(first)-1] {
		t.Error("appending to one log's fields writes into the next log's")
	}
}

// TestRecordedBodies: every upload that was recorded decodes to what the page sent.
func TestRecordedBodies(t *testing.T) {
	requests, err := recorded.WebRequests()
	if err != nil {
		t.Fatal(err)
	}
	field := func(k, v string) []Log { return []Log{{Fields: attrs(k, v)}} }
	timed := func(unix int64, k, v string) Log { return Log{Time: time.Unix(unix, 0).UTC(), Fields: attrs(k, v)} }
	full := Group{Topic: "mytopic", Source: "mysource", Tags: attrs("t1", "v1", "t2", "2"), Logs: []Log{{Fields: attrs(
		"str", "view_product", "cn", "中文", "emoji", "😀", "price", "500", "f", "1.5", "b", "true", "n", "null", "u", "undefined",
		"obj", `{"a":1,"s":"x"}`, "arr", "[1,2]", "time", "1700000000", "__time__", "1700000001")}}}
	short := Group{Logs: full.Logs}
	batch := func(fields ...string) Group {
		var g Group
		for i := 0; i < len(fields); i += 2 {
			g.Logs = append(g.Logs, field(fields[i], fields[i+1])...)
		}
		return g
	}
	want := map[string][]Group{
		"sls-01-beacon-127":             {full},
		"sls-02-beacon-localhost-vhost": {short},
		"sls-03-https-project-host":     {short},
		"sls-06-batch-count":            {batch("i", "0", "i", "1", "i", "2"), batch("i", "3", "i", "4", "i", "5"), batch("i", "6", "j", "0", "j", "1")},
		"sls-07-unload":                 {{Logs: field("bye", "1")}},
		"sls-12-path-prefix-host":       {{Logs: field("a", "b")}},
		"sls-20-sts-127": {{Topic: "mytopic", Source: "mysource", Tags: attrs("t1", "v1"),
			Logs: []Log{{Time: time.Unix(1795258727, 0).UTC(), Fields: attrs("a", "b", "cn", "中文😀", "n", "1")}}}},
		"sls-21-sts-time":                    {{Logs: []Log{timed(1700000000, "a", "1"), timed(1700000001, "a", "2"), timed(1795258728, "a", "3")}}},
		"sls-22-sts-refresh":                 {{Logs: []Log{timed(1795258729, "i", "0")}}, {Logs: []Log{timed(1795258729, "i", "1")}}, {Logs: []Log{timed(1795258729, "i", "2")}}},
		"sls-26-sts-path-prefix":             {{Logs: []Log{timed(1795258733, "i", "0")}}},
		"sls-28-sts-unload":                  {{Logs: []Log{timed(1795259242, "warm", "1")}}},
		"sls-29-sts-unload-cached-preflight": {{Logs: []Log{timed(1795259244, "warm", "1")}}, {Logs: []Log{timed(1795259244, "bye", "1")}}},
	}
	got := map[string][]Group{}
	for _, r := range requests {
		if len(r.Content) == 0 || !strings.HasPrefix(r.Capture, "sls-") {
			continue
		}
		if r.Truncated { // sls-05-xhr-large: the recording shortens its 40036 bytes
			continue
		}
		g, err := DecodeJSON(r.Content)
		if err != nil {
			t.Errorf("%s %d: %v", r.Capture, r.Index, err)
		}
		got[r.Capture] = append(got[r.Capture], roomless(g))
	}
	for capture := range want {
		if !reflect.DeepEqual(got[capture], want[capture]) {
			t.Errorf("%s: %+v\nwant %+v", capture, got[capture], want[capture])
		}
	}
	for capture := range got {
		if want[capture] == nil {
			t.Errorf("%s: %+v is not expected", capture, got[capture])
		}
	}
}

// TestLargeBody stands for sls-05-xhr-large, whose recording is shortened.
func TestLargeBody(t *testing.T) {
	big := strings.Repeat("x", 40000)
	g, err := DecodeJSON([]byte(`{"__logs__":[{"big":"` + big + `","cn":"中"}]}`))
	if err != nil || !reflect.DeepEqual(g.Logs, []Log{{Fields: attrs("big", big, "cn", "中")}}) {
		t.Errorf("%d logs, %v", len(g.Logs), err)
	}
}

// encode writes a group as the SDK would.
func encode(t *testing.T, g Group) []byte {
	t.Helper()
	text := func(s string) string {
		b := new(bytes.Buffer)
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(b.String())
	}
	object := func(fields []logbridge.Attr, more string) string {
		var members []string
		for _, f := range fields {
			members = append(members, text(f.Key)+":"+text(f.Value))
		}
		if more != "" {
			members = append(members, more)
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	var logs []string
	for _, l := range g.Logs {
		when := ""
		if !l.Time.IsZero() {
			when = fmt.Sprintf(`"__time__":%d`, l.Time.UnixNano())
		}
		logs = append(logs, object(l.Fields, when))
	}
	return fmt.Appendf(nil, `{"__logs__":[%s],"__tags__":%s,"__topic__":%s,"__source__":%s}`,
		strings.Join(logs, ","), object(g.Tags, ""), text(g.Topic), text(g.Source))
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(pageBody(2))
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
		size := len(g.Topic) + len(g.Source)
		for _, l := range append([]Log{{Fields: g.Tags}}, g.Logs...) {
			for _, a := range l.Fields {
				size += len(a.Key) + len(a.Value)
				if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) {
					t.Fatalf("%+q", a)
				}
			}
		}
		if size > 3*len(body) || len(g.Logs) > MaxLogs {
			t.Fatalf("%d bytes and %d logs of %d bytes", size, len(g.Logs), len(body))
		}
		for _, l := range g.Logs {
			if !l.Time.IsZero() && l.Time.UnixNano() < 1e17 {
				return // our encoder writes nanoseconds, which so early would be read as another unit
			}
		}
		again, err := DecodeJSON(encode(t, g))
		if err != nil || fmt.Sprintf("%+v", roomless(again)) != fmt.Sprintf("%+v", roomless(g)) {
			t.Fatalf("%+v\ncomes back as %+v, %v", g, again, err)
		}
		said := fmt.Sprintf("%+v", roomless(g))
		again.Release()
		if again, err = DecodeJSON(body); err != nil || fmt.Sprintf("%+v", roomless(again)) != said { // in the room of another
			t.Fatalf("%s\nis then %+v, %v", said, again, err)
		}
		defer again.Release()
		if len(Records(g, "sls/p/s", time.Now(), "192.0.2.1")) != len(g.Logs) {
			t.Fatal("records")
		}
	})
}

// roomless is what a group tells, without the memory that it is in.
func roomless(g Group) Group {
	g.room = nil
	return g
}
