package tencent

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestRecords(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	received := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC) // half an hour after the clocks went from 2 to 3
	raw := func(s string) []logbridge.Attr { return []logbridge.Attr{{Key: "time_raw", Value: s}} }
	for text, want := range map[string]logbridge.Record{
		"INF|2026-03-29 03:29:59|":             {Time: received.Add(-time.Second)},
		"INF|2026-03-29 02:29:59|":             {Time: received.Add(-time.Second)}, // an hour that there is not: the device missed the change
		"INF|2026-03-29 01:29:59|":             {Time: received.Add(-time.Hour - time.Second)},
		"INF|2026-03-29 05:30:00|":             {Time: received, TimeQuality: logbridge.TimeShifted, Attributes: raw("2026-03-29 05:30:00")},
		"INF|2024-02-29 00:00:00|":             {Time: time.Date(2024, 2, 28, 23, 0, 0, 0, time.UTC)},
		"INF|2025-02-29 00:00:00|":             {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("2025-02-29 00:00:00")},
		"INF|2016-12-31 23:59:60|":             {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("2016-12-31 23:59:60")},
		"INF|0000-00-00 00:00:00|":             {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("0000-00-00 00:00:00")},
		"INF|0001-01-01 00:00:00|":             {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("0001-01-01 00:00:00")},
		"INF|9999-12-31 23:59:59|":             {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("9999-12-31 23:59:59")},
		"INF|1970-01-01 01:00:07|":             {Time: received, TimeQuality: logbridge.TimeShifted, Attributes: raw("1970-01-01 01:00:07")},
		"INF|2026-03-29 03:29:58.5|":           {Time: received.Add(-1500 * time.Millisecond)},
		"INF||":                                {Time: received, TimeQuality: logbridge.TimeReceived},
		`{"time":4102444800}`:                  {Time: received, TimeQuality: logbridge.TimeShifted, Attributes: raw("2100-01-01T00:00:00Z")},
		`{"time":1e300}`:                       {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("1e300")},
		`{"time":0}`:                           {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("0")},
		`{"time":"2100-01-01T00:00:00+01:00"}`: {Time: received, TimeQuality: logbridge.TimeShifted, Attributes: raw("2100-01-01T00:00:00+01:00")},
		`{"time":"0001-01-01T00:00:00Z"}`:      {Time: received, TimeQuality: logbridge.TimeReceived, Attributes: raw("0001-01-01T00:00:00Z")},
	} {
		lines, err := ParseReport([]byte(text), ReportForm{}, berlin)
		if err != nil || len(lines) != 1 {
			t.Fatalf("%s: %v, %v", text, lines, err)
		}
		got := Records(lines, logbridge.SourceMQTT, "device/P/d", received, time.Time{})[0]
		if !got.Time.Equal(want.Time) || got.TimeQuality != want.TimeQuality || !reflect.DeepEqual(got.Attributes, want.Attributes) {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// TestTheZeroTimeIsNoTime: year 1 in UTC, where it would be taken for a line without a time.
func TestTheZeroTimeIsNoTime(t *testing.T) {
	const text = "0001-01-01 00:00:00"
	line := ParseLine("INF|"+text+"|a.c|x", nil)
	if !line.Time.IsZero() || !reflect.DeepEqual(line.Attrs, []logbridge.Attr{{Key: "time_raw", Value: text}}) {
		t.Errorf("%+v", line)
	}
}

func TestSent(t *testing.T) {
	for timestamp, want := range map[string]time.Time{
		"1700000000": time.Unix(1700000000, 0), "-5": time.Unix(-5, 0),
		"0": {}, "0000000000": {}, "1609430400": {},
	} {
		if got, err := (Signature{Timestamp: timestamp}).Sent(); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", timestamp, got, err)
		}
	}
	for _, timestamp := range []string{"", "now", "1.5", "99999999999999999999"} {
		if got, err := (Signature{Timestamp: timestamp}).Sent(); !errors.Is(err, logbridge.ErrInvalid) || !got.IsZero() {
			t.Errorf("%q: %v, %v", timestamp, got, err)
		}
	}
}
