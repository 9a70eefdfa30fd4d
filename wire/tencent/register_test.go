package tencent

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

// TestRegisterVector is V7 of tencent-iot.md 7.
func TestRegisterVector(t *testing.T) {
	want, err := os.ReadFile("testdata/v7-register-payload.txt")
	if err != nil {
		t.Fatal(err)
	}
	payload, length, err := RegisterPayload(recorded.ProductSecret, recorded.PSK)
	if err != nil || payload != strings.TrimSpace(string(want)) || length != 53 {
		t.Errorf("%s of %d bytes, %v", payload, length, err)
	}
	if _, _, err := RegisterPayload("too short", recorded.PSK); !errors.Is(err, logbridge.ErrInvalid) {
		t.Errorf("short secret: %v", err)
	}
}

func TestParseRegister(t *testing.T) {
	requests, err := recorded.DeviceRequests()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range requests {
		if r.URL.Path == "/device/register" {
			seen++
			if id, err := ParseRegister(r.Content); id != dev01 || err != nil {
				t.Errorf("%s: %v, %v", r.Capture, id, err)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d recordings", seen)
	}
	for _, body := range []string{"", "[]", `{"ProductId":"ABCDE12345"}`, `{"ProductId":"ABCDE12345","DeviceName":"../x"}`, `{"ProductId":"ABCDE12345","DeviceName":"dev_01"}x`} {
		if _, err := ParseRegister([]byte(body)); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestRegisterRepliesFit: the C SDK reads 255 bytes (6), whatever the longest secret and the request id are.
func TestRegisterRepliesFit(t *testing.T) {
	payload, length, err := RegisterPayload(recorded.ProductSecret, strings.Repeat("A", 64))
	if err != nil {
		t.Fatal(err)
	}
	id := "0123456789abcdef0123456789abcdef"
	for _, reply := range [][]byte{
		ReplyRegister(payload, length, id), ReplyOldRegister(payload, length, id), ReplyOldRegisterError(strings.Repeat("\"", 300), id), ReplyFrame(7, id),
	} {
		if len(reply) > MaxReply || !json.Valid(reply) {
			t.Errorf("%d bytes: %s", len(reply), reply)
		}
	}
	if got := string(ReplyFrame(0, "r")); got != `{"Retcode":0,"RequestId":"r"}` {
		t.Error(got)
	}
}

func TestOldRegister(t *testing.T) {
	// The signature was made with openssl: base64 of the hex text.
	body := `{"deviceName":"dev_01","nonce":5456,"productId":"ABCDE12345","timestamp":1700000000,"signature":"` + oldRegisterSignature + `"}`
	r, err := ParseOldRegister([]byte(body))
	if err != nil || r.Device != dev01 || r.Verify(recorded.ProductSecret) != nil {
		t.Fatalf("%+v, %v, %v", r, err, r.Verify(recorded.ProductSecret))
	}
	if r.Verify("") == nil || r.Verify(recorded.ProductSecret+"x") == nil {
		t.Error("passes with another secret")
	}
	for name, change := range map[string]func(*OldRegister){
		"device": func(r *OldRegister) { r.Device.Device = "dev_02" }, "nonce": func(r *OldRegister) { r.Nonce = "1" },
		"timestamp": func(r *OldRegister) { r.Timestamp = "1" }, "signature": func(r *OldRegister) { r.Signature = "" },
	} {
		other := r
		change(&other)
		if err := other.Verify(recorded.ProductSecret); !errors.Is(err, logbridge.ErrUnauthorized) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	other := r
	if other.Sign(recorded.ProductSecret); other != r {
		t.Errorf("%+v", other)
	}
}

func TestEncryptedFrame(t *testing.T) {
	frame := vector6(t)
	for n := range 32 { // every length of padding
		plain := frame[:len(frame)-n]
		body, err := EncryptFrame(plain, recorded.PSK)
		if err != nil || bytes.Contains(body, []byte("dev_01")) {
			t.Fatal(err)
		}
		if back, err := DecryptFrame(body, recorded.PSK); err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%d bytes: %q, %v", len(plain), back, err)
		}
	}
	for _, body := range [][]byte{nil, frame[:15], frame[:32]} {
		if _, err := DecryptFrame(body, recorded.PSK); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
	if _, err := DecryptFrame(frame[:32], "short"); !errors.Is(err, logbridge.ErrInvalid) {
		t.Error(err)
	}
}

// TestEmbeddedOrder: the newest embedded SDK signs its lines in another order (4.3). The signature was made with openssl.
func TestEmbeddedOrder(t *testing.T) {
	s := Signature{HMACSHA1, vectorTimestamp, vectorNonce, embeddedSignature}
	if err := s.Verify(Keys{Secret: recorded.PSK}, []string{recorded.CanonicalHost}, vectorPath, []byte(vectorBody)); err != nil {
		t.Error(err)
	}
	s.Nonce = "1"
	if s.Verify(Keys{Secret: recorded.PSK}, []string{recorded.CanonicalHost}, vectorPath, []byte(vectorBody)) == nil {
		t.Error("passes with another nonce")
	}
}

func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"ProductId":"ABCDE12345","DeviceName":"dev_01"}`))
	f.Add([]byte(`{"deviceName":"dev_01","nonce":5456,"productId":"ABCDE12345","timestamp":1700000000,"signature":"` + oldRegisterSignature + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if id, err := ParseRegister(body); err == nil && id.Validate() != nil {
			t.Fatal(id)
		}
		if r, err := ParseOldRegister(body); err == nil && (r.Device.Validate() != nil || r.Verify("") == nil) {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzDecryptFrame(f *testing.F) {
	body, err := EncryptFrame(vector6(f), recorded.PSK)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		frame, err := DecryptFrame(body, recorded.PSK)
		if err == nil && len(frame) >= len(body) {
			t.Fatalf("%d bytes of %d", len(frame), len(body))
		}
	})
}

const (
	oldRegisterSignature = "OTQwMjY1ZWI1MmQ2MTM2Zjg4ZTA3Y2IwNzlmZjZmZWFjNGYwNThjNg=="
	embeddedSignature    = "DrQVYqdi94vRS4Y6ja3uf3HvzZ8="
)
