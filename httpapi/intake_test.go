package httpapi

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
	"github.com/logbridge/logbridge/wire/otlp"
)

// token makes a token of a role.
func (w *world) token(role logbridge.Role) string {
	w.t.Helper()
	plain, _ := w.issue(role)
	return plain
}

// packed compresses text.
func packed(t *testing.T, text string, with func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	z := with(&b)
	_, err := io.WriteString(z, text)
	check(t, err)
	check(t, z.Close())
	return b.String()
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	return packed(t, text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func deflated(t *testing.T, text string) string {
	t.Helper()
	return packed(t, text, func(w io.Writer) io.WriteCloser {
		z, err := flate.NewWriter(w, flate.BestSpeed)
		check(t, err)
		return z
	})
}

func zlibbed(t *testing.T, text string) string {
	t.Helper()
	return packed(t, text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
}

// otlpJSON is a request with a record for each body.
func otlpJSON(at time.Time, bodies ...string) string {
	records := ""
	for _, body := range bodies {
		records += fmt.Sprintf(`,{"timeUnixNano":"%d","severityNumber":17,"body":{"stringValue":%q}}`, at.UnixNano(), body)
	}
	return `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"pay"}}]},"scopeLogs":[{"logRecords":[` +
		strings.TrimPrefix(records, ",") + `]}]}]}`
}

// lokiJSON is a push with an entry for each line.
func lokiJSON(at time.Time, lines ...string) string {
	entries := ""
	for i, line := range lines {
		entries += fmt.Sprintf(`,["%d",%q]`, at.UnixNano()+int64(i), line)
	}
	return `{"streams":[{"stream":{"app":"web","level":"warn"},"values":[` + strings.TrimPrefix(entries, ",") + `]}]}`
}

// stored are the bodies of all records of a stream.
func (w *world) stored(stream logbridge.Stream) string {
	var all []string
	for _, r := range w.records(logbridge.Query{Stream: stream}) {
		all = append(all, r.Body)
	}
	return strings.Join(all, " ")
}

// recordedPush is what Promtail's own client sent (testdata of wire/loki).
func recordedPush(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../wire/loki/testdata/promtail.snappy")
	check(t, err)
	return string(b)
}

func recordedExport(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../wire/otlp/testdata/go-exporter.bin")
	check(t, err)
	return string(b)
}

func TestOTLPUploads(t *testing.T) {
	w := start(t)
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	now := time.Now()
	for _, row := range []struct {
		path, body, kind, encoding, answer string
	}{
		{"/v1/logs", otlpJSON(now, "a"), "application/json", "", "{}"},
		{"/otlp/v1/logs", otlpJSON(now, "b"), "application/json; charset=utf-8", "identity", "{}"},
		{"/v1/logs", zipped(t, otlpJSON(now, "c")), "application/json", "gzip", "{}"},
		{"/v1/logs", deflated(t, otlpJSON(now, "d")), "application/json", "deflate", "{}"},
		{"/v1/logs", zlibbed(t, otlpJSON(now, "e")), "application/json", "deflate", "{}"},
		{"/v1/logs", recordedExport(t), "application/x-protobuf", "", ""},
		{"/v1/logs", zipped(t, recordedExport(t)), "application/x-protobuf", "gzip", ""},
		{"/v1/logs", "", "application/x-protobuf", "", ""},
		{"/v1/logs", "{}", "application/json", "", "{}"},
	} {
		a := w.send("POST", row.path, row.body, "Authorization", bearer, "Content-Type", row.kind, "Content-Encoding", row.encoding)
		kind, _, _ := strings.Cut(row.kind, ";")
		if a.StatusCode != 200 || a.body != row.answer || a.Header.Get("Content-Type") != kind {
			t.Errorf("%+v: %d %q %v", row, a.StatusCode, a.body, a.Header)
		}
	}
	if got := w.stored("otlp/-/pay"); got != "a b c d e" {
		t.Errorf("stored %q", got)
	}
	// The same bytes, once compressed, are the same upload.
	if got := w.stored("otlp/shop/checkout"); strings.Count(got, "of the exporter") != 4 {
		t.Errorf("stored %q", got)
	}
	if c := w.sink.Ledger().Sources[logbridge.SourceOTLP]; c.Received != 15 || c.Stored != 10 || c.Duplicate != 5 {
		t.Errorf("ledger %+v", c)
	}
}

func TestLokiPushes(t *testing.T) {
	w := start(t)
	token := w.token(logbridge.RoleIngest)
	now := time.Now()
	push := recordedPush(t)
	for _, row := range []struct{ body, kind, encoding string }{
		{lokiJSON(now, "a"), "application/json", ""},
		{zipped(t, lokiJSON(now, "b")), "application/json; charset=utf-8", "gzip"},
		{deflated(t, lokiJSON(now, "c")), "application/json", "deflate"},
		{push, "application/x-protobuf", ""},
		{push, "application/x-protobuf", "snappy"},
		{zipped(t, push), "", "gzip"},
		{`{"streams":[]}`, "application/json", ""},
	} {
		r, err := http.NewRequest("POST", w.url+"/loki/api/v1/push", nil)
		check(t, err)
		r.SetBasicAuth("promtail", token)
		a := w.send("POST", "/loki/api/v1/push", row.body, "Authorization", r.Header.Get("Authorization"), "Content-Type", row.kind, "Content-Encoding", row.encoding)
		if a.StatusCode != 204 || a.body != "" {
			t.Errorf("%q %q: %d %q", row.kind, row.encoding, a.StatusCode, a.body)
		}
	}
	if got := w.stored("otlp/-/web"); got != "a b c" {
		t.Errorf("stored %q", got)
	}
	if c := w.sink.Ledger().Sources[logbridge.SourceLoki]; c.Received != 3+3*4 || c.Stored != 3+4 || c.Duplicate != 2*4 {
		t.Errorf("ledger %+v", c)
	}
}

// TestIntakeRefusals: every upload that is not stored is answered as its clients expect, and counted.
func TestIntakeRefusals(t *testing.T) {
	w := start(t)
	tokens := map[string]string{"": ""}
	for _, role := range []logbridge.Role{logbridge.RoleViewer, logbridge.RoleOperator, logbridge.RoleAdmin, logbridge.RoleIngest} {
		tokens[string(role)] = "Bearer " + w.token(role)
	}
	tokens["bad"], tokens["basic"] = "Bearer nonsense", "Basic bm9uZTpub25l"
	good := map[string]string{"/v1/logs": otlpJSON(time.Now(), "x"), lokiPushPath: lokiJSON(time.Now(), "x")}
	bomb := zipped(t, strings.Repeat(" ", loose.MaxUpload+1))
	total := map[string]uint64{}
	for _, row := range []struct {
		path, token, kind, encoding, body string
		status                            int
		why                               reason
	}{
		{"/v1/logs", "", "application/json", "", "ok", 401, badToken},
		{"/v1/logs", "bad", "application/json", "", "ok", 401, badToken},
		{"/v1/logs", "viewer", "application/json", "", "ok", 403, badRole},
		{"/v1/logs", "operator", "application/json", "", "ok", 403, badRole},
		{"/v1/logs", "admin", "application/json", "", "ok", 200, ""},
		{"/v1/logs", "ingest", "application/json", "", "no", 400, malformed},
		{"/v1/logs", "ingest", "application/json", "gzip", "no", 400, malformed},
		{"/v1/logs", "ingest", "application/json", "gzip", zipped(t, good["/v1/logs"])[:40], 400, malformed},
		{"/v1/logs", "ingest", "application/json", "gzip", bomb, 413, tooLarge},
		{"/v1/logs", "ingest", "application/json", "", strings.Repeat(" ", loose.MaxUpload+1), 413, tooLarge},
		{"/v1/logs", "ingest", "application/json", "br", "ok", 415, unsupported},
		{"/v1/logs", "ingest", "text/plain", "", "ok", 415, unsupported},
		{"/v1/logs", "ingest", "", "", "ok", 415, unsupported},
		{"/v1/logs", "ingest", "application/x-protobuf", "", "\x0a\xff", 400, malformed},
		{"/otlp/v1/traces", "ingest", "application/x-protobuf", "", "x", 404, unknownName},
		{lokiPushPath, "", "application/json", "", "ok", 401, badToken},
		{lokiPushPath, "basic", "application/json", "", "ok", 401, badToken},
		{lokiPushPath, "viewer", "application/json", "", "ok", 403, badRole},
		{lokiPushPath, "admin", "application/json", "", "ok", 204, ""},
		{lokiPushPath, "ingest", "application/json", "", `{"streams":[{"stream":{},"values":[["soon","x"]]}]}`, 400, malformed},
		{lokiPushPath, "ingest", "application/json", "", `{"streams":[{"stream":{},"values":[["1"]]}]}`, 400, malformed},
		{lokiPushPath, "ingest", "", "", "not snappy", 400, malformed},
		{lokiPushPath, "ingest", "", "", "\xff\xff\xff\x7f", 413, tooLarge}, // a block of 268 MB, as it says
		{lokiPushPath, "ingest", "", "", string(snappy.Encode(nil, []byte("\x0a\xff"))), 400, malformed},
		{lokiPushPath, "ingest", "application/json", "gzip", bomb, 413, tooLarge},
		{lokiPushPath, "ingest", "application/json", "br", "ok", 415, unsupported},
	} {
		source := logbridge.SourceLoki
		if strings.HasSuffix(row.path, "s") {
			source = logbridge.SourceOTLP
		}
		body := row.body
		if body == "ok" {
			body = good[row.path]
		}
		before := w.sink.Ledger().Sources[source].Refused[string(row.why)]
		a := w.send("POST", row.path, body, "Authorization", tokens[row.token], "Content-Type", row.kind, "Content-Encoding", row.encoding)
		after := w.sink.Ledger().Sources[source].Refused[string(row.why)]
		name := fmt.Sprintf("%s %s %q %q %.20q", row.path, row.token, row.kind, row.encoding, row.body)
		if a.StatusCode != row.status || row.why != "" && after != before+1 {
			t.Errorf("%s: %d %q, refused %d more times", name, a.StatusCode, a.body, after-before)
		}
		if (a.StatusCode == 401) != (len(a.Header.Values("WWW-Authenticate")) == 2) {
			t.Errorf("%s: %v", name, a.Header)
		}
		if source == logbridge.SourceOTLP && a.StatusCode != 200 {
			checkStatus(t, name, row.kind, a)
		}
		if row.why != "" {
			total[string(row.why)]++
		}
	}
	checkLedger(t, w, total)
}

// checkStatus: errors of OTLP are a google.rpc.Status in the form of the request.
func checkStatus(t *testing.T, name, kind string, a answered) {
	t.Helper()
	want, begin := "application/json", `{"code":`
	if kind == "application/x-protobuf" {
		want, begin = kind, "\x08"
	}
	if a.Header.Get("Content-Type") != want || !strings.HasPrefix(a.body, begin) {
		t.Errorf("%s: %v %q", name, a.Header, a.body)
	}
}

// checkLedger: received is stored, duplicate, refused and dropped, and refused is what these reasons say.
func checkLedger(t *testing.T, w *world, refused map[string]uint64) {
	t.Helper()
	got := map[string]uint64{}
	for _, source := range []logbridge.Source{logbridge.SourceOTLP, logbridge.SourceLoki} {
		c := w.sink.Ledger().Sources[source]
		sum := c.Stored + c.Duplicate
		for why, n := range c.Refused {
			got[why] += n
			sum += n
		}
		for _, n := range c.Dropped {
			sum += n
		}
		if c.Received != sum {
			t.Errorf("%s: received %d, the rest is %d: %+v", source, c.Received, sum, c)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(refused) {
		t.Errorf("refused %v, want %v", got, refused)
	}
}

// TestIngestTokensMayNothingElse: reading, levels and tokens are closed to them (the operator API's own matrix has them too).
func TestIngestTokensMayNothingElse(t *testing.T) {
	w := start(t)
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	for _, path := range []string{"/logs", "/ledger", "/tokens", "/levels", "/devices", "/logs/histogram"} {
		if a := w.send("GET", apiPath+path, "", "Authorization", bearer); a.StatusCode != 403 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
}

// TestTooLongRecordsAloneAreRejected, and counted under their stream.
func TestTooLongRecordsAloneAreRejected(t *testing.T) {
	w := start(t)
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	long := strings.Repeat("x", loose.MaxRecord+1)
	a := w.send("POST", "/v1/logs", otlpJSON(time.Now(), "short", long, long), "Authorization", bearer, "Content-Type", "application/json")
	if want := string(otlp.Answer(true, 2, "records of more than 921600 bytes are not taken")); a.StatusCode != 200 || a.body != want {
		t.Errorf("%d %s, want %s", a.StatusCode, a.body, want)
	}
	a = w.send("POST", lokiPushPath, lokiJSON(time.Now(), long, "short"), "Authorization", bearer, "Content-Type", "application/json")
	if a.StatusCode != 400 || !strings.Contains(a.body, "1 entries of 2") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if got := w.stored("otlp/-/pay") + " " + w.stored("otlp/-/web"); got != "short short" {
		t.Errorf("stored %.40q", got)
	}
	if n := w.refused("otlp/-/pay", tooLarge); n != 2 {
		t.Errorf("%d refused", n)
	}
	// A record at the bound fits into the log.
	fits := strings.Repeat("x", loose.MaxRecord)
	a = w.send("POST", "/v1/logs", otlpJSON(time.Now(), fits), "Authorization", bearer, "Content-Type", "application/json")
	if a.StatusCode != 200 || a.body != "{}" {
		t.Errorf("at the bound: %d %s", a.StatusCode, a.body)
	}
	checkLedger(t, w, map[string]uint64{"too_large": 3})
}

// TestIntakeComesAgain: what may succeed later says so, and is not counted as refused while its outcome is unknown.
func TestIntakeComesAgain(t *testing.T) {
	log := &faulty{}
	w := start(t, func(_ *Config, d *Deps) { log.Log, d.Log = d.Log, log })
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	uploads := map[string]string{"/v1/logs": otlpJSON(time.Now(), "once"), lokiPushPath: lokiJSON(time.Now(), "once")}
	for path, body := range uploads {
		send := func(want int, retry string) {
			t.Helper()
			a := w.send("POST", path, body, "Authorization", bearer, "Content-Type", "application/json")
			if a.StatusCode != want || a.Header.Get("Retry-After") != retry {
				t.Errorf("%s: %d %q %v, want %d", path, a.StatusCode, a.body, a.Header, want)
			}
		}
		log.set(fmt.Errorf("%w: the disk is full", logbridge.ErrUnavailable), false)
		send(503, "1")
		log.set(errors.New("secret of the inside"), false)
		send(500, "")
		log.set(nil, false)
		check(t, w.Server.bodies.share.Acquire(t.Context(), maxBodiesInFlight))
		send(429, "1")
		w.Server.bodies.share.Release(maxBodiesInFlight)
		send(map[string]int{"/v1/logs": 200, lokiPushPath: 204}[path], "")
		send(map[string]int{"/v1/logs": 200, lokiPushPath: 204}[path], "") // as after an answer that was lost
	}
	if got := w.stored("otlp/-/pay") + " " + w.stored("otlp/-/web"); got != "once once" {
		t.Errorf("stored %q", got)
	}
	checkLedger(t, w, map[string]uint64{"internal": 2, "overload": 2})
	if w.Server.bodies.share.TryAcquire(maxBodiesInFlight) == false {
		t.Error("a share of memory was not given back")
	}
}

// TestRecordsCountAsMemory: a small body may be many records, for which there must be room too.
func TestRecordsCountAsMemory(t *testing.T) {
	w := start(t)
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	const records = 10_000
	body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.TrimSuffix(strings.Repeat("{},", records), ",") + `]}]}]}`
	send := func() int {
		return w.send("POST", "/v1/logs", body, "Authorization", bearer, "Content-Type", "application/json").StatusCode
	}
	const taken = maxBodiesInFlight - 1<<20 // room for the body, not for the records
	check(t, w.Server.bodies.share.Acquire(t.Context(), taken))
	if status := send(); status != 429 {
		t.Errorf("without room: %d", status)
	}
	w.Server.bodies.share.Release(taken)
	if status := send(); status != 200 {
		t.Errorf("with room: %d", status)
	}
	if c := w.sink.Ledger().Sources[logbridge.SourceOTLP]; c.Stored != records || c.Refused["overload"] != records || c.Received != 2*records {
		t.Errorf("ledger %+v", c)
	}
}

// TestUploadsWithoutATimeAreNotMerged: nothing tells a repetition from the same thing said twice.
func TestUploadsWithoutATimeAreNotMerged(t *testing.T) {
	w := start(t)
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	for range 2 {
		a := w.send("POST", "/v1/logs", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hi"}}]}]}]}`, "Authorization", bearer, "Content-Type", "application/json")
		if a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	if got := w.stored("otlp/-/unknown_service"); got != "hi hi" {
		t.Errorf("stored %q", got)
	}
}

// TestManyUploadsAtOnce: more than the bound of all bodies at a time; each is stored or told to come again, and counted.
func TestManyUploadsAtOnce(t *testing.T) {
	w := start(t)
	bearer := "Bearer " + w.token(logbridge.RoleIngest)
	body := otlpJSON(time.Now(), strings.Repeat("x", loose.MaxRecord), strings.Repeat("y", loose.MaxRecord))
	small := zipped(t, body)
	var mu sync.Mutex
	got := map[int]int{}
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), "POST", w.url+"/v1/logs", strings.NewReader(small))
			if err != nil {
				t.Error(err)
				return
			}
			for name, value := range map[string]string{"Authorization": bearer, "Content-Type": "application/json", "Content-Encoding": "gzip"} {
				r.Header.Set(name, value)
			}
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			got[res.StatusCode]++
		})
	}
	all.Wait()
	if got[200] == 0 || got[200]+got[429]+got[503] != 40 {
		t.Errorf("answers %v", got)
	}
	if !w.Server.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share of memory was not given back")
	}
}
