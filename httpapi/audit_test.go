package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// audited gives the audit records but those of levels, each in one line: action, actor, target, outcome, before, after, reason.
func (w *world) audited() []string {
	w.t.Helper()
	var out []string
	for _, r := range w.records(logbridge.Query{Stream: logbridge.AuditStream}) {
		if action := attr(r, "action"); strings.Contains(action, ".") {
			continue
		}
		var text []string
		for _, key := range []string{"action", "actor", "target", "outcome", "before", "after", "reason"} {
			if v := attr(r, key); v != "<none>" {
				text = append(text, v)
			} else {
				text = append(text, "-")
			}
		}
		out = append(out, strings.Join(text, " "))
	}
	return out
}

// TestEveryChangeIsRecorded makes changes of every kind, and looks at what the audit stream says of each.
func TestEveryChangeIsRecorded(t *testing.T) {
	w := start(t)
	const secret = "PRODUCTSECRET0123456789A"
	steps := []struct{ method, path, body, want string }{
		{"PUT", "/products/NEWPROD123?reason=ticket+7", `{"secret":"` + secret + `"}`,
			`put-product admin products/NEWPROD123 done - {"allow_register":false,"has_secret":true,"id":"NEWPROD123","level":"error","quota":{},"secret":"new","time_zone":""} ticket 7`},
		{"PUT", "/products/NEWPROD123", `{"secret":"` + secret + `"}`, ``},
		{"PUT", "/products/NEWPROD123", `{"secret":"` + secret + `B","time_zone":"Europe/Berlin"}`,
			`put-product admin products/NEWPROD123 done {"time_zone":""} {"secret":"new","time_zone":"Europe/Berlin"} -`},
		{"PUT", "/products/NEWPROD123/devices/d1", `{"tags":{"a":"1"}}`, `put-device admin products/NEWPROD123/devices/d1 done - {"has_psk":true,"psk":"new","tags":{"a":"1"}} -`},
		{"PUT", "/products/NEWPROD123/devices/d1", `{"tags":{"a":"2"}}`, `put-device admin products/NEWPROD123/devices/d1 done {"tags":{"a":"1"}} {"tags":{"a":"2"}} -`},
		{"DELETE", "/products/NEWPROD123/devices/d1?reason=gone", ``, `delete-device admin products/NEWPROD123/devices/d1 done {"has_psk":true,"tags":{"a":"2"}} - gone`},
		{"DELETE", "/products/NEWPROD123/devices/d1", ``, ``}, // it is not there
		{"DELETE", "/products/NEWPROD123", ``, `delete-product admin products/NEWPROD123 done {"allow_register":false,"has_secret":true,"id":"NEWPROD123","level":"error","quota":{},"time_zone":"Europe/Berlin"} - -`},
		{"PUT", "/sls/shop", `{"hosts":["shop.example.com"]}`, `put-sls-project admin sls/shop done - {"hosts":["shop.example.com"],"project":"shop"} -`},
		{"PUT", "/sls/shop/logstores/web", `{"web_tracking":true}`, `put-logstore admin sls/shop/logstores/web done - {"limits":{},"logstore":"web","origins":[],"privacy":{},"web_tracking":true,"write_token_count":0} -`},
		{"PUT", "/sls/shop/logstores/web", `{"origins":["nonsense"]}`, ``}, // refused as wrong: nothing is changed
		{"PUT", "/sls/shop/logstores/web", `{"web_tracking":false}`, `put-logstore admin sls/shop/logstores/web done {"web_tracking":true} {"web_tracking":false} -`},
		{"PUT", "/sls/shop/access-keys/LTAIx", `{"secret":"` + secret + `"}`, `put-access-key admin sls/shop/access-keys/LTAIx done - {"id":"LTAIx","secret":"new"} -`},
		{"PUT", "/sls/shop/access-keys/LTAIx", `{"secret":"` + secret + `2"}`, `put-access-key admin sls/shop/access-keys/LTAIx done {} {"secret":"new"} -`},
		{"DELETE", "/sls/shop/access-keys/LTAIx", ``, `delete-access-key admin sls/shop/access-keys/LTAIx done {"id":"LTAIx"} - -`},
		{"POST", "/sts", `{"project":"shop","logstore":"web"}`, `create-temporary-key admin sls/shop/logstores/web/temporary-keys/`},
		{"DELETE", "/sls/shop/logstores/web", ``, `delete-logstore admin sls/shop/logstores/web done {"limits":{},"logstore":"web","origins":[],"privacy":{},"web_tracking":false,"write_token_count":0} - -`},
		{"DELETE", "/sls/shop", ``, `delete-sls-project admin sls/shop done {"hosts":["shop.example.com"],"project":"shop"} - -`},
		{"PUT", "/cls/topic-9", `{}`, `put-cls-topic admin cls/topic-9 done - {"anonymous_write":false,"limits":{},"origins":[],"privacy":{},"topic":"topic-9","write_token_count":0} -`},
		{"PUT", "/cls/topic-9/access-keys/AKID", `{}`, `put-topic-key admin cls/topic-9/access-keys/AKID done - {"id":"AKID","secret":"new"} -`},
		{"DELETE", "/cls/topic-9/access-keys/AKID", ``, `delete-topic-key admin cls/topic-9/access-keys/AKID done {"id":"AKID"} - -`},
		{"DELETE", "/cls/topic-9", ``, `delete-cls-topic admin cls/topic-9 done {"anonymous_write":false,"limits":{},"origins":[],"privacy":{},"topic":"topic-9","write_token_count":0} - -`},
		{"POST", "/products/ABCDE12345/devices/dev_01/login", ``, `login-device admin products/ABCDE12345/devices/dev_01/login done - {"expires_at":`},
		{"POST", "/tokens", `{"name":"x","role":"viewer","scope":["cls/topic-1"]}`, `create-token admin tokens/`},
		{"DELETE", "/logs?device=dev_01&product=ABCDE12345&reason=asked+for", ``, `erase-logs admin device/ABCDE12345/dev_01 done {"records":0} - asked for`},
		{"POST", "/session", `{"token":"` + adminToken + `"}`, `create-session admin session done - - -`},
	}
	seen := len(w.audited())
	var secrets []string
	for _, s := range steps {
		a := w.send(s.method, apiPath+s.path, s.body, "Authorization", "Bearer "+adminToken)
		var made map[string]any
		_ = json.Unmarshal([]byte(a.body), &made)
		for _, name := range []string{"psk", "secret", "token", "AccessKeySecret", "SecurityToken", "password"} {
			if v, ok := made[name].(string); ok {
				secrets = append(secrets, v)
			}
		}
		got := w.audited()[seen:]
		seen += len(got)
		if want := s.want; want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)) {
			t.Errorf("%s %s %s\n got %q\nwant %q (%d %s)", s.method, s.path, s.body, got, want, a.StatusCode, a.body)
		}
	}
	all := fmt.Sprint(w.records(logbridge.Query{Stream: logbridge.AuditStream}))
	if len(secrets) < 6 {
		t.Errorf("%d secrets", len(secrets))
	}
	for _, s := range append(secrets, secret, adminToken) {
		if strings.Contains(all, s) {
			t.Errorf("%q is in the audit stream", s)
		}
	}
	if !strings.Contains(all, "sls/shop/logstores/web created by admin") || !strings.Contains(all, "{address 127.0.0.1}") {
		t.Errorf("%s", all)
	}
}

