package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commandOf says how each operation of the operator API is done from the command line. One line is one operation; the words
// are run against a server that notes the call.
var commandOf = map[string]string{
	"list-products":  "product ls",
	"get-product":    "product show ABCDE12345",
	"put-product":    "product set ABCDE12345 --level warn --time-zone Asia/Shanghai --no-allow-register --secret-file FILE",
	"delete-product": "product rm ABCDE12345",

	"list-devices":   "device ls",
	"get-device":     "device show ABCDE12345/dev_01",
	"delete-device":  "device rm ABCDE12345/dev_01",
	"put-device":     "device add ABCDE12345/dev_01 --tag site=lab",
	"import-devices": "device import FILE",
	"export-devices": "device export --product ABCDE12345",
	"login-device":   "device login ABCDE12345/dev_01 --mqtt 127.0.0.1:1883",

	"put-device-level":    "level set ABCDE12345/dev_01 debug --for 5m --reason test",
	"delete-device-level": "level clear ABCDE12345/dev_01",
	"get-product-level":   "level base ABCDE12345",
	"put-product-level":   "level set ABCDE12345 warn",
	"get-level":           "level base",
	"put-level":           "level set all warn",
	"list-levels":         "level ls",
	"post-level-rule":     "level set --product ABCDE12345 --percent 1 debug --reason test --dry-run",
	"get-level-rule":      "level show abcdefgh",
	"patch-level-rule":    "level extend abcdefgh --for 1h",
	"delete-level-rule":   "level clear abcdefgh",

	"list-sls-projects":  "sls ls",
	"get-sls-project":    "sls show myproj -o json",
	"put-sls-project":    "sls set myproj --host logs.example.com",
	"delete-sls-project": "sls rm myproj",
	"list-logstores":     "sls store ls myproj",
	"get-logstore":       "sls store show myproj/mystore",
	"put-logstore":       "sls store set myproj/mystore --web-tracking --origin https://a.example",
	"delete-logstore":    "sls store rm myproj/mystore",
	"list-access-keys":   "sls key ls myproj",
	"get-access-key":     "sls key show myproj/LTAItestkey",
	"put-access-key":     "sls key set myproj/LTAItestkey --secret-file FILE",
	"delete-access-key":  "sls key rm myproj/LTAItestkey",

	"list-cls-topics":  "cls ls",
	"get-cls-topic":    "cls show topic-1",
	"put-cls-topic":    "cls set topic-1 --no-anonymous-write",
	"delete-cls-topic": "cls rm topic-1",
	"list-topic-keys":  "cls key ls topic-1",
	"get-topic-key":    "cls key show topic-1/AKIDtestkey",
	"put-topic-key":    "cls key set topic-1/AKIDtestkey",
	"delete-topic-key": "cls key rm topic-1/AKIDtestkey",

	"list-tokens":  "token ls",
	"create-token": "token add grafana --role viewer",
	"delete-token": "token revoke abcdefgh",
	"get-session":  "token whoami",

	"create-temporary-key": "sts myproj/mystore --for 15m",
	"get-seal-key":         "seal show",
	"rotate-seal-key":      "seal rotate",
	"get-ledger":           "ledger",
	"get-status":           "status",
	"query-logs":           "logs --since 1h",
	"erase-logs":           "erase device/ABCDE12345/dev_01 --reason test",
	"query-histogram":      "logs --count level",
}

// notCommands are operations that the command line has no use for, and why.
var notCommands = map[string]string{
	"create-session": "it puts the token into a browser's cookie; commands send it with each call",
	"delete-session": "it takes that cookie away",
}

// operation is one call of the OpenAPI document.
type operation struct{ id, method, path string }

// operations reads the document that a server of this build serves.
func operations(t *testing.T) []operation {
	t.Helper()
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url()+"/api/v1/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := call(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, item := range doc.Paths {
		for method, op := range item {
			all = append(all, operation{op.OperationID, strings.ToUpper(method), path})
		}
	}
	return all
}

// TestEveryOperationHasACommand walks the OpenAPI document: what the API can do, the command line can do.
func TestEveryOperationHasACommand(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a-secret-of-some-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, op := range operations(t) {
		known[op.id] = true
		if notCommands[op.id] != "" {
			continue
		}
		words, ok := commandOf[op.id]
		if !ok {
			t.Errorf("%s (%s %s) has no command: add one, or say in notCommands why not", op.id, op.method, op.path)
			continue
		}
		seen := &recorder{}
		web := httptest.NewServer(seen)
		code, _, stderr := cli(t, append(strings.Fields(strings.ReplaceAll(words, "FILE", secret)), "--url", web.URL, "--token", "t")...)
		web.Close()
		if pattern := pathPattern(op.path); !seen.has(op.method, pattern) {
			t.Errorf("%s: logbridge %s: exit code %d, calls %v, want %s %s\n%s", op.id, words, code, seen.calls, op.method, op.path, stderr)
		}
	}
	for id := range commandOf {
		if !known[id] {
			t.Errorf("there is no operation %s any more", id)
		}
	}
	for id := range notCommands {
		if !known[id] {
			t.Errorf("there is no operation %s any more", id)
		}
	}
}

// recorder answers every call with an empty object and notes it. Commands run one after the other.
type recorder struct{ calls []string }

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.calls = append(r.calls, req.Method+" "+req.URL.EscapedPath())
	_, _ = io.WriteString(w, "{}\n")
}

func (r *recorder) has(method string, path *regexp.Regexp) bool {
	for _, c := range r.calls {
		if m, p, _ := strings.Cut(c, " "); m == method && path.MatchString(p) {
			return true
		}
	}
	return false
}

// pathPattern matches the paths that a template of the document means.
func pathPattern(template string) *regexp.Regexp {
	parts := regexp.MustCompile(`\{[^}]*\}`).Split(template, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^/api/v1" + strings.Join(parts, "[^/]+") + "$")
}
