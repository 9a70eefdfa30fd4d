package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

const deviceCall = "/products/ABCDE12345/devices/dev_01"

// text is the value at a path of members of a JSON answer.
func text(v map[string]any, path ...string) string {
	var at any = v
	for _, name := range path {
		m, _ := at.(map[string]any)
		at = m[name]
	}
	return fmt.Sprint(at)
}

func TestAuthMatrix(t *testing.T) {
	w := start(t)
	tokens := map[logbridge.Role]string{}
	for _, role := range []logbridge.Role{logbridge.RoleViewer, logbridge.RoleOperator, logbridge.RoleAdmin, logbridge.RoleIngest} {
		_, plain, err := w.reg.CreateToken(t.Context(), "t-"+string(role), role, time.Time{})
		check(t, err)
		tokens[role] = plain
	}
	all := map[logbridge.Role]string{logbridge.RoleViewer: "voa", logbridge.RoleOperator: "oa", logbridge.RoleAdmin: "a"}
	calls := 0
	for path, item := range w.openAPI() {
		for method, operation := range item {
			if path == "/openapi.json" || path == "/session" && method != "get" {
				continue
			}
			calls++
			role := roleOfCall(method, path)
			for who, plain := range tokens {
				a := w.send(strings.ToUpper(method), apiPath+fillPath(path), "{", "Authorization", "Bearer "+plain)
				allowed := strings.Contains(all[role], string(who[0])) && who != logbridge.RoleIngest
				if (a.StatusCode != http.StatusForbidden) != allowed {
					t.Errorf("%s %s (%v) as %s: %d %s", method, path, operation["summary"], who, a.StatusCode, a.body)
				}
			}
			for _, bad := range []string{"", "Bearer", "Bearer ", "Bearer nonsense", "Basic " + tokens["admin"], tokens["admin"]} {
				a := w.send(strings.ToUpper(method), apiPath+fillPath(path), "{", "Authorization", bad)
				if a.StatusCode != 401 || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s %s with %q: %d %v", method, path, bad, a.StatusCode, a.Header)
				}
				checkProblem(t, path, a, 401, "unauthorized")
			}
		}
	}
	if calls < 30 {
		t.Errorf("%d calls", calls)
	}
}

// openAPI fetches the document without a token and gives its paths.
func (w *world) openAPI() map[string]map[string]map[string]any {
	w.t.Helper()
	a := w.send("GET", apiPath+"/openapi.json", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]map[string]any
	}
	check(w.t, json.Unmarshal([]byte(a.body), &doc))
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		w.t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	if doc.Paths["/logs"]["get"] == nil {
		w.t.Error("GET /logs is not in the document")
	}
	return doc.Paths
}

// roleOfCall is the rule that the server is held to: viewers read, operators write all but products and tokens, and only
// administrators may be a device.
func roleOfCall(method, path string) logbridge.Role {
	switch {
	case strings.HasPrefix(path, "/tokens"), strings.HasPrefix(path, "/seal-key"), strings.HasSuffix(path, "/login"):
		return logbridge.RoleAdmin
	case method == "get":
		return logbridge.RoleViewer
	case path == "/products/{product}", path == "/level", path == "/logs": // for everyone and without an end, or without a way back
		return logbridge.RoleAdmin
	}
	return logbridge.RoleOperator
}

func fillPath(path string) string {
	return strings.NewReplacer("{product}", "NOSUCH1234", "{device}", "none", "{project}", "nope", "{logstore}", "nope",
		"{topic}", "nope", "{id}", "nope").Replace(path)
}

func checkProblem(t *testing.T, name string, a answered, status int, code string) {
	t.Helper()
	var p map[string]any
	err := json.Unmarshal([]byte(a.body), &p)
	if err != nil || a.StatusCode != status || p["code"] != code || p["status"] != float64(status) || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %d %v %s, want %d %s", name, a.StatusCode, a.Header, a.body, status, code)
	}
}

