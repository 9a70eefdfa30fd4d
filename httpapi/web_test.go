package httpapi

import (
	"bytes"
	"compress/zlib"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
	"github.com/logbridge/logbridge/wire/sls"
)

const trackPath = "/logstores/mystore/track?APIVersion=0.6.0"

var (
	upperHex24 = regexp.MustCompile(`^[0-9A-F]{24}$`)
	oneLog     = `{"__logs__":[{"k":"v"}]}`
	oneCLSLog  = `{"logs":[{"contents":{"k":"v"},"time":1700000000123}],"source":"page"}`
)

// replay sends a recorded request as it was, but to our address; a shortened body is made long again.
func (w *world) replay(r recorded.Request) answered {
	w.t.Helper()
	body := r.Content
	if r.Truncated {
		body = longBody(w.t, r)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), r.Method, w.url+r.URL.RequestURI(), bytes.NewReader(body))
	check(w.t, err)
	req.Host, req.Header = r.Host, r.Header
	resp, err := http.DefaultTransport.RoundTrip(req)
	check(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return answered{resp, string(b)}
}

// longBody fills up the body that recording sls-05 shortens: one field of x.
func longBody(t *testing.T, r recorded.Request) []byte {
	t.Helper()
	head, tail, _ := strings.Cut(string(r.Content), "\n...[body is ")
	_, tail, _ = strings.Cut(tail, "]...\n")
	var length int
	if _, err := fmt.Sscan(r.Header.Get("Content-Length"), &length); err != nil || length <= len(head)+len(tail) {
		t.Fatalf("%s: length %d of a shortened body", r.Capture, length)
	}
	return []byte(head + strings.Repeat("x", length-len(head)-len(tail)) + tail)
}

func TestReplaysEveryRecordedWebRequest(t *testing.T) {
	w := start(t)
	all, err := recorded.WebRequests()
	check(t, err)
	if len(all) < 40 {
		t.Fatalf("%d recordings", len(all))
	}
	uploads := 0
	for _, r := range all {
		name := fmt.Sprintf("%s[%d] %s %s", r.Capture, r.Index, r.Method, r.URL.Path)
		before := len(w.records(logbridge.Query{}))
		a := w.replay(r)
		got := w.records(logbridge.Query{})[before:]
		if isSLSPath(r.URL.Path) || isCLSPath(r.URL.Path) {
			checkCORS(t, name, a)
		}
		switch {
		case r.URL.Path == "/get_sts_token":
			if a.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %d", name, a.StatusCode)
			}
		case r.Method == http.MethodOptions:
			if want := r.Header.Get("Access-Control-Request-Headers"); a.StatusCode != 200 || a.Header.Get("Access-Control-Allow-Headers") != want {
				t.Errorf("%s: %d, headers %q, want %q", name, a.StatusCode, a.Header.Get("Access-Control-Allow-Headers"), want)
			}
		case r.Header.Get("X-Acs-Security-Token") != "":
			if a.StatusCode != 401 || !strings.Contains(a.body, `"errorCode":"Unauthorized"`) || len(got) > 0 {
				t.Errorf("%s: %d %s, %d records", name, a.StatusCode, a.body, len(got))
			}
		case r.Method == http.MethodGet:
			if a.StatusCode != 200 || a.Header.Get("Content-Type") != "image/gif" || a.body != string(sls.GIF) || len(got) != 1 {
				t.Errorf("%s: %d %q, %d records", name, a.StatusCode, a.body, len(got))
			}
		default:
			uploads++
			checkEmptySuccess(t, name, a)
			checkRecorded(t, name, r, got)
		}
	}
	if uploads < 14 {
		t.Errorf("%d uploads", uploads)
	}
}

