package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/logbridge/logbridge"
)

// TestDocumentIsValid holds the document against OpenAPI 3.1, and its examples against its schemas, with another library than
// the one that makes it.
func TestDocumentIsValid(t *testing.T) {
	w := start(t)
	text := w.send("GET", apiPath+"/openapi.json", "").body
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	check(t, err)
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

// TestEveryCallIsDescribed: who reads the document alone knows what each parameter means, what to send, and what may come back.
func TestEveryCallIsDescribed(t *testing.T) {
	w := start(t)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(w.send("GET", apiPath+"/openapi.json", "").body))
	check(t, err)
	calls := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			calls++
			name := method + " " + path
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 || op.Tags[0] == "More" || !strings.Contains(op.Description, "Needs ") {
				t.Errorf("%s: id %q, summary %q, tags %v, description %q", name, op.OperationID, op.Summary, op.Tags, op.Description)
			}
			for _, p := range op.Parameters {
				if p.Value.Description == "" {
					t.Errorf("%s: parameter %s is not described", name, p.Value.Name)
				}
			}
			if op.RequestBody != nil {
				wantExamples(t, name+" body", op.RequestBody.Value.Content)
			}
			good := 0
			for status, r := range op.Responses.Map() {
				if strings.HasPrefix(status, "2") {
					good++
				}
				if status != "204" && r.Value.Content == nil && op.OperationID != "delete-session" {
					t.Errorf("%s: answer %s has no form", name, status)
				}
				wantExamples(t, name+" "+status, r.Value.Content)
			}
			if good == 0 || op.Responses.Default() == nil || op.Security != nil && len(*op.Security) > 0 && (op.Responses.Value("401") == nil || op.Responses.Value("403") == nil) {
				t.Errorf("%s: answers %v", name, op.Responses.Map())
			}
		}
	}
	if calls < 45 {
		t.Errorf("%d calls", calls)
	}
	for _, streaming := range []string{"/logs", "/logs/histogram", "/devices/import", "/devices/export"} {
		if doc.Paths.Value(streaming) == nil {
			t.Errorf("%s is not in the document", streaming)
		}
	}
}

func wantExamples(t *testing.T, name string, content openapi3.Content) {
	t.Helper()
	for kind, m := range content {
		if m.Example == nil || m.Schema == nil {
			t.Errorf("%s: %s has no example or no schema", name, kind)
		}
	}
}

// TestProblemsAreInTheTable: each code that an answer may have is explained.
func TestProblemsAreInTheTable(t *testing.T) {
	kinds := problemKinds()
	for status, code := range problemCodes {
		if !slices.ContainsFunc(kinds, func(k problemKind) bool { return k.Code == code && slices.Contains(k.Status, status) }) {
			t.Errorf("%d %s is not in the table", status, code)
		}
	}
	for _, k := range kinds {
		if k.Means == "" {
			t.Errorf("code %s is not explained", k.Code)
		}
	}
}

// TestHandbook: the page has every call and every code, asks no other host, and runs no script.
func TestHandbook(t *testing.T) {
	w := start(t)
	a := w.send("GET", apiPath+"/", "", "Accept", "text/html")
	policy := a.Header.Get("Content-Security-Policy")
	if a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Fatalf("%d %v", a.StatusCode, a.Header)
	}
	for path, item := range w.openAPI() {
		for method, op := range item {
			if !strings.Contains(a.body, fmt.Sprintf(`id="%s"`, op["operationId"])) {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
	for _, k := range problemKinds() {
		if !strings.Contains(a.body, "<code>"+k.Code+"</code>") {
			t.Errorf("code %s is not on the page", k.Code)
		}
	}
	if found := regexp.MustCompile(`<script|<iframe|<img|\son[a-z]+=|\s(?:src|href)="(?:https?:)?//`).FindAllString(a.body, -1); found != nil {
		t.Errorf("on the page: %v", found)
	}
	for _, path := range []string{apiPath, apiPath + "/docs"} {
		if b := w.send("GET", path, ""); b.StatusCode != 200 || b.body != a.body {
			t.Errorf("%s: %d", path, b.StatusCode)
		}
	}
}

// putBodies are what the PUTs of the document are called with: each with members whose repetition could do harm.
var putBodies = map[string]string{
	"put-product":       `{"level":"warn","time_zone":"Asia/Shanghai","secret":"PRODUCTSECRET0123456789A","quota":{"device_lines":5}}`,
	"put-device":        `{"tags":{"site":"lab"}}`,
	"put-device-level":  `{"level":"debug","for":"permanent","reason":"test"}`,
	"put-product-level": `{"level":"info"}`,
	"put-level":         `{"level":"warn"}`,
	"put-sls-project":   `{"hosts":["logs.example.com"]}`,
	"put-logstore":      `{"web_tracking":true,"origins":["https://a.example"],"limits":{"events":7},"write_tokens":["0123456789abcdef"]}`,
	"put-access-key":    `{}`,
	"put-cls-topic":     `{"anonymous_write":true,"privacy":{"address":"hashed"}}`,
	"put-topic-key":     `{}`,
}

// TestEveryPutCanBeRepeated: of all PUTs of the document, a second call answers as the first and changes nothing, and one that
// names nothing changes nothing either. Secrets that were made are shown the first time alone.
func TestEveryPutCanBeRepeated(t *testing.T) {
	w := start(t)
	check(t, w.reg.PutProduct(t.Context(), logbridge.Product{ID: "NEWPROD123"}))
	fill := strings.NewReplacer("{product}", "NEWPROD123", "{device}", "twice", "{project}", "myproj", "{logstore}", "twice", "{topic}", "topic-1", "{id}", "KEYtwice")
	paths := w.openAPI()
	if status, _ := w.call("PUT", fill.Replace("/products/{product}/devices/{device}"), ""); status != http.StatusOK {
		t.Fatal(status)
	}
	seen := 0
	for path, item := range paths {
		op := item["put"]
		if op == nil {
			continue
		}
		seen++
		id := fmt.Sprint(op["operationId"])
		body, ok := putBodies[id]
		if !ok {
			t.Errorf("%s is not tried: give it a body in putBodies", id)
			continue
		}
		at := fill.Replace(path)
		status, first := w.call("PUT", at, body)
		again, second := w.call("PUT", at, body)
		for _, made := range []string{"secret", "psk"} {
			if second[made] != nil {
				t.Errorf("%s: %s is shown again", id, made)
			}
			delete(first, made)
		}
		if status != http.StatusOK || again != status || !same(first, second) {
			t.Errorf("%s: %d %v, then %d %v", id, status, first, again, second)
		}
		if strings.HasSuffix(path, "/level") { // a level must be named
			continue
		}
		if status, third := w.call("PUT", at, "{}"); status != http.StatusOK || !same(first, third) {
			t.Errorf("%s with nothing named: %d %v, want %v", id, status, third, first)
		}
	}
	if seen != len(putBodies) {
		t.Errorf("%d PUTs in the document, %d bodies", seen, len(putBodies))
	}
}

// same compares two answers but for times, and the lines of a device, of which each change of its level is one.
func same(a, b map[string]any) bool {
	plain := func(m map[string]any) (out map[string]any) {
		text, _ := json.Marshal(m) // it came as JSON
		_ = json.Unmarshal(text, &out)
		for name := range out {
			if strings.HasSuffix(name, "_at") || strings.HasSuffix(name, "_time") || name == "stored" {
				delete(out, name)
			}
		}
		return out
	}
	return reflect.DeepEqual(plain(a), plain(b))
}