func TestAPIErrors(t *testing.T) {
	w := start(t)
	for _, row := range []struct {
		method, path, body string
		status             int
		code, says         string
	}{
		{"GET", "/nothing", "", 404, "not_found", "no such call"},
		{"PUT", "/levels", "{}", 405, "method_not_allowed", ""},
		{"POST", "/nothing", "{}", 404, "not_found", ""},
		{"POST", "/sts", "{}", 422, "invalid", "logstore"},
		{"GET", "/products/NOSUCH1234", "", 404, "not_found", "there is no product NOSUCH1234"},
		{"PUT", "/products/short", "{}", 400, "invalid", "short"},
		{"PUT", "/products/ABCDE12345", `{"levle":"error"}`, 422, "invalid", "levle"},
		{"PUT", "/products/ABCDE12345", `{"level":"loud"}`, 422, "invalid", "loud"},
		{"PUT", "/products/ABCDE12345", `{"level":`, 400, "invalid", ""},
		{"PUT", "/products/ABCDE12345", `{"time_zone":"Mars/Olympus"}`, 400, "invalid", "Mars"},
		{"PUT", "/products/NOSUCH1234/devices/d", "{}", 404, "not_found", "NOSUCH1234"},
		{"PUT", deviceCall, `{"psk":"not base64!"}`, 400, "invalid", "psk"},
		{"PUT", deviceCall, `{"psk":7,"tags":{}}`, 422, "invalid", "psk"},
		{"PUT", deviceCall, `{"psk":"` + strings.Repeat("x", maxAPIBody) + `"}`, 413, "too_large", ""},
		{"PUT", deviceCall + "/level", `{}`, 422, "invalid", "level"},
		{"PUT", deviceCall + "/level", `{"level":"debug","for":"forever"}`, 400, "invalid", "forever"},
		{"PUT", deviceCall + "/level", `{"level":"debug","for":"10ms"}`, 400, "invalid", "10ms"},
		{"PUT", "/products/ABCDE12345/devices/nobody/level", `{"level":"debug"}`, 404, "not_found", "nobody"},
		{"DELETE", "/products/ABCDE12345/devices/nobody/level", "", 404, "not_found", "nobody"},
		{"PUT", "/products/NOSUCH1234/level", `{"level":"debug"}`, 404, "not_found", ""},
		{"GET", "/devices?limit=0", "", 422, "invalid", "limit"},
		{"GET", "/devices?cursor=!!", "", 400, "invalid", "cursor"},
		{"GET", "/devices?tag=x", "", 400, "invalid", "tag"},
		{"GET", "/devices?level=loud", "", 400, "invalid", "loud"},
		{"PUT", "/sls/myproj/logstores/s1", `{"origins":["nonsense"]}`, 400, "invalid", `"detail":"origins: \"nonsense`},
		{"PUT", "/sls/nope/logstores/s1", `{}`, 404, "not_found", "nope"},
		{"GET", "/sls/nope/logstores", "", 404, "not_found", "nope"},
		{"GET", "/sls/nope/access-keys/" + keyID, "", 404, "not_found", ""},
		{"DELETE", "/sls/nope/access-keys/" + keyID, "", 404, "not_found", ""},
		{"PUT", "/cls/topic-1", `{"origins":"*"}`, 422, "invalid", "origins"},
		{"POST", "/tokens", `{"name":"x","role":"king"}`, 422, "invalid", "role"},
		{"POST", "/tokens", `{"name":"x","role":"viewer","for":"-1h"}`, 400, "invalid", "-1h"},
		{"DELETE", "/tokens/nope", "", 404, "not_found", ""},
	} {
		a := w.send(row.method, apiPath+row.path, row.body, "Authorization", "Bearer "+adminToken)
		checkProblem(t, row.method+" "+row.path+" "+row.body[:min(len(row.body), 60)], a, row.status, row.code)
		if !strings.Contains(a.body, row.says) {
			t.Errorf("%s %s: %s does not say %q", row.method, row.path, a.body, row.says)
		}
	}
	a := w.send("PUT", apiPath+deviceCall, `{"psk":"c2VjcmV0c2VjcmV0","oops":1}`, "Authorization", "Bearer "+adminToken)
	if strings.Contains(a.body, "c2VjcmV0") {
		t.Errorf("a secret came back: %s", a.body)
	}
}

func TestInternalFaultsAreHidden(t *testing.T) {
	w := start(t, func(_ *Config, d *Deps) { d.Levels = brokenLevels{d.Levels} })
	a := w.send("PUT", apiPath+"/level", `{"level":"debug"}`, "Authorization", "Bearer "+adminToken)
	checkProblem(t, "fault without a kind", a, 500, "internal")
	if strings.Contains(a.body, "inner") {
		t.Errorf("shown: %s", a.body)
	}
	a = w.send("GET", apiPath+"/level", "", "Authorization", "Bearer "+adminToken)
	checkProblem(t, "panic", a, 500, "internal")
}

