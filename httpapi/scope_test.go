package httpapi

import (
	"bufio"
	"context"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
)

// foreign is in every name and text that is not in the scope of the tests' limited tokens.
const foreign = "foreign"

// ownScope is that of the tests' limited tokens.
var ownScope = []string{"device/ABCDE12345", "sls/myproj/mystore", "cls/topic-1", "otlp/shop/cart"}

// theirs are the names of what is not in scope, ours of what is, for the paths of calls.
var (
	theirs = map[string]string{"product": "FOREIGN123", "device": "foreign-dev", "project": "foreign-proj", "logstore": "foreign-store", "topic": "foreign-topic", "id": "foreign-key"}
	ours   = map[string]string{"product": "ABCDE12345", "device": "dev_01", "project": "myproj", "logstore": "mystore", "topic": "topic-1", "id": "LTAIown"}
)

// storeOwn stores what a limited token sees.
func (w *world) storeOwn() {
	w.store(
		record(device01.Stream(), logbridge.SourceMQTT, logbridge.LevelWarn, 10*time.Minute, "own line", logbridge.Attr{Key: "tag", Value: "main"}),
		record("sls/myproj/mystore", logbridge.SourceSLS, logbridge.LevelInfo, 9*time.Minute, "", logbridge.Attr{Key: "path", Value: "/own"}),
		record("cls/topic-1", logbridge.SourceCLS, logbridge.LevelInfo, 8*time.Minute, "", logbridge.Attr{Key: "path", Value: "/own"}),
		record("otlp/shop/cart", logbridge.SourceOTLP, logbridge.LevelError, 7*time.Minute, "own service", logbridge.Attr{Key: "job", Value: "own"}),
	)
}

// storeForeign registers and stores as much again outside of the scope: other products, projects, topics and services, and
// neighbours whose names only begin like those in scope.
func (w *world) storeForeign() {
	w.t.Helper()
	ctx := w.t.Context()
	id := logbridge.DeviceID{Product: theirs["product"], Device: theirs["device"]}
	check(w.t, w.reg.PutProduct(ctx, logbridge.Product{ID: id.Product, TimeZone: "Asia/Shanghai"}))
	check(w.t, w.reg.PutDevice(ctx, logbridge.Device{ID: id, PSK: "c2VjcmV0", Tags: map[string]string{"site": foreign}}))
	for _, project := range []string{theirs["project"], "myproj"} {
		check(w.t, w.reg.PutSLSProject(ctx, logbridge.SLSProject{Name: project, Hosts: []string{project + ".example.com"}}))
		check(w.t, w.reg.PutLogstore(ctx, logbridge.Logstore{Project: project, Name: theirs["logstore"]}))
		check(w.t, w.reg.PutAccessKey(ctx, logbridge.AccessKey{Project: project, ID: theirs["id"] + "-" + project, Secret: "s"}))
	}
	check(w.t, w.reg.PutSLSProject(ctx, logbridge.SLSProject{Name: "myproj", Hosts: []string{"127.0.0.1"}})) // as it was
	check(w.t, w.reg.PutAccessKey(ctx, logbridge.AccessKey{Project: theirs["project"], ID: theirs["id"], Secret: "s"}))
	check(w.t, w.reg.PutCLSTopic(ctx, logbridge.CLSTopic{ID: theirs["topic"]}))
	check(w.t, w.reg.PutTopicKey(ctx, logbridge.TopicKey{Topic: theirs["topic"], ID: theirs["id"], Secret: "s"}))
	if status, a := w.call("PUT", "/products/"+id.Product+"/devices/"+id.Device+"/level", `{"level":"debug","reason":"foreign"}`); status != 200 {
		w.t.Fatal(status, a)
	}
	status, a := w.call("POST", "/levels", `{"selector":{"product":"`+id.Product+`","percent":50},"level":"warn","reason":"foreign"}`)
	if status != 201 {
		w.t.Fatal(status, a)
	}
	field := logbridge.Attr{Key: "foreign_field", Value: foreign}
	for i, s := range []logbridge.Stream{id.Stream(), "device/ABCDE123456/foreign", "sls/foreign-proj/foreign-store", "sls/myproj/foreign-store", "sls/myproj/mystore-foreign",
		"cls/foreign-topic", "cls/topic-1-foreign", "otlp/shop/cart-foreign", "otlp/foreign/cart", logbridge.AuditStream} {
		source := logbridge.Sources[i%len(logbridge.Sources)]
		w.store(record(s, source, logbridge.LevelError, time.Duration(i+1)*time.Minute, "foreign line", field))
	}
	w.sink.Refuse(logbridge.SourceMQTT, id.Stream(), foreign, 3)
}

