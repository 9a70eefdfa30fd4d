package tencent

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

func vector6(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/v6-report-log-body.bin")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestFrameVector is V6 of tencent-iot.md 7.
func TestFrameVector(t *testing.T) {
	body := vector6(t)
	frame, err := ParseFrame(body)
	want := Frame{Device: dev01, Timestamp: 1700000000, Text: "INF|2023-11-14 22:13:20|main.c|main(42): hello\n\fERR|2023-11-14 22:13:21|main.c|main(43): boom\n\f"}
	if frame != want || err != nil {
		t.Errorf("%+v, %v", frame, err)
	}
	if err := VerifyFrame(body, recorded.PSK); err != nil {
		t.Error(err)
	}
	if own := EncodeFrame(dev01, 1700000000, want.Text, recorded.PSK); string(own) != string(body) {
		t.Errorf("EncodeFrame makes %q", own)
	}
}

func TestFrameRefuses(t *testing.T) {
	body := vector6(t)
	changed := func(at int, to string) []byte {
		b := append([]byte(nil), body...)
		copy(b[at:], to)
		return b
	}
	for name, b := range map[string][]byte{
		"short": body[:frameText-1], "empty": nil, "mode": changed(frameMode, "X"), "mark": changed(frameMark, "##-"),
		"product": changed(frameProduct, "-"), "device": changed(frameDevice, "####################"), "time": changed(frameTime, "x"),
		"sign": changed(frameTime, "+"),
	} {
		if frame, err := ParseFrame(b); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, frame, err)
		}
	}
	for name, b := range map[string][]byte{
		"signature": changed(0, "0"), "no hex": changed(0, "g"), "text": changed(frameText, "WRN"), "device": changed(frameDevice, "dev_02"),
		"certificate": changed(frameMode, "C"),
	} {
		if err := VerifyFrame(b, recorded.PSK); !errors.Is(err, logbridge.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := VerifyFrame(EncodeFrame(dev01, 0, "INFx", ""), ""); !errors.Is(err, logbridge.ErrUnauthorized) {
		t.Errorf("an empty secret: %v", err)
	}
	if frame, err := ParseFrame(changed(frameMode, "C")); !frame.Certificate || err != nil {
		t.Errorf("certificate device: %+v, %v", frame, err)
	}
	signed := changed(frameMode, "C") // with the right key even
	mac := appendMAC(nil, sha1.New, []byte(recorded.PSK), string(signed[frameMode:]))
	copy(signed, hex.EncodeToString(mac))
	if err := VerifyFrame(signed, recorded.PSK); !errors.Is(err, logbridge.ErrUnauthorized) {
		t.Errorf("certificate device: %v", err)
	}
	long := recorded.PSK + "more than the C SDK uses"
	if err := VerifyFrame(body, long); err != nil {
		t.Errorf("first 24 characters of the secret: %v", err)
	}
}

func TestRecordedFrames(t *testing.T) {
	requests, err := recorded.DeviceRequests()
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, r := range requests {
		if r.URL.Path != "/cgi-bin/report-log" {
			continue
		}
		frame, err := ParseFrame(r.Content)
		if err != nil || frame.Device != dev01 || frame.Certificate {
			t.Errorf("%s %d: %+v, %v", r.Capture, r.Index, frame, err)
		}
		if err := VerifyFrame(r.Content, recorded.PSK); err != nil {
			t.Errorf("%s %d: %v", r.Capture, r.Index, err)
		}
		split, err := frame.Lines()
		if err != nil {
			t.Error(err)
		}
		for _, s := range split {
			lines++
			if line := ParseLine(s, nil); line.Time.Year() != 2026 || line.Tag == "" || line.Text == "" {
				t.Errorf("%s %d: %q is %+v", r.Capture, r.Index, s, line)
			}
		}
	}
	if lines != 22 {
		t.Errorf("%d lines, want 22", lines)
	}
}

func TestFrameBoundsLines(t *testing.T) {
	for n, want := range map[int]error{MaxLines: nil, MaxLines + 1: logbridge.ErrTooLarge} {
		lines, err := Frame{Text: strings.Repeat("x\n\f", n)}.Lines()
		if !errors.Is(err, want) || err == nil && len(lines) != n {
			t.Errorf("%d lines: %d, %v", n, len(lines), err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(vector6(f))
	requests, err := recorded.DeviceRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		f.Add(r.Content)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if VerifyFrame(body, "") == nil {
			t.Fatal("passes without a secret")
		}
		verified := VerifyFrame(body, recorded.PSK) == nil
		frame, err := ParseFrame(body)
		if err != nil {
			return
		}
		if frame.Device.Validate() != nil || frame.Timestamp < 0 || len(frame.Text) > 3*len(body) {
			t.Fatalf("%+v", frame)
		}
		again := EncodeFrame(frame.Device, frame.Timestamp, frame.Text, recorded.PSK)
		if back, err := ParseFrame(again); err != nil || !frame.Certificate && back != frame || VerifyFrame(again, recorded.PSK) != nil {
			t.Fatalf("%+v comes back as %+v, %v", frame, back, err)
		}
		if verified && strings.ToLower(string(body)) == string(body) && string(body) != string(again) {
			t.Fatalf("verified %q, encoded again %q", body, again)
		}
	})
}