// brokenLevels fails without a kind, and panics when read.
type brokenLevels struct{ Levels }

func (brokenLevels) Base(string) logbridge.Level { panic("inner") }

func TestProducts(t *testing.T) {
	w := start(t)
	status, p := w.call("PUT", "/products/NEWPROD123", `{"level":"warn","secret":"PRODUCTSECRET0123456789A","time_zone":"Europe/Berlin"}`)
	if status != 200 || text(p, "level") != "warn" || text(p, "has_secret") != "true" || text(p, "time_zone") != "Europe/Berlin" || p["secret"] != nil {
		t.Fatalf("%d %v", status, p)
	}
	if status, p = w.call("PUT", "/products/NEWPROD123", `{"level":4}`); status != 200 || text(p, "level") != "debug" || text(p, "has_secret") != "true" {
		t.Errorf("a PUT that names one member: %d %v", status, p)
	}
	if stored, err := w.reg.Product("NEWPROD123"); err != nil || stored.Secret != "PRODUCTSECRET0123456789A" || stored.TimeZone != "Europe/Berlin" {
		t.Errorf("%+v %v", stored, err)
	}
	if _, list := w.call("GET", "/products", ""); len(list["products"].([]any)) != 2 {
		t.Errorf("%v", list)
	}
	if status, _ := w.call("DELETE", "/products/NEWPROD123", ""); status != 204 {
		t.Error(status)
	}
	if status, _ := w.call("GET", "/products/NEWPROD123", ""); status != 404 {
		t.Error(status)
	}
}

func TestDevices(t *testing.T) {
	w := start(t)
	status, d := w.call("PUT", "/products/ABCDE12345/devices/dev:02", `{"tags":{"site":"x"}}`)
	psk := text(d, "psk")
	if status != 200 || len(psk) != 24 || text(d, "tags", "site") != "x" || text(d, "has_psk") != "true" || text(d, "desired") != "error" {
		t.Fatalf("%d %v", status, d)
	}
	status, d = w.call("PUT", "/products/ABCDE12345/devices/dev%3A02", `{"tags":{}}`)
	if stored, err := w.reg.Device(logbridge.DeviceID{Product: "ABCDE12345", Device: "dev:02"}); status != 200 || d["psk"] != nil || err != nil || stored.PSK != psk {
		t.Errorf("repeated PUT: %d %v, %v", status, d, err)
	}
	if status, d = w.call("PUT", "/products/ABCDE12345/devices/bare", ""); status != 200 || len(text(d, "psk")) != 24 {
		t.Errorf("PUT without a body: %d %v", status, d)
	}
	if status, d = w.call("GET", deviceCall, ""); status != 200 || text(d, "certificate") != "true" || d["psk"] != nil || text(d, "state") == "" {
		t.Errorf("%d %v", status, d)
	}
	if status, _ := w.call("DELETE", "/products/ABCDE12345/devices/dev:02", ""); status != 204 {
		t.Error(status)
	}
	if status, _ := w.call("GET", "/products/ABCDE12345/devices/dev:02", ""); status != 404 {
		t.Error(status)
	}
}

