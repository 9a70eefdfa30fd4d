package tencent

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

func TestParseReport(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 55, 44, 0, shanghai)
	info := func(text string) Line { return Line{Level: logbridge.LevelInfo, Text: text} }
	for in, want := range map[string][]Line{
		"":                                   nil,
		"\n\r\n":                             nil,
		"INFone\nWRNtwo\r\nplain":            {info("one"), {Level: logbridge.LevelWarn, Text: "two"}, info("plain")},
		"INFone\ntwo\n\fWRN|three":           {info("one\ntwo"), {Level: logbridge.LevelWarn, Text: "three"}},
		"[main] started":                     {info("[main] started")},
		"{not JSON}\nx":                      {info("{not JSON}"), info("x")},
		`["INFcut off","x`:                   {info(`["INFcut off","x`)},
		"bad \xff":                           {info("bad \ufffd")},
		`"text"`:                             {info(`"text"`)},
		`[]`:                                 nil,
		` ["ERRone","INFa\n\fINFb",7,null] `: {{Level: logbridge.LevelError, Text: "one"}, info("a"), info("b"), info("7"), info("null")},
		`[{"time":1795229744,"level":"warn","message":"m","k":"v","n":1.5}]`: {
			{Level: logbridge.LevelWarn, Time: at, Text: "m", Attrs: []logbridge.Attr{{Key: "k", Value: "v"}, {Key: "n", Value: "1.5"}}}},
		`{"time":1795229744000,"level":4,"message":{"a":1}}`:     {{Level: logbridge.LevelDebug, Time: at, Text: `{"a":1}`}},
		`{"time":"2026-11-21T02:55:44Z","level":"DBG"}`:          {{Level: logbridge.LevelDebug, Time: at}},
		`{"time":"2026-11-21T10:55:44.000+08:00","message":"x"}`: {{Level: logbridge.LevelInfo, Time: at, Text: "x"}},
		`{"time":"2026-11-21 10:55:44","message":"x"}`:           {{Level: logbridge.LevelInfo, Time: at, Text: "x"}},
		`{"time":"yesterday","level":"loud","message":"x"}`: {{Level: logbridge.LevelInfo, Text: "x",
			Attrs: []logbridge.Attr{{Key: "time_raw", Value: "yesterday"}, {Key: "level", Value: "loud"}}}},
		`{"level":"off","message":"x"}`: {{Level: logbridge.LevelInfo, Text: "x", Attrs: []logbridge.Attr{{Key: "level", Value: "off"}}}},
		`{}`:                            {info("")},
		`{"ts":1795229744,"severity":"FATAL","msg":"m","nested":{"a":[1,"x"]},"none":null}`: {{Level: logbridge.LevelError, Time: at, Text: "m",
			Attrs: []logbridge.Attr{{Key: "nested", Value: `{"a":[1,"x"]}`}, {Key: "none", Value: "null"}}}},
		`{"Timestamp":"2026-11-21T10:55:44","LVL":"trace","Message":"m"}`: {{Level: logbridge.LevelDebug, Time: at, Text: "m"}},
		`{"@timestamp":"2026-11-21T03:55:44+0100","message":"m"}`:         {{Level: logbridge.LevelInfo, Time: at, Text: "m"}},
		// Of two names for one thing the first that says something counts.
		`{"message":null,"msg":"m","message":"n","time":"soon","ts":1795229744,"timestamp":7,"level":"loud","lvl":"warn","severity":1}`: {
			{Level: logbridge.LevelWarn, Time: at, Text: "m", Attrs: []logbridge.Attr{{Key: "message", Value: "null"}, {Key: "message", Value: "n"},
				{Key: "time_raw", Value: "soon"}, {Key: "timestamp", Value: "7"}, {Key: "level", Value: "loud"}, {Key: "severity", Value: "1"}}}},
	} {
		got, err := ParseReport([]byte(in), ReportForm{}, shanghai)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
			continue
		}
		for i := range want {
			if !sameLine(got[i], want[i]) {
				t.Errorf("%q: line %d is %+v, want %+v", in, i, got[i], want[i])
			}
		}
	}
}

