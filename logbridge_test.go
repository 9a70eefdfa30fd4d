package logbridge

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLevelText(t *testing.T) {
	for text, want := range map[string]Level{
		"off": LevelOff, "0": LevelOff, "ERROR": LevelError, "err": LevelError, "1": LevelError, "Warn": LevelWarn, "wrn": LevelWarn,
		"info": LevelInfo, " 3 ": LevelInfo, "dbg": LevelDebug, "4": LevelDebug,
	} {
		if got, err := ParseLevel(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-1", "fatal", "debug!", strings.Repeat("x", 1000)} {
		if _, err := ParseLevel(text); !errors.Is(err, ErrInvalid) || len(err.Error()) > 200 {
			t.Errorf("%q: %v", text, err)
		}
	}
	if LevelDebug.String() != "debug" || Level(9).String() != "level(9)" || Level(9).Valid() {
		t.Error("names of levels")
	}
	for l, want := range map[Level]int{LevelOff: 0, LevelError: 17, LevelWarn: 13, LevelInfo: 9, LevelDebug: 5} {
		if got := l.SeverityNumber(); got != want {
			t.Errorf("%v: OpenTelemetry number %d, want %d", l, got, want)
		}
	}
}

func TestLevelJSON(t *testing.T) {
	var v struct{ A, B Level }
	if err := json.Unmarshal([]byte(`{"A":"debug","B":2}`), &v); err != nil || v.A != LevelDebug || v.B != LevelWarn {
		t.Errorf("%+v, %v", v, err)
	}
	for _, bad := range []string{`{"A":true}`, `{"A":7}`, `{"A":"x"}`, `{"A":1.5}`} {
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if b, err := json.Marshal(LevelWarn); err != nil || string(b) != `"warn"` {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := json.Marshal(Level(9)); err == nil {
		t.Error("level 9 was written")
	}
}

func TestNames(t *testing.T) {
	id, err := ParseDeviceID("ABCDE12345/dev:01_-")
	if err != nil || id.String() != "ABCDE12345/dev:01_-" || id.Stream() != "device/ABCDE12345/dev:01_-" {
		t.Errorf("%v, %v", id, err)
	}
	if back, ok := id.Stream().Device(); !ok || back != id {
		t.Errorf("device of its stream: %v, %v", back, ok)
	}
	for _, bad := range []string{"", "ABCDE12345", "ABCDE1234/d", "ABCDE123456/d", "ABCDE-1234/d", "ABCDE12345/", "ABCDE12345/a b", "ABCDE12345/a/b", "ABCDE12345/+", "ABCDE12345/" + strings.Repeat("d", 49)} {
		if _, err := ParseDeviceID(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for name, ok := range map[string]bool{"mystore": true, "a.b-c_1": true, "_x": true, "x": false, ".x": false, "-x": false, "a/b": false, "a b": false, strings.Repeat("a", 64): false} {
		if err := ValidateStoreName(name); (err == nil) != ok {
			t.Errorf("store name %q: %v", name, err)
		}
	}
	if p, l, ok := SLSStream("proj", "store").Logstore(); !ok || p != "proj" || l != "store" {
		t.Error("logstore of its stream")
	}
	if topic, ok := CLSStream("topic-1").Topic(); !ok || topic != "topic-1" {
		t.Error("topic of its stream")
	}
	if _, ok := AuditStream.Device(); ok {
		t.Error("the audit stream is a device")
	}
}

func TestPosition(t *testing.T) {
	p := Position{Seq: 12, Index: 3}
	if back, err := ParsePosition(p.String()); err != nil || back != p {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{"", "1", "1.", ".1", "-1.2", "1.2.3", "1.4294967296"} {
		if _, err := ParsePosition(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if p.Compare(Position{12, 4}) >= 0 || p.Compare(Position{11, 9}) <= 0 || p.Compare(p) != 0 || !(Position{}).IsZero() {
		t.Error("order of positions")
	}
}

func TestQueryMatch(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	r := Record{
		Time: now, Source: SourceMQTT, Stream: DeviceID{"ABCDE12345", "dev_01"}.Stream(), Severity: LevelWarn, Body: "pump timeout",
		Attributes: []Attr{{"tag", "pump.c"}, {"tag", "second"}}, Position: Position{Seq: 5, Index: 1},
	}
	for name, c := range map[string]struct {
		q    Query
		want bool
	}{
		"all":               {Query{}, true},
		"source":            {Query{Sources: SourcesOf(SourceSLS)}, false},
		"product":           {Query{Product: "ABCDE12345"}, true},
		"other product":     {Query{Product: "ABCDE12346"}, false},
		"device":            {Query{Device: "dev_01"}, true},
		"glob":              {Query{Device: "dev-*"}, false},
		"glob that matches": {Query{Product: "ABCDE12345", Device: "dev_?1"}, true},
		"stream":            {Query{Stream: r.Stream}, true},
		"project":           {Query{Project: "p"}, false},
		"topic":             {Query{Topic: "t"}, false},
		"as severe":         {Query{Levels: AtLeast(LevelWarn)}, true},
		"more severe":       {Query{Levels: AtLeast(LevelError)}, false},
		"since is in":       {Query{Since: now}, true},
		"until is out":      {Query{Until: now}, false},
		"body":              {Query{Contains: "timeout"}, true},
		"attribute value":   {Query{Contains: "pump.c"}, true},
		"attribute key":     {Query{Contains: "tag"}, false},
		"field":             {Query{Fields: []Attr{{"tag", "second"}}}, true},
		"fields":            {Query{Fields: []Attr{{"tag", "second"}, {"tag", "third"}}}, false},
		"after":             {Query{After: Position{5, 0}}, true},
		"after itself":      {Query{After: Position{5, 1}}, false},
	} {
		if got := c.q.Match(&r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if err := (Query{Device: "[a"}).Validate(); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad pattern: %v", err)
	}
}
