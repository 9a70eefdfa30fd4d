package loose

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
)

func TestRepair(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"plain 中文 😀":                           "plain 中文 😀",
		"\xed\xa0\xbd\xed\xb8\x80":             "😀", // as the CLS SDK sends it
		"a\xed\xa0\xbd\xed\xb8\x80b\xed":       "a😀b\ufffd",
		"\xed\xa0\xbd":                         "\ufffd", // half a pair
		"\xed\xb8\x80\xed\xa0\xbd":             "\ufffd", // the wrong way round
		"\xed\x95\x9c\xff":                     "한\ufffd",
		"\xed\xa0\xbd\xed\xa0\xbd\xed\xb8\x80": "\ufffd😀",
		"\xed\xaf\xbf\xed\xbf\xbf":             "\U0010ffff",
	} {
		if got := Repair([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestRepairCopies(t *testing.T) {
	in := []byte("text")
	got := Repair(in)
	in[0] = 'T'
	if got != "text" {
		t.Error("the result aliases the input")
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", `q " b \ s /`, "\x00\x1f\n\t\r", "<&>中😀", "\u2028", "\x7f"} {
		got := AppendString([]byte("x"), s)
		var back string
		if err := json.Unmarshal(got[1:], &back); err != nil || back != s || got[0] != 'x' {
			t.Errorf("%q: %s gives %q, %v", s, got, back, err)
		}
	}
	if got := string(AppendString(nil, "a\xffb")); got != "\"a\ufffdb\"" {
		t.Errorf("invalid byte: %s", got)
	}
}

func TestUnixTime(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	for number, want := range map[string]time.Time{
		"1700000000":          at,
		"1700000000123":       at.Add(123 * time.Millisecond),
		"1700000000123456":    at.Add(123456 * time.Microsecond),
		"1700000000123456789": at.Add(123456789),
		"1700000000.25":       at.Add(250 * time.Millisecond),
		"1.7e9":               at,
		"1.700000000123e12":   at.Add(123 * time.Millisecond),
		"123456789":           time.Date(1973, 11, 29, 21, 33, 9, 0, time.UTC), // the vendor's sample
		"100000000000":        time.UnixMilli(1e11),
		"100000000000000":     time.UnixMicro(1e14),
		"100000000000000000":  time.Unix(0, 1e17),
		"9223372035":          time.Date(2262, 4, 11, 23, 47, 15, 0, time.UTC),
	} {
		if got, ok := UnixTime(number); !ok || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %v, %v; want %v", number, got, ok, want)
		}
	}
	for _, number := range []string{"", "0", "-1", "x", "NaN", "Inf", "1e30", "99999999999", "99999999999999", "99999999999999999", "9223372036", "99999999999999999999", "2026-11-21"} {
		if got, ok := UnixTime(number); ok {
			t.Errorf("%s: accepted as %v", number, got)
		}
	}
}

func TestQuery(t *testing.T) {
	var got []string
	for k, v := range Query("a=1&&b=%E4%B8%AD+x&a=2&c&=d&bad=%zz&raw=\xff&e=f=g") {
		got = append(got, k, v)
	}
	want := []string{"a", "1", "b", "中 x", "a", "2", "c", "", "", "d", "bad", "%zz", "raw", "\ufffd", "e", "f=g"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range Query("a=1&b=2") {
		break // must not go on
	}
}

func TestSeverityOfFields(t *testing.T) {
	for _, row := range []struct {
		fields []logbridge.Attr
		want   logbridge.Level
	}{
		{nil, logbridge.LevelInfo},
		{[]logbridge.Attr{{Key: "x", Value: "error"}}, logbridge.LevelInfo},
		{[]logbridge.Attr{{Key: "level", Value: "ERROR"}}, logbridge.LevelError},
		{[]logbridge.Attr{{Key: "severity", Value: "warning"}}, logbridge.LevelWarn},
		{[]logbridge.Attr{{Key: "level", Value: "boss"}, {Key: "__level__", Value: "4"}}, logbridge.LevelDebug},
		{[]logbridge.Attr{{Key: "level", Value: "0"}}, logbridge.LevelInfo},
	} {
		if got := severity(row.fields); got != row.want {
			t.Errorf("%v: %v, want %v", row.fields, got, row.want)
		}
	}
}

func FuzzRepair(f *testing.F) {
	f.Add([]byte("a\xed\xa0\xbd\xed\xb8\x80b\xed\xa0"))
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := Repair(in)
		if !utf8.ValidString(got) || len(got) > 3*len(in) {
			t.Fatalf("%q becomes %q", in, got)
		}
		if utf8.Valid(in) && got != string(in) {
			t.Fatalf("valid %q was changed to %q", in, got)
		}
	})
}
