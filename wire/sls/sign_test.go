package sls

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

// recordedSecret signs what the recorded browsers sent.
const recordedSecret = "testAccessKeySecretValue1234567890"

type signVector struct {
	name, secret string
	request      Request
}

// signVectors are A to D of web-tracking.md 3.7, from the plugin itself, then E and that of 4.7.
func signVectors(t testing.TB) []signVector {
	t.Helper()
	data, err := os.ReadFile("testdata/sls-60-sts-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file []struct {
		Name    string
		Opt     struct{ AccessKeySecret string }
		URL     string
		Payload string
		Header  map[string]string
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var vectors []signVector
	for _, v := range file {
		u, err := url.Parse(v.URL)
		if err != nil {
			t.Fatal(err)
		}
		r := Request{Method: "POST", Path: strings.TrimPrefix(u.Path, "/sls/myproj"), Header: http.Header{}, Body: []byte(v.Payload)}
		for name, value := range v.Header {
			r.Header.Set(name, value)
		}
		vectors = append(vectors, signVector{v.Name, v.Opt.AccessKeySecret, r})
	}
	if len(vectors) != 4 {
		t.Fatalf("%d vectors in the file, want A to D", len(vectors))
	}
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	lz4Body, err := hex.DecodeString("f0210a140880e2cfaa06120c0a016b120776e4b8ade696871a027470220831302e302e302e31320a0a047461673112027631")
	if err != nil {
		t.Fatal(err)
	}
	return append(vectors,
		signVector{"E vendor's", "mockAccessKeySecret", Request{Method: "GET", Path: "/logstores", Header: header(
			"Date", "Mon, 3 Jan 2010 08:33:47 GMT", "x-log-apiversion", "0.6.0", "x-log-bodyrawsize", "0",
			"x-log-signaturemethod", "hmac-sha1", "Authorization", "LOG mockAccessKeyID:Rwm6cTKzoti4HWoe+GKcb6Kv07E=")}},
		signVector{"Go signer's own, protobuf", "mockAccessKeySecret", Request{Method: "GET", Path: "/logstores/app_log", Body: append([]byte{10, 50}, putLogsOld...), Header: header(
			"Date", "Mon, 3 Jan 2010 08:33:47 GMT", "Content-Type", "application/x-protobuf", "Content-MD5", "8D6881250FF5559F59BBDF04100F6E59",
			"x-log-apiversion", "0.6.0", "x-log-bodyrawsize", "50", "x-log-signaturemethod", "hmac-sha1",
			"Authorization", "LOG mockAccessKeyID:87xQWqFaOSewqRIma8kPjGYlXHc=")}},
		signVector{"4.7 Go producer", "mockAccessKeySecret", Request{Method: "POST", Path: "/logstores/mystore", Body: lz4Body, Header: header(
			"Date", "Sat, 21 Nov 2026 11:05:31 GMT", "Content-Type", "application/x-protobuf", "Content-MD5", "6CEED641330A770F4A206EFE0B897529",
			"x-log-apiversion", "0.6.0", "x-log-bodyrawsize", "48", "x-log-compresstype", "lz4", "x-log-signaturemethod", "hmac-sha1",
			"Authorization", "LOG mockAccessKeyID:ldziSNVw4ze1AboVeuk1aU3wpcs=")}},
	)
}

func TestSignVectors(t *testing.T) {
	for _, v := range signVectors(t) {
		if err := VerifyV1(v.secret, v.request); err != nil {
			t.Errorf("%s: %v\n%s", v.name, err, v.request.stringToSign())
		}
		id, _, err := ParseV1Authorization(v.request.Header.Get("Authorization"))
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if got := SignV1(id, v.secret, v.request); got != v.request.Header.Get("Authorization") {
			t.Errorf("%s: SignV1 makes %s", v.name, got)
		}
	}
}

func TestVerifyV1Refuses(t *testing.T) {
	for _, v := range signVectors(t) {
		for name, change := range map[string]struct {
			do   func(r *Request)
			code string
		}{
			"method":              {func(r *Request) { r.Method = "PUT" }, "SignatureNotMatch"},
			"path":                {func(r *Request) { r.Path = "/sls/myproj" + r.Path }, "SignatureNotMatch"},
			"query":               {func(r *Request) { r.RawQuery = "a=b" }, "SignatureNotMatch"},
			"body":                {func(r *Request) { r.Body = append(r.Body, ' ') }, "SignatureNotMatch"},
			"content type":        {func(r *Request) { r.Header.Set("Content-Type", "text/html") }, "SignatureNotMatch"},
			"signed header":       {func(r *Request) { r.Header.Set("x-log-bodyrawsize", "1") }, "SignatureNotMatch"},
			"further header":      {func(r *Request) { r.Header.Set("x-acs-more", "1") }, "SignatureNotMatch"},
			"date":                {func(r *Request) { r.Header.Set("x-log-date", "Tue, 14 Nov 2023 22:13:22 GMT") }, "SignatureNotMatch"},
			"no date":             {func(r *Request) { r.Header.Del("x-log-date"); r.Header.Del("Date") }, "MissingDate"},
			"no signature":        {func(r *Request) { r.Header.Del("Authorization") }, "ParameterInvalid"},
			"no id":               {func(r *Request) { r.Header.Set("Authorization", "LOG :abc") }, "Unauthorized"},
			"empty signature":     {func(r *Request) { r.Header.Set("Authorization", "LOG id:") }, "SignatureNotMatch"},
			"no signature method": {func(r *Request) { r.Header.Del("x-log-signaturemethod") }, "MissingSignatureMethod"},
			"signature method":    {func(r *Request) { r.Header.Set("x-log-signaturemethod", "none") }, "InvalidSignatureMethod"},
		} {
			r := v.request
			r.Header = r.Header.Clone()
			change.do(&r)
			own := (*Error)(nil)
			if err := VerifyV1(v.secret, r); !errors.As(err, &own) || own.Code != change.code {
				t.Errorf("%s with another %s: %v, want %s", v.name, name, err, change.code)
			}
		}
		if err := VerifyV1(v.secret+"x", v.request); !errors.Is(err, logbridge.ErrUnauthorized) {
			t.Errorf("%s with another secret: %v", v.name, err)
		}
	}
}

// TestVerifyV1ProvesNothing: a body without its MD5 would not be signed, and anyone can sign with an empty secret.
func TestVerifyV1ProvesNothing(t *testing.T) {
	for name, row := range map[string]struct {
		secret string
		body   []byte
		good   bool
	}{
		"neither":      {"secret", nil, true},
		"no MD5":       {"secret", []byte("x"), false},
		"empty secret": {"", nil, false},
	} {
		r := Request{Method: "POST", Path: "/logstores/s", Body: row.body, Header: http.Header{}}
		r.Header.Set("x-log-date", "Tue, 14 Nov 2023 22:13:20 GMT")
		r.Header.Set("x-log-signaturemethod", "hmac-sha1")
		r.Header.Set("Authorization", SignV1("id", row.secret, r))
		err := VerifyV1(row.secret, r)
		if row.good != (err == nil) || !row.good && !errors.Is(err, logbridge.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignedQuery(t *testing.T) {
	r := Request{Path: "/logstores/mystore/shards/route", RawQuery: "key=%7Bab%7D&b=&a=1+2"}
	if got, want := r.resource(), "/logstores/mystore/shards/route?a=1 2&b=&key={ab}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCheckDate(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	for _, row := range []struct {
		header, date string
		now          time.Time
		code         string
	}{
		{"x-log-date", "Tue, 14 Nov 2023 22:13:20 GMT", at, ""},
		{"Date", "Tue, 14 Nov 2023 22:13:20 GMT", at.Add(15 * time.Minute), ""},
		{"Date", "Tue, 14 Nov 2023 22:13:20 GMT", at.Add(-15 * time.Minute), ""},
		{"Date", "Mon, 3 Jan 2010 08:33:47 GMT", time.Date(2010, 1, 3, 8, 40, 0, 0, time.UTC), ""}, // vector E, one digit and the wrong day
		{"Date", "Tue, 14 Nov 2023 22:13:20 GMT", at.Add(16 * time.Minute), "RequestTimeExpired"},
		{"x-log-date", "Tue, 14 Nov 2023 22:13:20 GMT", at.Add(-16 * time.Minute), "RequestTimeExpired"},
		{"Date", "yesterday", at, "InvalidRequestTime"},
		{"Date", "", at, "MissingDate"},
	} {
		h := http.Header{}
		h.Set(row.header, row.date)
		err := CheckDate(h, row.now)
		if own := (*Error)(nil); errors.As(err, &own) != (row.code != "") || own != nil && own.Code != row.code {
			t.Errorf("%+v: %v", row, err)
		}
	}
}

// TestRecordedSignatures: every signed request that was recorded verifies, once the path prefix is off.
func TestRecordedSignatures(t *testing.T) {
	requests, err := recorded.WebRequests()
	if err != nil {
		t.Fatal(err)
	}
	signed := map[string]int{}
	for _, r := range requests {
		authorization := r.Header.Get("Authorization")
		if authorization == "" {
			continue
		}
		signed[r.Capture]++
		if id, _, err := ParseV1Authorization(authorization); id != "STS.NTtestAccessKeyId" || err != nil {
			t.Errorf("%s %d: %q, %v", r.Capture, r.Index, id, err)
		}
		path := strings.TrimPrefix(r.URL.Path, "/sls/myproj")
		err := VerifyV1(recordedSecret, Request{Method: r.Method, Path: path, RawQuery: r.URL.RawQuery, Header: r.Header, Body: r.Content})
		if err != nil {
			t.Errorf("%s %d: %v", r.Capture, r.Index, err)
		}
		sentAt, err := http.ParseTime(r.Header.Get("x-log-date"))
		if err != nil || CheckDate(r.Header, sentAt.Add(time.Second)) != nil {
			t.Errorf("%s %d: date %q: %v", r.Capture, r.Index, r.Header.Get("x-log-date"), err)
		}
	}
	want := map[string]int{"sls-20-sts-127": 1, "sls-21-sts-time": 1, "sls-22-sts-refresh": 3, "sls-26-sts-path-prefix": 1,
		"sls-28-sts-unload": 1, "sls-29-sts-unload-cached-preflight": 2}
	for capture, n := range want {
		if signed[capture] != n {
			t.Errorf("%s: %d signed requests, want %d", capture, signed[capture], n)
		}
	}
}

func FuzzVerifyV1(f *testing.F) {
	for _, v := range signVectors(f) {
		h := v.request.Header
		f.Add(h.Get("Authorization"), h.Get("x-log-date"), v.request.RawQuery, v.request.Body)
	}
	f.Add("LOG id:AAAA", "Mon, 3 Jan 2010 08:33:47 GMT", "key=%7Bab%7D&b=&a=1+2", []byte("x"))
	f.Fuzz(func(t *testing.T, authorization, date, query string, body []byte) {
		r := Request{Method: "POST", Path: "/logstores/mystore", RawQuery: query, Header: http.Header{}, Body: body}
		r.Header.Set("x-log-signaturemethod", "hmac-sha1")
		r.Header.Set("x-log-date", date)
		r.Header.Set("Authorization", authorization)
		_ = CheckDate(r.Header, time.Now())
		if VerifyV1("", r) == nil {
			t.Fatal("passes without a secret")
		}
		if VerifyV1("secret", r) == nil && len(body) > 0 {
			t.Fatal("passes with a body that nothing signs")
		}
		id, signature, err := ParseV1Authorization(authorization)
		if err == nil && (id == "" || !strings.Contains(authorization, id+":"+signature)) {
			t.Fatalf("%q, %q", id, signature)
		}
		r.Body = nil
		r.Header.Set("Authorization", SignV1("id", "secret", r))
		if err := VerifyV1("secret", r); err != nil && date != "" {
			t.Fatalf("our own signature: %v", err)
		}
	})
}
