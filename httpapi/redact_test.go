package httpapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestRedactedTexts(t *testing.T) {
	all, err := newRedactor(logbridge.Redactions(), []string{`\border-\d+\b`})
	check(t, err)
	for in, want := range map[string]string{
		"": "", "plain": "plain",
		"write to jane.doe+x@example.co.uk!":        "write to [email]!",
		"https://a.example/?m=jane%40b.example":     "https://a.example/?m=[email]",
		"姓名@例子.中国 ok":                               "[email] ok",
		"@mention and a@b":                          "@mention and a@b",
		"call +86 138 0013 8000 now":                "call [phone] now",
		"call +1 (555) 010-9999":                    "call [phone]",
		"(555) 010-9999, 555-010-9999":              "[phone], [phone]",
		"电话13800138000。":                            "电话[phone]。",
		"138-0013-8000 010-12345678":                "[phone] [phone]",
		"at 1700000000 and 1700000000123":           "at 1700000000 and 1700000000123",
		"2026-11-21T22:30:00Z 192.168.100.200":      "2026-11-21T22:30:00Z 192.168.100.200",
		"order 20261121223000123":                   "order 20261121223000123",
		"Authorization: Bearer abc.def-ghi_j":       "Authorization: [token]",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln": "[token]",
		"/cb?access_token=abcdef&x=1":               "/cb?access_token=[token]&x=1",
		`{"password":"hunter22","a":1}`:             `{"password":"[token]","a":1}`,
		"key LTAI4FoobarBazQux123 used":             "key [token] used",
		"ghp_0123456789abcdefghijklmnopqrstuvwxyz":  "[token]",
		"see order-4711 and order-x":                "see [redacted] and order-x",
		"tokens: none":                              "tokens: none",
	} {
		if got, err := all.text(in, time.Now().Add(time.Minute)); err != nil || got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	for key, redacted := range map[string]bool{"password": true, "Access_Token": true, "api-key": true, "cookie": true, "passage": false, "k": false} {
		if got, err := all.value(key, "v", time.Now().Add(time.Minute)); err != nil || (got == redactedToken) != redacted {
			t.Errorf("%s: %q", key, got)
		}
	}
	none, err := newRedactor([]string{logbridge.RedactEmail}, nil)
	check(t, err)
	const text = "a@b.example 13800138000 Bearer abcdefghij"
	if got, err := none.text(text, time.Now().Add(time.Minute)); err != nil || got != "[email] 13800138000 Bearer abcdefghij" {
		t.Errorf("only e-mail: %q", got)
	}
}

func TestRedactionBeforeAnythingIsStored(t *testing.T) {
	w := start(t)
	w.ruled("discreet", logbridge.WebRules{Privacy: logbridge.WebPrivacy{Redact: []string{"email", "token"}, Patterns: []string{"sec+ret"}}})
	const fields = `"mail":"jane@example.com","note":"a seccret","password":"hunter22","phone":"13800138000"`
	checkEmptySuccess(t, "SLS", w.send("POST", slsTrackOf("discreet"), `{"__logs__":[{`+fields+`}],"__tags__":{"t":"jane@example.com"},"__topic__":"jane@example.com"}`))
	checkEmptySuccess(t, "CLS", w.send("POST", clsTrackOf("discreet"), `{"logs":[{"contents":{`+fields+`}}],"source":"jane@example.com"}`))
	w.send("GET", "/logstores/discreet/track_ua.gif?APIVersion=0.6.0&mail=jane%40example.com", "", "Referer", "https://a.example/?u=jane@example.com")
	body := `{"__logs__":[{` + fields + `}]}`
	checkEmptySuccess(t, "signed", w.send("POST", "/logstores/discreet", body, signed("/logstores/discreet", "", body, keyID, keySecret, time.Now())...))
	got := w.records(logbridge.Query{})
	if len(got) != 4 {
		t.Fatalf("%d records", len(got))
	}
	for _, r := range got {
		text := fmt.Sprint(r)
		if strings.Contains(text, "jane") || strings.Contains(text, "seccret") || strings.Contains(text, "hunter") || attr(r, "mail") != redactedEmail {
			t.Errorf("%+v", r)
		}
	}
	if attr(got[0], "note") != "a [redacted]" || attr(got[0], "phone") != "13800138000" {
		t.Errorf("%+v", got[0])
	}
	// Changed rules hold at once.
	w.ruled("discreet", logbridge.WebRules{Privacy: logbridge.WebPrivacy{Redact: []string{"phone"}}})
	checkEmptySuccess(t, "changed", w.send("POST", clsTrackOf("discreet"), `{"logs":[{"contents":{`+fields+`}}]}`))
	if r := w.last("cls/discreet"); attr(r, "phone") != redactedPhone || attr(r, "mail") != "jane@example.com" {
		t.Errorf("%+v", r)
	}
}

// TestRedactionTakesBoundedTime: what takes too long is refused, and not stored as it came.
func TestRedactionTakesBoundedTime(t *testing.T) {
	r, err := newRedactor(nil, []string{"(a|aa|aaa|b){1,100}c"})
	check(t, err)
	records := make([]logbridge.Record, 4000)
	for i := range records {
		records[i].Attributes = []logbridge.Attr{{Key: "k", Value: strings.Repeat("a", 1<<16)}}
	}
	if err := r.records(records); !errors.Is(err, errRedaction) || !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// TestRedactionOfOneRecordTakesBoundedTime: so does what is one record, or one value of it.
func TestRedactionOfOneRecordTakesBoundedTime(t *testing.T) {
	for name, row := range map[string]struct {
		pattern string
		values  []string
	}{
		"values": {"(a|aa|aaa|b){1,100}c", slices.Repeat([]string{strings.Repeat("a", 1<<16)}, 4000)},
		"finds":  {"a.*z|a", []string{strings.Repeat("a", 1<<20)}},
	} {
		r, err := newRedactor(nil, []string{row.pattern})
		check(t, err)
		record := logbridge.Record{}
		for _, v := range row.values {
			record.Attributes = append(record.Attributes, logbridge.Attr{Key: "k", Value: v})
		}
		if err := r.records([]logbridge.Record{record}); !errors.Is(err, errRedaction) || !errors.Is(err, logbridge.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRedact(f *testing.F) {
	all, err := newRedactor(logbridge.Redactions(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("jane@example.com +86 138 0013 8000 Bearer abcdefghijk token=abcdefgh")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := all.text(s, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if len(once) > 4*len(s)+16 {
			t.Errorf("%d bytes became %d", len(s), len(once))
		}
		if strings.Contains(s, "jane@example.com") && strings.Contains(once, "jane@example.com") {
			t.Errorf("%q", once)
		}
	})
}

// BenchmarkRedact: a page's event of ten fields, by what is looked for.
func BenchmarkRedact(b *testing.B) {
	event := []logbridge.Attr{{Key: "url", Value: "https://shop.example/cart?item=4711&ref=home"}, {Key: "time", Value: "1700000000123"}, {Key: "event", Value: "click"},
		{Key: "ua", Value: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36"}, {Key: "w", Value: "1920"}, {Key: "h", Value: "1080"},
		{Key: "user", Value: "u-20261121"}, {Key: "message", Value: "the cart could not be loaded: timeout after 3000 ms"}, {Key: "lang", Value: "zh-CN"}, {Key: "page", Value: "cart"}}
	for name, of := range map[string][2][]string{"email": {{"email"}, nil}, "phone": {{"phone"}, nil}, "token": {{"token"}, nil},
		"all": {logbridge.Redactions(), nil}, "own": {nil, []string{`\border-\d+\b`}}} {
		r, err := newRedactor(of[0], of[1])
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			records := []logbridge.Record{{Attributes: event}}
			for b.Loop() {
				if err := r.records(records); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