// checkEmptySuccess: exactly 200, Content-Length: 0, no Content-Type, a request id (web-tracking.md 1, 4.4).
func checkEmptySuccess(t *testing.T, name string, a answered) {
	t.Helper()
	h := a.Header
	if a.StatusCode != 200 || a.body != "" || h.Get("Content-Length") != "0" || h.Values("Content-Type") != nil || a.TransferEncoding != nil {
		t.Errorf("%s: %d %q, header %v", name, a.StatusCode, a.body, h)
	}
	if !upperHex24.MatchString(h.Get("X-Log-Requestid")) && h.Get("X-Cls-Requestid") == "" {
		t.Errorf("%s: no request id in %v", name, h)
	}
}

func checkCORS(t *testing.T, name string, a answered) {
	t.Helper()
	if a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Expose-Headers") != "x-log-requestid, x-cls-requestid" {
		t.Errorf("%s: %d without CORS: %v", name, a.StatusCode, a.Header)
	}
}

// checkRecorded compares records with a recorded body that is read without our own decoder.
func checkRecorded(t *testing.T, name string, r recorded.Request, got []logbridge.Record) {
	t.Helper()
	content := r.Content
	if r.Truncated {
		content = longBody(t, r)
	}
	content = bytes.ReplaceAll(content, []byte("\xed\xa0\xbd\xed\xb8\x80"), []byte("😀")) // the SDK's CESU-8
	var body struct {
		SLS   []map[string]any `json:"__logs__"`
		Topic string           `json:"__topic__"`
		CLS   []struct {
			Contents map[string]any
			Time     int64
		} `json:"logs"`
	}
	check(t, json.Unmarshal(content, &body))
	if len(got) != len(body.SLS)+len(body.CLS) || len(got) == 0 {
		t.Fatalf("%s: %d records of %d logs", name, len(got), len(body.SLS)+len(body.CLS))
	}
	for i, rec := range got {
		if body.SLS != nil {
			checkFields(t, name, body.SLS[i], rec)
			if rec.Stream != "sls/myproj/mystore" || rec.Source != logbridge.SourceSLS || body.Topic != "" && attr(rec, "__topic__") != body.Topic {
				t.Errorf("%s: record %+v", name, rec)
			}
			continue
		}
		checkFields(t, name, body.CLS[i].Contents, rec)
		if rec.Stream != "cls/topic-1" || rec.Source != logbridge.SourceCLS || !rec.Time.Equal(time.UnixMilli(body.CLS[i].Time)) {
			t.Errorf("%s: record %+v", name, rec)
		}
	}
}

func checkFields(t *testing.T, name string, want map[string]any, r logbridge.Record) {
	t.Helper()
	for k, v := range want {
		if got := attr(r, k); got != fmt.Sprint(v) {
			t.Errorf("%s: field %s is %.80q, want %.80q", name, k, got, v)
		}
	}
	if r.Body != "" || len(want) == 0 {
		t.Errorf("%s: body %q, %d fields", name, r.Body, len(want))
	}
}

