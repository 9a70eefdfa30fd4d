package loose

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// tree reads a whole value through the scanner's own containers, as encoding/json would.
func tree(s *Scanner) any {
	switch s.Peek() {
	case '{':
		object := map[string]any{}
		for s.Enter('{'); s.Next(); {
			key := s.Key()
			object[key] = tree(s)
		}
		return object
	case '[':
		array := []any{}
		for s.Enter('['); s.Next(); {
			array = append(array, tree(s))
		}
		return array
	case '"':
		return s.String()
	}
	switch raw := s.Raw(); raw {
	case "null":
		return nil
	case "true":
		return true
	case "false":
		return false
	default:
		return json.Number(raw)
	}
}

func scanTree(text string) (any, error) {
	s := NewScanner(text)
	v := tree(&s)
	return v, s.End()
}

func standardTree(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() || strings.TrimLeft(text[d.InputOffset():], " \t\r\n") != "" {
		return nil, errors.New("trailing")
	}
	return v, nil
}

func TestScannerReadsWhatTheStandardReads(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `""`, `0`, `-0.5e+10`, ` true `, `null`, "\t[ ]\r\n",
		`{"a":1,"b":[true,false,null,{"c":"d"}],"a":2}`,
		`"plain"`, `"a longer string, beyond the short one that is looked at byte by byte"`,
		`"\"\\\/\b\f\n\r\t"`, `"中文😀"`, `"\u4e2d\u6587\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\ude00"`, `"\u0000"`,
		`["x\\","y\"","a string with its first escape late \\ in it","\\\\"]`,
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
	} {
		want, err := standardTree(text)
		if err != nil {
			t.Fatalf("%s: the standard refuses it: %v", text, err)
		}
		got, err := scanTree(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{`, `[`, `"`, `"a`, `"a\`, `"a\"`, `}`, `[}`, `{]`, `[1,]`, `{"a":1,}`, `{"a"}`, `{"a" 1}`, `{a:1}`, `{1:2}`, `[,1]`, `[1 2]`,
		`01`, `1.`, `.5`, `-`, `1e`, `+1`, `NaN`, `tru`, `nul`, `truex`, `1 2`, `{}x`, `[]]`, "\x00", "\ufeff{}",
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		strings.Repeat(`{"a":`, 1e5),
	} {
		if v, err := scanTree(text); err == nil {
			t.Errorf("%.40q: accepted as %#v", text, v)
		}
		s := NewScanner(text)
		if s.Raw(); s.End() == nil {
			t.Errorf("%.40q: Raw accepted it", text)
		}
	}
}

func TestScannerIsLenientWithStrings(t *testing.T) {
	for text, want := range map[string]string{
		"\"tab\there\nand newline\"":   "tab\there\nand newline",
		`"C:\path\x41 \u12 \ud83d\u1"`: `C:\path\x41 \u12 ` + "\ufffd" + `\u1`,
	} {
		s := NewScanner(text)
		if got := s.Text(); got != want || s.End() != nil {
			t.Errorf("%s: %q, %v; want %q", text, got, s.Err(), want)
		}
	}
}

func TestScannerText(t *testing.T) {
	s := NewScanner(`["x", 1.50, null, {"a" : [1, "\u0041"]}, true, null, "end"]`)
	var got []string
	s.Enter('[')
	for range 5 {
		s.Next()
		got = append(got, s.Text())
	}
	s.Next()
	got = append(got, s.Optional())
	s.Next()
	got = append(got, s.Optional())
	if s.Next() {
		t.Error("an eighth element")
	}
	want := []string{"x", "1.50", "null", `{"a" : [1, "\u0041"]}`, "true", "", "end"}
	if !reflect.DeepEqual(got, want) || s.End() != nil {
		t.Errorf("%q, %v; want %q", got, s.Err(), want)
	}
}

func TestScannerFailStopsEverything(t *testing.T) {
	own := errors.New("own")
	s := NewScanner(`[1,[2],{"a":3}]`)
	n := 0
	for s.Enter('['); s.Next(); n++ {
		s.Fail(own)
		s.Raw()
	}
	if err := s.End(); n != 1 || err != own {
		t.Errorf("%d elements, %v", n, err)
	}
}

// TestScannerErrorsHoldNothing: what was sent may be secret, and quoting it once a level would be a bomb.
func TestScannerErrorsHoldNothing(t *testing.T) {
	_, err := scanTree(strings.Repeat("[", 50) + "secret")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %q", err)
	}
}

func TestDecodedStringsOutliveTheirChunk(t *testing.T) {
	var text strings.Builder
	text.WriteString("[")
	for i := range 1000 {
		fmt.Fprintf(&text, `"\t%d\n",`, i)
	}
	text.WriteString(`"end"]`)
	s := NewScanner(text.String())
	var got []string
	for s.Enter('['); s.Next(); {
		got = append(got, s.Text())
	}
	for i := range 1000 {
		if want := fmt.Sprintf("\t%d\n", i); got[i] != want {
			t.Fatalf("string %d is %q, want %q", i, got[i], want)
		}
	}
}

// TestScannerAfterEnd: the decoder of a Scanner that has ended is another's, which finds none of its state; what was handed out stays.
func TestScannerAfterEnd(t *testing.T) {
	body := []byte(`{"first":"value"}`)
	for _, broken := range []string{`[[[[{"a":`, `{"x":1}`, `nonsense`} {
		s := ScanBody(body)
		s.Enter('{')
		s.Next()
		key, value := s.Key(), s.Text()
		s.Next()
		must := s.End()
		next := ScanBody([]byte(broken))
		next.Raw()
		next.End()
		if must != nil || key != "first" || value != "value" {
			t.Errorf("%q %q, %v", key, value, must)
		}
		s.Enter('{')
		if s.Next() || s.Key() != "" || s.Text() != "" || s.Raw() != "" || s.Optional() != "" || s.End() == nil {
			t.Error("something is behind the end")
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"__logs__":[{"a":"b","n":1.5e3,"o":{"x":[1,null]},"e":"\u00e9\ud83d\ude00\n"}],"__topic__":"t"}`,
		`[1,"\\",[],{}]`, `"\ud800\udc00"`, `{"a":`, `[1,]`, "\"a string that is longer than short\\\"\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // the caller repairs first
		}
		got, err := scanTree(text)
		raw := NewScanner(text)
		value := raw.Raw()
		if rawErr := raw.End(); (rawErr == nil) != (err == nil) {
			t.Fatalf("Raw says %v, the containers %v", rawErr, err)
		}
		want, standardErr := standardTree(text)
		if standardErr != nil {
			return // we may accept more
		}
		if errors.Is(err, ErrDepth) {
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%#v, %v; the standard says %#v", got, err, want)
		}
		if value != strings.Trim(text, " \t\r\n") {
			t.Fatalf("Raw is %q", value)
		}
	})
}

// FuzzScanBody: what is read of a body is what is read of its repaired text.
func FuzzScanBody(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, "{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}", `{"a":"\q\u12"}`, "{\"a\":\"\x01\xff\"}", `[1,{"x":[true,null]}`, ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		one, other := ScanBody(body), NewScanner(Repair(body))
		a, b := one.Raw(), other.Raw()
		errA, errB := one.End(), other.End()
		if a != b || (errA == nil) != (errB == nil) || string(body) != before {
			t.Errorf("%q: %q, %v and %q, %v", before, a, errA, b, errB)
		}
	})
}

func TestMayNeedTolerance(t *testing.T) {
	for length := 1; length <= 25; length++ {
		text := make([]byte, length)
		for _, around := range []byte{' ', '"', '[', ']', 'z', 0x7f, 0x80, 0xdc, 0xff} {
			for i := range text {
				text[i] = around
			}
			for at := range text {
				for c := range 256 {
					text[at] = byte(c)
					if want := c < ' ' || c == '\\'; mayNeedTolerance(text) != want {
						t.Fatalf("%q: %t", text, !want)
					}
				}
				text[at] = around
			}
		}
	}
}
