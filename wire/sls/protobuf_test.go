package sls

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logbridge/logbridge"
)

// putLogsLZ4 is the recorded body of the Go producer (web-tracking.md 4.7), and putLogsOld one of its signer's own tests.
const putLogsLZ4 = "f0210a140880e2cfaa06120c0a016b120776e4b8ade696871a027470220831302e302e302e31320a0a047461673112027631"

var putLogsOld = []byte("\x0a\x32\x0a\x1e\x08\xf8\xb2\x93\x9e\x05\x12\x16\x0a\x07TestKey\x12\x0bTestContent\x1a\x00\x22\x0e10.230.201.117")[2:]

// message appends fields by the protobuf module: a number, then a string, []byte, uint64 (varint) or uint32 (fixed32).
func message(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		number := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
		case uint64:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
		case uint32:
			b = protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type), v)
		}
	}
	return b
}

func pair(key, value string) []byte { return message(1, key, 2, value) }

func TestDecodeProtobuf(t *testing.T) {
	recorded, err := Decompress(nil, "lz4", "48", unhex(t, putLogsLZ4), MaxBody)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000000, 0).UTC()
	for _, row := range []struct {
		name string
		body []byte
		want Group
	}{
		{"recorded", recorded, Group{Topic: "tp", Source: "10.0.0.1", Tags: attrs("tag1", "v1"),
			Logs: []Log{{Time: at, Fields: attrs("k", "v中文")}}}},
		{"signer's own", putLogsOld, Group{Source: "10.230.201.117",
			Logs: []Log{{Time: time.Unix(1405409656, 0).UTC(), Fields: attrs("TestKey", "TestContent")}}}},
		{"empty", nil, Group{Logs: []Log{}}},
		{"all of it, out of order", message(
			6, pair("a", "1"), 5, "uuid-1", 1, message(2, pair("k", ""), 4, uint32(5), 1, uint64(1700000000), 2, pair("k", "again")),
			3, "t", 2, "category", 4, "s", 6, pair("a", "2"), 1, message(1, uint64(0)), 9, uint64(7), 8, pair("x", "y")),
			Group{Topic: "t", Source: "s", MachineUUID: "uuid-1", Tags: attrs("a", "1", "a", "2"),
				Logs: []Log{{Time: at.Add(5), Fields: attrs("k", "", "k", "again")}, {Fields: attrs()}}}},
		{"a second of nanoseconds", message(1, message(1, uint64(1700000000), 4, uint32(1e9))), Group{Logs: []Log{{Time: at, Fields: attrs()}}}},
		{"no UTF-8", message(3, "\xff", 1, message(1, uint64(1700000000), 2, pair("\xfe", "a\xc3"))),
			Group{Topic: "\ufffd", Logs: []Log{{Time: at, Fields: attrs("\ufffd", "a\ufffd")}}}},
	} {
		got, err := DecodeProtobuf(row.body)
		if err != nil || fmt.Sprintf("%+v", roomless(got)) != fmt.Sprintf("%+v", row.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", row.name, got, err, row.want)
		}
	}
}

func TestDecodeProtobufRefuses(t *testing.T) {
	log := message(1, uint64(1700000000), 2, pair("k", "v"))
	few := func(n int, one []byte) []byte { return bytes.Repeat(message(1, one), n) }
	for _, row := range []struct {
		name string
		body []byte
		code string
	}{
		{"JSON", []byte(`{"__logs__":[]}`), "PostBodyInvalid"},
		{"cut off", message(1, log)[:10], "PostBodyInvalid"},
		{"a group", append(message(1, log), 0x0b), "PostBodyInvalid"},
		{"log cut off", message(1, log[:len(log)-1]), "PostBodyInvalid"},
		{"log without time", message(1, message(2, pair("k", "v"))), "PostBodyInvalid"},
		{"time of another type", message(1, message(1, uint32(1700000000))), "PostBodyInvalid"},
		{"content without key", message(1, message(1, uint64(1), 2, message(2, "v"))), "PostBodyInvalid"},
		{"content without value", message(1, message(1, uint64(1), 2, message(1, "k"))), "PostBodyInvalid"},
		{"content cut off", message(1, message(1, uint64(1), 2, []byte("\x0a\x09k"))), "PostBodyInvalid"},
		{"tag without value", message(6, message(1, "k")), "PostBodyInvalid"},
		{"too many logs", few(MaxGroupLogs+1, message(1, uint64(1))), "PostBodyTooLarge"},
		{"too many fields", few(2, append(message(1, uint64(1)), bytes.Repeat(message(2, pair("", "")), maxGroupFields/2+1)...)), "PostBodyTooLarge"},
		{"too many tags", bytes.Repeat(message(6, pair("", "")), maxGroupFields+1), "PostBodyTooLarge"},
		{"tags in too many logs", append(bytes.Repeat(message(6, pair("", "")), 100), few(MaxGroupLogs, message(1, uint64(1)))...), "PostBodyTooLarge"},
		{"too much together", few(MaxGroupLogs, append(message(1, uint64(1)), bytes.Repeat(message(2, pair("", "")), 15)...)), "PostBodyTooLarge"},
		{"value too long", message(1, message(1, uint64(1), 2, pair("k", strings.Repeat("v", MaxValue+1)))), "PostBodyTooLarge"},
		{"topic too long", message(3, strings.Repeat("v", MaxValue+1)), "PostBodyTooLarge"},
		{"body too long", make([]byte, MaxBody+1), "PostBodyTooLarge"},
	} {
		g, err := DecodeProtobuf(row.body)
		own := (*Error)(nil)
		if !errors.As(err, &own) || own.Code != row.code || !reflect.DeepEqual(g, Group{}) {
			t.Errorf("%s: %d logs, %v, want %s", row.name, len(g.Logs), err, row.code)
		}
	}
	if _, err := DecodeProtobuf([]byte("{")); err == nil || !strings.Contains(err.Error(), "Fail to parse protobuf.") {
		t.Errorf("%v", err)
	}
}