// lokiPaths are all that read, with each name that a path takes, as the router has them.
func (w *world) lokiPaths() []string {
	w.t.Helper()
	e := echo.New()
	w.routeLoki(e)
	paths := map[string]bool{}
	for _, r := range e.Routes() {
		if r.Method != http.MethodGet || strings.HasSuffix(r.Path, "/tail") || strings.HasSuffix(r.Path, "*") {
			continue // the tail has a test of its own
		}
		for _, name := range []string{"source", "service_name", "product", "device", "project", "logstore", "topic", "level", "service_namespace", "tag", "path", "foreign_field"} {
			paths[strings.Replace(r.Path, ":name", name, 1)] = true
		}
	}
	if len(paths) < 40 {
		w.t.Fatalf("%d paths", len(paths))
	}
	return slices.Sorted(maps.Keys(paths))
}

// reads asks everything that can be read, as the holder of a token, and gives the answers by what was asked.
func (w *world) reads(plain string, from, to time.Time) map[string]string {
	w.t.Helper()
	bearer := []string{"Authorization", "Bearer " + plain}
	answers := map[string]string{}
	ask := func(path string) {
		a := w.send("GET", path, "", bearer...)
		answers[path] = strconv.Itoa(a.StatusCode) + " " + a.body
	}
	params := url.Values{"since": {from.Format(time.RFC3339)}, "until": {to.Format(time.RFC3339)}}
	for path, item := range w.openAPI() {
		if item["get"] == nil || path == "/session" {
			continue
		}
		for _, query := range []string{"", params.Encode(), params.Encode() + "&by=stream", params.Encode() + "&by=source", "q=foreign", "product=FOREIGN123",
			"stream=audit", "stream=sls/myproj/foreign-store", "project=foreign-proj", "project=myproj", "topic=foreign-topic", "device=foreign*", "source=audit", "source=otlp", "limit=1"} {
			if strings.HasPrefix(path, "/logs") != (query != "") && query != "limit=1" {
				continue
			}
			if query != "" && !strings.Contains(query, "since") {
				query += "&" + params.Encode()
			}
			ask(apiPath + fill(path, ours) + "?" + query)
		}
	}
	params = url.Values{"start": {from.Format(time.RFC3339)}, "end": {to.Format(time.RFC3339)}, "step": {"60"}, "limit": {"1000"}, "targetLabels": {"service_name"}}
	for _, path := range w.lokiPaths() {
		for _, query := range []string{`{source=~".+"}`, `{source!="x"} |= "foreign"`, `{foreign_field="foreign"}`, `{project="myproj"}`, `{device=~"foreign.*"}`,
			`sum by (service_name, product) (count_over_time({source=~".+"}[30m]))`, `sum by (foreign_field) (count_over_time({source=~".+"} | json [30m]))`} {
			params.Set("query", query)
			params.Set("match[]", query)
			params.Set("time", to.Format(time.RFC3339))
			ask(path + "?" + params.Encode())
		}
	}
	return answers
}

