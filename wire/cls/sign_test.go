package cls

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// vector is one signed request whose signature was not made by this package.
type vector struct {
	What, Secret, Method, Path, Query, Host string
	Headers                                 map[string]string
	Body, Format, Authorization             string
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/signatures.json")
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil || len(all) != 4 {
		t.Fatalf("%d vectors, %v", len(all), err)
	}
	return all
}

func (v vector) request() Request {
	r := Request{Method: v.Method, Path: v.Path, RawQuery: v.Query, Host: v.Host, Header: http.Header{}, Body: []byte(v.Body)}
	for name, value := range v.Headers {
		r.Header.Set(name, value)
	}
	return r
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range vectors(t) {
		a, err := ParseAuthorization(v.Authorization)
		if err != nil {
			t.Fatal(v.What, err)
		}
		r := v.request()
		if got := a.formatString(r); got != v.Format {
			t.Errorf("%s: format %q, want %q", v.What, got, v.Format)
		}
		if got := a.Sign(v.Secret, r); got != v.Authorization {
			t.Errorf("%s: %s, want %s", v.What, got, v.Authorization)
		}
		if err := a.Verify(v.Secret, r); err != nil {
			t.Errorf("%s: %v", v.What, err)
		}
		if changed := v.request(); changed.Header.Get("Content-MD5") != "" {
			changed.Body = append(changed.Body, ' ')
			wantCode(t, v.What+", other body", a.Verify(v.Secret, changed), 401, "Unauthorized")
		}
		for what, change := range map[string]func(*Request, *Authorization){
			"method":    func(r *Request, _ *Authorization) { r.Method = "DELETE" },
			"path":      func(r *Request, _ *Authorization) { r.Path += "/" },
			"parameter": func(r *Request, _ *Authorization) { r.RawQuery += "x" },
			"host":      func(r *Request, _ *Authorization) { r.Host = "elsewhere" },
			"times":     func(_ *Request, a *Authorization) { a.SignTime = "1510109254;1910109314" },
			"key times": func(_ *Request, a *Authorization) { a.KeyTime = "1510109254;1910109314" },
			"signature": func(_ *Request, a *Authorization) { a.Signature[19]++ },
		} {
			other, b := v.request(), a
			change(&other, &b)
			if what == "parameter" && len(a.Params) == 0 {
				continue // none is signed
			}
			wantCode(t, v.What+", other "+what, b.Verify(v.Secret, other), 401, "Unauthorized")
		}
		wantCode(t, "other secret", a.Verify(v.Secret+"x", r), 401, "Unauthorized")
		wantCode(t, "no secret", a.Verify("", r), 401, "Unauthorized")
	}
}

func wantCode(t *testing.T, what string, err error, status int, code string) {
	t.Helper()
	own := (*Error)(nil)
	if !errors.As(err, &own) || own.Code != code || own.Status != status {
		t.Errorf("%s: %v, want %d %s", what, err, status, code)
	}
}

