package tencent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

// The request of V3 to V5 of tencent-iot.md 7.
const (
	vectorBody      = `{"DeviceName":"dev_01","Message":["INFmqtt connect success."],"ProductId":"ABCDE12345"}`
	vectorPath      = "/device/reportlog"
	vectorTimestamp = "1700000000"
	vectorNonce     = "5456"
)

var signVectors = []struct{ name, algorithm, signature string }{
	{"V3", "hmacsha256", "wn0NLiYf1s/l3VkX1rCT4iQrOtpWrDacaaQGhWxTdd8="},
	{"V3b", "HmacSha256", "mVigeO/GIJ8gRWkOQ3bzBPC4QzpfJhxE6W90BXiLoyE="},
	{"V4", "hmacsha1", "5dzvSKnnHyOoXIFw5GD/6TPNMkQ="},
	{"V4b", "hmacsha1", "cil60l1jpwQyEqbdGVkQDJ9C63E="},
	{"V5", "rsa-sha256", "RS0l2SWwW/WUfvcpDCQD+v9MX8jXd94h+tC/JvH+AEyD5GbUbAtOq2YEnGETHZwOl4PWMSbzbWAtJ7M840HYwefk27n9c9DbsjntLentiO17OV0CEtqB" +
		"jo4Y7+lekQjMIQ68W3kzaC60Y+Cyj3+DbGadjclbf4G2uCxtXUcuQTaevdxZKJo4kJ4+OeKigkn1HYOJAo/EWaJBcAeoH+3lzdC2tFFfLd34jEwd/UMkCAbX2xlsn" +
		"Q71GEn81IvcbIVD2MEBvQ33ruWkUr3MC8lyE+rqFtgahcTg5EpXKCbDI9DxixRB9Zmo0lZFSSk0AgqdX5tOZqJ+/aYz+T8CmNmg5Q=="},
}

func testKeys(t testing.TB) Keys {
	t.Helper()
	pem, err := os.ReadFile("testdata/test-only-rsa-device.crt")
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParsePublicKey(string(pem))
	if err != nil {
		t.Fatal(err)
	}
	return Keys{Secret: recorded.PSK, Public: public}
}

func TestSignatureVectors(t *testing.T) {
	keys := testKeys(t)
	hosts := []string{"127.0.0.1:8080", recorded.CanonicalHost}
	for _, v := range signVectors {
		s := Signature{v.algorithm, vectorTimestamp, vectorNonce, v.signature}
		if err := s.Verify(keys, hosts, vectorPath, []byte(vectorBody)); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		for name, wrong := range map[string]error{
			"host":      s.Verify(keys, hosts[:1], vectorPath, []byte(vectorBody)),
			"no host":   s.Verify(keys, nil, vectorPath, []byte(vectorBody)),
			"path":      s.Verify(keys, hosts, "/device/register", []byte(vectorBody)),
			"body":      s.Verify(keys, hosts, vectorPath, []byte(vectorBody+" ")),
			"timestamp": Signature{v.algorithm, "1700000001", vectorNonce, v.signature}.Verify(keys, hosts, vectorPath, []byte(vectorBody)),
			"nonce":     Signature{v.algorithm, vectorTimestamp, "5457", v.signature}.Verify(keys, hosts, vectorPath, []byte(vectorBody)),
			"signature": Signature{v.algorithm, vectorTimestamp, vectorNonce, "A" + v.signature[1:]}.Verify(keys, hosts, vectorPath, []byte(vectorBody)),
			"empty":     Signature{v.algorithm, vectorTimestamp, vectorNonce, ""}.Verify(keys, hosts, vectorPath, []byte(vectorBody)),
			"key":       s.Verify(Keys{Secret: "Tg=="}, hosts, vectorPath, []byte(vectorBody)),
			"no key":    s.Verify(Keys{}, hosts, vectorPath, []byte(vectorBody)),
		} {
			if !errors.Is(wrong, logbridge.ErrUnauthorized) {
				t.Errorf("%s with another %s: %v", v.name, name, wrong)
			}
		}
	}
}

// TestSign: what Sign makes are the vectors, with SHA-1 of the body for hmacsha1 as the C SDK does it.
func TestSign(t *testing.T) {
	for _, v := range signVectors[:3] {
		got, err := Sign(recorded.PSK, v.algorithm, recorded.CanonicalHost+":80", vectorPath, vectorTimestamp, vectorNonce, []byte(vectorBody))
		if got != v.signature || err != nil {
			t.Errorf("%s: %s, %v", v.name, got, err)
		}
	}
	if _, err := Sign(recorded.PSK, RSASHA256, "h", "/", "1", "2", nil); !errors.Is(err, logbridge.ErrInvalid) {
		t.Errorf("rsa: %v", err)
	}
}

