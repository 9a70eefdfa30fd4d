package sls

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

func TestDecodeQuery(t *testing.T) {
	for query, want := range map[string]Group{
		"APIVersion=0.6.0&key1=val1&key2=%E4%B8%AD%E6%96%87%20x": {Logs: []Log{{Fields: attrs("key1", "val1", "key2", "中文 x")}}},
		"APIVersion=0.6.0&__topic__=tp&key1=val1":                {Topic: "tp", Logs: []Log{{Fields: attrs("key1", "val1")}}},
		"k=v&APIVersion=0.6.0&__source__=s&k=a+b":                {Source: "s", Logs: []Log{{Fields: attrs("k", "v", "k", "a b")}}},
		"APIVersion=0.6.0": {},
	} {
		if got, err := DecodeQuery(query); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", query, got, err, want)
		}
	}
	for query, code := range map[string]string{
		"": "MissingAPIVersion", "k=v": "MissingAPIVersion", "APIVersion=0.5.0&k=v": "InvalidAPIVersion",
		"APIVersion=0.6.0&k=" + strings.Repeat("x", MaxQuery): "PostBodyTooLarge",
	} {
		_, err := DecodeQuery(query)
		if own := (*Error)(nil); !errors.As(err, &own) || own.Code != code {
			t.Errorf("%.40s: %v, want %s", query, err, code)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	for _, row := range []struct {
		header, query, code string
	}{
		{"0.6.0", "", ""}, {"", "0.6.0", ""}, {"0.6.0", "0.6.0", ""},
		{"", "", "MissingAPIVersion"}, {"0.5.0", "", "InvalidAPIVersion"}, {"0.6.0", "0.4.0", "InvalidAPIVersion"},
	} {
		err := CheckVersion(row.header, row.query)
		if own := (*Error)(nil); errors.As(err, &own) != (row.code != "") || own != nil && own.Code != row.code {
			t.Errorf("%+v: %v", row, err)
		}
	}
}

// TestRecordedImages: the <img> requests of the recordings.
func TestRecordedImages(t *testing.T) {
	requests, err := recorded.WebRequests()
	if err != nil {
		t.Fatal(err)
	}
	var got []Group
	for _, r := range requests {
		if strings.HasPrefix(r.URL.Path, "/logstores/") && strings.HasSuffix(r.URL.Path, ".gif") {
			g, err := DecodeQuery(r.URL.RawQuery)
			if err != nil {
				t.Errorf("%s %d: %v", r.Capture, r.Index, err)
			}
			got = append(got, g)
		}
	}
	want := []Group{{Logs: []Log{{Fields: attrs("key1", "val1", "key2", "中文 x")}}}, {Topic: "tp", Logs: []Log{{Fields: attrs("key1", "val1")}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("APIVersion=0.6.0&key1=val1&key2=%E4%B8%AD%E6%96%87%20x")
	f.Add("APIVersion=0.6.0&__topic__=tp&a+b=%zz&&=")
	f.Fuzz(func(t *testing.T, query string) {
		g, err := DecodeQuery(query)
		if err != nil {
			return
		}
		size := len(g.Topic) + len(g.Source)
		for _, l := range g.Logs {
			for _, a := range append(l.Fields, logbridge.Attr{Key: g.Topic, Value: g.Source}) {
				size += len(a.Key) + len(a.Value)
				if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) {
					t.Fatalf("%+q", a)
				}
			}
		}
		if size > 6*len(query) {
			t.Fatalf("%d bytes of %d", size, len(query))
		}
	})
}
