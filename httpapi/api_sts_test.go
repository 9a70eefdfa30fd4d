package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// temporary is a key as a backend asks for it.
func (w *world) temporary(store, life string) (id, secret, token string) {
	w.t.Helper()
	status, v := w.call("POST", "/sts", fmt.Sprintf(`{"project":"myproj","logstore":%q,"for":%q}`, store, life))
	end, err := time.Parse("2006-01-02T15:04:05Z", fmt.Sprint(v["Expiration"]))
	if status != http.StatusCreated || err != nil || !end.After(time.Now()) || len(v) != 4 {
		w.t.Fatalf("%d %v, %v", status, v, err)
	}
	return v["AccessKeyId"].(string), v["AccessKeySecret"].(string), v["SecurityToken"].(string)
}

// ended has only keys that have ended.
type ended struct{ TemporaryKeys }

func (e ended) TemporaryKey(token string) (logbridge.TemporaryKey, error) {
	k, err := e.TemporaryKeys.TemporaryKey(token)
	k.Expires = k.Expires.Add(-time.Hour)
	return k, err
}

func TestTemporaryKeys(t *testing.T) {
	w := start(t)
	check(t, w.reg.PutSLSProject(t.Context(), logbridge.SLSProject{Name: "other"}))
	check(t, w.reg.PutLogstore(t.Context(), logbridge.Logstore{Project: "other", Name: "closed"}))
	const store, body = "/logstores/closed", `{"__logs__":[{"k":"v","__time__":1700000000}]}`
	id, secret, token := w.temporary("closed", "15m")
	now := time.Now()
	page := func(path, token string) slsCall { // as the STS plugin signs it (3.2)
		return putLogs(path, body, "Content-Type", "application/json", "Date", "", "x-log-date", now.UTC().Format(http.TimeFormat), "x-acs-security-token", token)
	}
	for _, prefix := range []string{"", "/sls/myproj"} {
		checkEmptySuccess(t, "V1", w.signedCall(prefix, page(store, token).v1(id, secret)))
		checkEmptySuccess(t, "V4", w.signedCall(prefix, page(store+"/shards/lb", token).v4(id, secret, now)))
	}
	if got := w.records(logbridge.Query{Stream: "sls/myproj/closed"}); len(got) != 4 || got[0].Time.Unix() != 1700000000 {
		t.Fatalf("records %+v", got)
	}
	_, _, another := w.temporary("closed", "15m")
	for _, row := range []struct {
		name         string
		prefix       string
		call         slsCall
		status       int
		code, saying string
	}{
		{"wrong secret", "", page(store, token).v1(id, "x"), 401, "SignatureNotMatch", ""},
		{"wrong secret V4", "", page(store, token).v4(id, "x", now), 401, "SignatureNotMatch", ""},
		{"no token", "", page(store, "").v1(id, secret), 401, "Unauthorized", "AccessKeyId is unauthorized"},
		{"no token of ours", "", page(store, "CAISzTestSecurityToken+/==").v1(id, secret), 401, "Unauthorized", "token you provided is invalid"},
		{"token of another key", "", page(store, another).v1(id, secret), 401, "Unauthorized", "token you provided is invalid"},
		{"token with a lasting key", "", page(store, token).v1(keyID, keySecret), 401, "Unauthorized", "token you provided is invalid"},
		{"another logstore", "", page("/logstores/mystore", token).v1(id, secret), 401, "Unauthorized", "denied by sts or ram, action: log:PostLogStoreLogs"},
		{"another project", "/sls/other", page(store, token).v1(id, secret), 401, "Unauthorized", "project/other/logstore/closed"},
		{"old", "", putLogs(store, body, "Date", now.Add(-time.Hour).UTC().Format(http.TimeFormat), "x-acs-security-token", token).v1(id, secret), 400, "RequestTimeExpired", ""},
	} {
		a := w.signedCall(row.prefix, row.call)
		checkSLSError(t, row.name, a, row.status, row.code)
		if !strings.Contains(a.body, row.saying) {
			t.Errorf("%s: %s", row.name, a.body)
		}
	}
	if n := w.refused("sls/myproj/mystore", badRole); n != 1 {
		t.Errorf("%d counted as of another logstore", n)
	}
	for body, status := range map[string]int{
		`{"project":"myproj","logstore":"closed"}`:                 201,
		`{"project":"myproj","logstore":"closed","for":"12h"}`:     201,
		`{"project":"myproj","logstore":"closed","for":"12h1s"}`:   400,
		`{"project":"myproj","logstore":"closed","for":"-1m"}`:     400,
		`{"project":"myproj","logstore":"closed","for":"a while"}`: 400,
		`{"project":"myproj","logstore":"nosuch"}`:                 404,
		`{"project":"nosuch","logstore":"closed"}`:                 404,
		`{"project":"myproj"}`:                                     422,
	} {
		if got, v := w.call("POST", "/sts", body); got != status {
			t.Errorf("%s: %d %v", body, got, v)
		}
	}
	if n := len(w.records(logbridge.Query{Stream: "sls/myproj/closed"})); n != 4 {
		t.Errorf("%d records", n)
	}
}

func TestTemporaryKeyHasEnded(t *testing.T) {
	w := start(t, func(_ *Config, d *Deps) { d.TemporaryKeys = ended{d.TemporaryKeys} })
	id, secret, token := w.temporary("closed", "59m")
	for name, call := range map[string]slsCall{
		"V1": putLogs("/logstores/closed", "", "x-acs-security-token", token).v1(id, secret),
		"V4": putLogs("/logstores/closed", "", "x-acs-security-token", token).v4(id, secret, time.Now()),
	} {
		a := w.signedCall("", call)
		checkSLSError(t, name, a, 401, "Unauthorized")
		if !strings.Contains(a.body, "The security token you provided has expired.") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if n := w.refused("sls/myproj/closed", expired); n != 2 {
		t.Errorf("%d counted as expired", n)
	}
}
