package tencent

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

func TestParseLevelRequest(t *testing.T) {
	for payload, want := range map[string]string{ // 3.1
		`{"type": "get_log_level", "clientToken": "ABCDE12345-1"}`:    "ABCDE12345-1",
		`{"clientToken":"ABCDE12345dev_01-0","type":"get_log_level"}`: "ABCDE12345dev_01-0",
		`{"type":"get_log_level","clientToken": "ABCDE12345-12345"}`:  "ABCDE12345-12345",
		`{"type":"get_log_level"}`:                                    "",
		`{"type":"get_log_level","clientToken":7,"more":{"x":[]}}`:    "7",
	} {
		if got, err := ParseLevelRequest([]byte(payload)); err != nil || got.ClientToken != want {
			t.Errorf("%s: %v, %v", payload, got, err)
		}
	}
	for _, payload := range []string{
		``, `x`, `[]`, `{}`, `{"type":"get"}`, `{"type":null}`, `{"type":"get_log_level"`, `{"type":"get_log_level"}x`,
		`{"type":"get_log_level","clientToken":"` + strings.Repeat("x", maxQuestion) + `"}`,
	} {
		if _, err := ParseLevelRequest([]byte(payload)); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%.60s: %v", payload, err)
		}
	}
}

func TestLevelReply(t *testing.T) {
	now := time.Unix(1795258418, 0)
	for _, row := range []struct {
		name, token string
		level       logbridge.Level
		want        string
	}{
		{"answer", "ABCDE12345-1", logbridge.LevelDebug,
			`{"type":"get_log_level","log_level":4,"clientToken":"ABCDE12345-1","result":0,"timestamp":1795258418}`},
		{"push", "", logbridge.LevelOff, `{"type":"get_log_level","log_level":0,"result":0,"timestamp":1795258418}`},
		{"no room for the timestamp", strings.Repeat("t", 40), logbridge.LevelWarn,
			`{"type":"get_log_level","log_level":2,"clientToken":"` + strings.Repeat("t", 40) + `","result":0}`},
		{"longest token", strings.Repeat("t", 61), logbridge.LevelWarn,
			`{"type":"get_log_level","log_level":2,"clientToken":"` + strings.Repeat("t", 61) + `","result":0}`},
		{"no room for the token", strings.Repeat("t", 62), logbridge.LevelInfo,
			`{"type":"get_log_level","log_level":3,"result":0,"timestamp":1795258418}`},
		{"token with escapes", "a\"b\\c\n", logbridge.LevelError,
			`{"type":"get_log_level","log_level":1,"clientToken":"a\"b\\c\u000a","result":0,"timestamp":1795258418}`},
	} {
		got := string(LevelReply(row.token, row.level, now))
		if got != row.want {
			t.Errorf("%s: %s\nwant %s", row.name, got, row.want)
		}
	}
}

func TestParseLevelReply(t *testing.T) {
	got, err := ParseLevelReply(LevelReply("token", logbridge.LevelWarn, time.Unix(1795258418, 0)))
	if want := (LevelReplyFields{"get_log_level", "token", logbridge.LevelWarn, 1795258418}); got != want || err != nil {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, payload := range []string{
		``, `{}`, `{"type":"get_log_level"}`, `{"type":"get_log_level","log_level":7}`, `{"type":"get_log_level","log_level":-1}`,
		`{"type":"get_log_level","log_level":256}`, `{"type":"x","log_level":1}`, `{"type":"get_log_level","log_level":"debug"}`,
	} {
		if got, err := ParseLevelReply([]byte(payload)); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v, %v", payload, got, err)
		}
	}
}