func TestSLSErrorTable(t *testing.T) {
	log := &faulty{}
	w := start(t, func(c *Config, d *Deps) {
		log.Log, d.Log = d.Log, log
		c.BodyTimeout = 2 * time.Second
	})
	big := strings.Repeat("x", sls.MaxBody+1)
	for _, row := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
		stream                   logbridge.Stream
		why                      reason
	}{
		{"no project", "POST", trackPath, oneLog, []string{"Host", "logs.example.com"}, 404, "ProjectNotExist", "", unknownName},
		{"no project in the path", "POST", "/sls/nope" + trackPath, oneLog, nil, 404, "ProjectNotExist", "", unknownName},
		{"no store", "POST", "/logstores/nope/track?APIVersion=0.6.0", oneLog, nil, 404, "LogStoreNotExist", "", unknownName},
		{"closed", "POST", "/logstores/closed/track?APIVersion=0.6.0", oneLog, nil, 401, "Unauthorized", "sls/myproj/closed", closed},
		{"origin", "POST", "/logstores/narrow/track?APIVersion=0.6.0", oneLog, []string{"Origin", evilPage}, 401, "Unauthorized", "sls/myproj/narrow", badOrigin},
		{"no origin", "POST", "/logstores/narrow/track?APIVersion=0.6.0", oneLog, nil, 401, "Unauthorized", "sls/myproj/narrow", badOrigin},
		{"no version", "POST", "/logstores/mystore/track", oneLog, nil, 400, "MissingAPIVersion", "sls/myproj/mystore", malformed},
		{"bad version", "POST", "/logstores/mystore/track?APIVersion=9", oneLog, nil, 400, "InvalidAPIVersion", "sls/myproj/mystore", malformed},
		{"bad JSON", "POST", trackPath, `{"__logs__":`, nil, 400, "PostBodyInvalid", "sls/myproj/mystore", malformed},
		{"no body", "POST", trackPath, "", nil, 400, "PostBodyInvalid", "sls/myproj/mystore", malformed},
		{"compression", "POST", trackPath, oneLog, []string{"x-log-compresstype", "brotli"}, 400, "InvalidCompressType", "sls/myproj/mystore", malformed},
		{"not lz4", "POST", trackPath, "\xf0", []string{"x-log-compresstype", "lz4", "x-log-bodyrawsize", "100"}, 400, "PostBodyUncompressError", "sls/myproj/mystore", malformed},
		{"raw size", "POST", trackPath, oneLog, []string{"x-log-compresstype", "lz4", "x-log-bodyrawsize", "99999999"}, 400, "PostBodyTooLarge", "sls/myproj/mystore", tooLarge},
		{"bomb", "POST", trackPath, zlibOf(t, big), []string{"x-log-compresstype", "deflate"}, 400, "PostBodyTooLarge", "sls/myproj/mystore", tooLarge},
		{"too large", "POST", trackPath, big, nil, 400, "PostBodyTooLarge", "sls/myproj/mystore", tooLarge},
		{"long query", "GET", trackPath + "&k=" + big[:17<<10], "", nil, 400, "PostBodyTooLarge", "sls/myproj/mystore", tooLarge},
		{"GET without version", "GET", "/logstores/mystore/track?k=v", "", nil, 400, "MissingAPIVersion", "sls/myproj/mystore", malformed},
		{"method", "PUT", trackPath, oneLog, nil, 405, "ParameterInvalid", "", badMethod},
		{"path", "POST", "/logstores/mystore/other", oneLog, nil, 400, "ParameterInvalid", "", unsupported},
		{"prefix alone", "POST", "/sls", oneLog, nil, 400, "ParameterInvalid", "", unsupported},
		{"unsigned", "POST", "/logstores/mystore", oneLog, nil, 400, "ParameterInvalid", "sls/myproj/mystore", badAuth},
	} {
		before := w.refused(row.stream, row.why)
		a := w.send(row.method, row.path, row.body, row.headers...)
		if row.stream != "sls/myproj/narrow" {
			checkCORS(t, row.name, a)
		}
		checkSLSError(t, row.name, a, row.status, row.code)
		if n := w.refused(row.stream, row.why) - before; n != 1 {
			t.Errorf("%s: %d counted for %q as %s", row.name, n, row.stream, row.why)
		}
	}
	slowly := w.raw([]byte("POST " + trackPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"))
	if h, body := headerBody(t, slowly); !strings.HasPrefix(h, "HTTP/1.1 400") || !strings.Contains(body, "PostBodyInvalid") {
		t.Errorf("slow body: %q", slowly)
	}
	log.set(logbridge.ErrUnavailable, false)
	checkSLSError(t, "unavailable", w.send("POST", trackPath, oneLog), 503, "ServerBusy")
	log.set(nil, false)
	if n := len(w.records(logbridge.Query{})); n != 0 {
		t.Errorf("%d records of refused requests", n)
	}
}

func checkSLSError(t *testing.T, name string, a answered, status int, code string) {
	t.Helper()
	var e struct{ ErrorCode, ErrorMessage string }
	err := json.Unmarshal([]byte(a.body), &e)
	if err != nil || a.StatusCode != status || e.ErrorCode != code || e.ErrorMessage == "" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %d %s, want %d %s", name, a.StatusCode, a.body, status, code)
	}
	if !upperHex24.MatchString(a.Header.Get("X-Log-Requestid")) || a.Header.Get("X-Log-Time") == "" {
		t.Errorf("%s: header %v", name, a.Header)
	}
}

