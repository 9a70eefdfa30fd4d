package httpapi

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

// bomb compresses 200 MB of spaces.
func bomb(t *testing.T, kind string) string {
	t.Helper()
	const size = 128 << 20
	var out bytes.Buffer
	var w io.WriteCloser
	switch kind {
	case "lz4":
		block := make([]byte, lz4.CompressBlockBound(size))
		n, err := lz4.CompressBlock(make([]byte, size), block, nil)
		check(t, err)
		return string(block[:n])
	case "zstd":
		w, _ = zstd.NewWriter(&out)
	case "gzip":
		w = gzip.NewWriter(&out)
	case "raw deflate":
		w, _ = flate.NewWriter(&out, 9)
	default:
		return zlibOf(t, strings.Repeat(" ", size))
	}
	for range size >> 20 {
		_, err := w.Write(make([]byte, 1<<20))
		check(t, err)
	}
	check(t, w.Close())
	return out.String()
}

func TestBombsAreRefusedInBoundedMemory(t *testing.T) {
	w := start(t)
	for _, kind := range []string{"deflate", "raw deflate", "lz4", "zstd", "gzip"} {
		body, name := bomb(t, kind), strings.TrimPrefix(kind, "raw ")
		if len(body) > sls.MaxBody {
			t.Fatalf("%s: %d bytes", kind, len(body))
		}
		measure := func(what string, send func()) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			send()
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 8*sls.MaxBody { // buffers that double up to the bound
				t.Errorf("%s to %s took %d MB", kind, what, n>>20)
			}
		}
		measure("SLS", func() {
			a := w.send("POST", trackPath, body, "x-log-compresstype", name, "x-log-bodyrawsize", "100")
			checkSLSError(t, kind, a, 400, "PostBodyTooLarge")
		})
		if kind == "gzip" || kind == "deflate" { // CLS knows raw deflate only
			continue
		}
		check(t, w.reg.PutCLSTopic(t.Context(), logbridge.CLSTopic{ID: "topic-1", AnonymousWrite: true}))
		measure("CLS", func() {
			a := w.send("POST", "/structuredlog?topic_id=topic-1", body, "Content-Type", "application/x-protobuf", "x-cls-compress-type", name)
			if a.StatusCode != 413 && a.StatusCode != 400 {
				t.Errorf("%s to CLS: %d %s", kind, a.StatusCode, a.body)
			}
		})
	}
	if n := len(w.records(logbridge.Query{})); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestHostileJSON(t *testing.T) {
	w := start(t)
	const much = 9 << 20
	fill := func(s string, size int) string { return strings.Repeat(s, size/len(s)) }
	for _, row := range []struct{ name, value string }{
		{"deep arrays", fill("[", much)},
		{"deep objects", fill(`{"a":`, 5<<20)},
		{"closed deep arrays", fill("[", 1000) + fill("]", 1000)},
		{"an endless string", `"` + fill("x", 5<<20)},
		{"half a string", `"\u12`},
		{"commas", fill(",", 5<<20)},
	} {
		checkSLSError(t, row.name, w.send("POST", trackPath, `{"__logs__":[{"k":`+row.value+`}]}`), 400, "PostBodyInvalid")
		if len(row.value) < 6<<20 {
			checkCLSError(t, row.name, w.send("POST", clsTrackOf("topic-1"), `{"logs":[{"contents":{"k":`+row.value+`}}]}`), 400, "InvalidContent")
		}
	}
	checkSLSError(t, "an endless number", w.send("POST", trackPath, `{"__logs__":[{"k":`+fill("1", much)+`}]}`), 400, "PostBodyTooLarge")
	many := `{"__logs__":[{` + fill(`"":"",`, 4<<20) + `"a":"b"}]}`
	checkSLSError(t, "fields", w.send("POST", trackPath, many), 400, "PostBodyTooLarge")
	checkSLSError(t, "logs", w.send("POST", trackPath, `{"__logs__":[`+fill("{},", much)+`{}]}`), 400, "PostBodyTooLarge")
	checkSLSError(t, "pairs", w.send("GET", trackPath+fill("&a", 4<<10), ""), 400, "PostBodyTooLarge")
	if n := len(w.records(logbridge.Query{})); n != 0 {
		t.Errorf("%d records", n)
	}
	for _, row := range [][2]string{
		{"\xff\xfe", "\ufffd"}, {"\xc0\x80", "\ufffd"}, {"\xed\xa0\x80", "\ufffd"}, {`\ud800`, "\ufffd"}, {"a\x00b", "a\x00b"}, {"\xed\xa0\xbd\xed\xb8\x80", "😀"},
	} {
		checkEmptySuccess(t, row[0], w.send("POST", trackPath, `{"__logs__":[{"k":"`+row[0]+`"}]}`))
		checkEmptySuccess(t, row[0], w.send("POST", clsTrackOf("topic-1"), `{"logs":[{"contents":{"k":"`+row[0]+`"}}]}`))
		for _, stream := range []logbridge.Stream{"sls/myproj/mystore", "cls/topic-1"} {
			if got := attr(w.last(stream), "k"); got != row[1] {
				t.Errorf("%q became %q in %s", row[0], got, stream)
			}
		}
	}
}