// TestSignedSum: a signed Content-MD5 is that of the body, in either form.
func TestSignedSum(t *testing.T) {
	body := []byte("the body")
	sum := md5.Sum(body)
	for value, good := range map[string]bool{
		base64.StdEncoding.EncodeToString(sum[:]): true, "c1d5d1c5c6d1": false, "": false,
		hex.EncodeToString(sum[:]): true, strings.ToUpper(hex.EncodeToString(sum[:])): true, hex.EncodeToString(sum[:15]): false,
	} {
		r := Request{Method: "POST", Path: "/structuredlog", Header: http.Header{}, Body: body}
		r.Header.Set("Content-MD5", value)
		a := Authorization{KeyID: "k", SignTime: "1;2", KeyTime: "1;2", Headers: []string{"content-md5"}}
		a, err := ParseAuthorization(a.Sign("secret", r))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify("secret", r); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// TestSignedSpaces: Go's encoding of a space and that of encodeURIComponent are both good.
func TestSignedSpaces(t *testing.T) {
	const secret, span = "secret", "1;2"
	r := Request{Method: "POST", Path: "/structuredlog", RawQuery: "topic_id=t&Note=a+b%2Bc", Header: http.Header{}}
	a := Authorization{KeyID: "k", SignTime: span, KeyTime: span, Params: []string{"note", "topic_id"}}
	for _, encoded := range []string{"a+b%2Bc", "a%20b%2Bc"} {
		copy(a.Signature[:], a.mac(secret, "post\n/structuredlog\nnote="+encoded+"&topic_id=t\n\n"))
		if err := a.Verify(secret, r); err != nil {
			t.Errorf("%s: %v", encoded, err)
		}
	}
	copy(a.Signature[:], a.mac(secret, "post\n/structuredlog\nnote=a%20b+c&topic_id=t\n\n"))
	wantCode(t, "neither", a.Verify(secret, r), 401, "Unauthorized")
}

func TestParseAuthorizationRefuses(t *testing.T) {
	good := vectors(t)[3].Authorization
	many := strings.Repeat("x;", maxSigned+1)
	for what, header := range map[string]string{
		"nothing": "", "another scheme": "LOG id:signature", "twice": good + "&q-ak=other", "no pair": good + "&x",
		"too many parts": good + manyParts(),
		"algorithm":      strings.Replace(good, "=sha1", "=sha256", 1), "no key": strings.Replace(good, "q-ak=AKtest", "q-ak=", 1),
		"short": good[:len(good)-2], "not hex": good[:len(good)-2] + "zz",
		"no times":       strings.Replace(good, "q-sign-time=1700000000;1700003600", "q-sign-time=", 1),
		"end first":      strings.Replace(good, "q-key-time=1700000000;1700003600", "q-key-time=1700003600;1700000000", 1),
		"many headers":   strings.Replace(good, "q-header-list=", "q-header-list="+many, 1),
		"many parameter": strings.Replace(good, "q-url-param-list=", "q-url-param-list="+many, 1),
	} {
		_, err := ParseAuthorization(header)
		wantCode(t, what, err, 400, "InvalidAuthorization")
		if !errors.Is(err, logbridge.ErrUnauthorized) || err != nil && strings.Contains(err.Error(), "f27fe9") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func manyParts() string {
	var b strings.Builder
	for i := range maxSigned {
		b.WriteString("&p" + strings.Repeat("x", i) + "=")
	}
	return b.String()
}

func TestCheckTime(t *testing.T) {
	a, err := ParseAuthorization(vectors(t)[3].Authorization)
	if err != nil {
		t.Fatal(err)
	}
	for at, good := range map[int64]bool{1699999999: false, 1700000000: true, 1700003600: true, 1700003601: false} {
		if err := a.CheckTime(time.Unix(at, 0)); (err == nil) != good {
			t.Errorf("%d: %v", at, err)
		}
	}
	a.KeyTime = "1700000000;1700000001"
	wantCode(t, "key time over", a.CheckTime(time.Unix(1700000002, 0)), 401, "Unauthorized")
}

func FuzzParseAuthorization(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Authorization, v.Query)
	}
	f.Fuzz(func(t *testing.T, header, query string) {
		a, err := ParseAuthorization(header)
		if err != nil {
			wantCode(t, header, err, 400, "InvalidAuthorization")
			return
		}
		if len(a.Headers) > maxSigned || len(a.Params) > maxSigned {
			t.Fatalf("%d headers, %d parameters", len(a.Headers), len(a.Params))
		}
		r := Request{Method: "POST", Path: "/structuredlog", RawQuery: query, Host: "h", Header: http.Header{}}
		signed, err := ParseAuthorization(a.Sign("secret", r))
		if err != nil {
			t.Fatal(err)
		}
		if err := signed.Verify("secret", r); err != nil {
			for _, name := range a.Headers {
				if name == "content-md5" { // there is none
					return
				}
			}
			t.Fatalf("own signature of %q: %v", header, err)
		}
		if signed.Verify("other", r) == nil {
			t.Fatal("another secret is good")
		}
	})
}
