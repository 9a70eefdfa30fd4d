package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

func TestRuleCalls(t *testing.T) {
	w := start(t)
	for i := range 12 {
		site := [...]string{"lab", "hall"}[i%2]
		if status, d := w.call("PUT", fmt.Sprintf("/products/ABCDE12345/devices/dev-%02d", i), `{"tags":{"site":"`+site+`"}}`); status != 200 {
			t.Fatal(d)
		}
	}
	const body = `{"selector":{"product":"ABCDE12345","device_glob":"dev-*","tags":{"site":"lab"},"percent":100},"priority":2,"level":"debug","for":"10m","reason":"looking"`
	status, dry := w.call("POST", "/levels", body+`,"dry_run":true}`)
	if status != 200 || text(dry, "matched") != "6" || text(dry, "decides") != "6" || dry["rule"] != nil || fmt.Sprint(dry["sample"]) != "[ABCDE12345/dev-00 ABCDE12345/dev-02 ABCDE12345/dev-04 ABCDE12345/dev-06 ABCDE12345/dev-08 ABCDE12345/dev-10]" {
		t.Errorf("dry run: %d %v", status, dry)
	}
	status, made := w.call("POST", "/levels", body+"}")
	rule, _ := made["rule"].(map[string]any)
	id := text(rule, "id")
	if status != 201 || id == "" || text(made, "matched") != "6" || text(rule, "level") != "debug" || text(rule, "priority") != "2" || rule["expires_at"] == nil ||
		text(rule, "set_by") != "admin" || fmt.Sprint(made["levels"]) != "map[debug:6]" || fmt.Sprint(made["states"]) != "map[offline:6]" ||
		fmt.Sprint(rule["selector"]) != "map[device_glob:dev-* percent:100 product:ABCDE12345 tags:map[site:lab]]" {
		t.Fatalf("%d %v", status, made)
	}
	if _, d := w.call("GET", "/products/ABCDE12345/devices/dev-02", ""); text(d, "desired") != "debug" || text(d, "rule") != id || text(d, "base") != "error" {
		t.Errorf("a device of the rule: %v", d)
	}
	if status, d := w.call("PUT", "/products/ABCDE12345/devices/dev-02", `{"tags":{"site":"hall"}}`); status != 200 || text(d, "desired") != "error" || d["rule"] != nil {
		t.Errorf("tagged otherwise: %d %v", status, d)
	}
	if _, l := w.call("GET", "/levels", ""); len(l["rules"].([]any)) != 1 || len(l["levels"].([]any)) != 0 {
		t.Errorf("list: %v", l)
	}
	if status, one := w.call("GET", "/levels/"+id, ""); status != 200 || text(one, "matched") != "5" || text(one, "connected") != "0" {
		t.Errorf("one: %d %v", status, one)
	}
	if status, one := w.call("PATCH", "/levels/"+id, `{"for":"permanent","percent":0.01}`); status != 200 || text(one, "matched") != "0" || one["rule"].(map[string]any)["expires_at"] != nil {
		t.Errorf("changed: %d %v", status, one)
	}
	if status, _ := w.call("DELETE", "/levels/"+id+"?reason=done", ""); status != 204 {
		t.Errorf("cleared: %d", status)
	}
	for _, call := range []string{"GET", "PATCH", "DELETE"} {
		body := ""
		if call == "PATCH" {
			body = `{"for":"1h"}`
		}
		if status, p := w.call(call, "/levels/"+id, body); status != 404 || text(p, "code") != "not_found" {
			t.Errorf("%s of a rule that is over: %d %v", call, status, p)
		}
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	w := start(t)
	for _, row := range []struct {
		body   string
		status int
		says   string
	}{
		{`{}`, 422, "level"},
		{`{"selector":{},"level":"debug","reason":"r"}`, 400, "selector"},
		{`{"selector":{"product":"ABCDE12345","percent":0},"level":"debug","reason":"r"}`, 422, "percent"},
		{`{"selector":{"product":"ABCDE12345","percent":101},"level":"debug","reason":"r"}`, 422, "percent"},
		{`{"selector":{"product":"ABCDE12345","device_glob":"["},"level":"debug","reason":"r"}`, 400, "device_glob"},
		{`{"selector":{"product":"ABCDE12345","glob":"*"},"level":"debug","reason":"r"}`, 422, "glob"},
		{`{"selector":{"product":"NOSUCH1234"},"level":"debug","reason":"r"}`, 404, "NOSUCH1234"},
		{`{"selector":{"product":"ABCDE12345"},"level":"debug"}`, 400, "reason"},
		{`{"selector":{"product":"ABCDE12345"},"level":"debug","reason":"r","for":"25h"}`, 400, "too long"},
		{`{"selector":{"product":"ABCDE12345"},"level":"debug","reason":"r","for":"forever"}`, 400, "forever"},
	} {
		if status, p := w.call("POST", "/levels", row.body); status != row.status || !strings.Contains(fmt.Sprint(p), row.says) {
			t.Errorf("%s: %d %v", row.body, status, p)
		}
	}
}

// TestRefusalsOfTheAPIAreRecorded: those by a role, and those before the levels are asked.
func TestRefusalsOfTheAPIAreRecorded(t *testing.T) {
	w := start(t)
	_, made := w.call("POST", "/tokens", `{"name":"grafana","role":"viewer"}`)
	viewer := "Bearer " + text(made, "token")
	const rule = `{"selector":{"product":"ABCDE12345"},"level":"debug","reason":"r"}`
	for _, call := range [][3]string{{"PUT", deviceCall + "/level", `{"level":"debug","reason":"r"}`}, {"POST", "/levels", rule}} {
		if a := w.send(call[0], apiPath+call[1], call[2], "Authorization", viewer, "Content-Type", "application/json"); a.StatusCode != 403 {
			t.Errorf("%s: %d", call[1], a.StatusCode)
		}
	}
	w.call("PUT", "/products/ABCDE12345/devices/nobody/level", `{"level":"debug","reason":"r"}`)
	w.call("PUT", deviceCall+"/level", `{"level":"debug","for":"forever","reason":"r"}`)
	w.call("PUT", deviceCall+"/level", `{"level":"debug"}`)
	w.call("POST", "/levels", strings.Replace(rule, "ABCDE12345", "NOSUCH1234", 1))
	var got []string
	for _, r := range w.records(logbridge.Query{Stream: logbridge.AuditStream}) {
		if attr(r, "action") == "level.refuse" {
			got = append(got, attr(r, "actor")+" "+attr(r, "address")+" "+attr(r, "product")+" "+attr(r, "device")+": "+r.Body)
		}
	}
	want := []string{
		"grafana 127.0.0.1 ABCDE12345 dev_01: ABCDE12345/dev_01: put-device-level refused: this call needs a token of role operator or above, not viewer",
		"grafana 127.0.0.1 <none> <none>: post-level-rule refused: this call needs a token of role operator or above, not viewer",
		"admin 127.0.0.1 ABCDE12345 <none>: log level refused: not found: there is no device ABCDE12345/nobody",
		`admin 127.0.0.1 ABCDE12345 dev_01: ABCDE12345/dev_01: log level refused: for "forever" is neither a duration of at least 1s nor permanent`,
		"admin 127.0.0.1 ABCDE12345 dev_01: ABCDE12345/dev_01: log level debug refused: a change of level needs a reason",
		"admin 127.0.0.1 <none> <none>: level rule refused: not found: there is no product NOSUCH1234",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if markers := w.records(logbridge.Query{Stream: device01.Stream()}); len(markers) != 3 {
		t.Errorf("%d marker lines in the device's stream", len(markers))
	}
}