func zlibOf(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, err := io.WriteString(z, s)
	check(t, err)
	check(t, z.Close())
	return b.String()
}

func TestSLSForms(t *testing.T) {
	w := start(t)
	lz4Body, err := hex.DecodeString("e17b225f5f746f7069635f5f223a220a00b1222c225f5f736f757263651500020b00011600406c6f67731400f0035b7b226b657931223a2276616c756531222c1000143210004f32227d2c22000e105d67002274615100597b227461675000f00174616732223a2276616c756532227d7d")
	check(t, err)
	plain := `{"__topic__":"topic","__source__":"source","__logs__":[{"key1":"value1","key2":"value2"},{"key1":"value1","key2":"value2"}],"__tags__":{"tag1":"value1","tag2":"value2"}}`
	for _, row := range []struct {
		name, path, body string
		headers          []string
		logs             int
	}{
		{"no Content-Type", trackPath, plain, nil, 2},
		{"protobuf type", trackPath, plain, []string{"Content-Type", "application/x-protobuf"}, 2},
		{"version in the header", "/logstores/mystore/track", plain, []string{"x-log-apiversion", "0.6.0", "x-log-bodyrawsize", "1"}, 2},
		{"lz4", trackPath, string(lz4Body), []string{"x-log-compresstype", "lz4", "x-log-bodyrawsize", "169"}, 2},
		{"deflate", trackPath, zlibOf(t, plain), []string{"x-log-compresstype", "deflate", "x-log-bodyrawsize", "169"}, 2},
		{"prefix", "/sls/myproj" + trackPath, plain, []string{"Host", "nowhere.example"}, 2},
		{"project in the host", trackPath, plain, []string{"Host", "myproj.localhost:80"}, 2},
		{"trailing slash of the host", "/" + trackPath, plain, nil, 2},
		{"trailing slash of a host with the project", "/sls/myproj/" + trackPath, plain, nil, 2},
		{"no logs", trackPath, `{"__logs__":[]}`, nil, 0},
		{"allowed page", "/logstores/narrow/track?APIVersion=0.6.0", plain, []string{"Origin", goodPage}, 2},
	} {
		before := len(w.records(logbridge.Query{}))
		checkEmptySuccess(t, row.name, w.send("POST", row.path, row.body, row.headers...))
		got := w.records(logbridge.Query{})[before:]
		if len(got) != row.logs {
			t.Fatalf("%s: %d records", row.name, len(got))
		}
		for _, r := range got {
			if attr(r, "key2") != "value2" || attr(r, "__tag__:tag1") != "value1" || attr(r, "__topic__") != "topic" || attr(r, "__source__") != "source" {
				t.Errorf("%s: %+v", row.name, r)
			}
		}
	}
	checkEmptySuccess(t, "client address", w.send("POST", trackPath, oneLog))
	checkEmptySuccess(t, "GET", w.send("GET", trackPath+"&a=1&a=2&__topic__=tp", ""))
	last := w.records(logbridge.Query{Stream: "sls/myproj/mystore"})
	address, get := last[len(last)-2], last[len(last)-1]
	if attr(address, "__source__") != "127.0.0.1" {
		t.Errorf("source that was not sent: %+v", address)
	}
	if fmt.Sprint(get.Attributes[:2]) != "[{a 1} {a 2}]" || attr(get, "__topic__") != "tp" || attr(get, "APIVersion") != "<none>" {
		t.Errorf("GET: %+v", get)
	}
}

