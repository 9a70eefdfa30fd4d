package httpapi

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/cls"
)

// pbField is one field of a protobuf message that holds text or another message.
func pbField[T string | []byte](number protowire.Number, value T) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), string(value))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func clsLog(at int64, key, value string) []byte {
	when := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(at))
	return pbField(1, join(when, pbField(2, join(pbField(1, key), pbField(2, value)))))
}

// structuredBody is a list of two groups as the SDKs of services send it: all members, times in milliseconds and in seconds.
func structuredBody() []byte {
	tag := pbField(5, join(pbField(1, "env"), pbField(2, "test")))
	first := join(clsLog(1700000000123, "k", "v"), clsLog(1700000001, "level", "error"),
		pbField(2, "flow-1"), pbField(3, "app.log"), pbField(4, "10.0.0.1"), tag, pbField(6, "host-1"))
	return join(pbField(1, first), pbField(1, clsLog(1700000002000, "k", "w")))
}

func packCLS(t *testing.T, how string, plain []byte) string {
	t.Helper()
	var b bytes.Buffer
	switch how {
	case "lz4":
		out := make([]byte, lz4.CompressBlockBound(len(plain)))
		n, err := lz4.CompressBlock(plain, out, nil)
		check(t, err)
		if n == 0 {
			t.Fatal("the body does not get smaller")
		}
		return string(out[:n])
	case "zstd":
		w, err := zstd.NewWriter(nil)
		check(t, err)
		return string(w.EncodeAll(plain, nil))
	case "deflate":
		w, err := flate.NewWriter(&b, flate.DefaultCompression)
		check(t, err)
		_, err = w.Write(plain)
		check(t, errors.Join(err, w.Close()))
		return b.String()
	}
	return string(plain)
}

// signCLS is the Authorization of an SDK: the Go SDK signs content-type and host, the one for node content-type only, both
// topic_id, and from a minute ago.
func (w *world) signCLS(secret, topic string, now time.Time, headers ...string) string {
	return signCLSFor(w.Addr().String(), secret, topic, now, headers...)
}

func signCLSFor(host, secret, topic string, now time.Time, headers ...string) string {
	span := fmt.Sprintf("%d;%d", now.Unix()-60, now.Unix()+300)
	a := cls.Authorization{KeyID: topicKeyID, SignTime: span, KeyTime: span, Headers: headers, Params: []string{"topic_id"}}
	return a.Sign(secret, cls.Request{Method: "POST", Path: "/structuredlog", RawQuery: "topic_id=" + topic, Host: host,
		Header: http.Header{"Content-Type": {mediaProto}}})
}

func TestStructuredLog(t *testing.T) {
	w := start(t)
	now := time.Now()
	const closedTopic = "cls/topic-closed"
	for _, row := range []struct{ name, prefix, topic, how, auth string }{
		{"Go SDK, lz4", "", "topic-closed", "lz4", w.signCLS(topicSecret, "topic-closed", now, "content-type", "host")},
		{"Go SDK, zstd", "/cls", "topic-closed", "zstd", w.signCLS(topicSecret, "topic-closed", now, "content-type", "host")},
		{"Go SDK with the prefix in its host", "/cls", "topic-closed", "lz4", signCLSFor(w.Addr().String()+"/cls", topicSecret, "topic-closed", now, "content-type", "host")},
		{"node SDK, deflate", "", "topic-closed", "deflate", w.signCLS(topicSecret, "topic-closed", now, "content-type")},
		{"node SDK", "/cls", "topic-closed", "", w.signCLS(topicSecret, "topic-closed", now, "content-type")},
		{"Go SDK without keys", "", "topic-1", "lz4", ""},
	} {
		headers := []string{"Content-Type", mediaProto}
		if row.how != "" {
			headers = append(headers, "x-cls-compress-type", row.how)
		}
		if row.auth != "" {
			headers = append(headers, "Authorization", row.auth)
		}
		before := len(w.records(logbridge.Query{}))
		checkEmptySuccess(t, row.name, w.send("POST", row.prefix+"/structuredlog?topic_id="+row.topic, packCLS(t, row.how, structuredBody()), headers...))
		got := w.records(logbridge.Query{})[before:]
		if len(got) != 3 {
			t.Fatalf("%s: %d records", row.name, len(got))
		}
		for i, want := range []struct {
			at     int64
			level  logbridge.Level
			fields string
		}{
			{1700000000123, logbridge.LevelInfo, "[{k v} {__filename__ app.log} {__hostname__ host-1} {__contextflow__ flow-1} {__tag__:env test} {__source__ 10.0.0.1}]"},
			{1700000001000, logbridge.LevelError, "[{level error} {__filename__ app.log} {__hostname__ host-1} {__contextflow__ flow-1} {__tag__:env test} {__source__ 10.0.0.1}]"},
			{1700000002000, logbridge.LevelInfo, "[{k w} {__source__ 127.0.0.1}]"},
		} {
			r := got[i]
			if r.Time.UnixMilli() != want.at || r.TimeQuality != logbridge.TimeDevice || r.Severity != want.level || r.Body != "" ||
				fmt.Sprint(r.Attributes) != want.fields || r.Source != logbridge.SourceCLS || r.Stream != logbridge.CLSStream(row.topic) {
				t.Errorf("%s, record %d: %+v", row.name, i, r)
			}
		}
	}
	for _, s := range w.sink.Ledger().Streams {
		if s.Stream == closedTopic && (s.Stored != 15 || s.Received != 15) {
			t.Errorf("ledger %+v", s)
		}
	}
	if !w.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share was not given back")
	}
}