func TestDeviceListPages(t *testing.T) {
	w := start(t)
	check(t, w.reg.PutProduct(t.Context(), logbridge.Product{ID: "AAAAA12345"}))
	for i := range 25 {
		id := logbridge.DeviceID{Product: "AAAAA12345", Device: fmt.Sprintf("d%02d", i)}
		check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: id, PSK: "c2VjcmV0", Tags: map[string]string{"odd": fmt.Sprint(i % 2)}}))
	}
	if status, _ := w.call("PUT", "/products/AAAAA12345/devices/d03/level", `{"level":"debug","reason":"test"}`); status != 200 {
		t.Fatal(status)
	}
	walk := func(query string, limit int) (names []string) {
		cursor := ""
		for {
			_, page := w.call("GET", fmt.Sprintf("/devices?limit=%d&cursor=%s%s", limit, cursor, query), "")
			devices := page["devices"].([]any)
			if len(devices) > limit {
				t.Fatalf("page of %d", len(devices))
			}
			for _, d := range devices {
				names = append(names, text(d.(map[string]any), "device"))
			}
			if page["next_cursor"] == nil {
				return names
			}
			cursor = text(page, "next_cursor")
		}
	}
	for _, row := range []struct {
		query string
		limit int
		want  int
		first string
	}{
		{"", 10, 26, "d00"},
		{"", 26, 26, "d00"},
		{"", 1, 26, "d00"},
		{"&product=AAAAA12345", 7, 25, "d00"},
		{"&product=ABCDE12345", 7, 1, "dev_01"},
		{"&q=d1", 3, 10, "d10"},
		{"&tag=odd:1", 5, 12, "d01"},
		{"&tag=odd:1&tag=site:lab", 5, 0, ""},
		{"&tag=site:lab", 5, 1, "dev_01"},
		{"&level=debug", 5, 1, "d03"},
		{"&online=true", 5, 0, ""},
		{"&online=false&level=error", 5, 25, "d00"},
	} {
		got := walk(row.query, row.limit)
		if len(got) != row.want || row.want > 0 && got[0] != row.first {
			t.Errorf("%s by %d: %d devices %v, want %d from %s", row.query, row.limit, len(got), got, row.want, row.first)
		}
	}
}

func TestLevelCalls(t *testing.T) {
	w := start(t)
	status, s := w.call("PUT", deviceCall+"/level", `{"level":"debug","for":"10m","reason":"looking"}`)
	if status != 200 || text(s, "desired") != "debug" || text(s, "base") != "error" || text(s, "reason") != "looking" || s["expires_at"] == nil {
		t.Fatalf("%d %v", status, s)
	}
	until, err := time.Parse(time.RFC3339, text(s, "expires_at"))
	if d := time.Until(until); err != nil || d < 9*time.Minute || d > 10*time.Minute {
		t.Errorf("expires at %v (%v)", s["expires_at"], err)
	}
	if _, d := w.call("GET", deviceCall, ""); text(d, "desired") != "debug" {
		t.Errorf("%v", d)
	}
	_, l := w.call("GET", "/levels", "")
	if list := l["levels"].([]any); len(list) != 1 || text(list[0].(map[string]any), "device") != "dev_01" || text(list[0].(map[string]any), "desired") != "debug" {
		t.Errorf("%v", l)
	}
	if status, s = w.call("PUT", deviceCall+"/level", `{"level":"warn","for":"permanent","reason":"test"}`); status != 200 || s["expires_at"] != nil || text(s, "desired") != "warn" {
		t.Errorf("permanent: %d %v", status, s)
	}
	for range 2 { // clearing is idempotent
		if status, s = w.call("DELETE", deviceCall+"/level?reason=done", ""); status != 200 || text(s, "desired") != "error" {
			t.Errorf("%d %v", status, s)
		}
	}
	if status, s = w.call("PUT", "/products/ABCDE12345/level", `{"level":"info"}`); status != 200 || text(s, "level") != "info" {
		t.Errorf("%d %v", status, s)
	}
	if status, s = w.call("PUT", "/level", `{"level":2,"reason":"quiet"}`); status != 200 || text(s, "level") != "warn" {
		t.Errorf("%d %v", status, s)
	}
	if _, s = w.call("GET", "/products/ABCDE12345/level", ""); text(s, "level") != "info" {
		t.Errorf("%v", s)
	}
	if _, s = w.call("GET", "/level", ""); text(s, "level") != "warn" {
		t.Errorf("%v", s)
	}
	audit := w.records(logbridge.Query{Stream: logbridge.AuditStream})
	if len(audit) != 5 || attr(audit[0], "actor") != "admin" || attr(audit[0], "address") != "127.0.0.1" || attr(audit[0], "reason") != "looking" {
		t.Errorf("audit %+v", audit)
	}
}

