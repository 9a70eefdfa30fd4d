package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

// TestSLSCodes goes through the error table of web-tracking.md 4.4, code by code: status, code and the vendor's words. Codes of
// that table which are never answered: InvalidTimestamp, InvalidEncoding and InvalidKey, since what is odd in one log is repaired
// or kept and the others are not lost for it; MissAccessKeyId and InvalidAccessKeyId, older than Unauthorized;
// InvalidDateFormat and RequestTimeTooSkewed, older than InvalidRequestTime and RequestTimeExpired; InvalidHost, since any Host
// may be set to mean a project; MissingContentLength, since a body may come without; ShardWriteQuotaExceed, for want of shards.
func TestSLSCodes(t *testing.T) {
	w := start(t)
	const store, body = "/logstores/closed", `{"__logs__":[{"k":"v"}]}`
	now := time.Now()
	date := func(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
	signedWith := func(headers ...string) answered {
		call := putLogs(store, body, append([]string{"Content-Type", "application/json"}, headers...)...)
		return w.signedCall("", call.v1(keyID, keySecret))
	}
	authorized := func(authorization string) answered {
		call := putLogs(store, body, "Content-Type", "application/json", "Authorization", authorization)
		return w.signedCall("", call)
	}
	v4At := func(at time.Time) answered {
		return w.signedCall("", putLogs(store, body, "Content-Type", "application/json").v4(keyID, keySecret, at))
	}
	old, early := now.Add(-16*time.Minute), now.Add(16*time.Minute)
	for _, row := range []struct {
		status        int
		code, message string // message is how it begins
		got           answered
	}{
		{400, "PostBodyInvalid", "Fail to parse protobuf.", signedWith("Content-Type", "application/x-protobuf")},
		{400, "PostBodyInvalid", "The request body is not valid JSON object.", w.send("POST", trackPath, "[]")},
		{400, "PostBodyUncompressError", "Post body uncompressed fail.", signedWith("x-log-compresstype", "zstd")},
		{400, "PostBodyTooLarge", "Body size 10485761 must little than 10485760.", w.send("POST", trackPath, strings.Repeat("x", sls.MaxBody+1))},
		{400, "MissingContentType", "Content-Type does not exist in http header when body is not empty.", signedWith("Content-Type", "")},
		{400, "MissingBodyRawSize", "x-log-bodyrawsize does not exist in header when it is necessary.", signedWith("x-log-compresstype", "lz4", "x-log-bodyrawsize", "")},
		{400, "InvalidBodyRawSize", "x-log-bodyrawsize many is invalid.", signedWith("x-log-compresstype", "lz4", "x-log-bodyrawsize", "many")},
		{400, "InvalidCompressType", "x-log-compresstype snappy is unsupported.", signedWith("x-log-compresstype", "snappy")},
		{400, "MissingAPIVersion", "x-log-apiversion does not exist in http header.", signedWith("x-log-apiversion", "")},
		{400, "InvalidAPIVersion", "x-log-apiversion 0.5.0 is unsupported.", signedWith("x-log-apiversion", "0.5.0")},
		{400, "MissingDate", "Date ", signedWith("Date", "")},
		{400, "InvalidRequestTime", "Request time yesterday not follow RFC822 spec.", signedWith("Date", "yesterday")},
		{400, "RequestTimeExpired", "Request time " + date(old) + " has been expired while server time is ", signedWith("Date", date(old))},
		{400, "RequestTimeExpired", "Request time " + date(early) + " has been expired", signedWith("Date", date(early))},
		{400, "RequestTimeExpired", "Request time Mon, 3 Jan 2010 08:33:47 GMT has been expired", signedWith("Date", "Mon, 3 Jan 2010 08:33:47 GMT")},
		{400, "RequestTimeExpired", "Request time " + date(old), signedWith("Date", date(now), "x-log-date", date(old))}, // which replaces Date
		{400, "RequestTimeExpired", "Request time " + old.UTC().Format("20060102T150405Z"), v4At(old)},
		{400, "MissingSignatureMethod", "x-log-signaturemethod", signedWith("x-log-signaturemethod", "")},
		{400, "InvalidSignatureMethod", "x-log-signaturemethod hmac-md5", signedWith("x-log-signaturemethod", "hmac-md5")},
		{400, "ParameterInvalid", "Http extend authorization : Bearer is invalid.", authorized("Bearer abc")},
		{401, "SignatureNotMatch", "Signature abc not matched.", authorized("LOG " + keyID + ":abc")},
		{401, "Unauthorized", "The AccessKeyId is unauthorized.", authorized("LOG LTAInobody:abc")},
		{401, "Unauthorized", "The AccessKeyId is unauthorized.", authorized("LOG :abc")}, // a page without credentials (3.1)
		{401, "Unauthorized", "The security token you provided is invalid.", signedWith("x-acs-security-token", "abc")},
		{404, "ProjectNotExist", "The Project does not exist : nosuch", w.send("POST", "/sls/nosuch"+trackPath, oneLog)},
		{404, "LogStoreNotExist", "logstore nosuch does not exist.", w.send("POST", "/logstores/nosuch/track?APIVersion=0.6.0", oneLog)},
		{415, "InvalidContentType", "Content-Type text/csv is unsupported.", signedWith("Content-Type", "text/csv")},
	} {
		checkSLSError(t, row.message, row.got, row.status, row.code)
		var e struct{ ErrorMessage string }
		if err := json.Unmarshal([]byte(row.got.body), &e); err != nil || !strings.HasPrefix(e.ErrorMessage, row.message) {
			t.Errorf("%s: %q, want %q", row.code, e.ErrorMessage, row.message)
		}
	}
	for name, a := range map[string]answered{
		"14 minutes old":   signedWith("Date", date(now.Add(-14*time.Minute))),
		"14 minutes early": signedWith("x-log-date", date(now.Add(14*time.Minute)), "Date", "Mon, 3 Jan 2010 08:33:47 GMT"),
		"V4":               v4At(now.Add(-14 * time.Minute)),
		"no raw size":      signedWith("x-log-bodyrawsize", ""), // not necessary
		"odd raw size":     signedWith("x-log-bodyrawsize", "many"),
	} {
		checkEmptySuccess(t, name, a)
	}
}

// TestMiniPrograms: the SDK for mini-programs sends the same body as the one for browsers, with the type that its platform gives
// it and a Referer of the platform's (web-tracking.md 2.4).
func TestMiniPrograms(t *testing.T) {
	w := start(t)
	const body = `{"__logs__":[{"k":"%d"}],"__tags__":{"t":"v","n":2},"__topic__":"tp","__source__":"s"}`
	kinds := []string{"application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain"}
	for i, kind := range kinds {
		a := w.send("POST", trackPath, fmt.Sprintf(body, i), "Content-Type", kind, "Referer", "https://servicewechat.com/wx0123456789abcdef/7/page-frame.html")
		checkEmptySuccess(t, kind, a)
	}
	got := w.records(logbridge.Query{})
	if len(got) != len(kinds) {
		t.Fatalf("%d records", len(got))
	}
	for i, r := range got {
		if attr(r, "k") != fmt.Sprint(i) || attr(r, "__tag__:n") != "2" || attr(r, "__topic__") != "tp" || attr(r, "__source__") != "s" {
			t.Errorf("%+v", r)
		}
	}
}