func TestStructuredLogErrorTable(t *testing.T) {
	log := &faulty{}
	w := start(t, func(_ *Config, d *Deps) { log.Log, d.Log = d.Log, log })
	now := time.Now()
	const to, open, signedTopic, openTopic = "/structuredlog?topic_id=topic-closed", "/structuredlog?topic_id=topic-1", "cls/topic-closed", "cls/topic-1"
	good := w.signCLS(topicSecret, "topic-closed", now, "content-type")
	body := string(structuredBody())
	for _, row := range []struct {
		name, path, body, auth string
		headers                []string
		status                 int
		code                   string
		stream                 logbridge.Stream
		why                    reason
	}{
		{"no topic", "/structuredlog", body, good, nil, 400, "InvalidParam", "", missing},
		{"unknown topic", "/cls/structuredlog?topic_id=nope", body, good, nil, 404, "TopicNotExist", "", unknownName},
		{"unsigned", to, body, "", nil, 400, "MissingAuthorization", signedTopic, closed},
		{"unsigned from a page", "/structuredlog?topic_id=topic-narrow", body, "", []string{"Origin", evilPage}, 403, "NotAllowed", "cls/topic-narrow", badOrigin},
		{"form", to, body, "LOG id:signature", nil, 400, "InvalidAuthorization", signedTopic, badAuth},
		{"wrong secret", to, body, w.signCLS("other", "topic-closed", now, "content-type"), nil, 401, "Unauthorized", signedTopic, badAuth},
		{"for another topic", to, body, w.signCLS(topicSecret, "topic-1", now, "content-type"), nil, 401, "Unauthorized", signedTopic, badAuth},
		{"key of another topic", open, body, w.signCLS(topicSecret, "topic-1", now, "content-type"), nil, 401, "Unauthorized", openTopic, badAuth},
		{"for another host", to, body, w.signCLS(topicSecret, "topic-closed", now, "host"), []string{"Host", "elsewhere"}, 401, "Unauthorized", signedTopic, badAuth},
		{"for a host with the prefix", to, body, signCLSFor(w.Addr().String()+"/cls", topicSecret, "topic-closed", now, "host"), nil, 401, "Unauthorized", signedTopic, badAuth},
		{"over", to, body, w.signCLS(topicSecret, "topic-closed", now.Add(-time.Hour), "content-type"), nil, 401, "Unauthorized", signedTopic, expired},
		{"not yet", to, body, w.signCLS(topicSecret, "topic-closed", now.Add(time.Hour), "content-type"), nil, 401, "Unauthorized", signedTopic, expired},
		{"temporary", to, body, good, []string{"X-Cls-Token", "t"}, 401, "Unauthorized", signedTopic, badAuth},
		{"no type", open, body, "", []string{"Content-Type", ""}, 400, "MissingContentType", openTopic, malformed},
		{"JSON", open, oneCLSLog, "", []string{"Content-Type", mediaJSON}, 400, "InvalidContentType", openTopic, malformed},
		{"compression", open, body, "", []string{"x-cls-compress-type", "gzip"}, 400, "InvalidCompressType", openTopic, malformed},
		{"not lz4", open, "\xff\xff", "", []string{"x-cls-compress-type", "lz4"}, 400, "InvalidContent", openTopic, malformed},
		{"bomb", open, packCLS(t, "zstd", make([]byte, cls.MaxBody+1)), "", []string{"x-cls-compress-type", "zstd"}, 413, "LogSizeExceed", openTopic, tooLarge},
		{"empty", open, "", "", nil, 400, "MissingContent", openTopic, malformed},
		{"no protobuf", open, "hello", "", nil, 400, "InvalidContent", openTopic, malformed},
		{"no logs", open, string(pbField(1, pbField(4, "s"))), "", nil, 400, "InvalidContent", openTopic, malformed},
		{"too large", open, strings.Repeat("x", cls.MaxBody+1), "", nil, 413, "LogSizeExceed", openTopic, tooLarge},
		{"value", open, string(pbField(1, clsLog(1, "k", strings.Repeat("x", cls.MaxValue+1)))), "", nil, 413, "LogSizeExceed", openTopic, tooLarge},
	} {
		headers := append([]string{"Content-Type", mediaProto}, row.headers...)
		if row.auth != "" {
			headers = append(headers, "Authorization", row.auth)
		}
		before := w.refused(row.stream, row.why)
		checkCLSError(t, row.name, w.send("POST", row.path, row.body, headers...), row.status, row.code)
		if n := w.refused(row.stream, row.why) - before; n != 1 {
			t.Errorf("%s: %d counted for %q as %s", row.name, n, row.stream, row.why)
		}
	}
	log.set(logbridge.ErrUnavailable, false)
	checkCLSError(t, "unavailable", w.send("POST", to, body, "Content-Type", mediaProto, "Authorization", good), 500, "InternalError")
	log.set(nil, false)
	if n := len(w.records(logbridge.Query{})); n != 0 {
		t.Errorf("%d records of refused requests", n)
	}
	checkEmptySuccess(t, "then", w.send("POST", to, body, "Content-Type", mediaProto, "Authorization", good))
	if !w.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share was not given back")
	}
}