func TestPixels(t *testing.T) {
	w := start(t)
	ask := func(path string, headers ...string) {
		t.Helper()
		a := w.send("GET", path, "", headers...)
		if a.StatusCode != 200 || a.body != string(sls.GIF) || a.Header.Get("Content-Type") != "image/gif" || !strings.Contains(a.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: %d %q %v", path, a.StatusCode, a.body, a.Header)
		}
	}
	ask("/logstores/mystore/track_ua.gif?APIVersion=0.6.0&k=v", "User-Agent", "agent/1 \xff", "Referer", goodPage+"/page")
	ask("/sls/myproj/logstores/mystore/track.gif?APIVersion=0.6.0&k=v", "User-Agent", "agent/2", "Referer", goodPage)
	ask("/track.gif?topic_id=topic-1&k=v", "User-Agent", "agent/3", "Referer", goodPage)
	ask("/cls/track.gif?topic_id=topic-1&k=v", "User-Agent", "agent/4")
	ask("/logstores/narrow/track.gif?APIVersion=0.6.0&k=v", "Referer", goodPage+"/page?q")
	got := w.records(logbridge.Query{})
	if len(got) != 5 {
		t.Fatalf("%d records", len(got))
	}
	for i, want := range [][2]string{{"agent/1 \ufffd", goodPage + "/page"}, {"<none>", "<none>"}, {"agent/3", "<none>"}, {"agent/4", "<none>"}, {"<none>", "<none>"}} {
		if r := got[i]; attr(r, "__userAgent__") != want[0] || attr(r, "__referer__") != want[1] || attr(r, "k") != "v" {
			t.Errorf("pixel %d: %+v, want %q", i, r, want)
		}
	}
	for _, row := range []struct {
		path   string
		stream logbridge.Stream
		why    reason
	}{
		{"/logstores/nope/track.gif?APIVersion=0.6.0&k=v", "", unknownName},
		{"/logstores/closed/track_ua.gif?APIVersion=0.6.0&k=v", "sls/myproj/closed", closed},
		{"/logstores/narrow/track.gif?APIVersion=0.6.0&k=v", "sls/myproj/narrow", badOrigin},
		{"/logstores/mystore/track.gif?k=v", "sls/myproj/mystore", malformed},
		{"/track.gif?topic_id=nope&k=v", "", unknownName},
		{"/track.gif?topic_id=topic-closed&k=v", "cls/topic-closed", closed},
	} {
		before := w.refused(row.stream, row.why)
		ask(row.path)
		if n := w.refused(row.stream, row.why) - before; n != 1 {
			t.Errorf("%s: %d counted as %s", row.path, n, row.why)
		}
	}
}

