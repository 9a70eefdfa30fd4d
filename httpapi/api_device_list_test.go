package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestDeviceActivity: what the lines of devices tell is in the list, which finds the devices that shout.
func TestDeviceActivity(t *testing.T) {
	w := start(t)
	const psk = "c2VjcmV0"
	check(t, w.reg.PutProduct(t.Context(), logbridge.Product{ID: "AAAAA12345"}))
	lines := map[string]int{"loud": 40, "quiet": 2, "silent": 0, "wrong": 1}
	for name, n := range lines {
		id := logbridge.DeviceID{Product: "AAAAA12345", Device: name}
		check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: psk}))
		behind := 2 * time.Second
		if name == "wrong" {
			behind = -time.Hour
		}
		at := time.Now().Add(-behind).UTC().Format(time.DateTime)
		var messages []string
		for i := range n {
			messages = append(messages, fmt.Sprintf("ERR|%s|main.c|line %d of %s", at, i, name))
		}
		if n > 0 {
			if code := checkDeviceAnswer(t, w.raw(signedUpload(t, id, psk, name, messages...))); code != "" {
				t.Fatal(name, code)
			}
		}
	}
	if code := checkDeviceAnswer(t, w.raw(signedUpload(t, logbridge.DeviceID{Product: "AAAAA12345", Device: "quiet"}, "d3Jvbmc=", "n", "ERRa", "ERRb"))); code == "" {
		t.Error("a wrong signature was taken")
	}
	_, d := w.call("GET", "/products/AAAAA12345/devices/loud", "")
	if skew := d["clock_skew_ms"].(float64); d["lines_per_minute"].(float64) < 35 || skew < 1000 || skew > 60_000 || text(d, "last_line") == "<nil>" || text(d, "dropped") != "0" {
		t.Errorf("loud: %v", d)
	}
	_, d = w.call("GET", "/products/AAAAA12345/devices/silent", "")
	if d["clock_skew_ms"] != nil || d["last_line"] != nil || text(d, "lines_per_minute") != "0" {
		t.Errorf("silent: %v", d)
	}
	for _, row := range []struct{ query, want string }{
		{"sort=lines", "loud quiet wrong"}, {"sort=lines&limit=1", "loud"}, {"sort=lines&q=u&product=AAAAA12345", "loud quiet"},
		{"sort=skew&limit=1", "wrong"}, {"sort=dropped", "quiet"}, {"product=AAAAA12345", "loud quiet silent wrong"}, {"sort=lines&state=asked", ""},
	} {
		_, page := w.call("GET", "/devices?"+row.query, "")
		var names []string
		for _, d := range page["devices"].([]any) {
			names = append(names, text(d.(map[string]any), "device"))
		}
		if got := strings.Join(names, " "); got != row.want || page["next_cursor"] != nil {
			t.Errorf("%s: %s (%v), want %s", row.query, got, page["next_cursor"], row.want)
		}
	}
	_, page := w.call("GET", "/devices?sort=dropped", "")
	if q := page["devices"].([]any)[0].(map[string]any); text(q, "refused") != "2" || text(q, "dropped") != "0" {
		t.Errorf("quiet: %v", q)
	}
}

// TestTopDevices: of many, those with the most are kept, in little room.
func TestTopDevices(t *testing.T) {
	top := topDevices{most: 3}
	for i := range 1000 {
		id := logbridge.DeviceID{Product: "AAAAA12345", Device: fmt.Sprintf("d%03d", i)}
		top.add(ranked{id, float64(i * 7919 % 1000 / 2)})
		if len(top.kept) > 2*3 {
			t.Fatalf("%d kept", len(top.kept))
		}
	}
	var got []string
	for _, r := range top.cut() {
		got = append(got, fmt.Sprint(r.id.Device, "=", r.much))
	}
	if s := strings.Join(got, " "); s != "d321=499 d642=499 d284=498" {
		t.Error(s)
	}
}

// TestDeviceTotal: the first page says how many devices a filter matches, of what the token sees.
func TestDeviceTotal(t *testing.T) {
	w := start(t)
	for i := range 30 {
		id := logbridge.DeviceID{Product: "ABCDE12345", Device: fmt.Sprintf("many-%02d", i)}
		check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: "c2VjcmV0", Tags: map[string]string{"odd": fmt.Sprint(i % 2)}}))
	}
	_, limited, err := w.reg.CreateToken(t.Context(), "part", logbridge.RoleViewer, time.Time{}, "device/ABCDE12345/dev_01", "device/ABCDE12345/many-07")
	check(t, err)
	list := func(token, query string) (total any, next string, n int) {
		t.Helper()
		a := w.send("GET", apiPath+"/devices?"+query, "", "Authorization", "Bearer "+token)
		v := decoded(t, a.body)
		next, _ = v["next_cursor"].(string)
		return v["total"], next, len(v["devices"].([]any))
	}
	for query, want := range map[string]float64{
		"": 31, "limit=7": 31, "limit=30": 31, "limit=31": 31, "product=ABCDE12345&limit=1": 31, "q=many-0": 10, "tag=odd:1&limit=3": 15, "online=true": 0, "online=false&limit=2": 31, "state=offline&q=many&limit=2": 30,
		"product=NOSUCH1234": 0, "sort=lines": 31, "sort=dropped&q=many": 30,
	} {
		if total, _, _ := list(adminToken, query); total != want {
			t.Errorf("%q: total %v, want %v", query, total, want)
		}
	}
	if total, next, n := list(limited, "limit=1"); total != 2.0 || n != 1 || next == "" {
		t.Errorf("a limited token: %v, %d shown, %q", total, n, next)
	}
	pages, seen := 0, 0
	for next, total := "", any(nil); ; pages++ {
		var n int
		if total, next, n = list(adminToken, "limit=10&cursor="+next); (total != nil) != (pages == 0) {
			t.Errorf("page %d: total %v", pages, total)
		}
		if seen += n; next == "" {
			break
		}
	}
	if seen != 31 {
		t.Errorf("%d devices on all pages", seen)
	}
}

func decoded(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	check(t, json.Unmarshal([]byte(text), &v))
	return v
}