func TestStores(t *testing.T) {
	w := start(t)
	for _, row := range []struct {
		method, path, body string
		status             int
		member, want       string
	}{
		{"PUT", "/sls/proj2", `{"hosts":["logs.example.com"]}`, 200, "hosts", "[logs.example.com]"},
		{"PUT", "/sls/proj2", ``, 200, "hosts", "[logs.example.com]"},
		{"GET", "/sls/proj2", "", 200, "project", "proj2"},
		{"PUT", "/sls/proj2/logstores/web", `{"web_tracking":true,"origins":["https://a.example"]}`, 200, "web_tracking", "true"},
		{"PUT", "/sls/proj2/logstores/web", `{"origins":["*"]}`, 200, "web_tracking", "true"},
		{"GET", "/sls/proj2/logstores/web", "", 200, "origins", "[*]"},
		{"GET", "/sls/proj2/logstores", "", 200, "logstores", "[map[limits:map[] logstore:web origins:[*] privacy:map[] web_tracking:true write_token_count:0]]"},
		{"PUT", "/sls/proj2/access-keys/LTAInew", `{"secret":"given"}`, 200, "secret", "<nil>"},
		{"PUT", "/sls/proj2/access-keys/LTAInew", `{}`, 200, "secret", "<nil>"},
		{"GET", "/sls/proj2/access-keys", "", 200, "access_keys", "[map[id:LTAInew]]"},
		{"GET", "/sls/proj2/access-keys/LTAInew", "", 200, "id", "LTAInew"},
		{"PUT", "/sls/proj2/access-keys/" + keyID, `{}`, 400, "code", "invalid"}, // of another project
		{"DELETE", "/sls/proj2", "", 400, "code", "invalid"},                     // not empty
		{"DELETE", "/sls/proj2/access-keys/LTAInew", "", 204, "", ""},
		{"DELETE", "/sls/proj2/logstores/web", "", 204, "", ""},
		{"DELETE", "/sls/proj2", "", 204, "", ""},
		{"GET", "/sls/proj2", "", 404, "code", "not_found"},
		{"PUT", "/cls/topic-2", `{"anonymous_write":true}`, 200, "anonymous_write", "true"},
		{"GET", "/cls/topic-2", "", 200, "origins", "[]"},
		{"PUT", "/cls/topic-2/access-keys/AKIDnew", `{"secret":"given"}`, 200, "secret", "<nil>"},
		{"PUT", "/cls/topic-2/access-keys/AKIDnew", `{}`, 200, "secret", "<nil>"},
		{"GET", "/cls/topic-2/access-keys", "", 200, "access_keys", "[map[id:AKIDnew]]"},
		{"GET", "/cls/topic-2/access-keys/AKIDnew", "", 200, "id", "AKIDnew"},
		{"GET", "/cls/topic-1/access-keys/AKIDnew", "", 404, "code", "not_found"}, // of another topic
		{"PUT", "/cls/nope/access-keys/AKIDnew", `{}`, 404, "code", "not_found"},
		{"GET", "/cls/nope/access-keys", "", 404, "code", "not_found"},
		{"DELETE", "/cls/topic-2", "", 400, "code", "invalid"}, // has a key
		{"DELETE", "/cls/topic-2/access-keys/AKIDnew", "", 204, "", ""},
		{"DELETE", "/cls/topic-2", "", 204, "", ""},
		{"GET", "/cls/topic-2", "", 404, "code", "not_found"},
	} {
		status, v := w.call(row.method, row.path, row.body)
		if status != row.status || row.member != "" && text(v, row.member) != row.want {
			t.Errorf("%s %s %s: %d %v, want %d with %s=%s", row.method, row.path, row.body, status, v, row.status, row.member, row.want)
		}
	}
	if _, v := w.call("PUT", "/sls/myproj/access-keys/LTAImade", ""); len(text(v, "secret")) != 24 {
		t.Errorf("secret that was made: %v", v)
	}
	if _, v := w.call("PUT", "/cls/topic-1/access-keys/AKIDmade", ""); len(text(v, "secret")) != 24 {
		t.Errorf("secret that was made: %v", v)
	}
	if k, err := w.reg.AccessKey(keyID); err != nil || k.Project != "myproj" || k.Secret != keySecret {
		t.Errorf("%+v %v", k, err)
	}
	if _, v := w.call("GET", "/cls", ""); len(v["topics"].([]any)) != 3 {
		t.Errorf("%v", v)
	}
	if _, v := w.call("GET", "/sls", ""); len(v["projects"].([]any)) != 1 {
		t.Errorf("%v", v)
	}
}

