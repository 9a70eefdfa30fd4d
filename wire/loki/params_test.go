package loki

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestDurationsAsLoki(t *testing.T) {
	differences := map[string]string{"300y": "Loki's overflows"}
	for s, want := range readVectors(t).Durations {
		d, err := ParseDuration(s)
		got := d.String()
		if err != nil {
			got = "error"
		}
		if got != want && differences[s] == "" {
			t.Errorf("%q: %s, %v; Loki: %s", s, got, err, want)
		}
		if err != nil && !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%q: %v is of no kind", s, err)
		}
	}
	for _, s := range []string{"293y", "9223372036855775s", "99999999999999999999s", "106751d24h"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("%s: %v", s, d)
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]time.Time{
		"1700000000000000000":            time.Unix(1700000000, 0),
		"1700000000123456789":            time.Unix(1700000000, 123456789),
		"1700000000":                     time.Unix(1700000000, 0),
		"17000000001":                    time.Unix(17, 1),
		"1700000000.5":                   time.Unix(1700000000, 5e8),
		"1700000000.1239":                time.Unix(1700000000, 124e6),
		"1700000000.":                    time.Unix(1700000000, 0),
		"1700000000.9999":                time.Unix(1700000001, 0),
		"-1":                             time.Unix(-1, 0),
		"-1.5":                           time.Unix(-2, 5e8),
		"2023-11-14T22:13:20Z":           time.Unix(1700000000, 0),
		"2023-11-14T22:13:20.123456789Z": time.Unix(1700000000, 123456789),
		"2023-11-15T06:13:20.5+08:00":    time.Unix(1700000000, 5e8),
	} {
		if got, err := ParseTime(s); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "now", "1e9", "1.5e300", "NaN.", "Inf.", "99999999999999999999", "9999999999", "9223372037.0", "2023-11-14", "2023-11-14T22:13:20", "2300-01-01T00:00:00Z", "0001-01-01T00:00:00Z"} {
		if got, err := ParseTime(s); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
}

func TestParams(t *testing.T) {
	hour := noon.Add(-time.Hour)
	for query, want := range map[string]Params{
		"": {Start: hour, End: noon, Time: noon, Step: 14 * time.Second, Limit: 100, Order: logbridge.NewestFirst},
		"query=%7Ba%3D%22b%22%7D&limit=5000&direction=FORWARD&unknown=1": {Query: `{a="b"}`, Start: hour, End: noon, Time: noon,
			Step: 14 * time.Second, Limit: 5000, Order: logbridge.OldestFirst},
		"start=1795262400000000000&end=1795263300000000000&step=30&direction=backward": {Start: time.Unix(1795262400, 0), End: time.Unix(1795263300, 0),
			Time: noon, Step: 30 * time.Second, Limit: 100, Order: logbridge.NewestFirst},
		"since=5m&step=500ms": {Start: noon.Add(-5 * time.Minute), End: noon, Time: noon, Step: 500 * time.Millisecond, Limit: 100},
		"since=1d&end=2026-11-22T12:00:00Z&step=1m": {Start: noon.Add(-24 * time.Hour), End: noon.Add(24 * time.Hour), Time: noon,
			Step: time.Minute, Limit: 100},
		"end=2026-11-21T11:00:00Z&step=0.25": {Start: hour.Add(-time.Hour), End: hour, Time: noon, Step: 250 * time.Millisecond, Limit: 100},
		"time=1700000000000000000&since=1m":  {Start: noon.Add(-time.Minute), End: noon, Time: time.Unix(1700000000, 0), Step: time.Second, Limit: 100},
	} {
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseParams(form, noon)
		if err != nil || got.Query != want.Query || !got.Start.Equal(want.Start) || !got.End.Equal(want.End) || !got.Time.Equal(want.Time) ||
			got.Step != want.Step || got.Limit != want.Limit || got.Order != want.Order {
			t.Errorf("%s: %+v, %v; want %+v", query, got, err, want)
		}
	}
}

func TestParamsRefused(t *testing.T) {
	for query, part := range map[string]string{
		"start=yesterday":                 `start is "yesterday", and should be nanoseconds`,
		"end=x":                           "end is",
		"time=x":                          "time is",
		"since=x":                         "since is",
		"since=-1h":                       "since is",
		"limit=0":                         "limit is",
		"limit=-5":                        "limit is",
		"limit=x":                         "limit is",
		"limit=99999999999999999999":      "limit is",
		"direction=up":                    "direction is",
		"step=0":                          "step is",
		"step=-1":                         "step is",
		"step=NaN":                        "step is",
		"step=1e300":                      "step is",
		"step=x":                          "step is",
		"start=2000000000&end=1000000000": "the end is before the start",
	} {
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := ParseParams(form, noon); !errors.Is(err, logbridge.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %+v, %v", query, p, err)
		}
	}
}

func FuzzTimes(f *testing.F) {
	for _, s := range []string{"1700000000000000000", "1700000000", "1700000000.5", "2023-11-14T22:13:20.5+08:00", "1h30m", "1y2w", "10ms", "-1.5", "9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := ParseTime(s); err == nil {
			if again, err := ParseTime(at.Format(time.RFC3339Nano)); err != nil || !again.Equal(at) {
				t.Fatalf("%q: %v, then %v, %v", s, at, again, err)
			}
			if !time.Unix(0, at.UnixNano()).Equal(at) {
				t.Fatalf("%q: %v is beyond nanoseconds", s, at)
			}
		}
		d, err := parseQuantity(s)
		if err != nil {
			return
		}
		if again, err := parseQuantity(formatDuration(d)); err != nil || again != d {
			t.Fatalf("%q: %v is written %s, which is %v, %v", s, d, formatDuration(d), again, err)
		}
	})
}

func FuzzBytes(f *testing.F) {
	f.Add("1KB")
	f.Add("1.5 MiB")
	f.Add("1,024")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseBytes(s)
		if err != nil {
			return
		}
		if again, err := parseBytes(formatBytes(n)); err != nil || again != n {
			t.Fatalf("%q: %d is written %s, which is %d, %v", s, n, formatBytes(n), again, err)
		}
	})
}
