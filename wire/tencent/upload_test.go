package tencent

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

func TestParseUpload(t *testing.T) {
	for body, want := range map[string][]string{
		vectorBody: {"INFmqtt connect success."},
		`{"DeviceName":"dev_01","Level":"ERR","ProductId":"ABCDE12345","Message":["WRN|a\/b", "x"]}`:   {"WRN|a/b", "x"},
		`{"Message":["ERR|x\n\fWRN|y\n\f"],"ProductId":"ABCDE12345","DeviceName":"dev_01"}`:            {"ERR|x", "WRN|y"},
		`{"Message":"ERR|x\n\fWRN|y","ProductId":"ABCDE12345","DeviceName":"dev_01"}`:                  {"ERR|x", "WRN|y"},
		`{"Message":[],"ProductId":"ABCDE12345","DeviceName":"dev_01"}`:                                nil,
		`{"Message":[1,null,{"a":2}],"ProductId":"ABCDE12345","DeviceName":"dev_01","x":[{}]}`:         {"1", "null", `{"a":2}`},
		"{\"Message\":[\"INFtab\there \xff\"],\"ProductId\":\"ABCDE12345\",\"DeviceName\":\"dev_01\"}": {"INFtab\there \ufffd"},
	} {
		u, err := ParseUpload([]byte(body))
		if err != nil || u.Device != dev01 || !reflect.DeepEqual(u.Messages, want) {
			t.Errorf("%s: %+v, %v; want %q", body, u, err, want)
		}
	}
	for name, body := range map[string]string{
		"empty": "", "no object": "[]", "cut off": vectorBody[:60], "no message": `{"ProductId":"ABCDE12345","DeviceName":"dev_01"}`,
		"no product": `{"DeviceName":"dev_01","Message":[]}`, "no device": `{"ProductId":"ABCDE12345","Message":[]}`,
		"bad names": `{"ProductId":"ABCDE12345","DeviceName":"../x","Message":[]}`, "trailing": vectorBody + "x",
	} {
		if _, err := ParseUpload([]byte(body)); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseUploadBoundsLines(t *testing.T) {
	upload := func(lines int) []byte { return EncodeUpload(dev01, []string{strings.Repeat("x\n\f", lines)}) }
	if u, err := ParseUpload(upload(MaxLines)); err != nil || len(u.Messages) != MaxLines {
		t.Errorf("%d lines, %v", len(u.Messages), err)
	}
	if _, err := ParseUpload(upload(MaxLines + 1)); !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
	if _, err := ParseUpload(EncodeUpload(dev01, strings.Split(strings.Repeat("x,", MaxLines)+"x", ","))); !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("one more element: %v", err)
	}
}

func TestEncodeUpload(t *testing.T) {
	if got := string(EncodeUpload(dev01, []string{"INFmqtt connect success."})); got != vectorBody {
		t.Errorf("%s", got)
	}
	if got := EncodeUpload(dev01, nil); !json.Valid(got) {
		t.Errorf("%s", got)
	}
}

// TestRecordedUploads: every recorded upload is this device's, and every line has level, time, tag and text.
func TestRecordedUploads(t *testing.T) {
	requests, err := recorded.DeviceRequests()
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for _, r := range requests {
		if r.URL.Path != vectorPath {
			continue
		}
		u, err := ParseUpload(r.Content)
		if err != nil || u.Device != dev01 {
			t.Errorf("%s %d: %+v, %v", r.Capture, r.Index, u.Device, err)
		}
		for _, m := range u.Messages {
			lines[r.Capture]++
			line := ParseLine(m, nil)
			if line.Time.Year() != 2026 || line.Tag == "" || line.Text == "" || line.Attrs != nil || !strings.HasPrefix(m, levelLetters(line.Level)+"|") {
				t.Errorf("%s %d: %q is %+v", r.Capture, r.Index, m, line)
			}
			if again := FormatLine(line); again != m {
				t.Errorf("%s %d: %q is written %q", r.Capture, r.Index, m, again)
			}
		}
	}
	want := map[string]int{
		"c-hub-v3.3-cert-level4": 21, "c-hub-v3.3-connack5": 2, "c-hub-v3.3-key-level4": 21, "c-hub-v3.3-kick-reconnect": 30,
		"c-hub-v3.3-level0": 1, "c-hub-v3.3-push": 3, "java-hub-3.4-key-tcp": 4,
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
}

func FuzzParseUpload(f *testing.F) {
	f.Add([]byte(vectorBody))
	requests, err := recorded.DeviceRequests()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range requests {
		f.Add(r.Content)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := ParseUpload(body)
		if err != nil {
			if !errors.Is(err, logbridge.ErrInvalid) && !errors.Is(err, logbridge.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if len(u.Messages) > MaxLines || u.Device.Validate() != nil {
			t.Fatalf("%d lines of %v", len(u.Messages), u.Device)
		}
		for _, m := range u.Messages {
			if !utf8.ValidString(m) || m == "" {
				t.Fatalf("line %q", m)
			}
		}
		again, err := ParseUpload(EncodeUpload(u.Device, u.Messages))
		if err != nil || again.Device != u.Device || strings.Join(again.Messages, "\n\f") != strings.Join(u.Messages, "\n\f") {
			t.Fatalf("%+v comes back as %+v, %v", u, again, err)
		}
	})
}