func TestTokensAndLedger(t *testing.T) {
	w := start(t)
	status, made := w.call("POST", "/tokens", `{"name":"grafana","role":"viewer","for":"1h"}`)
	if status != 201 || text(made, "token") == "" || made["expires_at"] == nil || text(made, "role") != "viewer" {
		t.Fatalf("%d %v", status, made)
	}
	_, list := w.call("GET", "/tokens", "")
	if tokens := list["tokens"].([]any); len(tokens) != 1 || tokens[0].(map[string]any)["token"] != nil {
		t.Errorf("%v", list)
	}
	w.send("POST", trackPath, oneLog)
	w.send("POST", trackPath, "{")
	a := w.send("GET", apiPath+"/ledger", "", "Authorization", "bearer "+text(made, "token"))
	var ledger logbridge.Ledger
	check(t, json.Unmarshal([]byte(a.body), &ledger))
	sls := ledger.Sources[logbridge.SourceSLS]
	if sls.Received != 2 || sls.Stored != 1 || sls.Refused["malformed"] != 1 || !strings.Contains(a.body, `{"stream":"sls/myproj/mystore","received":2`) {
		t.Errorf("%s", a.body)
	}
	if status, _ := w.call("DELETE", "/tokens/"+text(made, "id"), ""); status != 204 {
		t.Error(status)
	}
	if a := w.send("GET", apiPath+"/ledger", "", "Authorization", "Bearer "+text(made, "token")); a.StatusCode != 401 {
		t.Errorf("revoked token: %d", a.StatusCode)
	}
}

func TestOperations(t *testing.T) {
	notReady := errors.New("disk is full")
	var now error
	w := start(t, func(_ *Config, d *Deps) { d.Ready = func() error { return now } })
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n", "/ready": "ready\n", "/metrics": "metrics here\n"} {
		if a := w.send("GET", path, ""); a.StatusCode != 200 || a.body != want {
			t.Errorf("%s: %d %q", path, a.StatusCode, a.body)
		}
	}
	if a := w.send("GET", "/", ""); a.StatusCode != 200 || !strings.Contains(a.body, "logbridge") || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := w.send("GET", "/nothing", ""); a.StatusCode != 404 {
		t.Error(a.StatusCode)
	}
	now = notReady
	if a := w.send("GET", "/readyz", ""); a.StatusCode != 503 || !strings.Contains(a.body, "disk is full") {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	if a := w.send("GET", "/healthz", ""); a.StatusCode != 200 {
		t.Error(a.StatusCode)
	}
}

func TestAdminListenerIsApart(t *testing.T) {
	demo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "demo "+r.URL.Path) })
	w := start(t, func(c *Config, _ *Deps) { c.AdminAddr, c.Demo = "localhost:0", demo })
	admin := "http://" + w.AdminAddr().String()
	if admin == w.url {
		t.Fatal("one address")
	}
	for _, row := range []struct {
		path           string
		public, inside int
	}{
		{"/", 404, 200},
		{"/metrics", 404, 200},
		{"/api/v1/openapi.json", 404, 200},
		{"/api/v1/logs", 404, 401},
		{"/healthz", 200, 200},
		{"/readyz", 200, 200},
		{trackPath + "&k=v", 200, 404},
		{"/track?topic_id=topic-1&k=v", 200, 404},
		{"/demo", 200, 404},
		{"/demo/page", 200, 404},
		{DemoCredentials, 200, 404},
	} {
		if a := w.send("GET", row.path, ""); a.StatusCode != row.public && !(row.public == 404 && a.StatusCode == 404) {
			t.Errorf("%s on the public address: %d", row.path, a.StatusCode)
		}
		if a := w.sendTo(admin, "GET", row.path, ""); a.StatusCode != row.inside && (row.inside != 404 || a.StatusCode < 400) {
			t.Errorf("%s on the admin address: %d", row.path, a.StatusCode)
		}
	}
	if a := w.sendTo(admin, "POST", trackPath, oneLog); a.StatusCode < 400 {
		t.Errorf("an upload on the admin address: %d", a.StatusCode)
	}
	if a := w.send("GET", "/demo/page", ""); a.body != "demo /demo/page" {
		t.Errorf("%q", a.body)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	w := start(t)
	for name, cfg := range map[string]Config{
		"address in use":       {Addr: w.Addr().String()},
		"admin address in use": {Addr: "127.0.0.1:0", AdminAddr: w.Addr().String()},
		"negative skew":        {Addr: "127.0.0.1:0", DeviceSkew: -1},
	} {
		if s, err := New(cfg, w.deps, w.log); err == nil {
			t.Errorf("%s: listens on %s", name, s.Addr())
		}
	}
}
