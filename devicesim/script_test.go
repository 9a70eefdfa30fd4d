package devicesim

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

func scripted(t *testing.T, script Script, n int) []*device {
	t.Helper()
	f, err := New(Config{Broker: "127.0.0.1:1", HTTP: "http://127.0.0.1:1", Script: script, Devices: credentials(n)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	list := make([]*device, n)
	for i, c := range credentials(n) {
		list[i] = newDevice(f, c, UploadHTTP)
		f.play(list[i], i)
	}
	return list
}

// The literal shapes of tencent-iot.md 2.1 and 3.1.
func TestDialectsAreThoseOfTheSDKs(t *testing.T) {
	for i, want := range []struct{ app, expiry, algorithm, question string }{
		{"21010406", "9223372036854775807", ";hmacsha1", `{"type": "get_log_level", "clientToken": "ABCDE12345-1"}`},
		{"12010126", "2147483647", ";hmacsha256", `{"clientToken":"ABCDE12345dev_02-0","type":"get_log_level"}`},
		{"21010406", "", ";hmacsha1", ""},
		{"21010406", "2147483647", ";hmacsha256", `{"type":"get_log_level","clientToken": "ABCDE12345-`},
	} {
		d := scripted(t, ScriptSDK, 4)[i]
		user, password, err := d.login()
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(user, ";")
		if len(fields) != 4 || fields[0] != tencent.ClientID(d.ID) || fields[1] != want.app || len(fields[2]) != connIDLength ||
			want.expiry != "" && fields[3] != want.expiry || !strings.HasSuffix(password, want.algorithm) {
			t.Errorf("device %d: %q %q", i, user, password)
		}
		if err := tencent.VerifyPassword(testPSK, user, password, time.Now()); err != nil {
			t.Errorf("device %d: %v", i, err)
		}
		if want.question == "" {
			if d.question != nil || len(fields[3]) != 13 || d.protocol != 3 {
				t.Errorf("Python asks, or has no milliseconds, or no MQTT 3.1: %q", user)
			}
			continue
		}
		token, payload := d.question(d.ID, 1)
		q, err := tencent.ParseLevelRequest([]byte(payload))
		if err != nil || !strings.HasPrefix(payload, want.question) || q.ClientToken != token {
			t.Errorf("device %d asks %s: %v", i, payload, err)
		}
	}
}

func TestScriptsChangeWhatTheySay(t *testing.T) {
	noisy := scripted(t, ScriptNoisy, 2)
	if noisy[0].rate != noisyRate*noisy[1].rate {
		t.Errorf("rates %f and %f", noisy[0].rate, noisy[1].rate)
	}
	for i, d := range scripted(t, ScriptWrongKeys, 4) {
		if (d.PSK == testPSK) != (i < 2) {
			t.Errorf("device %d has the key %s", i, d.PSK)
		}
	}
	clockless := scripted(t, ScriptNoClock, 1)[0]
	clockless.level.Store(uint32(logbridge.LevelDebug))
	clockless.add(clockless.story.next(clockless.clock(time.Now())))
	if !strings.Contains(clockless.pending[0], "|1970-01-01 ") || clockless.stamp() != 0 {
		t.Errorf("%q is sent at %d", clockless.pending[0], clockless.stamp())
	}
	if _, err := New(Config{Broker: "b", Upload: UploadMQTT, Script: "rain", Devices: credentials(1)}, nil); err == nil || !strings.Contains(err.Error(), "rain") {
		t.Errorf("an unknown script: %v", err)
	}
}

func TestStormStrikesAllAtOnce(t *testing.T) {
	w := newWorld(t)
	f, stop := w.start(Config{Devices: credentials(5), Upload: UploadMQTT, Script: ScriptStorm, StormEvery: 200 * time.Millisecond})
	w.await("three storms, and lines after them", func(map[string]int) bool { return f.Stats().Storms >= 3 && f.Stats().Connects >= 20 })
	stop()
	if n := f.Stats(); n.Connected != 0 || n.Acknowledged == 0 {
		t.Errorf("counts: %+v", n)
	}
}

func TestSlowReaderTakesLittle(t *testing.T) {
	ours, theirs := net.Pipe()
	slow, err := slowly(ours)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = theirs.Write(make([]byte, 2*slowRead)) }()
	n, err := slow.Read(make([]byte, 2*slowRead))
	if err != nil || n != slowRead {
		t.Errorf("%d bytes in one read, %v", n, err)
	}
	_ = theirs.Close()
}