func fill(path string, names map[string]string) string {
	for name, value := range names {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	return path
}

// TestNothingOutsideTheScopeIsRead reads everything that there is to read, by every call that the description names and every
// path of Loki's that the router has, with a limited token: once without and once with as much again outside its scope. The
// answers must be the same, to the byte: no record, no count, no label, no name.
func TestNothingOutsideTheScopeIsRead(t *testing.T) {
	w := start(t)
	w.storeOwn()
	from, to := time.Now().Add(-time.Hour).Truncate(time.Minute), time.Now().Add(time.Hour).Truncate(time.Minute)
	limited, _ := w.issue(logbridge.RoleViewer, ownScope...)
	whole, _ := w.issue(logbridge.RoleViewer)
	before, all := w.reads(limited, from, to), w.reads(whole, from, to)
	w.storeForeign()
	after, more := w.reads(limited, from, to), w.reads(whole, from, to)
	shows, same := 0, 0
	for path, answer := range before {
		if after[path] != answer {
			t.Errorf("%s\nanswered %s\nand then %s", path, answer, after[path])
		}
		if strings.Contains(strings.ToLower(strings.ReplaceAll(after[path], "foreign_field", "")), foreign) && !strings.Contains(path, foreign) {
			t.Errorf("%s: %s", path, after[path])
		}
		if more[path] != all[path] {
			shows++ // so that this test would see it
		} else {
			same++
		}
	}
	if len(before) < 300 || shows < len(before)/4 {
		t.Errorf("of %d answers %d changed for who may see all, %d did not", len(before), shows, same)
	}
	for _, path := range []string{"/products?", "/devices?", "/levels?", "/ledger?", "/sls?", "/cls?", "/sls/myproj/logstores?"} {
		if more[apiPath+path] == all[apiPath+path] || !strings.HasPrefix(after[apiPath+path], "200 ") || !strings.Contains(after[apiPath+path], "[") {
			t.Errorf("%s: %s", path, after[apiPath+path])
		}
	}
}

// callsOfNothing are the calls that change something whose path names no product and no store, each with a body that asks for
// what is not in scope. A new one must be added here, and refuse it.
var callsOfNothing = map[string]string{
	"put-level":            `{"level":"debug","reason":"x"}`,
	"post-level-rule":      `{"selector":{"product":"FOREIGN123"},"level":"debug","reason":"x","for":"1m"}`,
	"patch-level-rule":     `{"for":"1m","reason":"x"}`,
	"delete-level-rule":    ``,
	"create-temporary-key": `{"project":"foreign-proj","logstore":"foreign-store"}`,
	"create-token":         `{"name":"x","role":"viewer","scope":["device/ABCDE12345"]}`,
	"delete-token":         ``,
	"rotate-seal-key":      ``,
	"import-devices":       `{"product":"FOREIGN123","device":"foreign-dev","tags":{}}`, // answers with a line for each line
	"erase-logs":           `?stream=device/FOREIGN123/foreign-dev&reason=x`,            // it has no body
}

// TestNothingOutsideTheScopeIsChanged makes every call that the description names for what is not in scope, with limited tokens
// of each role: it is as if it were not there. Then for what is.
func TestNothingOutsideTheScopeIsChanged(t *testing.T) {
	w := start(t)
	w.storeOwn()
	w.storeForeign()
	admin, _ := w.issue(logbridge.RoleAdmin, ownScope...)
	token, _, err := w.reg.CreateToken(t.Context(), "x", logbridge.RoleViewer, time.Time{})
	check(t, err)
	rule := w.deps.Rules.Rules()[0].ID
	before := w.foreignState()
	for path, item := range w.openAPI() {
		for method, operation := range item {
			id := operation["operationId"].(string)
			body, listed := callsOfNothing[id]
			names := maps.Clone(theirs)
			switch {
			case strings.HasPrefix(path, "/levels/"):
				names["id"] = rule
			case strings.HasPrefix(path, "/tokens/"):
				names["id"] = token.ID
			case strings.ContainsAny(path, "{"):
				body = `{"level":"debug","reason":"x"}`
			case method == "get" || path == "/session":
				continue // TestNothingOutsideTheScopeIsRead
			case !listed:
				t.Errorf("%s %s (%s) has no body in callsOfNothing", method, path, id)
			}
			if query, ok := strings.CutPrefix(body, "?"); ok {
				path, body = path+"?"+query, ""
			}
			a := w.send(strings.ToUpper(method), apiPath+fill(path, names), body, "Authorization", "Bearer "+admin)
			if id == "import-devices" && strings.Contains(a.body, "scope of this token") && strings.Contains(a.body, `"bad":1`) {
				continue
			}
			if a.StatusCode != 404 && (a.StatusCode != 403 || !listed && path != "/tokens/{id}") {
				t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.body)
			}
			// What is there and what is not look the same.
			if strings.Contains(path, "{") && !strings.HasPrefix(path, "/tokens") {
				none := w.send(strings.ToUpper(method), apiPath+fill(path, map[string]string{"product": "FOREIGN999", "device": "f-none", "project": "f-none", "logstore": "f-none",
					"topic": "f-none", "id": "f-none"}), body, "Authorization", "Bearer "+admin)
				if none.StatusCode != a.StatusCode || none.body != a.body {
					t.Errorf("%s %s: %d %s if it is there, else %d %s", method, path, a.StatusCode, a.body, none.StatusCode, none.body)
				}
			}
		}
	}
	if after := w.foreignState(); after != before {
		t.Errorf("changed: %s\nwas %s", after, before)
	}
}