// TestRefusedChangesAreRecorded: those for role or scope, and no others.
func TestRefusedChangesAreRecorded(t *testing.T) {
	w := start(t)
	viewer, _ := w.issue(logbridge.RoleViewer)
	operator, _ := w.issue(logbridge.RoleOperator, "cls/topic-1")
	for _, row := range []struct{ token, method, path, body string }{
		{viewer, "PUT", "/cls/topic-1", `{}`}, {operator, "PUT", "/sls/myproj/logstores/mystore", `{}`},
		{operator, "POST", "/sts", `{"project":"myproj","logstore":"mystore"}`}, {operator, "POST", "/tokens", `{"name":"x","role":"viewer"}`},
		{viewer, "GET", "/tokens", ``}, {"nonsense", "PUT", "/cls/topic-1", `{}`}, {operator, "GET", "/sls/myproj", ``},
	} {
		w.send(row.method, apiPath+row.path, row.body, "Authorization", "Bearer "+row.token, reasonHeader, "to try")
	}
	want := []string{
		"put-cls-topic t-viewer cls/topic-1 refused - - to try",
		"put-logstore t-operator sls/myproj/logstores/mystore refused - - to try",
		"create-temporary-key t-operator sts refused - - to try",
		"create-token t-operator tokens refused - - to try",
	}
	if got := w.audited(); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestAuditFailuresAreCounted: a change whose record cannot be stored is done all the same.
func TestAuditFailuresAreCounted(t *testing.T) {
	var bad *faulty
	w := start(t, func(_ *Config, d *Deps) {
		bad = &faulty{Log: d.Log}
		d.Log = bad
	})
	bad.set(logbridge.ErrUnavailable, false)
	if status, v := w.call("PUT", "/cls/topic-1", `{"anonymous_write":false}`); status != 200 {
		t.Errorf("%d %v", status, v)
	}
	if n := w.AuditFailures(); n != 1 {
		t.Errorf("%d failures", n)
	}
	// What is not known to be done is recorded as such.
	bad.set(nil, false)
	w.deps.Topics = brokenTopics{w.deps.Topics}
	if status, _ := w.call("PUT", "/cls/topic-1", `{"anonymous_write":true}`); status != 503 {
		t.Error(status)
	}
	if got := w.audited(); len(got) != 1 || !strings.HasPrefix(got[0], "put-cls-topic admin cls/topic-1 failed") {
		t.Errorf("%q", got)
	}
}

// brokenTopics cannot say whether a topic is stored.
type brokenTopics struct{ Topics }

func (brokenTopics) PutCLSTopic(context.Context, logbridge.CLSTopic) error {
	return fmt.Errorf("%w: no answer", logbridge.ErrUnavailable)
}

// TestAuditCannotBeWritten tries to write into the stream, or as its source, over every surface that takes logs.
func TestAuditCannotBeWritten(t *testing.T) {
	w := start(t)
	ingest, _ := w.issue(logbridge.RoleIngest)
	now := strconv.FormatInt(time.Now().UnixNano(), 10)
	push := func(labels string) string {
		return `{"streams":[{"stream":` + labels + `,"values":[["` + now + `","forged"]]}]}`
	}
	export := func(namespace, service string) string {
		return `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.namespace","value":{"stringValue":"` + namespace + `"}},{"key":"service.name","value":{"stringValue":"` + service +
			`"}},{"key":"source","value":{"stringValue":"audit"}}]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"forged"}}]}]}]}`
	}
	track := `{"__topic__":"audit","__source__":"audit","__logs__":[{"stream":"audit","source":"audit","a":"forged"}]}`
	bearer := []string{"Authorization", "Bearer " + ingest, "Content-Type", "application/json"}
	stored := 0
	for _, call := range [][2]string{
		{lokiPushPath, push(`{"source":"audit"}`)}, {lokiPushPath, push(`{"service_name":"audit","source":"audit","stream":"audit"}`)},
		{lokiPushPath, push(`{"service_name":"../audit"}`)}, {lokiPushPath, push(`{"service_namespace":"audit","service_name":""}`)},
		{"/v1/logs", export("", "audit")}, {"/v1/logs", export("audit", "")}, {"/v1/logs", export("..", "../audit")},
		{"/sls/myproj/logstores/mystore/track?APIVersion=0.6.0", track}, {"/logstores/audit/track?APIVersion=0.6.0", track}, {"/sls/audit/logstores/audit/track?APIVersion=0.6.0", track},
		{"/tracklog?topic_id=audit", track}, {"/tracklog?topic_id=topic-1", `{"logs":[{"contents":{"stream":"audit","a":"forged"},"time":1}],"source":"audit"}`},
		{"/cls/tracklog?topic_id=../audit", track},
	} {
		if a := w.send("POST", call[0], call[1], bearer...); a.StatusCode < 300 {
			stored++
		}
	}
	if stored < 5 {
		t.Errorf("only %d uploads were taken: this tries nothing", stored)
	}
	for _, method := range []string{"POST", "PUT", "PATCH"} { // nor is there a call for it
		if a := w.send(method, apiPath+"/logs", `{"stream":"audit"}`, "Authorization", "Bearer "+adminToken); a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s /logs: %d", method, a.StatusCode)
		}
	}
	for _, q := range []logbridge.Query{{Stream: logbridge.AuditStream}, {Sources: logbridge.SourcesOf(logbridge.SourceAudit)}} {
		for _, r := range w.records(q) {
			t.Errorf("written: %+v", r)
		}
	}
	// Nor may a store be called so that its streams look like it.
	if status, _ := w.call("PUT", "/cls/audit", `{}`); status != 200 {
		t.Error(status)
	}
	if got := w.records(logbridge.Query{Stream: logbridge.AuditStream, Contains: "forged"}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}
