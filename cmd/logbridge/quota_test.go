package main

import (
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

const quotaConfig = `
quota_device_lines: 1000
provision:
  products:
    - id: ABCDE12345
      quota: {device_lines: 1}
      devices:
        - {name: dev_01, psk: bXktMTYtYnl0ZS1rZXkhIQ==}
        - {name: dev_02, psk: bXktMTYtYnl0ZS1rZXkhIQ==}
`

// TestQuotas: what a device sends beyond its quota, by MQTT and by HTTP alike, is dropped with success, is in the ledger, and
// its stream says how much it was, also when the server ends before its time to say so.
func TestQuotas(t *testing.T) {
	home := newPlace(t, quotaConfig)
	s := home.start(anyone, anyone)
	dev := s.dial(device("dev_01"))
	lines := func(n int) []string { return strings.Split(strings.Repeat("INFline ", n), " ")[:n] }
	dev.report(lines(40)...)
	up, err := newUpload(device("dev_01"), "1", lines(500)...)
	if err == nil {
		err = up.send(http.DefaultClient, s.url())
	}
	if err != nil {
		t.Fatal(err)
	}
	dev.report(lines(300)...)
	s.dial(device("dev_02")).report(lines(60)...)

	if code := s.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, s.output())
	}
	s = home.start(anyone, anyone)
	l := s.ledger()
	wantLedgerSum(t, l)
	var dropped uint64
	for _, c := range l.Streams {
		if c.Stream == device("dev_01").Stream() {
			dropped = c.Dropped["quota"]
		}
	}
	var stored, told uint64
	for _, r := range s.records("device=dev_01") {
		if r.Attributes["action"] == "" {
			stored++
			continue
		}
		n, err := strconv.ParseUint(r.Attributes["lines"], 10, 64)
		if err != nil || r.Source != "audit" || r.Body != r.Attributes["lines"]+" lines dropped: quota" || r.Attributes["over"] != "device_lines" {
			t.Errorf("%+v", r)
		}
		told += n
	}
	mqtt, upload := l.Sources[logbridge.SourceMQTT], l.Sources[logbridge.SourceReportLog]
	// The bucket holds 60 lines, and fills by one a second, however long this takes.
	if stored < 60 || stored > 120 || stored+dropped != 840 || told != dropped || mqtt.Received != 400 || upload.Received != 500 || upload.Dropped["quota"] == 0 {
		t.Errorf("stored %d, dropped %d, told of %d\n%+v", stored, dropped, told, l.Sources)
	}
	if got := s.records("device=dev_02"); len(got) != 60 {
		t.Errorf("%d lines of another device", len(got))
	}

	// An operator lifts it, and the start after that leaves it so.
	change := func(field string) error {
		return s.operator().call(t.Context(), http.MethodPut, "/products/ABCDE12345", map[string]any{"quota": map[string]int{field: -1, "product_lines": 0}}, nil)
	}
	if err := change("device_lines"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		before := s.ledger().Sources[logbridge.SourceMQTT]
		s.dial(device("dev_01")).report(lines(300)...)
		if after := s.ledger().Sources[logbridge.SourceMQTT]; after.Stored-before.Stored != 300 {
			t.Errorf("%+v became %+v", before, after)
		}
		s.stop(syscall.SIGTERM)
		s = home.start(anyone, anyone)
	}
	if err := s.operator().call(t.Context(), http.MethodPut, "/products/ABCDE12345", map[string]any{"quota": map[string]int{"product_bytes": -2}}, nil); err == nil || !strings.Contains(err.Error(), "product_bytes") {
		t.Errorf("a quota of -2: %v", err)
	}
	if metrics := s.metrics(); !strings.Contains(metrics, "\nlogbridge_quota_devices 0\n") {
		t.Error("logbridge_quota_devices is missing")
	}
}

// TestQuotaLowersTheLevel: a device that is over its own quota is told to log errors only, and the audit stream says why.
func TestQuotaLowersTheLevel(t *testing.T) {
	config := strings.Replace(quotaConfig, "quota: {device_lines: 1}", "level: info\n      quota: {device_bytes: 1, lower_seconds: 600}", 1)
	s := newPlace(t, config).start(anyone, anyone)
	wanted := s.dial(device("dev_02"))
	wanted.ask("1") // or it would be told unasked
	wanted.hears(logbridge.LevelInfo, "1")
	s.run("level", "set", "ABCDE12345/dev_02", "debug", "--for", "5m", "--reason", "wanted")
	wanted.hears(logbridge.LevelDebug, "")
	loud := s.dial(device("dev_01"))
	loud.ask("1")
	loud.hears(logbridge.LevelInfo, "1")
	for _, d := range []*testDevice{wanted, loud} {
		d.report(strings.Repeat("x", 60), "over")
	}
	loud.hears(logbridge.LevelError, "")
	if state := s.device(device("dev_01")); state.Desired != "error" || state.SetBy != "quota" || state.Reason != "over its quota" || state.Expires == nil {
		t.Errorf("%+v", state)
	}
	if state := s.device(device("dev_02")); state.Desired != "debug" || state.SetBy == "quota" {
		t.Errorf("a device that has a level of its own: %+v", state)
	}
	// The records come after the change: one in the audit stream, one in the device's own. Each turn is a request.
	for limit := time.Now().Add(patience); len(s.records("source=audit&field.actor=quota")) != 2; {
		if time.Now().After(limit) {
			t.Fatal("the change is not recorded")
		}
	}
	for _, name := range []string{"dev_01", "dev_02"} {
		if told := s.records("field.action=quota.drop&device=" + name); len(told) != 1 || told[0].Body != "1 line dropped: quota" {
			t.Errorf("%s: %+v", name, told)
		}
	}
}