func TestVerifySpellingAndShortKey(t *testing.T) {
	long := strings.Repeat("K", shortKey) + "beyond the part that the C and Java SDKs use"
	hosts := []string{"h:443"}
	for _, row := range []struct{ secret, signed, header string }{
		{long, HMACSHA256, "HmacSha256"}, // signed in lower case, header in the document's
		{long[:shortKey], HMACSHA256, HMACSHA256},
		{long[:shortKey], HMACSHA1, HMACSHA1},
	} {
		signature, err := Sign(row.secret, row.signed, "h", "/p", "1", "2", []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		if err := (Signature{row.header, "1", "2", signature}).Verify(Keys{Secret: long}, hosts, "/p", []byte("body")); err != nil {
			t.Errorf("%+v: %v", row, err)
		}
	}
	short, _ := Sign(long[:shortKey-1], HMACSHA256, "h", "/p", "1", "2", nil)
	if (Signature{HMACSHA256, "1", "2", short}).Verify(Keys{Secret: long}, hosts, "/p", nil) == nil {
		t.Error("23 characters of the secret pass")
	}
	empty, _ := Sign("", HMACSHA256, "h", "/p", "1", "2", nil)
	if (Signature{HMACSHA256, "1", "2", empty}).Verify(Keys{}, hosts, "/p", nil) == nil {
		t.Error("an empty key passes")
	}
}

func TestVerifyUnknownAlgorithm(t *testing.T) {
	for _, algorithm := range []string{"", "md5", "hmacsha256 ", "none"} {
		err := Signature{algorithm, "1", "2", "AAAA"}.Verify(Keys{Secret: "s"}, []string{"h"}, "/", nil)
		if !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%q: %v", algorithm, err)
		}
	}
}

// TestRecordedSignatures: every recorded HTTP request of a device verifies, with what its headers and the canonical host say.
func TestRecordedSignatures(t *testing.T) {
	requests, err := recorded.DeviceRequests()
	if err != nil {
		t.Fatal(err)
	}
	keys := testKeys(t)
	seen := map[string]int{}
	for _, r := range requests {
		s := signatureOf(r)
		if s.Signature == "" { // the old frame, TestRecordedFrames
			seen["frame"]++
			continue
		}
		use := keys
		if r.URL.Path == "/device/register" {
			use.Secret = recorded.ProductSecret
		}
		seen[r.URL.Path+" "+s.Algorithm]++
		if err := s.Verify(use, []string{r.Host, recorded.CanonicalHost}, r.URL.Path, r.Content); err != nil {
			t.Errorf("%s %d: %v", r.Capture, r.Index, err)
		}
		if s.Verify(use, []string{r.Host, recorded.CanonicalHost}, r.URL.Path, append(r.Content, '\n')) == nil {
			t.Errorf("%s %d: passes with another body", r.Capture, r.Index)
		}
	}
	want := map[string]int{
		"frame": 2, "/device/reportlog hmacsha1": 10, "/device/reportlog hmacsha256": 1, "/device/reportlog rsa-sha256": 2,
		"/device/register hmacsha1": 1, "/device/register hmacsha256": 1, "/device/publish hmacsha256": 1,
	}
	for what, n := range want {
		if seen[what] != n {
			t.Errorf("%d requests of %s, want %d", seen[what], what, n)
		}
	}
}

func signatureOf(r recorded.Request) Signature {
	return Signature{r.Header.Get("X-TC-Algorithm"), r.Header.Get("X-TC-Timestamp"), r.Header.Get("X-TC-Nonce"), r.Header.Get("X-TC-Signature")}
}

func TestParsePublicKey(t *testing.T) {
	pem, err := os.ReadFile("testdata/test-only-rsa-device.pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	bare, err := ParsePublicKey(string(pem))
	if err != nil || !bare.Equal(testKeys(t).Public) {
		t.Errorf("the bare key is not the certificate's: %v", err)
	}
	for _, in := range []string{"", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		// an Ed25519 key
		"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePublicKey(in); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%.40q: %v", in, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range signVectors {
		f.Add(v.algorithm, vectorTimestamp, vectorNonce, v.signature, []byte(vectorBody))
	}
	requests, err := recorded.DeviceRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		s := signatureOf(r)
		f.Add(s.Algorithm, s.Timestamp, s.Nonce, s.Signature, r.Content)
	}
	keys := testKeys(f)
	f.Fuzz(func(t *testing.T, algorithm, timestamp, nonce, signature string, body []byte) {
		s := Signature{algorithm, timestamp, nonce, signature}
		if s.Verify(Keys{}, []string{"h"}, vectorPath, body) == nil {
			t.Fatal("passes without a key")
		}
		_ = s.Verify(keys, []string{recorded.CanonicalHost}, vectorPath, body)
		if own, err := Sign(recorded.PSK, algorithm, "h", vectorPath, timestamp, nonce, body); err == nil {
			s.Signature = own
			if err := s.Verify(keys, []string{"h:1"}, vectorPath, body); err != nil {
				t.Fatalf("our own signature: %v", err)
			}
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	for _, name := range []string{"testdata/test-only-rsa-device.crt", "testdata/test-only-rsa-device.pub.pem"} {
		pem, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(pem))
	}
	f.Fuzz(func(t *testing.T, pem string) {
		if public, err := ParsePublicKey(pem); (public == nil) == (err == nil) {
			t.Fatalf("%v, %v", public, err)
		}
	})
}