// TestTrackLogForms: the SDKs that were not recorded send the same JSON in other wrappings (web-tracking.md 5.2).
func TestTrackLogForms(t *testing.T) {
	w := start(t)
	for _, row := range []struct {
		name, path, kind, body, source string
		at                             int64
	}{
		{"2.0.0", "/tracklog?topic_id=topic%2D1", "text/plain", `{"logs":[{"time":1700000000123,"contents":{"k":"😀"}}]}`, "127.0.0.1", 1700000000123},
		{"2.0.0 with a source", "/cls/tracklog?topic_id=topic-1", "text/plain;charset=UTF-8", `{"logs":[{"time":1700000000,"contents":{"k":"😀"}}],"source":"10.0.0.1"}`, "10.0.0.1", 1700000000000},
		{"1.0.13, bytes of UTF-16 units", "/tracklog?topic_id=topic-1", mediaJSON, "{\"logs\":[{\"contents\":{\"k\":\"\xed\xa0\xbd\xed\xb8\x80\"},\"time\":1700000000123}],\"source\":\"10.0.0.1\"}", "10.0.0.1", 1700000000123},
		{"mini-program", "/tracklog?topic_id=topic-1", mediaJSON, `{"source":"","filename":"","logs":[{"time":1700000000123,"contents":{"k":"😀"},"length":5}]}`, "127.0.0.1", 1700000000123},
		{"no type", "/tracklog?topic_id=topic-1", "", `{"logs":[{"time":1700000000123,"contents":{"k":"😀","n":null}}]}`, "127.0.0.1", 1700000000123},
	} {
		before := len(w.records(logbridge.Query{}))
		checkEmptySuccess(t, row.name, w.send("POST", row.path, row.body, "Content-Type", row.kind, "Origin", evilPage))
		got := w.records(logbridge.Query{})[before:]
		if len(got) != 1 || attr(got[0], "k") != "😀" || attr(got[0], "__source__") != row.source || got[0].Time.UnixMilli() != row.at || attr(got[0], "__filename__") != "<none>" {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}