func TestTime(t *testing.T) {
	if err := ParseTimeRequest([]byte(`{"type": "get", "resource": ["time"]}`)); err != nil {
		t.Error(err)
	}
	if err := ParseTimeRequest([]byte(`{"resource":["x","time"],"type":"get"}`)); err != nil {
		t.Error(err)
	}
	for _, payload := range []string{``, `{}`, `{"type":"get"}`, `{"type":"get","resource":"time"}`, `{"type":"get","resource":["clock"]}`, `{"type":"set","resource":["time"]}`} {
		if err := ParseTimeRequest([]byte(payload)); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	received := time.UnixMilli(1795258418340)
	got := string(TimeReply(received, received.Add(2*time.Millisecond)))
	if want := `{"type":"get","time":1795258418,"ntptime1":1795258418340,"ntptime2":1795258418342}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestRecordedQuestions: every level and time question of a recorded device is understood, and our own question is the C SDK's.
func TestRecordedQuestions(t *testing.T) {
	packets, err := recorded.DevicePackets()
	if err != nil {
		t.Fatal(err)
	}
	levels, times, own := 0, 0, false
	for _, p := range packets {
		fields := strings.SplitN(p.Label, " ", 5)
		if !p.FromClient || fields[0] != "PUBLISH" {
			continue
		}
		switch kind, _ := ParseTopic(fields[3]); kind {
		case TopicOperation:
			levels++
			request, err := ParseLevelRequest([]byte(fields[4]))
			if err != nil || request.ClientToken == "" {
				t.Errorf("%s: %s: %v, %v", p.Capture, fields[4], request, err)
			}
			own = own || string(LevelRequestPayload(request.ClientToken)) == fields[4]
		case TopicSys:
			times++
			if err := ParseTimeRequest([]byte(fields[4])); err != nil {
				t.Errorf("%s: %s: %v", p.Capture, fields[4], err)
			}
		}
	}
	if levels != 9 || times != 18 || !own {
		t.Errorf("%d level and %d time questions (want 9 and 18), own form among them: %v", levels, times, own)
	}
}

func FuzzLevel(f *testing.F) {
	f.Add([]byte(`{"type": "get_log_level", "clientToken": "ABCDE12345-1"}`))
	f.Add([]byte(`{"clientToken":"ABCDE12345dev_01-0","type":"get_log_level"}`))
	f.Add([]byte(`{"type": "get", "resource": ["time"]}`))
	f.Add([]byte(`{"type":"get_log_level","log_level":4,"clientToken":"\ud83d\"","result":0,"timestamp":1795258418}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		_ = ParseTimeRequest(payload)
		if fields, err := ParseLevelReply(payload); err == nil && !fields.Level.Valid() {
			t.Fatalf("level %d", fields.Level)
		}
		request, err := ParseLevelRequest(payload)
		if err != nil {
			return
		}
		reply := LevelReply(request.ClientToken, logbridge.LevelDebug, recordedAt)
		if len(reply) > MaxLevelReply || !json.Valid(reply) || !utf8.Valid(reply) {
			t.Fatalf("%d bytes: %s", len(reply), reply)
		}
		back, err := ParseLevelReply(reply)
		if err != nil || back.Level != logbridge.LevelDebug || back.ClientToken != request.ClientToken && back.ClientToken != "" {
			t.Fatalf("%s gives %v, %v", reply, back, err)
		}
		if len(request.ClientToken) <= 10 && back.ClientToken == "" && request.ClientToken != "" {
			t.Fatalf("short token %q is not echoed", request.ClientToken)
		}
	})
}

// TestToldLevel reads every answer that LevelReply makes, whatever the clientToken holds.
func TestToldLevel(t *testing.T) {
	for level := logbridge.LevelOff; level <= logbridge.LevelDebug; level++ {
		for _, token := range []string{"", "t", `","log_level":0`, strings.Repeat("x", MaxLevelReply)} {
			if got, ok := ToldLevel(LevelReply(token, level, time.Now())); !ok || got != level {
				t.Errorf("level %s, token %q: %s, %v", level, token, got, ok)
			}
		}
	}
	for _, other := range []string{"", replyHead, replyHead + "9}", `{"type":"get_log_level"}`, string(TimeReply(time.Now(), time.Now()))} {
		if got, ok := ToldLevel([]byte(other)); ok {
			t.Errorf("%q tells %s", other, got)
		}
	}
}
