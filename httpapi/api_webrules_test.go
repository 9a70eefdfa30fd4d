package httpapi

import (
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

func TestWebRulesAPI(t *testing.T) {
	w := start(t)
	const rules = `"write_tokens":["test-write-token_0123"],"limits":{"address_events":5,"fields":20},"privacy":{"address":"masked","opt_out":"event","redact":["email"],"patterns":["order-\\d+"]}`
	for _, path := range []string{"/sls/myproj/logstores/ruled", "/cls/ruled"} {
		status, v := w.call("PUT", path, "{"+rules+"}")
		if status != 200 || text(v, "write_token_count") != "1" || text(v, "limits", "fields") != "20" || text(v, "privacy", "address") != "masked" {
			t.Errorf("PUT %s: %d %v", path, status, v)
		}
		if _, there := v["write_tokens"]; there {
			t.Errorf("PUT %s shows the tokens: %v", path, v)
		}
		// What is not named stays; what is named is replaced as a whole.
		status, v = w.call("PUT", path, `{"limits":{"events":7}}`)
		if status != 200 || text(v, "limits") != "map[events:7]" || text(v, "write_token_count") != "1" || text(v, "privacy", "opt_out") != "event" {
			t.Errorf("PUT %s: %d %v", path, status, v)
		}
		if status, v = w.call("GET", path, ""); status != 200 || text(v, "limits", "events") != "7" {
			t.Errorf("GET %s: %d %v", path, status, v)
		}
		status, v = w.call("PUT", path, `{"write_tokens":[],"limits":{},"privacy":{}}`)
		if status != 200 || text(v, "write_token_count") != "0" || text(v, "limits") != "map[]" || text(v, "privacy") != "map[]" {
			t.Errorf("PUT %s: %d %v", path, status, v)
		}
		for _, bad := range []string{`{"write_tokens":["short"]}`, `{"limits":{"fields":-1}}`, `{"limits":{"nope":1}}`,
			`{"privacy":{"address":"some"}}`, `{"privacy":{"opt_out":"some"}}`, `{"privacy":{"redact":["some"]}}`, `{"privacy":{"patterns":["("]}}`} {
			if status, v := w.call("PUT", path, bad); status < 400 || status > 422 {
				t.Errorf("PUT %s %s: %d %v", path, bad, status, v)
			}
		}
	}
	if l, err := w.reg.Logstore("myproj", "ruled"); err != nil || len(l.WriteTokens) != 0 || l.Privacy.Address != "" || l.Limits != (logbridge.WebLimits{}) {
		t.Errorf("%+v, %v", l, err)
	}
	if a := w.send("GET", apiPath+"/openapi.json", ""); !strings.Contains(a.body, `"write_token_count"`) || !strings.Contains(a.body, `"address_events"`) {
		t.Error("the members are not in the document")
	}
}
