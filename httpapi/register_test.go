package httpapi

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/attempts"
	"github.com/logbridge/logbridge/wire/recorded"
	"github.com/logbridge/logbridge/wire/tencent"
)

// registering is a world whose product lets devices register.
func registering(t *testing.T) *world {
	t.Helper()
	w := start(t, withRegistrations)
	check(t, w.reg.PutProduct(t.Context(), logbridge.Product{ID: device01.Product, Secret: recorded.ProductSecret, AllowRegister: true}))
	return w
}

// withRegistrations gives the server the registry behind the devices also for registrations.
func withRegistrations(_ *Config, deps *Deps) {
	deps.Registrations = deps.Devices.(Registrations)
}

// keyOf takes a registration apart as a device does: base64, AES-128-CBC under the product secret, zeros at the end.
func keyOf(t *testing.T, payload string, length int) string {
	t.Helper()
	sealed, err := base64.StdEncoding.DecodeString(payload)
	check(t, err)
	block, err := aes.NewCipher([]byte(recorded.ProductSecret[:16]))
	check(t, err)
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, []byte("0000000000000000")).CryptBlocks(plain, sealed)
	if rest := strings.Trim(string(plain[length:]), "\x00"); rest != "" {
		t.Errorf("padded with %q", rest)
	}
	var k struct {
		EncryptionType int
		PSK            string
	}
	check(t, json.Unmarshal(plain[:length], &k))
	if k.EncryptionType != 2 {
		t.Errorf("encryption type %d", k.EncryptionType)
	}
	return k.PSK
}

func registerRequest(t *testing.T, id logbridge.DeviceID, secret, algorithm string) []byte {
	t.Helper()
	body := fmt.Appendf(nil, `{"ProductId":"%s","DeviceName":"%s"}`, id.Product, id.Device)
	sig, err := tencent.Sign(secret, algorithm, recorded.CanonicalHost, registerPath, "1609430400", "7", body)
	check(t, err)
	return fmt.Appendf(nil, "POST /device/register HTTP/1.1\r\nHost: 127.0.0.1\r\nX-TC-Algorithm: %s\r\nX-TC-Timestamp: 1609430400\r\n"+
		"X-TC-Nonce: 7\r\nX-TC-Signature: %s\r\nContent-Length: %d\r\n\r\n%s", algorithm, sig, len(body), body)
}

