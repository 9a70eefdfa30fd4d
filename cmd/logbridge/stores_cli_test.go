package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStoresFromTheCommandLine makes, changes, lists and deletes everything that web pages and products need, against the
// real server.
func TestStoresFromTheCommandLine(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	for _, step := range []struct{ words, want string }{
		{"product set NEWPROD123 --level warn --time-zone Asia/Shanghai --allow-register --quota-device-lines 5", "product NEWPROD123: level warn, time zone Asia/Shanghai, quota device_lines 5/s\n"},
		{"product set NEWPROD123 --no-allow-register --quota-product-bytes=-1", "product NEWPROD123: level warn, time zone Asia/Shanghai, quota device_lines 5/s, product_bytes no bound\n"},
		{"product show NEWPROD123", "product    NEWPROD123\nlevel      warn\ntime zone  Asia/Shanghai\nsecret     no\nregister   no\nquota      device_lines 5/s, product_bytes no bound\n"},
		{"level base NEWPROD123", "warn\n"},
		{"product rm NEWPROD123", "product NEWPROD123: deleted\n"},
		{"sls set shop --host logs.example.com --host 10.0.0.1", "project shop: hosts logs.example.com 10.0.0.1\n"},
		{"sls set shop", "project shop: hosts logs.example.com 10.0.0.1\n"},
		{"sls set shop --host=", "project shop: hosts -\n"},
		{"sls store set shop/web --web-tracking --origin https://a.example", "logstore shop/web: anonymous or signed writes, origins https://a.example\n"},
		{"sls store set shop/web --no-web-tracking", "logstore shop/web: signed writes, origins https://a.example\n"},
		{"sls store set shop/web --limit address_events=50 --limit store_bytes=-1 --address hashed --redact email --redact phone", "logstore shop/web: signed writes, origins https://a.example\n"},
		{"sls store set shop/web --limit address_events=0 --write-token 0123456789abcdef --opt-out event", "logstore shop/web: signed writes, origins https://a.example\n"},
		{"sls store show shop/web", "logstore      shop/web\nwrites        signed\norigins       https://a.example\nwrite tokens  1\nlimits        store_bytes=-1\naddress       hashed\nopt out       event\nredact        email phone\n"},
		{"sls key set shop/LTAIshop", "secret "},
		{"sls key set shop/LTAIshop", "access key shop/LTAIshop: registered before, and keeps its secret\n"},
		{"sls show shop", "project  shop\nhosts    -\n\nLOGSTORE  WRITES  ORIGINS\nweb       signed  https://a.example\n\nACCESS KEY\nLTAIshop\n"},
		{"sls key rm shop/LTAIshop", "access key shop/LTAIshop: deleted\n"},
		{"sls store rm shop/web", "logstore shop/web: deleted\n"},
		{"sls rm shop", "project shop: deleted\n"},
		{"cls set topic-9 --anonymous-write --origin=*", "topic topic-9: anonymous or signed writes, origins *\n"},
		{"cls key set topic-9/AKIDx", "secret "},
		{"cls key ls topic-9 -o json", `{"access_keys":[{"id":"AKIDx"}]}` + "\n"},
		{"cls key rm topic-9/AKIDx", "access key topic-9/AKIDx: deleted\n"},
		{"cls rm topic-9", "topic topic-9: deleted\n"},
		{"level set all warn --reason test", "base level of all: warn\n"},
		{"level base", "warn\n"},
	} {
		got := s.run(strings.Fields(step.words)...)
		if got != step.want && !(step.want == "secret " && strings.HasPrefix(got, step.want) && len(got) == len("secret ")+25) {
			t.Errorf("%s: %q, want %q", step.words, got, step.want)
		}
	}
	if got := s.run("status"); !strings.Contains(got, "2 registered, 0 connected") || !strings.Contains(got, "segments of") {
		t.Errorf("status:\n%s", got)
	}
	var k stsAnswer
	if err := json.Unmarshal([]byte(s.run("sts", "myproj/mystore", "--for", "15m")), &k); err != nil || k.SecurityToken == "" {
		t.Errorf("sts: %+v, %v", k, err)
	}
	if got := s.run("audit", "--grep", "base level of everyone"); !strings.HasPrefix(got, "TIME") || !strings.Contains(got, "admin") || !strings.Contains(got, "base.set") {
		t.Errorf("audit:\n%s", got)
	}
	if got := s.run("audit", "-o", "wide", "--action", "base.set"); !strings.Contains(got, "127.0.0.1") || !strings.Contains(got, "REASON") || !strings.Contains(got, "test") {
		t.Errorf("audit -o wide:\n%s", got)
	}
	var r auditRecord
	lines := strings.Split(strings.TrimSpace(s.run("audit", "-o", "json", "--actor", "admin", "--action", "base.set")), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil || r.Attributes["after"] != "warn" {
		t.Errorf("audit -o json: %+v, %v", r, err)
	}
}

func TestTablesAreColouredOnlyWhereAsked(t *testing.T) {
	rows := []productState{{ID: "ABCDE12345", Level: "error"}, {ID: "X", Level: "info", TimeZone: "Asia/\x1b[31mX"}}
	columns := []column[productState]{
		{name: "PRODUCT", value: func(p productState) string { return p.ID }},
		{name: "LEVEL", value: func(p productState) string { return p.Level }, colour: func(p productState) string { return levelColours[p.Level] }},
		{name: "ZONE", value: productState.zone},
		{name: "QUOTA", value: productState.quota, wide: true},
	}
	for _, c := range []struct{ output, color, want string }{
		{"table", "never", "PRODUCT     LEVEL  ZONE\nABCDE12345  error  UTC\nX           info   Asia/\\x1b[31mX\n"},
		{"table", "auto", "PRODUCT     LEVEL  ZONE\nABCDE12345  error  UTC\nX           info   Asia/\\x1b[31mX\n"}, // no terminal
		{"wide", "never", "PRODUCT     LEVEL  ZONE            QUOTA\nABCDE12345  error  UTC             the server's\nX           info   Asia/\\x1b[31mX  the server's\n"},
		{"table", "always", "\x1b[1mPRODUCT\x1b[0m     \x1b[1mLEVEL\x1b[0m  \x1b[1mZONE\x1b[0m\nABCDE12345  \x1b[31merror\x1b[0m  UTC\nX           info   Asia/\\x1b[31mX\n"},
	} {
		var b strings.Builder
		if err := writeTable(&b, Output{Output: c.output, Color: c.color}, rows, columns); err != nil || b.String() != c.want {
			t.Errorf("%+v: %q, %v, want %q", c, b.String(), err, c.want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{401, `{"detail":"the bearer token is not valid","code":"unauthorized"}`, "--token-file"},
		{403, `{"detail":"this call needs a token of role admin","code":"forbidden"}`, "higher role"},
	} {
		stub := newStubAPI(t, c.status, c.body)
		if code, _, stderr := cli(t, "sls", "ls", "--url", stub.url, "--token", "t"); code != exitFailure || !strings.Contains(stderr, c.want) {
			t.Errorf("%d: exit code %d, %q", c.status, code, stderr)
		}
	}
	if code, _, stderr := cli(t, "sls", "ls", "--url", "http://127.0.0.1:1", "--token", "t"); code != exitFailure || !strings.Contains(stderr, "logbridge serve") {
		t.Errorf("no server: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := cli(t, "sls", "store", "show", "no-slash"); code != exitUsage || !strings.Contains(stderr, "OWNER/NAME") {
		t.Errorf("no pair: exit code %d, %q", code, stderr)
	}
	stub := newStubAPI(t, 200, "{}")
	if code, _, stderr := cli(t, "cls", "set", "topic-1", "--limit", "nosuch=1", "--url", stub.url, "--token", "t"); code != exitUsage || !strings.Contains(stderr, "address_events") {
		t.Errorf("no such limit: exit code %d, %q", code, stderr)
	}
	if code, out, _ := cli(t, "--help"); code != exitOK || !strings.Contains(out, "Exit codes: 0 done") {
		t.Errorf("--help: exit code %d, %s", code, out)
	}
}
