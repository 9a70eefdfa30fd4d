package cls

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logbridge/logbridge"
)

// The messages, written by the library of protobuf itself.

func field(number protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), text)
}

func message(number protowire.Number, fields ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes.Join(fields, nil))
}

func log(at int64, pairs ...string) []byte {
	fields := [][]byte{protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(at))}
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, message(2, field(1, pairs[i]), field(2, pairs[i+1])))
	}
	return message(1, fields...)
}

// oneList is LogGroupList{LogGroup{Log{1700000000123, k: v}, source "10.0.0.1", filename "app.log"}} byte for byte, after the
// schema (6).
const oneList = "0a24" + "0a0f" + "08fbd095ffbc31" + "1206" + "0a016b" + "120176" + "1a076170702e6c6f67" + "220831302e302e302e31"

func TestDecodeList(t *testing.T) {
	at := time.UnixMilli(1700000000123).UTC()
	one := bytes.Join([][]byte{log(1700000000123, "k", "v"), field(3, "app.log"), field(4, "10.0.0.1")}, nil)
	whole := message(1, one)
	if want, err := hex.DecodeString(oneList); err != nil || !bytes.Equal(whole, want) {
		t.Fatalf("the library writes %x, want %x, %v", whole, want, err)
	}
	unknown := bytes.Join([][]byte{field(7, "later"), protowire.AppendVarint(protowire.AppendTag(nil, 8, protowire.VarintType), 5)}, nil)
	for name, row := range map[string]struct {
		body []byte
		want []Group
	}{
		"one": {whole, []Group{{Source: "10.0.0.1", Filename: "app.log", Tags: attrs(), Logs: []Log{{Time: at, Fields: attrs("k", "v")}}}}},
		"all members, in another order": {message(1, message(5, field(1, "env"), field(2, "test")), field(6, "host-1"), field(2, "flow"),
			log(1700000000123, "k", "v", "k", "w"), unknown, log(1700000000123)),
			[]Group{{ContextFlow: "flow", Hostname: "host-1", Tags: attrs("env", "test"), Logs: []Log{{Time: at, Fields: attrs("k", "v", "k", "w")}, {Time: at, Fields: attrs()}}}}},
		"two groups": {append(message(1, log(1700000000, "a", "1")), message(1, field(4, "s"), log(1700000000123456789, "b", "2"))...),
			[]Group{{Tags: attrs(), Logs: []Log{{Time: time.Unix(1700000000, 0).UTC(), Fields: attrs("a", "1")}}},
				{Source: "s", Tags: attrs(), Logs: []Log{{Time: time.Unix(0, 1700000000123456789).UTC(), Fields: attrs("b", "2")}}}}},
		"times": {message(1, log(0, "a", "1"), log(-5, "b", "2"), log(1700000000123000)),
			[]Group{{Tags: attrs(), Logs: []Log{{Fields: attrs("a", "1")}, {Fields: attrs("time_raw", "-5", "b", "2")}, {Time: at, Fields: attrs()}}}}},
		"text": {message(1, log(1700000000123, "e", "\xed\xa0\xbd\xed\xb8\x80", "bad\xff", "中"), field(4, "\xff")),
			[]Group{{Source: "\ufffd", Tags: attrs(), Logs: []Log{{Time: at, Fields: attrs("e", "😀", "bad\ufffd", "中")}}}}},
	} {
		got, err := DecodeList(row.body)
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, row.want)
		}
	}
}

func TestDecodeListRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxValue+1)
	half := strings.Repeat("x", MaxValue/2)
	empty := log(0)
	full := message(1, bytes.Repeat(empty, MaxLogs))
	for name, row := range map[string]struct {
		body []byte
		code string
	}{
		"empty":               {nil, "MissingContent"},
		"text":                {[]byte("hello"), "InvalidContent"},
		"JSON":                {[]byte(`{"logs":[{"contents":{"k":"v"}}]}`), "InvalidContent"},
		"cut off":             {message(1, log(1, "k", "v"))[:9], "InvalidContent"},
		"no logs":             {message(1, field(4, "s")), "InvalidContent"},
		"one group of SLS":    {log(1, "k", "v"), "InvalidContent"},
		"cut off in a pair":   {message(1, message(1, message(2, []byte{0x0a, 9, 'x'}))), "InvalidContent"},
		"cut off in a tag":    {message(1, empty, message(5, []byte{0x0a, 9, 'x'})), "InvalidContent"},
		"body":                {make([]byte, MaxBody+1), "LogSizeExceed"},
		"groups":              {bytes.Repeat(message(1, empty), MaxGroups+1), "LogSizeExceed"},
		"logs":                {message(1, bytes.Repeat(empty, MaxLogs+1)), "LogSizeExceed"},
		"value":               {message(1, log(1, "k", long)), "LogSizeExceed"},
		"key":                 {message(1, log(1, long, "v")), "LogSizeExceed"},
		"source":              {message(1, empty, field(4, long)), "LogSizeExceed"},
		"values":              {message(1, bytes.Repeat(log(1, "k", half), 11)), "LogSizeExceed"},
		"fields":              {message(1, message(1, bytes.Repeat(message(2), maxFields+1))), "LogSizeExceed"},
		"tags in each":        {message(1, bytes.Repeat(empty, MaxLogs), bytes.Repeat(message(5), maxFields/MaxLogs+1)), "LogSizeExceed"},
		"source in each":      {message(1, bytes.Repeat(empty, 1000), field(4, long[:MaxBody/1000+1])), "LogSizeExceed"},
		"source in all lists": {bytes.Repeat(message(1, bytes.Repeat(empty, 1000), field(4, long[:MaxBody/2000])), 3), "LogSizeExceed"},
	} {
		got, err := DecodeList(row.body)
		status := 400
		if row.code == "LogSizeExceed" {
			status = 413
		}
		if wantCode(t, name, err, status, row.code); got != nil {
			t.Errorf("%s: %d groups", name, len(got))
		}
	}
	if got, err := DecodeList(bytes.Repeat(full, MaxGroups)); err != nil || len(got) != MaxGroups || len(got[9].Logs) != MaxLogs {
		t.Errorf("the full number of logs: %d groups, %v", len(got), err)
	}
}

