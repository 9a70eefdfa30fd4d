package httpapi

import (
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