func TestParseReportBoundsLines(t *testing.T) {
	for name, report := range map[string]func(lines int) string{
		"text":         func(n int) string { return strings.Repeat("x\n", n) },
		"text of two":  func(n int) string { return strings.Repeat("x\n\f", n) },
		"strings":      func(n int) string { return "[" + strings.Repeat(`"x",`, n-1) + `"x"]` },
		"objects":      func(n int) string { return "[" + strings.Repeat(`{},`, n-1) + `{}]` },
		"long element": func(n int) string { return `["` + strings.Repeat(`x\n\f`, n) + `"]` },
	} {
		if lines, err := ParseReport([]byte(report(MaxLines)), ReportForm{}, nil); err != nil || len(lines) != MaxLines {
			t.Errorf("%s: %d lines, %v", name, len(lines), err)
		}
		if lines, err := ParseReport([]byte(report(MaxLines+1)), ReportForm{}, nil); !errors.Is(err, logbridge.ErrTooLarge) {
			t.Errorf("%s: one more: %d lines, %v", name, len(lines), err)
		}
	}
}

// TestTextIsNotReadAsJSON: what says that it is text stays as it is.
func TestTextIsNotReadAsJSON(t *testing.T) {
	lines, err := ParseReport([]byte(`{"message":"x"}`), ReportForm{Lines: true}, nil)
	if err != nil || len(lines) != 1 || lines[0].Text != `{"message":"x"}` {
		t.Errorf("%+v, %v", lines, err)
	}
}

func FuzzParseReport(f *testing.F) {
	add := func(payload []byte) { f.Add("", payload) }
	add([]byte("INFone\nWRNtwo\r\nplain"))
	add([]byte(`[{"time":1795229744,"level":"warn","message":"m","k":"v"},"ERRx\n\fy",{}]`))
	add([]byte(`{"ts":"2026-11-21 10:55:44","msg":"x","severity":"fatal","n":{"a":[1]}}`))
	add([]byte("[00:00:01.234,000] \x1b[1;31m<err> net_if: no route\x1b[0m\r\nI (1234) wifi: connected"))
	requests, err := recorded.DeviceRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		add(r.Content)
	}
	for _, v := range reportVectors(f) {
		f.Add(v.ContentType, v.Payload)
	}
	f.Fuzz(func(t *testing.T, contentType string, packed []byte) {
		form, err := ParseReportForm(contentType)
		if err != nil {
			if !errors.Is(err, logbridge.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		payload, err := form.Unpack(packed)
		if err != nil {
			if !errors.Is(err, logbridge.ErrInvalid) && !errors.Is(err, logbridge.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if most := form.Memory(packed); most > 0 && len(payload) > most || len(payload) > max(MaxReport, len(packed)) {
			t.Fatalf("%d bytes from %d, %d were said", len(payload), len(packed), most)
		}
		wantGoodLines(t, payload, form)
	})
}

// wantGoodLines parses a payload and wants every line to be one that can be stored, and none to be longer than what came in.
func wantGoodLines(t *testing.T, payload []byte, form ReportForm) {
	lines, err := ParseReport(payload, form, shanghai)
	if err != nil {
		if !errors.Is(err, logbridge.ErrTooLarge) || len(payload) < MaxLines {
			t.Fatal(err)
		}
		return
	}
	size := 0
	for _, l := range lines {
		if l.Level == logbridge.LevelOff || !l.Level.Valid() || !utf8.ValidString(l.Text) || !utf8.ValidString(l.Tag) {
			t.Fatalf("%+v", l)
		}
		size += len(l.Text) + len(l.Tag)
		for _, a := range l.Attrs {
			size += len(a.Key) + len(a.Value)
			if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) {
				t.Fatalf("%+v", l)
			}
		}
	}
	// A wrong byte becomes three; time_raw is ours, for each time that cannot be read, of which an object may have several.
	if most := 3*len(payload) + len(logbridge.TimeRawKey)*(len(lines)+len(payload)/len(`"ts":"",`)); size > most {
		t.Fatalf("%d bytes of text from %d", size, len(payload))
	}
}
