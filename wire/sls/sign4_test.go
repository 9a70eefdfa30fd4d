package sls

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// v4Vectors are those of the vendor's Go signer, and one that was computed by another program.
func v4Vectors(t testing.TB) []signVector {
	t.Helper()
	data, err := os.ReadFile("testdata/v4-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file []struct {
		Name, ID, Secret, Region, Method, Path, Query, Host, Body, Signature string
		Header                                                               map[string]string
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var vectors []signVector
	for _, v := range file {
		r := Request{Method: v.Method, Path: v.Path, RawQuery: v.Query, Header: http.Header{}, Body: []byte(v.Body), Host: v.Host}
		for name, value := range v.Header {
			r.Header.Set(name, value)
		}
		sum := sha256.Sum256(r.Body)
		r.Header.Set(headerSHA256, hex.EncodeToString(sum[:]))
		r.Header.Set("Authorization", "SLS4-HMAC-SHA256 Credential="+v.ID+"/"+r.Header.Get("x-log-date")[:8]+"/"+v.Region+
			"/sls/aliyun_v4_request,Signature="+v.Signature)
		vectors = append(vectors, signVector{v.Name, v.Secret, r})
	}
	if len(vectors) != 6 {
		t.Fatalf("%d vectors in the file", len(vectors))
	}
	return vectors
}

func TestV4Vectors(t *testing.T) {
	for _, v := range v4Vectors(t) {
		authorization := v.request.Header.Get("Authorization")
		if err := Verify(v.secret, v.request); err != nil {
			t.Errorf("%s: %v\n%s", v.name, err, v.request.canonicalV4())
		}
		c, err := parseV4(authorization)
		if id, idErr := AccessKeyID(authorization); err != nil || idErr != nil || id != c.id {
			t.Errorf("%s: %q, %v, %v", v.name, id, err, idErr)
		}
		if got := SignV4(c.id, v.secret, c.region, v.request); got != authorization {
			t.Errorf("%s: SignV4 makes %s", v.name, got)
		}
	}
	for _, v := range signVectors(t) { // Verify takes V1 too
		if err := Verify(v.secret, v.request); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

func TestVerifyV4Refuses(t *testing.T) {
	authorize := func(from, to string) func(*Request) {
		return func(r *Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
		}
	}
	for _, v := range v4Vectors(t) {
		for name, change := range map[string]struct {
			do   func(r *Request)
			code string
		}{
			"method":         {func(r *Request) { r.Method = "PUT" }, "SignatureNotMatch"},
			"path":           {func(r *Request) { r.Path += "/" }, "SignatureNotMatch"},
			"query":          {func(r *Request) { r.RawQuery += "&a=b" }, "SignatureNotMatch"},
			"body":           {func(r *Request) { r.Body = append(r.Body, ' ') }, "SignatureNotMatch"},
			"checksum":       {func(r *Request) { r.Header.Del(headerSHA256) }, "SignatureNotMatch"},
			"host":           {func(r *Request) { r.Host += "x" }, "SignatureNotMatch"},
			"content type":   {func(r *Request) { r.Header.Set("Content-Type", "text/html") }, "SignatureNotMatch"},
			"further header": {func(r *Request) { r.Header.Set("x-acs-more", "1") }, "SignatureNotMatch"},
			"date":           {func(r *Request) { r.Header.Set("x-log-date", "20220808T032331Z") }, "SignatureNotMatch"},
			"no date":        {func(r *Request) { r.Header.Del("x-log-date") }, "MissingDate"},
			"region":         {authorize("/cn-", "/us-"), "SignatureNotMatch"},
			"day":            {authorize("/202", "/203"), "SignatureNotMatch"},
			"signature":      {authorize("Signature=", "Signature=00"), "SignatureNotMatch"},
			"no hex":         {authorize("Signature=", "Signature=x"), "SignatureNotMatch"},
			"no id": {func(r *Request) {
				r.Header.Set("Authorization", schemeV4+" Credential=/20220808/r"+scopeTail+",Signature=00")
			}, "Unauthorized"},
			"another service": {authorize("/sls/", "/oss/"), "ParameterInvalid"},
			"no signature":    {authorize(",Signature=", ",Nothing="), "ParameterInvalid"},
			"no comma":        {authorize(",", ""), "ParameterInvalid"},
			"no credential":   {authorize("Credential=", ""), "ParameterInvalid"},
		} {
			if name == "region" && strings.HasPrefix(v.name, "with") {
				continue
			}
			r := v.request
			r.Header = r.Header.Clone()
			change.do(&r)
			own := (*Error)(nil)
			if err := Verify(v.secret, r); !errors.As(err, &own) || own.Code != change.code {
				t.Errorf("%s with another %s: %v, want %s", v.name, name, err, change.code)
			}
		}
		for _, secret := range []string{"", v.secret + "x"} {
			if Verify(secret, v.request) == nil {
				t.Errorf("%s: passes with secret %q", v.name, secret)
			}
		}
		r := v.request
		r.Header = r.Header.Clone()
		r.Header.Set("x-log-meta-more", "1") // the one kind that is not signed
		if err := Verify(v.secret, r); err != nil {
			t.Errorf("%s with a meta header: %v", v.name, err)
		}
	}
}

func TestCheckDateV4(t *testing.T) {
	now := time.Date(2022, 8, 8, 3, 38, 30, 0, time.UTC)
	h := http.Header{"X-Log-Date": {"20220808T032330Z"}}
	if err := CheckDate(h, now); err != nil {
		t.Error(err)
	}
	own := (*Error)(nil)
	if err := CheckDate(h, now.Add(time.Second)); !errors.As(err, &own) || own.Code != "RequestTimeExpired" {
		t.Error(err)
	}
}

func FuzzVerifyV4(f *testing.F) {
	for _, v := range v4Vectors(f) {
		h := v.request.Header
		f.Add(h.Get("Authorization"), h.Get("x-log-date"), v.request.RawQuery, v.request.Body)
	}
	f.Fuzz(func(t *testing.T, authorization, date, query string, body []byte) {
		sum := sha256.Sum256(body)
		r := Request{Method: "POST", Path: "/logstores/mystore", RawQuery: query, Header: http.Header{}, Body: body, Host: "h"}
		r.Header.Set("x-log-date", date)
		r.Header.Set(headerSHA256, hex.EncodeToString(sum[:]))
		r.Header.Set("Authorization", authorization)
		if isV4(authorization) && (Verify("", r) == nil || Verify("secret", r) == nil) {
			t.Fatal("passes")
		}
		if len(date) < dateV4 || strings.Contains(date[:dateV4], "/") || strings.ContainsAny(date[:dateV4], ",") {
			return
		}
		r.Header.Set("Authorization", SignV4("id", "secret", "region", r))
		if err := Verify("secret", r); err != nil {
			t.Fatalf("our own signature: %v", err)
		}
	})
}