// TestRegisterRecorded: the C and the Python SDK's own requests fetch the key, again and again until the device connects.
func TestRegisterRecorded(t *testing.T) {
	w := registering(t)
	files, err := filepath.Glob("../wire/recorded/testdata/device/*/http-*.raw")
	check(t, err)
	seen := 0
	for range 2 {
		for _, file := range files {
			raw, err := os.ReadFile(file)
			check(t, err)
			if !strings.HasPrefix(string(raw), "POST /device/register ") {
				continue
			}
			seen++
			answer := w.raw(raw)
			if code := checkDeviceAnswer(t, answer); code != "" {
				t.Fatalf("%s: %s", file, code)
			}
			_, body := headerBody(t, answer)
			var reply struct {
				Response struct {
					Len     int
					Payload string
				}
			}
			check(t, json.Unmarshal([]byte(body), &reply))
			if got := keyOf(t, reply.Response.Payload, reply.Response.Len); got != recorded.PSK {
				t.Errorf("%s: key %q", file, got)
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d registrations", seen)
	}
	if total := w.sink.Ledger().Total; total.Received != 0 {
		t.Errorf("a registration is no line: %+v", total)
	}
}

// TestRegisterRefuses: every refusal is in the ledger with its reason, and who does not have the product's secret is told no more
// than that the signature is wrong.
func TestRegisterRefuses(t *testing.T) {
	w := registering(t)
	ctx := t.Context()
	closedProduct := logbridge.DeviceID{Product: "CLOSED0001", Device: "dev_01"}
	check(t, w.reg.PutProduct(ctx, logbridge.Product{ID: closedProduct.Product, Secret: recorded.ProductSecret}))
	check(t, w.reg.PutDevice(ctx, logbridge.Device{ID: closedProduct, PSK: recorded.PSK}))
	bare := logbridge.DeviceID{Product: "NOSECRET01", Device: "dev_01"}
	check(t, w.reg.PutProduct(ctx, logbridge.Product{ID: bare.Product, AllowRegister: true}))
	check(t, w.reg.PutDevice(ctx, logbridge.Device{ID: bare, PSK: recorded.PSK}))
	named := logbridge.DeviceID{Product: device01.Product, Device: "by_name"}
	check(t, w.reg.PutDevice(ctx, logbridge.Device{ID: named, CertificateSubject: "by_name"}))
	connected := logbridge.DeviceID{Product: device01.Product, Device: "connected"}
	check(t, w.reg.PutDevice(ctx, logbridge.Device{ID: connected, PSK: recorded.PSK}))
	w.reg.NoteConnected(connected)
	ghost := logbridge.DeviceID{Product: device01.Product, Device: "ghost"}
	nowhere := logbridge.DeviceID{Product: "NOWHERE001", Device: "dev_01"}
	for _, row := range []struct {
		id           logbridge.DeviceID
		secret, code string
		stream       logbridge.Stream
		why          reason
	}{
		{device01, "PRODUCTSECRET0123456789B", "AuthFailure.SignatureFailure", "", badAuth},
		{device01, recorded.PSK, "AuthFailure.SignatureFailure", "", badAuth},
		{ghost, "PRODUCTSECRET0123456789B", "AuthFailure.SignatureFailure", "", badAuth},
		{nowhere, recorded.ProductSecret, "AuthFailure.SignatureFailure", "", unknownName},
		{bare, recorded.ProductSecret, "AuthFailure.SignatureFailure", "", unknownName},
		{closedProduct, recorded.ProductSecret, "UnsupportedOperation", "", registerOff},
		{ghost, recorded.ProductSecret, "ResourceNotFound", "", notThere},
		{connected, recorded.ProductSecret, "ResourceInUse", connected.Stream(), inUse},
		{named, recorded.ProductSecret, "InvalidParameterValue", named.Stream(), badValue},
	} {
		before := w.refused(row.stream, row.why)
		if code := checkDeviceAnswer(t, w.raw(registerRequest(t, row.id, row.secret, "hmacsha256"))); code != row.code {
			t.Errorf("%s: %q, want %q", row.id, code, row.code)
		}
		if n := w.refused(row.stream, row.why) - before; n != 1 {
			t.Errorf("%s: %d counted as %s", row.id, n, row.why)
		}
	}
	// Uploading is connecting, too.
	if code := checkDeviceAnswer(t, w.raw(signedUpload(t, device01, recorded.PSK, "1", "INFhere"))); code != "" {
		t.Fatal(code)
	}
}

// TestRegisterOld: the older way, with its own answers.
func TestRegisterOld(t *testing.T) {
	w := registering(t)
	ask := func(secret string) (code int, payload string, length int) {
		r := tencent.OldRegister{Device: device01, Nonce: "5456", Timestamp: "1700000000"}
		r.Sign(secret)
		body := fmt.Sprintf(`{"deviceName":"dev_01","nonce":5456,"productId":"ABCDE12345","timestamp":1700000000,"signature":"%s"}`, r.Signature)
		a := w.send("POST", oldRegisterPath, body)
		var reply struct {
			Code, Len int
			Payload   string
		}
		check(t, json.Unmarshal([]byte(a.body), &reply))
		if a.StatusCode != 200 || len(a.body) > 255 || !a.Close {
			t.Errorf("status %d, %d bytes, close %v", a.StatusCode, len(a.body), a.Close)
		}
		return reply.Code, reply.Payload, reply.Len
	}
	code, payload, length := ask(recorded.ProductSecret)
	if code != 0 || keyOf(t, payload, length) != recorded.PSK {
		t.Errorf("code %d", code)
	}
	if code, payload, _ := ask("PRODUCTSECRET0123456789B"); code != 1010 || payload != "" {
		t.Errorf("wrong secret: code %d, payload %q", code, payload)
	}
	if a := w.send("POST", "/register/other", "{}"); a.StatusCode != 200 || !strings.Contains(a.body, `"code":1010`) {
		t.Errorf("unknown call: %d %s", a.StatusCode, a.body)
	}
}

// frameRequest sends a frame and reads the retcode, holding the answer to the rules of 4.5.
func (w *world) frame(body []byte, headers ...string) int {
	w.t.Helper()
	a := w.send("POST", framePath, string(body), append([]string{"Content-Type", "text/plain;charset=utf-8"}, headers...)...)
	var reply struct{ Retcode *int }
	if err := json.Unmarshal([]byte(a.body), &reply); err != nil || reply.Retcode == nil || a.StatusCode != 200 || len(a.body) > 255 ||
		a.ContentLength != int64(len(a.body)) || !a.Close {
		w.t.Fatalf("%d %q, close %v: %v", a.StatusCode, a.body, a.Close, err)
	}
	return *reply.Retcode
}

// TestFrameVector: V6 is stored with its times, levels and tags; again it is a replay.
func TestFrameVector(t *testing.T) {
	w := start(t)
	body, err := os.ReadFile("../wire/tencent/testdata/v6-report-log-body.bin")
	check(t, err)
	for range 2 {
		if code := w.frame(body); code != 0 {
			t.Fatalf("retcode %d", code)
		}
	}
	got := w.records(logbridge.Query{Product: device01.Product})
	if len(got) != 2 || got[0].Body != "main(42): hello" || got[0].Severity != logbridge.LevelInfo || attr(got[0], "tag") != "main.c" ||
		got[1].Body != "main(43): boom" || got[1].Severity != logbridge.LevelError || got[0].Source != logbridge.SourceReportLog ||
		got[0].Stream != device01.Stream() {
		t.Errorf("%+v", got)
	}
	if c := w.sink.Ledger().Total; c.Received != 4 || c.Stored != 2 || c.Duplicate != 2 {
		t.Errorf("ledger %+v", c)
	}
}

// TestFrames: what the builds send: the whole secret as the key, no line end, encrypted; and what is refused.
func TestFrames(t *testing.T) {
	w := start(t)
	long := logbridge.DeviceID{Product: device01.Product, Device: "long_key"}
	longKey := strings.Repeat("QUJD", 12)
	check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: long, PSK: longKey}))
	byName := logbridge.DeviceID{Product: device01.Product, Device: "by_name"}
	check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: byName, CertificateSubject: "x"}))
	plain := tencent.EncodeFrame(device01, 0, "DBG|2026-11-21 11:00:00|one line\n\f", recorded.PSK)
	sealed, err := tencent.EncryptFrame(tencent.EncodeFrame(device01, 0, "INFencrypted\n\f", recorded.PSK), recorded.PSK)
	check(t, err)
	others, err := tencent.EncryptFrame(tencent.EncodeFrame(long, 0, "INFforged\n\f", recorded.PSK), recorded.PSK)
	check(t, err)
	certificate := append([]byte(nil), plain...)
	certificate[40] = 'C'
	cid := []string{"X-TC-IotEncryptType", "P", "X-TC-IotCid", tencent.ClientID(device01)}
	for _, row := range []struct {
		name    string
		body    []byte
		headers []string
		want    int
		why     reason
		stream  logbridge.Stream
	}{
		{"plain", plain, nil, 0, "", ""},
		{"ESP: whole key, no line end", tencent.EncodeFrame(long, 1609430400, "INF|2026-11-21 11:00:00|esp", longKey), nil, 0, "", ""},
		{"C: first 24 characters", tencent.EncodeFrame(long, 0, "INFshort\n\f", longKey[:24]), nil, 0, "", ""},
		{"encrypted", sealed, cid, 0, "", ""},
		{"no lines", tencent.EncodeFrame(device01, 0, "", recorded.PSK), nil, 0, "", ""},
		{"wrong key", tencent.EncodeFrame(device01, 0, "INFforged\n\f", longKey), nil, 401, badAuth, device01.Stream()},
		{"certificate device", certificate, nil, 401, badAuth, device01.Stream()},
		{"device without a key", tencent.EncodeFrame(byName, 0, "INFforged\n\f", ""), nil, 401, badAuth, byName.Stream()},
		{"unknown device", tencent.EncodeFrame(logbridge.DeviceID{Product: device01.Product, Device: "ghost"}, 0, "INFx\n\f", recorded.PSK), nil, 401, unknownName, ""},
		{"encrypted by another", sealed, []string{"X-TC-IotEncryptType", "P", "X-TC-IotCid", tencent.ClientID(long)}, 401, badAuth, ""},
		{"another's inside", others, cid, 401, badAuth, ""},
		{"encrypted, no name", sealed, []string{"X-TC-IotEncryptType", "P"}, 400, malformed, ""},
		{"encrypted, not told", sealed, nil, 400, malformed, ""},
		{"empty", nil, nil, 400, malformed, ""},
		{"too large", make([]byte, maxDeviceBody+1), nil, 413, tooLarge, ""},
	} {
		before := w.refused(row.stream, row.why)
		if got := w.frame(row.body, row.headers...); got != row.want {
			t.Errorf("%s: retcode %d, want %d", row.name, got, row.want)
		}
		if row.want != 0 && w.refused(row.stream, row.why) == before {
			t.Errorf("%s: not counted as %s", row.name, row.why)
		}
	}
	var bodies []string
	for _, r := range w.records(logbridge.Query{Product: device01.Product}) {
		bodies = append(bodies, r.Body)
	}
	if got := strings.Join(bodies, ","); got != "one line,esp,short,encrypted" {
		t.Errorf("stored %s", got)
	}
	if a := w.send("POST", "/cgi-bin/other", "x"); a.StatusCode != 200 || !strings.Contains(a.body, `"Retcode":400`) {
		t.Errorf("another call: %d %s", a.StatusCode, a.body)
	}
}