func TestCLSErrorTable(t *testing.T) {
	log := &faulty{}
	w := start(t, func(_ *Config, d *Deps) { log.Log, d.Log = d.Log, log })
	big := `{"logs":[{"contents":{"k":"` + strings.Repeat("x", 6<<20) + `"}}]}`
	for _, row := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
		stream                   logbridge.Stream
		why                      reason
	}{
		{"no topic", "POST", "/tracklog", oneCLSLog, nil, 400, "InvalidParam", "", missing},
		{"unknown topic", "POST", "/tracklog?topic_id=nope", oneCLSLog, nil, 404, "TopicNotExist", "", unknownName},
		{"closed", "POST", "/cls/tracklog?topic_id=topic-closed", oneCLSLog, nil, 403, "NotAllowed", "cls/topic-closed", closed},
		{"origin", "POST", "/tracklog?topic_id=topic-narrow", oneCLSLog, []string{"Origin", evilPage}, 403, "NotAllowed", "cls/topic-narrow", badOrigin},
		{"empty", "POST", "/tracklog?topic_id=topic-1", "", nil, 400, "MissingContent", "cls/topic-1", malformed},
		{"bad JSON", "POST", "/tracklog?topic_id=topic-1", "{", nil, 400, "InvalidContent", "cls/topic-1", malformed},
		{"too large", "POST", "/tracklog?topic_id=topic-1", big, nil, 413, "LogSizeExceed", "cls/topic-1", tooLarge},
		{"GET without topic", "GET", "/track?k=v", "", nil, 400, "InvalidParam", "", malformed},
		{"GET unknown topic", "GET", "/cls/track?topic_id=nope&k=v", "", nil, 404, "TopicNotExist", "", unknownName},
		{"long query", "GET", "/track?topic_id=topic-1&k=" + big[:17<<10], "", nil, 413, "LogSizeExceed", "", tooLarge},
		{"method", "PUT", "/tracklog?topic_id=topic-1", oneCLSLog, nil, 405, "NotSupported", "", badMethod},
		{"GET structuredlog", "GET", "/structuredlog?topic_id=topic-1", "x", nil, 405, "NotSupported", "", badMethod},
		{"other", "POST", "/cls/other", "x", nil, 405, "NotSupported", "", unsupported},
	} {
		if row.name == "long query" {
			row.path = strings.ReplaceAll(row.path, `"`, "%22")
		}
		before := w.refused(row.stream, row.why)
		a := w.send(row.method, strings.NewReplacer("{", "%7B", "[", "%5B").Replace(row.path), row.body, row.headers...)
		checkCLSError(t, row.name, a, row.status, row.code)
		if n := w.refused(row.stream, row.why) - before; n != 1 {
			t.Errorf("%s: %d counted for %q as %s", row.name, n, row.stream, row.why)
		}
	}
	log.set(logbridge.ErrUnavailable, false)
	checkCLSError(t, "unavailable", w.send("POST", "/tracklog?topic_id=topic-1", oneCLSLog), 500, "InternalError")
	log.set(nil, false)
	if n := len(w.records(logbridge.Query{})); n != 0 {
		t.Errorf("%d records of refused requests", n)
	}
	checkEmptySuccess(t, "GET", w.send("GET", "/track?topic_id=topic-1&k=v", ""))
	checkEmptySuccess(t, "trailing slash of the host", w.send("POST", "//tracklog?topic_id=topic-1", oneCLSLog))
	checkEmptySuccess(t, "trailing slash of a host with a prefix", w.send("POST", "/cls//tracklog?topic_id=topic-1", oneCLSLog))
}

func checkCLSError(t *testing.T, name string, a answered, status int, code string) {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.StatusCode != status || e["errorcode"] != code || e["errormessage"] == "" {
		t.Errorf("%s: %d %s, want %d %s", name, a.StatusCode, a.body, status, code)
	}
	if a.Header.Get("X-Cls-Requestid") == "" {
		t.Errorf("%s: header %v", name, a.Header)
	}
}

