package loki

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

var pushed = time.Date(2026, 11, 21, 19, 50, 0, 0, time.UTC)

// showPush shows records one a line.
func showPush(p Push) string {
	var b strings.Builder
	for _, r := range p.Records {
		fmt.Fprintf(&b, "%s %s %s %s %q", r.Stream, r.Time.Format("15:04:05.999999999"), r.TimeQuality, r.Severity, r.Body)
		for _, a := range r.Attributes {
			fmt.Fprintf(&b, " %s=%s", a.Key, a.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func comparePush(t *testing.T, name, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s: got\n%.4000s\nwant\n%.4000s", name, got, want)
	}
}

// TestPromtail reads what Promtail's client of Loki 3.7.8 sent.
func TestPromtail(t *testing.T) {
	body, err := os.ReadFile("testdata/promtail.snappy")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Unsnap(nil, body)
	if err != nil || len(plain) != UnsnappedSize(body) {
		t.Fatalf("%d bytes of %d, %v", len(plain), UnsnappedSize(body), err)
	}
	p, err := DecodePushProto(plain, pushed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Records {
		r := &p.Records[i]
		if age := pushed.Sub(r.Time); age < 0 || age > time.Hour || r.TimeQuality != logbridge.TimeDevice || r.Source != logbridge.SourceLoki || !r.ObservedTime.Equal(pushed) {
			t.Errorf("%+v", r)
		}
		r.Time = pushed
	}
	const labels = ` host=h"1 job=syslog namespace=prod`
	comparePush(t, "promtail", showPush(p), `
otlp/prod/syslog 19:50:00 device warn "level=warn msg=\"low disk\" n=1"`+labels+`
otlp/prod/syslog 19:50:00 device error "{\"time\":\"x\",\"level\":\"error\",\"msg\":\"json\"}"`+labels+`
otlp/prod/syslog 19:50:00 device info "plain line"`+labels+`
otlp/prod/syslog 19:50:00 device debug "with metadata" trace_id=abc`+labels)
}

// protoPush is a push of one stream in protobuf, with its labels behind the entry.
func protoPush(labels string, at time.Time, line string, metadata ...string) []byte {
	field := func(b []byte, number protowire.Number, s []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), s)
	}
	stamp := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(at.Unix()))
	stamp = protowire.AppendVarint(protowire.AppendTag(stamp, 2, protowire.VarintType), uint64(at.Nanosecond()))
	entry := field(field(nil, 1, stamp), 2, []byte(line))
	for i := 0; i < len(metadata); i += 2 {
		entry = field(entry, 3, field(field(nil, 1, []byte(metadata[i])), 2, []byte(metadata[i+1])))
	}
	return field(nil, 1, field(field(nil, 2, entry), 1, []byte(labels)))
}

func TestPushForms(t *testing.T) {
	at := pushed.Add(-time.Minute)
	values := fmt.Sprintf(`[["%d","line",{"k":"v","level":"error"}]]`, at.UnixNano())
	for name, row := range map[string]struct{ json, labels, want string }{
		"service_name": {`{"service_name":"a","service_namespace":"n","app":"b","level":"warn"}`, `{service_name="a", service_namespace="n",app="b", level="warn"}`,
			`otlp/n/a 19:49:00 device error "line" k=v level=warn app=b`},
		"discovered": {`{"job":"j","container":"c"}`, "{job=`j`, container=\"c\",}", `otlp/-/c 19:49:00 device error "line" k=v job=j container=c`},
		"changed":    {`{"service_name":"a/b","namespace":"n"}`, `{ service_name = "a/b" , namespace = "n" }`, `otlp/n/a_b 19:49:00 device error "line" k=v service_name=a/b namespace=n`},
		"none":       {`{}`, `{}`, `otlp/-/unknown_service 19:49:00 device error "line" k=v`},
	} {
		want := row.want
		for form, body := range map[string]string{
			"JSON":                  `{"streams":[{"stream":` + row.json + `,"values":` + values + `}]}`,
			"JSON with labels last": `{"x":1,"streams":[{"y":[],"values":` + values + `,"stream":` + row.json + `}]}`,
		} {
			p, err := DecodePushJSON([]byte(body), pushed)
			if err != nil {
				t.Fatal(err)
			}
			comparePush(t, name+" in "+form, showPush(p), want)
		}
		p, err := DecodePushProto(protoPush(row.labels, at, "line", "k", "v", "level", "error"), pushed)
		if err != nil {
			t.Fatal(err)
		}
		comparePush(t, name+" in protobuf", showPush(p), want)
	}
}

func TestPushTimes(t *testing.T) {
	ahead := pushed.Add(time.Hour)
	body := fmt.Sprintf(`{"streams":[{"stream":{"app":"a"},"values":[["0","x"],[%d,"y"],["%d","z"]]},{"stream":{"app":"b"},"values":[["%d","z",null,1]]},{"values":[]}]}`,
		ahead.UnixNano()-1, ahead.UnixNano(), pushed.UnixNano())
	p, err := DecodePushJSON([]byte(body), pushed)
	if err != nil {
		t.Fatal(err)
	}
	comparePush(t, "times", showPush(p), `
otlp/-/a 19:50:00 received info "x" app=a
otlp/-/a 19:49:59.999999999 shifted info "y" app=a time_raw=2026-11-21T20:49:59.999999999Z
otlp/-/a 19:50:00 shifted info "z" app=a time_raw=2026-11-21T20:50:00Z
otlp/-/b 19:50:00 device info "z" app=b`)
	if !p.Untimed {
		t.Error("an entry without a time was overlooked")
	}
}

func TestLineLevel(t *testing.T) {
	for line, want := range map[string]string{
		`level=warn msg=x`:                      "warn",
		`ts=1 level="ERROR" msg=x`:              "error",
		`{"a":1,"level":"debug"}`:               "debug",
		`{"level" : "fatal"}`:                   "error",
		`{"severity":"WARNING"}`:                "warn",
		`lvl=dbg`:                               "debug",
		`sublevel=error x`:                      "info",
		`sublevel=error level=warn`:             "warn",
		`the level is error`:                    "info",
		`level=`:                                "info",
		`level=off`:                             "info",
		`{"level":30}`:                          "info",
		``:                                      "info",
		strings.Repeat(" ", 600) + "level=warn": "info",
	} {
		if got := lineLevel(line); got.String() != want {
			t.Errorf("%.40q is %s, want %s", line, got, want)
		}
	}
}

func TestPushRefusals(t *testing.T) {
	entry := `{"streams":[{"stream":{},"values":[%s]}]}`
	for _, bad := range []string{``, `{`, `[]`, `{"streams":{}}`, `{"streams":[[]]}`, fmt.Sprintf(entry, `["soon","x"]`), fmt.Sprintf(entry, `["1"]`),
		fmt.Sprintf(entry, `["1.5","x"]`), fmt.Sprintf(entry, `{}`), fmt.Sprintf(entry, `["1","x",[]]`), `{"streams":[{"values":[["a","x"]]}]}`} {
		if _, err := DecodePushJSON([]byte(bad), pushed); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, bad := range []string{``, `a="b"`, `{a="b"`, `{a}`, `{a=b}`, `{a="b" c="d"}`, `{a="\z"}`, `{="b"}x`} {
		if _, err := DecodePushProto(protoPush(bad, pushed, "x"), pushed); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := Unsnap(nil, []byte("no block")); !errors.Is(err, logbridge.ErrInvalid) {
		t.Error(err)
	}
	if _, err := Unsnap(nil, []byte("\x81\x80\x80\x0a")); !errors.Is(err, logbridge.ErrTooLarge) { // 20 MB and one byte, as it says
		t.Error(err)
	}
	for _, decode := range []func([]byte, time.Time) (Push, error){DecodePushJSON, DecodePushProto} {
		if _, err := decode(make([]byte, MaxPush+1), pushed); !errors.Is(err, logbridge.ErrTooLarge) {
			t.Error(err)
		}
	}
	many := strings.Repeat(`["1",""],`, loose.MaxRecords)
	if _, err := DecodePushJSON(fmt.Appendf(nil, entry, many+`["1",""]`), pushed); !errors.Is(err, logbridge.ErrTooLarge) {
		t.Error(err)
	}
	p, err := DecodePushJSON(fmt.Appendf(nil, entry, `["1","`+strings.Repeat("x", loose.MaxRecord+1)+`"],["2","y"]`), pushed)
	if err != nil || len(p.Records) != 1 || len(p.Rejected) != 1 || p.Rejected[0].Records != 1 {
		t.Errorf("a long line: %v, %d stored, rejected %v", err, len(p.Records), p.Rejected)
	}
}

func FuzzDecodePush(f *testing.F) {
	f.Add([]byte(`{"streams":[{"values":[["1","level=warn",{"a":"b"}]],"stream":{"app":"x"},"values":[["2","y"]]}]}`))
	f.Add(protoPush(`{app="x", level="warn"}`, pushed, `{"level":"error"}`, "level", "debug"))
	if body, err := os.ReadFile("testdata/promtail.snappy"); err == nil {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, decode := range []func([]byte, time.Time) (Push, error){DecodePushJSON, DecodePushProto} {
			p, err := decode(body, pushed)
			if err != nil && !errors.Is(err, logbridge.ErrInvalid) && !errors.Is(err, logbridge.ErrTooLarge) {
				t.Fatal(err)
			}
			for _, r := range p.Records {
				texts := string(r.Stream) + r.Body
				for _, a := range r.Attributes {
					texts += a.Key + a.Value
				}
				if len(texts) > 2*loose.MaxRecord || !utf8.ValidString(texts) || r.Severity < logbridge.LevelError || r.Severity > logbridge.LevelDebug {
					t.Fatalf("%+v", r)
				}
			}
		}
		if plain, err := Unsnap(nil, body); err == nil && len(plain) > MaxPush {
			t.Fatal(len(plain))
		}
		if plain, err := Unsnap(nil, snappy.Encode(nil, body)); err != nil || string(plain) != string(body) {
			t.Fatalf("%q, %v", plain, err)
		}
	})
}
