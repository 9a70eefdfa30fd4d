package tencent

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

var shanghai = time.FixedZone("UTC+8", 8*60*60)

func TestParseLine(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 55, 44, 0, shanghai)
	raw := func(s string) []logbridge.Attr { return []logbridge.Attr{{Key: "time_raw", Value: s}} }
	for in, want := range map[string]Line{
		"INFmqtt connect success.": {Level: logbridge.LevelInfo, Text: "mqtt connect success."},
		"INF|2026-11-21 10:55:44|mqtt_sample.c|func(74): text": {
			Level: logbridge.LevelInfo, Time: at, Tag: "mqtt_sample.c", Text: "func(74): text"},
		"DBG|2026-11-21 10:55:44|a.c|f(1): topicName=x|packet_id=1|payload={}": {
			Level: logbridge.LevelDebug, Time: at, Tag: "a.c", Text: "f(1): topicName=x|packet_id=1|payload={}"},
		"ERR|2026-11-21 10:55:44|no tag, as ESP": {Level: logbridge.LevelError, Time: at, Text: "no tag, as ESP"},
		"WRN|2026-11-21 10:55:44|TAG1|":          {Level: logbridge.LevelWarn, Time: at, Tag: "TAG1"},
		"WRN|2026-11-21 10:55:44||x|y":           {Level: logbridge.LevelWarn, Time: at, Text: "x|y"},
		"WRN|2026-13-41 10:55:44|TAG1|x":         {Level: logbridge.LevelWarn, Tag: "TAG1", Text: "x", Attrs: raw("2026-13-41 10:55:44")},
		"WRN|1795258418|TAG1|x":                  {Level: logbridge.LevelWarn, Tag: "TAG1", Text: "x", Attrs: raw("1795258418")},
		"WRN||TAG1|x":                            {Level: logbridge.LevelWarn, Tag: "TAG1", Text: "x"},
		"WRN|temperature|high":                   {Level: logbridge.LevelWarn, Text: "temperature|high"},
		"WRN|text":                               {Level: logbridge.LevelWarn, Text: "text"},
		"WRN|":                                   {Level: logbridge.LevelWarn},
		"WRN":                                    {Level: logbridge.LevelWarn},
		"ERROR: disk full":                       {Level: logbridge.LevelError, Text: "ERROR: disk full"},
		"INFO":                                   {Level: logbridge.LevelInfo, Text: "INFO"},
		"INFOrmal":                               {Level: logbridge.LevelInfo, Text: "Ormal"},
		"DIS|2026-11-21 10:55:44|a.c|x":          {Level: logbridge.LevelInfo, Text: "DIS|2026-11-21 10:55:44|a.c|x"},
		"wrn|x":                                  {Level: logbridge.LevelInfo, Text: "wrn|x"},
		"plain":                                  {Level: logbridge.LevelInfo, Text: "plain"},
		"":                                       {Level: logbridge.LevelInfo},
	} {
		if got := ParseLine(in, shanghai); !sameLine(got, want) {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
	if got := ParseLine("INF|2026-11-21 10:55:44|a|b", nil); !got.Time.Equal(time.Date(2026, 11, 21, 10, 55, 44, 0, time.UTC)) {
		t.Errorf("without a zone: %v", got.Time)
	}
}

func sameLine(a, b Line) bool {
	equal := a.Time.Equal(b.Time)
	a.Time, b.Time = time.Time{}, time.Time{}
	a.timeText, b.timeText = "", "" // TestRecords
	return equal && reflect.DeepEqual(a, b)
}

func TestFormatLine(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 55, 44, 0, shanghai)
	for want, line := range map[string]Line{
		"INF|2026-11-21 10:55:44|main.c|text": {Level: logbridge.LevelInfo, Time: at, Tag: "main.c", Text: "text"},
		"ERR|2026-11-21 10:55:44||text":       {Level: logbridge.LevelError, Time: at, Text: "text"},
		"WRNtext":                             {Level: logbridge.LevelWarn, Text: "text"},
		"DBG||tag|text":                       {Level: logbridge.LevelDebug, Tag: "tag", Text: "text"},
		"INF|||O text":                        {Level: logbridge.LevelInfo, Text: "O text"}, // not the word INFO
	} {
		got := FormatLine(line)
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if back := ParseLine(got, shanghai); !sameLine(back, line) {
			t.Errorf("%q comes back as %+v", got, back)
		}
	}
}

func TestSplitLines(t *testing.T) {
	for in, want := range map[string][]string{
		"":                     nil,
		"\n\f":                 nil,
		"one":                  {"one"},
		"one\n\ftwo\n\f":       {"one", "two"},
		"\n\fone\n\f\n\ftwo\n": {"one", "two"},
		"trace\n  at x\n\ftwo": {"trace\n  at x", "two"},
		"one\r\n\f":            {"one"},
	} {
		got := SplitLines(in)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		for _, line := range got {
			if again := SplitLines(line); len(again) != 1 || again[0] != line {
				t.Errorf("splitting %q again gives %q", line, again)
			}
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("INFmqtt connect success.")
	f.Add("INF|||O text")
	f.Add("WRN|2026-13-41 10:55:44|TAG1|x")
	requests, err := recorded.DeviceRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		if u, err := ParseUpload(r.Content); err == nil {
			for _, m := range u.Messages {
				f.Add(m)
			}
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := ParseLine(s, shanghai)
		if line.Level == logbridge.LevelOff || !line.Level.Valid() || len(line.Text)+len(line.Tag) > len(s) {
			t.Fatalf("%+v", line)
		}
		if back := ParseLine(FormatLine(line), shanghai); !sameLine(back, line) {
			t.Fatalf("%+v\nis written %q\nand comes back as %+v", line, FormatLine(line), back)
		}
		for _, part := range SplitLines(s) {
			if strings.Contains(part, lineEnd) || part == "" {
				t.Fatalf("part %q", part)
			}
		}
	})
}