// noted is a Limiter that remembers who asked.
type noted struct {
	*attempts.Limiter
	mu   sync.Mutex
	from map[netip.Addr]int
}

func (n *noted) Failed(from netip.Addr, id logbridge.DeviceID, known bool) {
	n.mu.Lock()
	n.from[from]++
	n.mu.Unlock()
	n.Limiter.Failed(from, id, known)
}

// TestWrongSignaturesAreLimited: on all four calls together; another device behind the address is heard as before.
func TestWrongSignaturesAreLimited(t *testing.T) {
	n := &noted{Limiter: attempts.New(), from: map[netip.Addr]int{}}
	w := start(t, withRegistrations, func(_ *Config, deps *Deps) { deps.Attempts = n })
	check(t, w.reg.PutProduct(t.Context(), logbridge.Product{ID: device01.Product, Secret: recorded.ProductSecret, AllowRegister: true}))
	other := logbridge.DeviceID{Product: device01.Product, Device: "other"}
	check(t, w.reg.PutDevice(t.Context(), logbridge.Device{ID: other, PSK: recorded.PSK}))
	for i := 0; w.refused("", throttled) == 0; i++ {
		if i > 1000 {
			t.Fatal("never limited")
		}
		switch i % 3 {
		case 0:
			checkDeviceAnswer(t, w.raw(signedUpload(t, device01, "wrong", "1", "INFx")))
		case 1:
			w.frame(tencent.EncodeFrame(device01, 0, "INFx\n\f", "wrong"))
		case 2:
			checkDeviceAnswer(t, w.raw(registerRequest(t, device01, "wrong-product-secret", "hmacsha1")))
		}
	}
	drain := func() { // a failure is forgiven each second: the next call has a whole one
		for range 3 {
			n.Limiter.Failed(netip.MustParseAddr("127.0.0.1"), device01, true)
		}
	}
	drain()
	if code := checkDeviceAnswer(t, w.raw(signedUpload(t, device01, recorded.PSK, "2", "INFx"))); code != "AuthFailure.SignatureFailure" {
		t.Errorf("upload: %q", code)
	}
	drain()
	if code := w.frame(tencent.EncodeFrame(device01, 0, "INFx\n\f", recorded.PSK)); code != 401 {
		t.Errorf("frame: %d", code)
	}
	drain()
	if code := checkDeviceAnswer(t, w.raw(registerRequest(t, device01, recorded.ProductSecret, "hmacsha1"))); code != "AuthFailure.SignatureFailure" {
		t.Errorf("register: %q", code)
	}
	if code := checkDeviceAnswer(t, w.raw(signedUpload(t, other, recorded.PSK, "3", "INFx"))); code != "" {
		t.Errorf("another device: %q", code)
	}
	if n.from[netip.MustParseAddr("127.0.0.1")] < 10 || len(n.from) != 1 {
		t.Errorf("failures from %v", n.from)
	}
}
