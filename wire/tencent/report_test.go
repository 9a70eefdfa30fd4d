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
	} {
		got, err := ParseReport([]byte(in), shanghai)
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
		if lines, err := ParseReport([]byte(report(MaxLines)), nil); err != nil || len(lines) != MaxLines {
			t.Errorf("%s: %d lines, %v", name, len(lines), err)
		}
		if lines, err := ParseReport([]byte(report(MaxLines+1)), nil); !errors.Is(err, logbridge.ErrTooLarge) {
			t.Errorf("%s: one more: %d lines, %v", name, len(lines), err)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte("INFone\nWRNtwo\r\nplain"))
	f.Add([]byte(`[{"time":1795229744,"level":"warn","message":"m","k":"v"},"ERRx\n\fy",{}]`))
	f.Add([]byte(`{"time":"2026-11-21 10:55:44","message":"x"}`))
	requests, err := recorded.DeviceRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		f.Add(r.Content)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		lines, err := ParseReport(payload, shanghai)
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
		if most := 3*len(payload) + len(logbridge.TimeRawKey)*len(lines); size > most {
			t.Fatalf("%d bytes of text from %d", size, len(payload))
		}
	})
}