// lineCounts are in the answers about devices; a refusal is a line too.
var lineCounts = regexp.MustCompile(`"(stored|dropped|refused)":\d+`)

// foreignState is what is registered outside of the scope.
func (w *world) foreignState() string {
	w.t.Helper()
	var b strings.Builder
	for _, path := range []string{"/products/FOREIGN123", "/products/FOREIGN123/devices/foreign-dev", "/sls/foreign-proj", "/sls/foreign-proj/logstores", "/sls/foreign-proj/access-keys",
		"/sls/myproj", "/sls/myproj/logstores", "/sls/myproj/access-keys", "/cls", "/cls/foreign-topic/access-keys", "/levels", "/level", "/tokens"} {
		b.WriteString(w.send("GET", apiPath+path, "", "Authorization", "Bearer "+adminToken).body)
	}
	return lineCounts.ReplaceAllString(b.String(), "")
}

// TestLimitedOperator does what a limited token is for, and tries what lies at its edges.
func TestLimitedOperator(t *testing.T) {
	w := start(t)
	w.storeForeign()
	check(t, w.reg.PutSLSProject(t.Context(), logbridge.SLSProject{Name: "Foreign-Case"}))
	operator, _ := w.issue(logbridge.RoleOperator, append(slices.Clone(ownScope), "sls/whole")...)
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", deviceCall + "/level", `{"level":"debug","reason":"x","for":"permanent"}`, 200},
		{"DELETE", deviceCall + "/level?reason=x", ``, 200},
		{"PUT", "/products/ABCDE12345/level", `{"level":"warn","reason":"x"}`, 200},
		{"PUT", "/products/ABCDE12345/devices/new", `{}`, 200},
		{"DELETE", "/products/ABCDE12345/devices/new", ``, 204},
		{"PUT", "/sls/myproj/logstores/mystore", `{"web_tracking":true}`, 200},
		{"GET", "/sls/myproj", ``, 200},
		{"PUT", "/sls/myproj", `{"hosts":[]}`, 404}, // only one of its logstores is in scope
		{"GET", "/sls/myproj/access-keys", ``, 404},
		{"PUT", "/sls/whole", `{"hosts":["whole.example.com"]}`, 200},
		{"PUT", "/sls/whole", `{"hosts":["foreign-proj.example.com"]}`, 400},   // means another project by its setting
		{"PUT", "/sls/whole", `{"hosts":["foreign-proj.example.org"]}`, 400},   // and by its name
		{"PUT", "/sls/whole", `{"hosts":["[foreign-proj.example.org]"]}`, 400}, // however it is written
		{"PUT", "/sls/whole", `{"hosts":["foreign-case.example.org"]}`, 400},
		{"PUT", "/sls/whole/access-keys/own", `{}`, 200},
		{"PUT", "/sls/whole/access-keys/foreign-key", `{}`, 400},
		{"PUT", "/cls/topic-1", `{"anonymous_write":true}`, 200},
		{"POST", "/sts", `{"project":"myproj","logstore":"mystore"}`, 201},
		{"POST", "/levels", `{"selector":{"product":"ABCDE12345","percent":10},"level":"debug","reason":"x"}`, 201},
		{"POST", "/levels", `{"selector":{"product":"ABCDE12345","percent":10},"level":"debug","reason":"x","for":"permanent"}`, 403},
		{"POST", "/levels", `{"selector":{"product":"ABCDE12345","percent":20},"level":"error","reason":"x","for":"permanent"}`, 201},
		{"POST", "/levels", `{"selector":{"tags":{"site":"lab"}},"level":"debug","reason":"x","dry_run":true}`, 403},
		{"POST", "/levels", `{"selector":{"percent":10},"level":"debug","reason":"x"}`, 403},
		{"PUT", "/level", `{"level":"debug","reason":"x"}`, 403},
		{"GET", "/level", ``, 403},
		{"POST", "/tokens", `{"name":"x","role":"viewer","scope":["cls/topic-1"]}`, 403},
	} {
		a := w.send(row.method, apiPath+row.path, row.body, "Authorization", "Bearer "+operator)
		if a.StatusCode != row.status || row.status >= 400 && strings.Contains(a.body, "project foreign-proj") {
			t.Errorf("%s %s %s: %d %s, want %d", row.method, row.path, row.body, a.StatusCode, a.body, row.status)
		}
	}
	own := w.deps.Rules.Rules()
	id := own[slices.IndexFunc(own, func(r logbridge.LevelRule) bool { return r.Selector.Percent == 10 })].ID
	status, lasting := w.call("POST", "/levels", `{"selector":{"product":"ABCDE12345","percent":1},"level":"debug","reason":"x","for":"permanent"}`)
	if status != 201 {
		t.Fatal(status, lasting)
	}
	// Nor may it make one wider that an administrator has made to last.
	if a := w.send("PATCH", apiPath+"/levels/"+text(lasting, "rule", "id"), `{"percent":100,"reason":"x"}`, "Authorization", "Bearer "+operator); a.StatusCode != 403 {
		t.Errorf("a wider rule without an end: %d %s", a.StatusCode, a.body)
	}
	for _, row := range []struct {
		method, body string
		status       int
	}{{"GET", "", 200}, {"PATCH", `{"for":"5m","reason":"x"}`, 200}, {"PATCH", `{"for":"permanent","reason":"x"}`, 403}, {"DELETE", "", 204}} {
		if a := w.send(row.method, apiPath+"/levels/"+id+"?reason=x", row.body, "Authorization", "Bearer "+operator); a.StatusCode != row.status {
			t.Errorf("%s rule: %d %s", row.method, a.StatusCode, a.body)
		}
	}
}

