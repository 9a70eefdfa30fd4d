package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
	"github.com/logbridge/logbridge/wire/tencent"
)

// checkDeviceAnswer holds every answer on the device surface to tencent-iot.md 4.5 and gives its error code, "" for none.
func checkDeviceAnswer(t *testing.T, raw []byte) string {
	t.Helper()
	header, body := headerBody(t, raw)
	if !strings.HasPrefix(header, "HTTP/1.1 200 OK\r\n") && !strings.HasPrefix(header, "HTTP/1.0 200 OK\r\n") {
		t.Errorf("status line of %q is not 200", header)
	}
	if !strings.Contains(header, fmt.Sprintf("\r\nContent-Length: %d", len(body))) {
		t.Errorf("header %q has no exact Content-Length: %d", header, len(body))
	}
	if strings.Contains(strings.ToLower(header), "transfer-encoding") {
		t.Errorf("header %q announces chunks", header)
	}
	if !strings.Contains(header, "\r\nConnection: close") {
		t.Errorf("header %q keeps the connection", header)
	}
	if len(body) > 255 || len(raw) >= 1024 {
		t.Errorf("body of %d bytes in an answer of %d", len(body), len(raw))
	}
	var answer struct {
		Response *struct {
			Error     *struct{ Code, Message string }
			RequestId string
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Response == nil || answer.Response.RequestId == "" {
		t.Fatalf("body %q is not the form of 4.5: %v", body, err)
	}
	if answer.Response.Error == nil {
		return ""
	}
	if answer.Response.Error.Code == "" || answer.Response.Error.Message == "" {
		t.Errorf("body %q says nothing", body)
	}
	return answer.Response.Error.Code
}

// signedUpload is the raw bytes of an upload as the Java SDK signs it.
func signedUpload(t *testing.T, id logbridge.DeviceID, secret, nonce string, messages ...string) []byte {
	t.Helper()
	return signedBody(t, secret, nonce, "1795258418", tencent.EncodeUpload(id, messages))
}

func signedBody(t *testing.T, secret, nonce, timestamp string, body []byte) []byte {
	t.Helper()
	sig, err := tencent.Sign(secret, "hmacsha256", recorded.CanonicalHost, reportLogPath, timestamp, nonce, body)
	check(t, err)
	return fmt.Appendf(nil, "POST /device/reportlog HTTP/1.1\r\nHost: 127.0.0.1\r\nX-TC-Algorithm: hmacsha256\r\nX-TC-Timestamp: %s\r\n"+
		"X-TC-Nonce: %s\r\nX-TC-Signature: %s\r\nContent-Length: %d\r\n\r\n%s", timestamp, nonce, sig, len(body), body)
}

// recordedLines are the lines of a recorded body, read without our own decoder.
func recordedLines(t *testing.T, raw []byte) []string {
	t.Helper()
	_, body := headerBody(t, raw)
	var upload struct{ Message []string }
	if bytes.HasPrefix(raw, []byte("POST "+framePath)) {
		upload.Message = []string{body[112:]} // behind the head of tencent-iot.md 5
	} else {
		check(t, json.Unmarshal([]byte(body), &upload))
	}
	var lines []string
	for _, m := range upload.Message {
		for _, line := range strings.Split(m, "\n\f") {
			if line != "" {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func TestReplaysEveryRecordedDeviceRequest(t *testing.T) {
	w := start(t)
	files, err := filepath.Glob("../wire/recorded/testdata/device/*/http-*.raw")
	check(t, err)
	if len(files) < 15 {
		t.Fatalf("%d recordings", len(files))
	}
	uploads := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		check(t, err)
		before := len(w.records(logbridge.Query{Product: device01.Product}))
		answer := w.raw(raw)
		got := w.records(logbridge.Query{Product: device01.Product})[before:]
		want := recordedLines(t, raw)
		code := ""
		if bytes.HasPrefix(raw, []byte("POST "+framePath)) {
			if _, body := headerBody(t, answer); !strings.HasPrefix(body, `{"Retcode":0,`) {
				code = body
			}
		} else {
			code = checkDeviceAnswer(t, answer)
		}
		if !bytes.HasPrefix(raw, []byte("POST "+reportLogPath)) && !bytes.HasPrefix(raw, []byte("POST "+framePath)) {
			if code == "" || len(got) > 0 { // a product without a secret registers nobody; /device/publish is not served
				t.Errorf("%s: code %q, %d records", file, code, len(got))
			}
			continue
		}
		uploads++
		if code != "" || len(got) != len(want) {
			t.Fatalf("%s: code %q, %d records of %d lines", file, code, len(got), len(want))
		}
		for i, r := range got {
			checkRecordedLine(t, file, want[i], r)
		}
	}
	if uploads < 12 {
		t.Errorf("%d uploads", uploads)
	}
}

// checkRecordedLine: LEVEL|time|file|text, in the product's time zone.
func checkRecordedLine(t *testing.T, file, line string, r logbridge.Record) {
	t.Helper()
	f := strings.SplitN(line, "|", 4)
	zone, err := time.LoadLocation("Asia/Shanghai")
	check(t, err)
	when, err := time.ParseInLocation("2006-01-02 15:04:05", f[1], zone)
	check(t, err)
	level := map[string]logbridge.Level{"ERR": 1, "WRN": 2, "INF": 3, "DBG": 4}[f[0]]
	// Where the clock of this machine is before that of the recording, the line was in the future.
	timed := r.TimeQuality == logbridge.TimeDevice && r.Time.Equal(when) || r.TimeQuality == logbridge.TimeShifted && attr(r, "time_raw") == f[1]
	if r.Body != f[3] || attr(r, "tag") != f[2] || !timed || r.Severity != level ||
		r.Source != logbridge.SourceReportLog || r.Stream != device01.Stream() {
		t.Errorf("%s: line %q became %+v", file, line, r)
	}
}

func TestReplayedUploadIsStoredOnce(t *testing.T) {
	w := start(t)
	upload := signedUpload(t, device01, recorded.PSK, "77", "INFonce")
	for range 3 {
		if code := checkDeviceAnswer(t, w.raw(upload)); code != "" {
			t.Fatal(code)
		}
	}
	const others = 20
	for i := range others {
		if code := checkDeviceAnswer(t, w.raw(signedUpload(t, device01, recorded.PSK, fmt.Sprint(100+i), "INFonce"))); code != "" {
			t.Fatal(code)
		}
	}
	if n := len(w.records(logbridge.Query{Device: "dev_01"})); n != 1+others {
		t.Errorf("%d records of 3 replays and %d other nonces", n, others)
	}
}

func TestDeviceLineForms(t *testing.T) {
	observed := &spy{}
	w := start(t, func(_ *Config, d *Deps) { d.Observer = observed })
	before := time.Now()
	upload := signedUpload(t, device01, recorded.PSK, "1", "INFmqtt connect success.", "ERR|2026-11-21 10:55:44|a.c|one\n\fDBG|2026-11-21 10:55:45|b.c|two\n\f", "what is this")
	if code := checkDeviceAnswer(t, w.raw(upload)); code != "" {
		t.Fatal(code)
	}
	got := w.records(logbridge.Query{Device: "dev_01"})
	if len(got) != 4 {
		t.Fatalf("%d records", len(got))
	}
	if got[0].Body != "mqtt connect success." || got[0].TimeQuality != logbridge.TimeReceived || got[0].Time.Before(before.Add(-time.Second)) || len(got[0].Attributes) != 0 {
		t.Errorf("line without a time: %+v", got[0])
	}
	if got[3].Body != "what is this" || got[3].Severity != logbridge.LevelInfo {
		t.Errorf("line of no known form: %+v", got[3])
	}
	if o := observed.last(); o.Device != device01 || o.Level != logbridge.LevelDebug || o.Event != logbridge.LineSeen {
		t.Errorf("observed %+v, want the most verbose level", o)
	}
	if code := checkDeviceAnswer(t, w.raw(signedUpload(t, device01, recorded.PSK, "2"))); code != "" {
		t.Errorf("upload without a line: %s", code)
	}
}

func TestDeviceErrorTable(t *testing.T) {
	log := &faulty{}
	w := start(t, func(c *Config, d *Deps) {
		log.Log, d.Log = d.Log, log
		c.DeviceSkew = time.Minute
		c.BodyTimeout = 2 * time.Second
	})
	good := func(nonce string) []byte {
		return signedBody(t, recorded.PSK, nonce, "0", tencent.EncodeUpload(device01, []string{"INFx", "INFy"}))
	}
	without := func(header string) []byte {
		return bytes.Replace(good("3"), []byte(header), []byte("X-Other"), 1)
	}
	stranger := logbridge.DeviceID{Product: device01.Product, Device: "nobody"}
	long := strings.Repeat("x", maxDeviceBody)
	for _, row := range []struct {
		name, code string
		stream     logbridge.Stream
		why        reason
		lines      uint64
		raw        []byte
	}{
		{"bad JSON", "InvalidParameter", "", malformed, 1, signedBody(t, recorded.PSK, "1", "0", []byte(`{"ProductId":`))},
		{"no message", "InvalidParameter", "", malformed, 1, signedBody(t, recorded.PSK, "1", "0", []byte(`{"ProductId":"ABCDE12345","DeviceName":"dev_01"}`))},
		{"empty body", "InvalidParameter", "", malformed, 1, signedBody(t, recorded.PSK, "1", "0", nil)},
		{"no algorithm", "MissingParameter", "", missing, 1, without("X-TC-Algorithm")},
		{"no timestamp", "MissingParameter", "", missing, 1, without("X-TC-Timestamp")},
		{"no nonce", "MissingParameter", "", missing, 1, without("X-TC-Nonce")},
		{"no signature", "MissingParameter", "", missing, 1, without("X-TC-Signature")},
		{"unknown algorithm", "InvalidParameterValue", device01.Stream(), badValue, 2, bytes.Replace(good("4"), []byte("hmacsha256"), []byte("hmacmd5"), 1)},
		{"long signature", "InvalidParameterValue", "", badValue, 1, bytes.Replace(good("4"), []byte("X-TC-Signature: "), []byte("X-TC-Signature: "+strings.Repeat("A", 2000)), 1)},
		{"wrong key", "AuthFailure.SignatureFailure", device01.Stream(), badAuth, 2, signedUpload(t, device01, "another", "5", "INFx", "INFy")},
		{"unknown device", "AuthFailure.SignatureFailure", "", unknownName, 1, signedUpload(t, stranger, recorded.PSK, "5", "INFx")},
		{"late", "AuthFailure.SignatureExpire", device01.Stream(), expired, 1, signedUpload(t, device01, recorded.PSK, "6", "INFx")},
		{"too large", "LimitExceeded", "", tooLarge, 1, signedBody(t, recorded.PSK, "7", "0", tencent.EncodeUpload(device01, []string{long}))},
		{"too large in chunks", "LimitExceeded", "", tooLarge, 1, []byte("POST /device/reportlog HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(long)+9, long+"123456789") + "0\r\n\r\n")},
		{"record too large", "LimitExceeded", device01.Stream(), tooLarge, 1, signedBody(t, recorded.PSK, "8", "0", tencent.EncodeUpload(device01, []string{"INF" + long[:2<<20]}))},
		{"too slow", "InvalidRequest", "", slow, 1, []byte("POST /device/reportlog HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")},
		{"other path", "InvalidAction", "", unsupported, 1, []byte("POST /device/nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")},
		{"prefix alone", "InvalidAction", "", unsupported, 1, []byte("POST /device HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")},
		{"other method", "UnsupportedOperation", "", badMethod, 0, []byte("GET /device/reportlog HTTP/1.1\r\nHost: h\r\n\r\n")},
	} {
		before := w.refused(row.stream, row.why)
		if code := checkDeviceAnswer(t, w.raw(row.raw)); code != row.code {
			t.Errorf("%s: code %q, want %q", row.name, code, row.code)
		}
		if n := w.refused(row.stream, row.why) - before; n != row.lines {
			t.Errorf("%s: %d counted for %q as %s, want %d", row.name, n, row.stream, row.why, row.lines)
		}
	}
	for i, row := range []struct {
		err  error
		hang bool
	}{{logbridge.ErrUnavailable, false}, {logbridge.ErrUnavailable, true}, {errors.New("other"), false}} {
		log.set(row.err, row.hang)
		if code := checkDeviceAnswer(t, w.raw(good(fmt.Sprint("10", i)))); code != "InternalError" {
			t.Errorf("append %+v: code %q", row, code)
		}
		if d := log.allowed(); d == 0 || d > 800*time.Millisecond {
			t.Errorf("append %+v was allowed %s, the C SDK waits 1 s", row, d)
		}
	}
	if n := w.refused(device01.Stream(), unanswered); n != 0 {
		t.Errorf("%d counted as unavailable, which Append does itself", n)
	}
	if n := w.refused(device01.Stream(), internal); n != 2 {
		t.Errorf("%d counted as internal, want the 2 lines of a fault without a kind", n)
	}
	log.set(nil, false)
	if code := checkDeviceAnswer(t, w.raw(good("11"))); code != "" {
		t.Errorf("device that was refused before: %q", code)
	}
	if n := len(w.records(logbridge.Query{Device: "dev_01"})); n != 2 {
		t.Errorf("%d records, want the 2 of the only good upload", n)
	}
}

func TestUnknownDeviceIsAnsweredLikeAWrongSignature(t *testing.T) {
	w := start(t)
	strip := func(raw []byte) string {
		_, body := headerBody(t, raw)
		return body[:strings.Index(body, `"RequestId"`)]
	}
	wrong := strip(w.raw(signedUpload(t, device01, "another", "5", "INFx")))
	unknown := strip(w.raw(signedUpload(t, logbridge.DeviceID{Product: "ZZZZZ12345", Device: "d"}, "another", "5", "INFx")))
	if wrong != unknown {
		t.Errorf("a device that exists: %s\none that does not: %s", wrong, unknown)
	}
}

func TestClockIsNotCheckedByDefault(t *testing.T) {
	w := start(t)
	for i, stamp := range []string{"0", "0000000000", "1609430400", "1", "99999999999", "x"} {
		raw := signedBody(t, recorded.PSK, fmt.Sprint(i), stamp, tencent.EncodeUpload(device01, []string{"INFx"}))
		if code := checkDeviceAnswer(t, w.raw(raw)); code != "" {
			t.Errorf("timestamp %s: %s", stamp, code)
		}
	}
	strict := start(t, func(c *Config, _ *Deps) { c.DeviceSkew = time.Minute })
	for stamp, want := range map[string]string{
		"0": "", "1609430400": "", fmt.Sprint(time.Now().Unix()): "", "x": "AuthFailure.SignatureExpire",
		fmt.Sprint(time.Now().Add(-time.Hour).Unix()): "AuthFailure.SignatureExpire",
	} {
		raw := signedBody(t, recorded.PSK, "n"+stamp, stamp, tencent.EncodeUpload(device01, []string{"INFx"}))
		if code := checkDeviceAnswer(t, strict.raw(raw)); code != want {
			t.Errorf("with a skew of a minute, timestamp %s: code %q, want %q", stamp, code, want)
		}
	}
}

func TestDeviceAnswerIsOneWrite(t *testing.T) {
	counted := &writes{}
	w := startWith(t, func(s *Server) { counted.Listener, s.fronts[0].listener = s.fronts[0].listener, counted })
	for _, raw := range [][]byte{
		signedUpload(t, device01, recorded.PSK, "1", "INFx"),
		signedUpload(t, device01, "wrong", "2", "INFx"),
		[]byte("POST /device/else HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
	} {
		counted.mu.Lock()
		counted.sizes = nil
		counted.mu.Unlock()
		answer := w.raw(raw)
		counted.mu.Lock()
		if len(counted.sizes) != 1 || counted.sizes[0] != len(answer) {
			t.Errorf("answer of %d bytes in writes of %v", len(answer), counted.sizes)
		}
		counted.mu.Unlock()
	}
}

// TestHalfAnUploadIsRefused cuts the connection's sending half in the middle of a body.
func TestHalfAnUploadIsRefused(t *testing.T) {
	w := start(t)
	raw := signedUpload(t, device01, recorded.PSK, "1", "INFx")
	conn, err := net.Dial("tcp", w.Addr().String())
	check(t, err)
	defer conn.Close()
	_, err = conn.Write(raw[:len(raw)-5])
	check(t, err)
	check(t, conn.(*net.TCPConn).CloseWrite())
	answer := make([]byte, 2048)
	n, err := conn.Read(answer)
	check(t, err)
	if code := checkDeviceAnswer(t, answer[:n]); code != "InvalidParameter" {
		t.Errorf("code %q", code)
	}
}

func BenchmarkParseCertificate(b *testing.B) {
	certificate, err := os.ReadFile("../wire/tencent/testdata/test-only-rsa-device.crt")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := tencent.ParsePublicKey(string(certificate)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		raw, err := os.ReadFile("../wire/recorded/testdata/device/c-hub-v3.3-cert-level4/http-000.raw")
		if err != nil {
			b.Fatal(err)
		}
		all, err := recorded.DeviceRequests()
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range all {
			if r.Capture != "c-hub-v3.3-cert-level4" || r.Index != 0 {
				continue
			}
			sig, err := signatureOf(r.Header)
			if err != nil {
				b.Fatal(err)
			}
			public, err := tencent.ParsePublicKey(string(certificate))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if err := sig.Verify(tencent.Keys{Public: public}, []string{recorded.CanonicalHost}, reportLogPath, r.Content); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