// TestDecodeProtobufTakesWhatIsThere: a hostile body gets no memory for what it does not hold.
func TestDecodeProtobufTakesWhatIsThere(t *testing.T) {
	body := append(bytes.Repeat(message(1, message(1, uint64(1))), MaxGroupLogs), 0x0b) // refused at its end
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := DecodeProtobuf(body)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Fatal("decoded")
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2*uint64(len(body)) {
		t.Errorf("%d bytes for a refused body of %d", allocated, len(body))
	}
}

func TestProtobufRecords(t *testing.T) {
	g, err := DecodeProtobuf(message(3, "t", 4, "s", 5, "uuid-1", 6, pair("a", "1"), 1, message(1, uint64(1700000000), 4, uint32(7), 2, pair("level", "warn"))))
	if err != nil {
		t.Fatal(err)
	}
	got := SignedRecords(g, "sls/p/s", time.Unix(1800000000, 0), "192.0.2.1")
	if len(got) != 1 || got[0].Time.UnixNano() != 1700000000000000007 || got[0].Severity != logbridge.LevelWarn ||
		!reflect.DeepEqual(got[0].Attributes, attrs("level", "warn", "__tag__:a", "1", "__topic__", "t", "__machine_uuid__", "uuid-1", "__source__", "s")) {
		t.Errorf("%+v", got)
	}
}

// encodeProtobuf writes a group by the protobuf module.
func encodeProtobuf(g Group) []byte {
	b := message(3, g.Topic, 4, g.Source, 5, g.MachineUUID)
	for _, tag := range g.Tags {
		b = append(b, message(6, pair(tag.Key, tag.Value))...)
	}
	for _, l := range g.Logs {
		log := message(1, uint64(0))
		if !l.Time.IsZero() {
			log = message(1, uint64(l.Time.Unix()), 4, uint32(l.Time.Nanosecond()))
		}
		for _, f := range l.Fields {
			log = append(log, message(2, pair(f.Key, f.Value))...)
		}
		b = append(b, message(1, log)...)
	}
	return b
}

func FuzzDecodeProtobuf(f *testing.F) {
	f.Add(putLogsOld)
	f.Add(message(5, "u", 1, message(1, uint64(1700000000), 2, pair("k", "v\xff"), 4, uint32(7)), 6, pair("a", "1"), 3, "t"))
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := DecodeProtobuf(body)
		if err != nil {
			if own := (*Error)(nil); !errors.As(err, &own) {
				t.Fatal(err)
			}
			return
		}
		for _, l := range append([]Log{{Fields: g.Tags}}, g.Logs...) {
			for _, a := range l.Fields {
				if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) {
					t.Fatalf("%+q", a)
				}
			}
			if cap(l.Fields) > len(body) {
				t.Fatalf("room for %d fields of %d bytes", cap(l.Fields), len(body))
			}
		}
		again, err := DecodeProtobuf(encodeProtobuf(g))
		if err != nil || fmt.Sprintf("%+v", roomless(again)) != fmt.Sprintf("%+v", roomless(g)) {
			t.Fatalf("%+v\ncomes back as %+v, %v", g, again, err)
		}
		said := fmt.Sprintf("%+v", roomless(g))
		again.Release()
		if again, err = DecodeProtobuf(body); err != nil || fmt.Sprintf("%+v", roomless(again)) != said { // in the room of another
			t.Fatalf("%s\nis then %+v, %v", said, again, err)
		}
		again.Release()
	})
}