// TestDecodedLogsCountAsMemory: a small body of very many small logs takes its share of the memory for what it becomes.
func TestDecodedLogsCountAsMemory(t *testing.T) {
	log := &faulty{}
	w := start(t, func(_ *Config, d *Deps) { log.Log, d.Log = d.Log, log })
	check(t, w.bodies.share.Acquire(t.Context(), maxBodiesInFlight-(200<<10)))
	inSLS := `{"__logs__":[` + strings.TrimSuffix(strings.Repeat(`{"a":""},`, 4000), ",") + `]}` // 36 KB, and 1.4 MB of records
	inCLS := `{"logs":[` + strings.TrimSuffix(strings.Repeat(`{"contents":{"a":""}},`, 4000), ",") + `]}`
	checkSLSError(t, "SLS", w.send("POST", trackPath, inSLS), 503, "ServerBusy")
	checkCLSError(t, "CLS", w.send("POST", clsTrackOf("topic-1"), inCLS), 500, "InternalError")
	checkEmptySuccess(t, "a small one", w.send("POST", trackPath, oneLog))
	w.bodies.share.Release(maxBodiesInFlight - (200 << 10))
	checkEmptySuccess(t, "SLS", w.send("POST", trackPath, inSLS))
	if !w.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share was not given back")
	}
}

// flood sends a request and gives what comes back before the server hangs up on what it has not read.
func (w *world) flood(request string) string {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.Addr().String())
	check(w.t, err)
	defer conn.Close()
	check(w.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, request)
	check(w.t, err)
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestFloodsAndSlowClients(t *testing.T) {
	w := start(t, func(c *Config, _ *Deps) { c.BodyTimeout = 2 * time.Second })
	for _, row := range []struct{ name, request, status, code string }{
		{"one long header", "POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431", ""},
		{"many headers", "POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + strings.Repeat("X: y\r\n", 12000) + "\r\n", "431", ""},
		{"a long line", "GET /logstores/mystore/track?" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "431", ""},
		{"a body that never comes", "POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n", "400", "PostBodyInvalid"},
		{"a chunk that never ends", "POST " + clsTrackOf("topic-1") + " HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "400", "InvalidContent"},
		{"a length beyond all bounds", "POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9223372036854775807\r\n\r\n{", "400", "PostBodyTooLarge"},
		{"two lengths", "POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", "400", ""},
		{"chunks of one byte", "POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("1\r\n{\r\n", 2000) + "0\r\n\r\n", "400", ""},
	} {
		answer := w.flood(row.request)
		if !strings.HasPrefix(answer, "HTTP/1.1 "+row.status) || !strings.Contains(answer, row.code) {
			t.Errorf("%s: %.200q", row.name, answer)
		}
	}
	if n := w.refused("sls/myproj/mystore", slow); n != 1 {
		t.Errorf("%d counted as slow", n)
	}
	if n := w.refused("cls/topic-1", slow); n != 1 {
		t.Errorf("%d counted as slow for CLS", n)
	}
	checkEmptySuccess(t, "afterwards", w.send("POST", trackPath, oneLog))
	if !w.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share was not given back")
	}
}

// TestPixelsAnswerWhateverIsWrong: each reason for which an image can be refused is answered with the picture and counted.
func TestPixelsAnswerWhateverIsWrong(t *testing.T) {
	log, at := &faulty{}, time.Unix(1_700_000_000, 0) // the time stands still, so that no rate comes back
	w := startWith(t, func(s *Server) { s.rates.now = func() time.Time { return at } }, func(_ *Config, d *Deps) { log.Log, d.Log = d.Log, log })
	w.ruled("guarded", logbridge.WebRules{WriteTokens: []string{writeToken1}})
	w.ruled("small", logbridge.WebRules{Limits: logbridge.WebLimits{QueryBytes: 40, Fields: 1}})
	w.ruled("slow", logbridge.WebRules{Limits: logbridge.WebLimits{AddressEvents: 1}})
	ask := func(path string) {
		t.Helper()
		if a := w.send("GET", path, ""); a.StatusCode != 200 || a.body != string(sls.GIF) {
			t.Errorf("%s: %d %q", path, a.StatusCode, a.body)
		}
	}
	for range 10 {
		ask("/logstores/slow/track.gif?APIVersion=0.6.0&k=v")
		ask("/track.gif?topic_id=slow&k=v")
	}
	for _, row := range []struct {
		store, query string
		why          reason
	}{
		{"closed", "", closed}, {"narrow", "", badOrigin}, {"guarded", "", writeToken}, {"slow", "", overRate},
		{"small", "&a=b", tooLarge}, {"small", "&a=" + strings.Repeat("x", 100), tooLarge},
	} {
		topic := row.store
		if topic == "closed" || topic == "narrow" {
			topic = "topic-" + topic
		}
		for path, stream := range map[string]logbridge.Stream{
			fmt.Sprintf("/logstores/%s/track.gif?APIVersion=0.6.0&k=v%s", row.store, row.query): logbridge.SLSStream("myproj", row.store),
			fmt.Sprintf("/track.gif?topic_id=%s&k=v%s", topic, row.query):                       logbridge.CLSStream(topic),
		} {
			before := w.refused(stream, row.why)
			ask(path)
			if n := w.refused(stream, row.why) - before; n != 1 {
				t.Errorf("%s: %d counted as %s", path, n, row.why)
			}
		}
	}
	log.set(logbridge.ErrUnavailable, false)
	ask("/track.gif?topic_id=topic-1&k=v")
	ask("/logstores/mystore/track_ua.gif?APIVersion=0.6.0&k=v")
}