// TestLimitedIngest: a limited token writes to streams of services in its scope only, and an upload that has others is refused
// as a whole.
func TestLimitedIngest(t *testing.T) {
	w := start(t)
	limited, _ := w.issue(logbridge.RoleIngest, "otlp/-/cart")
	push := func(services ...string) string {
		var streams []string
		for _, s := range services {
			streams = append(streams, `{"stream":{"service_name":"`+s+`"},"values":[["`+strconv.FormatInt(time.Now().UnixNano(), 10)+`","x"]]}`)
		}
		return `{"streams":[` + strings.Join(streams, ",") + `]}`
	}
	export := func(service string) string {
		return `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"` + service + `"}}]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}`
	}
	for _, row := range []struct {
		path, body string
		status     int
	}{
		{lokiPushPath, push("cart"), 204}, {lokiPushPath, push("cart", "other"), 403}, {lokiPushPath, push("cart2"), 403},
		{"/v1/logs", export("cart"), 200}, {"/v1/logs", export("other"), 403}, {"/otlp/v1/logs", export(""), 403},
	} {
		a := w.send("POST", row.path, row.body, "Authorization", "Bearer "+limited, "Content-Type", "application/json")
		if a.StatusCode != row.status {
			t.Errorf("%s %s: %d %s", row.path, row.body, a.StatusCode, a.body)
		}
	}
	for _, r := range w.records(logbridge.Query{}) {
		if r.Stream != "otlp/-/cart" {
			t.Errorf("stored %+v", r)
		}
	}
	if n := w.refused("", notInScope); n != 5 {
		t.Errorf("%d records refused for the scope", n)
	}
}

// TestFollowersSeeTheirScope: what is followed over both surfaces shows what is in scope only, and ends with the token.
func TestFollowersSeeTheirScope(t *testing.T) {
	w := startWith(t, func(s *Server) { s.tokenCheck = 20 * time.Millisecond })
	limited, id := w.issue(logbridge.RoleViewer, "device/ABCDE12345")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", w.url+apiPath+"/logs?follow=true", nil)
	check(t, err)
	cookie, _ := w.signIn(limited)
	r.Header.Set("Cookie", cookie)
	answer, err := http.DefaultClient.Do(r)
	check(t, err)
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	tail := w.followLoki(url.Values{"query": {`{source=~".+"}`}}, "Authorization", "Bearer "+limited)
	w.store(
		record("device/FOREIGN123/foreign-dev", logbridge.SourceMQTT, logbridge.LevelInfo, 0, "foreign"),
		record("audit", logbridge.SourceAudit, logbridge.LevelInfo, 0, "foreign"),
		record(device01.Stream(), logbridge.SourceMQTT, logbridge.LevelInfo, 0, "own"),
	)
	if line, err := lines.ReadString('\n'); !strings.Contains(line, `"own"`) {
		t.Errorf("%q, %v", line, err)
	}
	tail.expect("own")
	check(t, w.reg.DeleteToken(t.Context(), id))
	if end, err := lines.ReadString('\n'); end != `{"error":"the token has been revoked or has expired"}`+"\n" {
		t.Errorf("the end is %q, %v", end, err)
	}
	if _, err := tail.read(); err == nil {
		t.Error("the tail goes on")
	}
}
