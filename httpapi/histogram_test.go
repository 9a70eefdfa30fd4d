package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// histogram queries as admin.
func (w *world) histogram(query string) histogramView {
	w.t.Helper()
	a := w.send("GET", apiPath+"/logs/histogram?"+query, "", "Authorization", "Bearer "+adminToken)
	var v histogramView
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.StatusCode != 200 {
		w.t.Fatalf("%s: %d %s %v", query, a.StatusCode, a.body, err)
	}
	return v
}

func TestHistogram(t *testing.T) {
	w := start(t)
	now := time.Now()
	w.store(
		record("device/ABCDE12345/dev_01", "mqtt", 1, 50*time.Minute, "disk full"),
		record("device/ABCDE12345/dev_02", "reportlog", 3, 50*time.Minute, "hello"),
		record("device/ABCDE12345/dev_02", "reportlog", 1, 10*time.Minute, "hello"),
		record("sls/myproj/mystore", "sls", 3, 10*time.Minute, "", logbridge.Attr{Key: "event", Value: "click"}),
		record("sls/myproj/mystore", "sls", 3, 3*time.Hour, "", logbridge.Attr{Key: "event", Value: "click"}),
	)
	for _, row := range []struct{ query, want string }{
		{"by=level&step=0", "error=2 info=2"},
		{"by=level&step=0&since=4h", "error=2 info=3"},
		{"by=source&step=0", "mqtt=1 reportlog=2 sls=1"},
		{"by=product&step=0", "=1 ABCDE12345=3"},
		{"by=stream&step=0&level=error", "device/ABCDE12345/dev_01=1 device/ABCDE12345/dev_02=1"},
		{"by=field.event&step=0", "=3 click=1"},
		{"step=0&q=hello", "=2"},
		{"step=0&device=dev_0*", "=3"},
		{"step=0&field.event=click&since=4h&until=1h", "=1"},
		{"step=0&q=nothing", ""},
	} {
		v := w.histogram(row.query)
		got, total := "", uint64(0)
		for _, b := range v.Buckets {
			got += fmt.Sprintf(" %s=%d", b.Value, b.Records)
			total += b.Records
			if !b.Time.Equal(v.Since) {
				t.Errorf("%s: a bucket at %s", row.query, b.Time)
			}
		}
		if strings.TrimSpace(got) != row.want || v.Total != total || v.Step != "0s" {
			t.Errorf("%s: %q of %d by %s, want %q", row.query, got, v.Total, v.Step, row.want)
		}
	}
	v := w.histogram("by=level")
	if len(v.Buckets) != 4 || v.Step != "1m0s" || v.By != "level" || v.Total != 4 {
		t.Errorf("%+v", v)
	}
	for i, age := range []time.Duration{50 * time.Minute, 50 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		if i < len(v.Buckets) && !v.Buckets[i].Time.Equal(now.Add(-age).Truncate(time.Minute)) {
			t.Errorf("bar %d at %s, want %s ago", i, v.Buckets[i].Time, age)
		}
	}
	if v = w.histogram("step=30m&since=" + url.QueryEscape(now.Add(-time.Hour).Format(time.RFC3339Nano))); v.Step != "30m0s" || v.Total != 4 {
		t.Errorf("%+v", v)
	}
}

func TestHistogramRefusals(t *testing.T) {
	w := start(t)
	for query, want := range map[string]string{
		"by=nothing":         "parameter by",
		"by=field.":          "parameter by",
		"by=level&by=source": "more than once",
		"step=soon":          "parameter step",
		"step=-1s":           "parameter step",
		"step=1ns":           "parameter step",
		"step=1ms":           "more than 10080 bars",
		"since=30d":          "parameter since",
		"limit=3":            `no parameter \"limit\"`,
		"follow=true":        `no parameter \"follow\"`,
		"wrong=1":            `no parameter \"wrong\"`,
		"level=loud":         "parameter level",
	} {
		a := w.send("GET", apiPath+"/logs/histogram?"+query, "", "Authorization", "Bearer "+adminToken)
		checkProblem(t, query, a, 400, "invalid")
		if !strings.Contains(a.body, want) {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	if a := w.send("GET", apiPath+"/logs/histogram", ""); a.StatusCode != 401 {
		t.Errorf("without a token: %d", a.StatusCode)
	}
}

func TestUsualStep(t *testing.T) {
	for all, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Second, 0: time.Second, time.Minute: time.Second, time.Hour: time.Minute, 6 * time.Hour: 10 * time.Minute,
		24 * time.Hour: 30 * time.Minute, 7 * 24 * time.Hour: 3 * time.Hour, 30 * 24 * time.Hour: 12 * time.Hour, 365 * 24 * time.Hour: 7 * 24 * time.Hour,
	} {
		if got := usualStep(all); got != want {
			t.Errorf("%s in bars of %s, want %s", all, got, want)
		}
	}
}