func TestCORSMatrix(t *testing.T) {
	w := start(t)
	const origin, headers = "Access-Control-Allow-Origin", "Access-Control-Allow-Headers"
	for _, row := range []struct {
		path, page, asked   string
		status              int
		allowed, asReflects string
	}{
		{trackPath, evilPage, "content-type,x-log-apiversion", 200, "*", "content-type,x-log-apiversion"},
		{"/logstores/mystore", evilPage, "Authorization, X-Log-Date", 200, "*", "authorization,x-log-date"}, // jsdom
		{"/logstores/mystore/shards/lb", evilPage, "authorization", 200, "*", "authorization"},
		{"/sls/myproj/logstores/mystore/track", evilPage, "", 200, "*", ""},
		{"/logstores/nope/track", evilPage, "content-type", 200, "*", "content-type"},
		{"/tracklog?topic_id=topic-1", evilPage, "content-type", 200, "*", "content-type"},
		{"/cls/structuredlog?topic_id=topic-1", evilPage, "authorization,content-type,x-cls-compress-type", 200, "*", "authorization,content-type,x-cls-compress-type"},
		{"/cls/tracklog?topic_id=nope", evilPage, "content-type,bad name,x\"y,,z,z", 200, "*", "content-type,z"},
		{"/logstores/narrow/track", goodPage, "content-type", 200, goodPage, "content-type"},
		{"/logstores/narrow/track", evilPage, "content-type", 403, "", ""},
		{"/tracklog?topic_id=topic-narrow", goodPage, "content-type", 200, goodPage, "content-type"},
		{"/tracklog?topic_id=topic-narrow", evilPage, "content-type", 403, "", ""},
	} {
		a := w.send("OPTIONS", row.path, "", "Origin", row.page, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", row.asked)
		h := a.Header
		if a.StatusCode != row.status || h.Get(origin) != row.allowed || h.Get(headers) != row.asReflects || a.body != "" {
			t.Errorf("%s from %s: %d %v", row.path, row.page, a.StatusCode, h)
		}
		if row.status == 200 && (h.Get("Access-Control-Max-Age") != "3600" || h.Get("Access-Control-Allow-Methods") != "POST, GET, OPTIONS") {
			t.Errorf("%s: %v", row.path, h)
		}
	}
	many := strings.Repeat("a,", 5) + strings.Repeat(strings.Repeat("b", 65)+",", 3)
	for i := range 200 {
		many += fmt.Sprintf("h%d,", i)
	}
	a := w.send("OPTIONS", trackPath, "", "Origin", evilPage, "Access-Control-Request-Headers", many)
	if n := strings.Count(a.Header.Get(headers), ",") + 1; n != maxCORSHeaders || strings.Contains(a.Header.Get(headers), "bb") {
		t.Errorf("%d header names reflected", n)
	}
	for path, want := range map[string][2]string{
		"/logstores/narrow/track?APIVersion=0.6.0": {goodPage, ""},
		trackPath: {"*", "*"},
	} {
		for i, page := range []string{goodPage, evilPage} {
			a := w.send("POST", path, oneLog, "Origin", page)
			if a.Header.Get(origin) != want[i] || a.Header.Get("Access-Control-Expose-Headers") == "" {
				t.Errorf("%s from %s: %d %v", path, page, a.StatusCode, a.Header)
			}
		}
	}
	for _, path := range []string{"/api/v1/products", "/device/reportlog", "/healthz", "/", "/metrics"} {
		if a := w.send("OPTIONS", path, "", "Origin", evilPage, "Access-Control-Request-Method", "GET"); a.Header.Get(origin) != "" {
			t.Errorf("%s has CORS", path)
		}
		if a := w.send("GET", path, "", "Origin", evilPage); a.Header.Get(origin) != "" {
			t.Errorf("%s has CORS", path)
		}
	}
}

// signed gives the headers of a JSON PutLogs request as the STS plugin makes them, without a token.
func signed(path, query, body, id, secret string, now time.Time) []string {
	sum := md5.Sum([]byte(body))
	h := http.Header{
		"Content-Type": {"application/json"}, "Content-Md5": {strings.ToUpper(hex.EncodeToString(sum[:]))},
		"X-Log-Apiversion": {"0.6.0"}, "X-Log-Bodyrawsize": {"1"}, "X-Log-Signaturemethod": {"hmac-sha1"},
		"X-Log-Date": {now.UTC().Format(http.TimeFormat)},
	}
	h.Set("Authorization", sls.SignV1(id, secret, sls.Request{Method: "POST", Path: path, RawQuery: query, Header: h, Body: []byte(body)}))
	var pairs []string
	for name, values := range h {
		pairs = append(pairs, name, values[0])
	}
	return pairs
}

func TestSignedJSON(t *testing.T) {
	w := start(t)
	check(t, w.reg.PutSLSProject(t.Context(), logbridge.SLSProject{Name: "other"}))
	check(t, w.reg.PutAccessKey(t.Context(), logbridge.AccessKey{Project: "other", ID: "LTAIother", Secret: keySecret}))
	const store, body = "/logstores/closed", `{"__logs__":[{"k":"v","__time__":1700000000}]}`
	now := time.Now()
	for _, prefix := range []string{"", "/sls/myproj"} {
		checkEmptySuccess(t, prefix, w.send("POST", prefix+store, body, signed(store, "", body, keyID, keySecret, now)...))
		checkEmptySuccess(t, prefix, w.send("POST", prefix+store+"/shards/lb", body, signed(store+"/shards/lb", "", body, keyID, keySecret, now)...))
	}
	got := w.records(logbridge.Query{Stream: "sls/myproj/closed"})
	if len(got) != 4 || got[0].Time.Unix() != 1700000000 || got[0].TimeQuality != logbridge.TimeDevice {
		t.Fatalf("records %+v", got)
	}
	for _, row := range []struct {
		name    string
		headers []string
		status  int
		code    string
	}{
		{"wrong secret", signed(store, "", body, keyID, "wrong", now), 401, "SignatureNotMatch"},
		{"other body", signed(store, "", body+" ", keyID, keySecret, now), 401, "SignatureNotMatch"},
		{"unknown key", signed(store, "", body, "LTAInobody", keySecret, now), 401, "Unauthorized"},
		{"key of another project", signed(store, "", body, "LTAIother", keySecret, now), 401, "Unauthorized"},
		{"old", signed(store, "", body, keyID, keySecret, now.Add(-time.Hour)), 400, "RequestTimeExpired"},
		{"token", append(signed(store, "", body, keyID, keySecret, now), "x-acs-security-token", "t"), 401, "Unauthorized"},
		{"no authorization", nil, 400, "ParameterInvalid"},
		{"V4", []string{"Authorization", "SLS4-HMAC-SHA256 Credential=x"}, 400, "ParameterInvalid"},
	} {
		checkSLSError(t, row.name, w.send("POST", store, body, row.headers...), row.status, row.code)
	}
	if n := w.refused("sls/myproj/closed", expired); n != 1 {
		t.Errorf("%d counted as expired", n)
	}
	if n := len(w.records(logbridge.Query{})); n != 4 {
		t.Errorf("%d records", n)
	}
}

// TestBodiesShareOneBound fills the bound of all bodies; what comes then is refused, and taken again afterwards.
func TestBodiesShareOneBound(t *testing.T) {
	w := start(t)
	check(t, w.bodies.share.Acquire(t.Context(), maxBodiesInFlight))
	checkSLSError(t, "no room", w.send("POST", trackPath, oneLog), 503, "ServerBusy")
	if code := checkDeviceAnswer(t, w.raw(signedUpload(t, device01, recorded.PSK, "1", "INFx"))); code != "RequestLimitExceeded" {
		t.Errorf("code %q", code)
	}
	checkCLSError(t, "no room", w.send("POST", "/tracklog?topic_id=topic-1", oneCLSLog), 500, "InternalError")
	w.bodies.share.Release(maxBodiesInFlight)
	checkEmptySuccess(t, "room", w.send("POST", trackPath, oneLog))
	checkEmptySuccess(t, "room", w.send("POST", trackPath, zlibOf(t, oneLog), "x-log-compresstype", "deflate"))
	checkSLSError(t, "refused", w.send("POST", trackPath, "{"), 400, "PostBodyInvalid")
	checkSLSError(t, "refused", w.send("POST", trackPath, "{", "x-log-compresstype", "deflate"), 400, "PostBodyUncompressError")
	if !w.bodies.share.TryAcquire(maxBodiesInFlight) {
		t.Error("a share was not given back")
	}
}

func TestHostOfTheRequest(t *testing.T) {
	for host, want := range map[string]string{"a.b:80": "a.b", "a.b": "a.b", "[::1]:80": "::1", "[::1]": "::1", "": ""} {
		if got := hostName(&http.Request{Host: host, URL: &url.URL{}}); got != want {
			t.Errorf("%q: %q", host, got)
		}
	}
}