// compressed packs plain as x-cls-compress-type says, by encoders that are not ours.
func compressed(t testing.TB, kind string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch kind {
	case "lz4":
		out := make([]byte, lz4.CompressBlockBound(len(plain)))
		n, err := lz4.CompressBlock(plain, out, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 { // what does not get smaller is one sequence of literals, as the Go SDK writes it
			if len(plain) < 15 {
				return append([]byte{byte(len(plain) << 4)}, plain...)
			}
			head := []byte{0xf0}
			rest := len(plain) - 15
			for ; rest >= 255; rest -= 255 {
				head = append(head, 255)
			}
			return append(append(head, byte(rest)), plain...)
		}
		return out[:n]
	case "deflate":
		w, failed := flate.NewWriter(&b, flate.DefaultCompression)
		if err = failed; err == nil {
			_, err = w.Write(plain)
			err = errors.Join(err, w.Close())
		}
	case "zstd":
		w, failed := zstd.NewWriter(&b)
		if err = failed; err == nil {
			_, err = w.Write(plain)
			err = errors.Join(err, w.Close())
		}
	default:
		return plain
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecompress(t *testing.T) {
	one, err := hex.DecodeString(oneList)
	if err != nil {
		t.Fatal(err)
	}
	many := message(1, bytes.Repeat(log(1700000000123, "key", "value of a log"), 1000))
	for _, plain := range [][]byte{one, many} {
		for _, kind := range []string{"", "lz4", "zstd", "deflate"} {
			if got, err := Decompress(make([]byte, 0, 100), kind, compressed(t, kind, plain)); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s of %d bytes: %d, %v", kind, len(plain), len(got), err)
			}
		}
	}
	bomb := make([]byte, MaxBody+1)
	for _, kind := range []string{"lz4", "zstd", "deflate"} {
		_, err := Decompress(nil, kind, compressed(t, kind, bomb))
		wantCode(t, kind+" bomb", err, 413, "LogSizeExceed")
		_, err = Decompress(nil, kind, []byte("\xff not that"))
		wantCode(t, kind+" broken", err, 400, "InvalidContent")
		_, err = Decompress(nil, kind, nil)
		wantCode(t, kind+" empty", err, 400, "MissingContent")
		if got, err := Decompress(nil, kind, compressed(t, kind, bomb[1:])); err != nil || len(got) != MaxBody {
			t.Errorf("%s of the most: %d bytes, %v", kind, len(got), err)
		}
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write(one); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	_, err = Decompress(nil, "deflate", z.Bytes())
	wantCode(t, "zlib as deflate", err, 400, "InvalidContent")
	_, err = Decompress(nil, "gzip", one)
	wantCode(t, "gzip", err, 400, "InvalidCompressType")
}

func FuzzDecodeList(f *testing.F) {
	one, err := hex.DecodeString(oneList)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Add(message(1, message(5, field(1, "env"), field(2, "test")), log(-5, "b\xff", "2"), log(1700000000, "a", "1"), field(2, "flow")))
	f.Fuzz(func(t *testing.T, body []byte) {
		groups, err := DecodeList(body)
		if err != nil {
			if own := (*Error)(nil); !errors.As(err, &own) {
				t.Fatal(err)
			}
			return
		}
		logs := 0
		for _, g := range groups {
			logs += len(g.Logs)
			records := Records(g, "cls/t", time.Now(), "")
			if len(records) != len(g.Logs) {
				t.Fatalf("%d records of %d logs", len(records), len(g.Logs))
			}
			for _, r := range records {
				for _, a := range r.Attributes {
					if !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) || len(a.Key)+len(a.Value) > 3*len(body)+len("__contextflow__") {
						t.Fatalf("%+q", a)
					}
				}
			}
			// What the library of protobuf makes of our groups is read as the same.
			again, err := DecodeList(encodeGroup(g))
			if len(g.Logs) > 0 && (err != nil || !reflect.DeepEqual(roomless(again[0]), roomless(g))) {
				t.Fatalf("%+v\ncomes back as %+v, %v", g, again, err)
			}
		}
		if logs == 0 || len(groups) > MaxGroups {
			t.Fatalf("%d logs in %d groups", logs, len(groups))
		}
	})
}

// encodeGroup writes a list of one group, with times in nanoseconds; an early one, which would be read as another unit, in the
// unit that it was read in.
func encodeGroup(g Group) []byte {
	fields := [][]byte{field(2, g.ContextFlow), field(3, g.Filename), field(4, g.Source), field(6, g.Hostname)}
	for _, tag := range g.Tags {
		fields = append(fields, message(5, field(1, tag.Key), field(2, tag.Value)))
	}
	for _, l := range g.Logs {
		at := int64(0)
		if !l.Time.IsZero() {
			switch at = l.Time.UnixNano(); {
			case l.Time.Nanosecond() == 0 && l.Time.Unix() < 1e11:
				at = l.Time.Unix()
			case at%1e6 == 0 && l.Time.UnixMilli() >= 1e11 && l.Time.UnixMilli() < 1e14:
				at = l.Time.UnixMilli()
			case at%1e3 == 0 && l.Time.UnixMicro() >= 1e14 && l.Time.UnixMicro() < 1e17:
				at = l.Time.UnixMicro()
			}
		}
		fields = append(fields, log(at, pairsOf(l.Fields)...))
	}
	return message(1, fields...)
}

func pairsOf(fields []logbridge.Attr) (pairs []string) {
	for _, f := range fields {
		pairs = append(pairs, f.Key, f.Value)
	}
	return pairs
}
