package httpapi

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// The requests in these tests are those that Grafana 11 and 12 and logcli send: names of parameters, forms of times and
// headers are theirs (query-and-export.md 1).

// explored is what a log query answers.
type explored struct {
	Status string `json:"status"`
	Data   struct {
		ResultType    string   `json:"resultType"`
		EncodingFlags []string `json:"encodingFlags"`
		Result        []struct {
			Stream map[string]string `json:"stream"`
			Values [][]any           `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// lokiOK asks and decodes an answer that must be a success.
func (w *world) lokiOK(into any, path string, params url.Values, headers ...string) answered {
	w.t.Helper()
	a := w.loki(path, params, headers...)
	if a.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %v: %d %s", path, params, a.StatusCode, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		w.t.Fatalf("%s %v: %v in %s", path, params, err, a.body)
	}
	return a
}

// storeLines appends lines of device01, a second apart from lokiEpoch on, and web events of mystore with the same times.
func (w *world) storeLines(lines ...string) {
	w.t.Helper()
	var records []logbridge.Record
	for i, line := range lines {
		at := lokiEpoch.Add(time.Duration(i) * time.Second)
		records = append(records, logbridge.Record{
			Time: at, ObservedTime: at, Source: logbridge.SourceMQTT, Stream: device01.Stream(), Severity: logbridge.Level(1 + i%4), Body: line,
			Attributes: []logbridge.Attr{{Key: "tag", Value: "main.c"}},
		}, logbridge.Record{
			Time: at, ObservedTime: at, Source: logbridge.SourceSLS, Stream: logbridge.SLSStream("myproj", "mystore"), Severity: logbridge.LevelInfo,
			Attributes: []logbridge.Attr{{Key: "event", Value: line}, {Key: "took", Value: strconv.Itoa(i) + "ms"}},
		})
	}
	if _, err := w.sink.Append(w.t.Context(), logbridge.Batch{Records: records}); err != nil {
		w.t.Fatal(err)
	}
}

// during are the parameters of a time range around what storeLines has stored.
func during(query string, more ...string) url.Values {
	v := url.Values{"query": {query}, "start": {nanos(lokiEpoch.Add(-time.Minute))}, "end": {nanos(lokiEpoch.Add(time.Hour))}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

func TestGrafanaSavesAndTestsTheDataSource(t *testing.T) {
	w := start(t)
	var v metricAnswer
	w.lokiOK(&v, "/query", url.Values{"query": {"vector(1)+vector(1)"}, "time": {"4000000000000000000"}, "direction": {"backward"}}, "X-Scope-OrgID", "any")
	if r := v.Data.Result; v.Data.ResultType != "vector" || len(r) != 1 || len(r[0].Metric) != 0 || r[0].Value != [2]any{4e9, "2"} {
		t.Errorf("the health check is answered by %+v", v)
	}
	var built map[string]string
	w.lokiOK(&built, "/status/buildinfo", nil)
	if !strings.HasPrefix(built["version"], "3.") {
		t.Errorf("build info %v", built)
	}
	if a := w.send(http.MethodGet, "/ready", ""); a.StatusCode != http.StatusOK || a.body != "ready\n" {
		t.Errorf("/ready: %d %q", a.StatusCode, a.body)
	}
}

func TestLokiReadersShowATokenOfAViewer(t *testing.T) {
	w := start(t)
	_, viewer, err := w.reg.CreateToken(t.Context(), "grafana", logbridge.RoleViewer, time.Time{})
	check(t, err)
	_, ingest, err := w.reg.CreateToken(t.Context(), "alloy", logbridge.RoleIngest, time.Time{})
	check(t, err)
	for authorization, want := range map[string]int{
		"":                               401,
		"Bearer wrong":                   401,
		"Basic !":                        401,
		basicAuth("any", "wrong"):        401,
		basicAuth(viewer, ""):            401,
		basicAuth("any", ingest):         403,
		"Bearer " + ingest:               403,
		basicAuth("any", viewer):         200,
		basicAuth("other", viewer):       200,
		"Bearer " + viewer:               200,
		"bearer " + viewer:               200,
		basicAuth("admin", adminToken):   200,
		"Digest username=\"grafana\", x": 401,
	} {
		a := w.send(http.MethodGet, lokiPath+"/labels", "", "Authorization", authorization)
		if a.StatusCode != want {
			t.Errorf("%q: %d %s, want %d", authorization, a.StatusCode, a.body, want)
		}
		if challenges := a.Header.Values("WWW-Authenticate"); want == 401 && !slices.Equal(challenges, []string{`Bearer realm="logbridge"`, `Basic realm="logbridge"`}) {
			t.Errorf("challenges %q", challenges)
		}
		if want != 200 && (!strings.Contains(a.body, `"status":"error"`) || !strings.Contains(a.body, `"message":"`)) {
			t.Errorf("%q: %s", authorization, a.body)
		}
	}
	if a := w.send(http.MethodGet, lokiPath+"/nothing", ""); a.StatusCode != 401 {
		t.Errorf("an unknown path without a token: %d", a.StatusCode)
	}
	if a := w.loki("/nothing", nil); a.StatusCode != 404 || !strings.Contains(a.body, `"message":"there is no such call"`) {
		t.Errorf("an unknown path: %d %s", a.StatusCode, a.body)
	}
}

func TestExploreShowsLogsNewestFirstWithTheirHistogram(t *testing.T) {
	w := start(t)
	w.storeLines("first", "second error=5", "third")
	const device = `{product="ABCDE12345", device="dev_01"}`

	var plain explored
	w.lokiOK(&plain, "/query_range", during(device+" |= ``", "limit", "2", "direction", "backward", "step", "15000ms"))
	if plain.Data.ResultType != "streams" || len(plain.Data.Result) != 2 {
		t.Fatalf("answer %+v", plain)
	}
	wantStream(t, plain.Data.Result[0].Stream, "detected_level=info device=dev_01 level=info product=ABCDE12345 service_name=ABCDE12345 source=mqtt tag=main.c time_quality=device")
	if got := fmt.Sprint(plain.Data.Result[0].Values, plain.Data.Result[1].Values); got != fmt.Sprintf("[[%d third]] [[%d second error=5]]", lokiEpoch.Add(2*time.Second).UnixNano(), lokiEpoch.Add(time.Second).UnixNano()) {
		t.Errorf("values %s", got)
	}

	var kept explored
	w.lokiOK(&kept, "/query_range", during(device+" | logfmt | error > 1", "direction", "forward"), "X-Loki-Response-Encoding-Flags", "categorize-labels")
	if len(kept.Data.Result) != 1 || fmt.Sprint(kept.Data.EncodingFlags) != "[categorize-labels]" {
		t.Fatalf("answer %+v", kept)
	}
	wantStream(t, kept.Data.Result[0].Stream, "detected_level=warn device=dev_01 level=warn product=ABCDE12345 service_name=ABCDE12345 source=mqtt")
	value := kept.Data.Result[0].Values[0]
	of := value[2].(map[string]any)
	if metadata, parsed := of["structuredMetadata"].(map[string]any), of["parsed"].(map[string]any); metadata["tag"] != "main.c" || metadata["time_quality"] != "device" ||
		metadata["seq"] != w.records(logbridge.Query{Contains: "second", Product: device01.Product})[0].Position.String() || fmt.Sprint(parsed) != "map[error:5]" {
		t.Errorf("categories %v", of)
	}

	for _, by := range []string{"level, detected_level", "level"} {
		var m metricAnswer
		w.lokiOK(&m, "/query_range", during("sum by ("+by+") (count_over_time("+device+" |= `` | drop __error__ [10s]))", "step", "10000ms"))
		if m.Data.ResultType != "matrix" || len(m.Data.Result) != 3 || m.Data.Result[0].Metric["level"] != "error" || m.Data.Result[0].Values[0][1] != "1" {
			t.Errorf("histogram by %s: %+v", by, m)
		}
	}
}

func wantStream(t *testing.T, stream map[string]string, want string) {
	t.Helper()
	var got []string
	for name, value := range stream {
		got = append(got, name+"="+value)
	}
	slices.Sort(got)
	if strings.Join(got, " ") != want {
		t.Errorf("stream %v, want %s", got, want)
	}
}

func TestFormsAreReadAsQueriesAre(t *testing.T) {
	w := start(t)
	w.storeLines("one")
	for path, params := range map[string]url.Values{
		"/query_range": during(`{device="dev_01"}`), "/series": during("", "match[]", `{device="dev_01"}`), "/labels": during(""), "/label/device/values": during(""),
		"/query": {"query": {"vector(1)"}}, "/index/stats": during(`{device="dev_01"}`), "/index/volume": during(`{device="dev_01"}`), "/index/volume_range": during(`{device="dev_01"}`),
		"/detected_labels": during(""), "/detected_fields": during(`{device="dev_01"}`), "/detected_field/tag/values": during(`{device="dev_01"}`), "/format_query": during(`{device="dev_01"}`),
	} {
		params.Set("unheard_of", "1")
		posted := w.send(http.MethodPost, lokiPath+path, params.Encode(), "Authorization", "Bearer "+adminToken, "Content-Type", "application/x-www-form-urlencoded")
		if got := w.loki(path, params); got.StatusCode != 200 || posted.StatusCode != 200 || path != "/query" && got.body != posted.body {
			t.Errorf("%s: %d %s, as a form %d %s", path, got.StatusCode, got.body, posted.StatusCode, posted.body)
		}
	}
	huge := w.send(http.MethodPost, lokiPath+"/query", "query="+strings.Repeat("x", maxLokiForm), "Authorization", "Bearer "+adminToken, "Content-Type", "application/x-www-form-urlencoded")
	if huge.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of more than 256 KiB: %d", huge.StatusCode)
	}
}

func TestLogsDrilldownFindsItsWay(t *testing.T) {
	w := start(t)
	w.storeLines("code=1 ok=true", "code=22 ok=false", "no fields here")

	// The landing page.
	var volumes metricAnswer
	w.lokiOK(&volumes, "/index/volume", during("{service_name=~`.+`}", "targetLabels", "service_name", "aggregateBy", "series", "limit", "5000"))
	if fmt.Sprint(volumes.Data.ResultType, len(volumes.Data.Result), volumes.Data.Result[0].Metric) != "vector2 map[service_name:ABCDE12345]" {
		t.Errorf("volumes %+v", volumes)
	}
	for _, v := range volumes.Data.Result {
		// Three lines each; their mean length is that of both together.
		if bytes, err := strconv.Atoi(v.Value[1].(string)); err != nil || bytes < 3*14 || bytes > 3*60 {
			t.Errorf("volume %v", v)
		}
	}
	w.lokiOK(&volumes, "/index/volume_range", during("{service_name=~`.+`}", "targetLabels", "service_name", "step", "60s"))
	if volumes.Data.ResultType != "matrix" || len(volumes.Data.Result) != 2 || len(volumes.Data.Result[0].Values) != 1 {
		t.Errorf("volumes by time %+v", volumes)
	}
	w.lokiOK(&volumes, "/index/volume", during(`{source="mqtt"}`, "aggregateBy", "labels"))
	if len(volumes.Data.Result) != 6 || volumes.Data.Result[0].Value[1] != volumes.Data.Result[5].Value[1] {
		t.Errorf("volumes by label %+v", volumes)
	}

	// The label list and the labels tab.
	var labels struct {
		DetectedLabels []detectedLabel `json:"detectedLabels"`
	}
	w.lokiOK(&labels, "/detected_labels", url.Values{"start": {lokiEpoch.Format(time.RFC3339)}, "end": {lokiEpoch.Add(time.Hour).Format(time.RFC3339Nano)}})
	if got := fmt.Sprint(labels.DetectedLabels); got != "[{detected_level 3} {device 1} {level 3} {logstore 1} {product 1} {project 1} {service_name 2} {source 2}]" {
		t.Errorf("detected labels %s", got)
	}
	w.lokiOK(&labels, "/detected_labels", during(`{service_name="mystore"} | detected_level="info"`))
	if got := fmt.Sprint(labels.DetectedLabels); !strings.Contains(got, "{logstore 1}") || strings.Contains(got, "device") {
		t.Errorf("detected labels of a service %s", got)
	}

	// The fields tab.
	type fields struct {
		Fields []struct {
			Label, Type string
			Cardinality int
			Parsers     []string
		}
		Limit int
	}
	for query, want := range map[string]string{
		`{service_name="ABCDE12345"}`: "[{code int 2 [logfmt]} {ok boolean 2 [logfmt]} {tag string 1 []} {time_quality string 1 []}]",
		`{service_name="mystore"} | json | logfmt | drop __error__, __error_details__`: "[{event string 3 [json]} {time_quality string 1 []} {took duration 3 [json]}]",
	} {
		var f fields
		a := w.lokiOK(&f, "/detected_fields", during(query, "line_limit", "1000", "limit", "1000"))
		if got := fmt.Sprint(f.Fields); got != want || f.Limit != 1000 {
			t.Errorf("fields of %s: %s, want %s", query, got, want)
		}
		if !strings.Contains(a.body, `"label":"time_quality","type":"string","cardinality":1,"parsers":null`) {
			t.Errorf("a field beside the line has parsers: %s", a.body)
		}
	}
	var values struct{ Values []string }
	w.lokiOK(&values, "/detected_field/code/values", during(`{service_name="ABCDE12345"}`))
	if fmt.Sprint(values.Values) != "[1 22]" {
		t.Errorf("values of code: %v", values)
	}
	var m metricAnswer
	w.lokiOK(&m, "/query_range", during("sum by (took) (count_over_time({service_name=`mystore`} | json | drop __error__, __error_details__ | took!=`` [1m]))", "step", "60s"))
	if len(m.Data.Result) != 3 {
		t.Errorf("a field's histogram: %+v", m)
	}

	var patterns struct {
		Status string
		Data   []any
	}
	if w.lokiOK(&patterns, "/patterns", during("{service_name=`mystore`}", "step", "10s")); patterns.Status != "success" || patterns.Data == nil {
		t.Errorf("patterns %+v", patterns)
	}
	var limits struct {
		Limits map[string]any `json:"limits"`
	}
	if w.lokiOK(&limits, "/drilldown-limits", nil); limits.Limits["volume_enabled"] != true {
		t.Errorf("limits %v", limits)
	}
}

// TestPushedLabelsSelect: a label that is none of ours finds what was pushed with it, and is there to choose from.
func TestPushedLabelsSelect(t *testing.T) {
	w := start(t)
	at := time.Now().Add(-time.Minute)
	if a := w.send("POST", "/loki/api/v1/push", lokiJSON(at, "a", "b"), "Authorization", "Bearer "+w.token(logbridge.RoleIngest), "Content-Type", "application/json"); a.StatusCode != 204 {
		t.Fatalf("push: %d %s", a.StatusCode, a.body)
	}
	w.store(record("cls/topic-1", "cls", 3, time.Minute, "", logbridge.Attr{Key: "app", Value: "web"})) // whose fields are no labels
	for query, want := range map[string]int{`{app="web"}`: 2, `{app=~"w.*"}`: 2, `{app="other"}`: 0, `{app!="web", source="loki"}`: 0, `{app="web", level="error"}`: 0} {
		var x explored
		w.lokiOK(&x, "/query_range", url.Values{"query": {query}})
		lines := 0
		for _, stream := range x.Data.Result {
			lines += len(stream.Values)
		}
		if lines != want {
			t.Errorf("%s: %d lines, want %d", query, lines, want)
		}
	}
	var values struct{ Data []string }
	if w.lokiOK(&values, "/label/app/values", url.Values{}); fmt.Sprint(values.Data) != "[web]" {
		t.Errorf("values of app: %v", values.Data)
	}
}

func TestLabelsAreThoseOfTheTimeRange(t *testing.T) {
	w := start(t)
	w.storeLines("one", "two")
	var names struct {
		Status string
		Data   []string
	}
	for path, want := range map[string]string{
		"/labels":                    "[detected_level device level logstore product project service_name source]",
		"/label":                     "[detected_level device level logstore product project service_name source]",
		"/label/device/values":       "[dev_01]",
		"/label/level/values":        "[error info warn]",
		"/label/source/values":       "[mqtt sls]",
		"/label/service_name/values": "[ABCDE12345 mystore]",
		"/label/nothing/values":      "[]",
		"/label/topic/values":        "[]",
	} {
		names.Data = nil
		if w.lokiOK(&names, path, during("")); fmt.Sprint(names.Data) != want || names.Data == nil || names.Status != "success" {
			t.Errorf("%s: %+v, want %s", path, names, want)
		}
		names.Data = nil
		if w.lokiOK(&names, path, url.Values{}); len(names.Data) != 0 {
			t.Errorf("%s within the last hour: %v", path, names.Data)
		}
	}
	if w.lokiOK(&names, "/label/level/values", during(`{device="dev_01"}`)); fmt.Sprint(names.Data) != "[error warn]" {
		t.Errorf("levels of the device: %v", names.Data)
	}
	var sets struct{ Data []map[string]string }
	w.lokiOK(&sets, "/series", during("", "match[]", `{device="dev_01", level="warn"}`))
	if len(sets.Data) != 1 || fmt.Sprint(sets.Data[0]) != "map[detected_level:warn device:dev_01 level:warn product:ABCDE12345 service_name:ABCDE12345 source:mqtt]" {
		t.Errorf("series %v", sets.Data)
	}
	if w.lokiOK(&sets, "/series", url.Values{"match": {`{level="warn"}`, `{source="sls"}`}, "start": {nanos(lokiEpoch)}, "end": {nanos(lokiEpoch.Add(time.Hour))}}); len(sets.Data) != 2 {
		t.Errorf("series of two selectors: %v", sets.Data)
	}
	var stats map[string]int
	w.lokiOK(&stats, "/index/stats", during(`{device="dev_01"}`))
	if fmt.Sprint(stats) != "map[bytes:6 chunks:1 entries:2 streams:1]" {
		t.Errorf("stats %v", stats)
	}
	if a := w.loki("/format_query", url.Values{"query": {"{ a =\"b\"}|=`x`"}}); !strings.Contains(a.body, `{a=\"b\"} |= `) {
		t.Errorf("format_query: %s", a.body)
	}
}

// refusing is a log whose queries fail.
type refusing struct {
	Log
	err error
}

func (l refusing) Query(context.Context, logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) { yield(logbridge.Record{}, l.err) }
}

func (l refusing) Count(context.Context, logbridge.Query, logbridge.CountBy) ([]logbridge.Count, error) {
	return nil, l.err
}

func TestLokiErrorsAreOneSentence(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		path   string
		params url.Values
		says   string
	}{
		{"/query_range", during(""), ""},
		{"/query_range", during(`{`), ""},
		{"/query_range", during(`{device="x"} | unpack`), ""},
		{"/query_range", during(`{device="x"}`, "limit", "50001"), "max entries limit per query exceeded, limit > max_entries_limit_per_query (50001 > 50000)"},
		{"/query_range", during(`{device="x"}`, "limit", "0"), ""},
		{"/query_range", during(`{device="x"}`, "direction", "sideways"), ""},
		{"/query_range", during(`{device="x"}`, "end", "yesterday"), ""},
		{"/query_range", during(`{device="x"}`, "end", nanos(lokiEpoch.Add(-time.Hour))), "the end is before the start"},
		{"/query_range", during(`count_over_time({device="x"}[1s])`, "step", "100ms"), "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter"},
		{"/query_range", during(`count_over_time({device="x"}[1s])`, "step", "0"), ""},
		{"/query", url.Values{"query": {`{device="x"}`}}, "log queries are not supported as an instant query type, please change your query to a range query type"},
		{"/labels", during(`{device=`), ""},
		{"/index/volume", during(`{device="x"}`, "aggregateBy", "colour"), "invalid aggregation option: aggregateBy is series or labels"},
		{"/detected_fields", during(`{device="x"}`, "line_limit", "none"), `parameter line_limit: "none" is not a positive number`},
		{"/detected_fields", during(`vector(1)`), "fields are those of lines: the query must be a log query"},
		{"/format_query", during(`{`), ""},
	} {
		a := w.loki(c.path, c.params)
		var e struct{ Status, ErrorType, Error, Message string }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.StatusCode != 400 || e.Status != "error" || e.ErrorType != "bad_data" || e.Message == "" || e.Error != e.Message || c.says != "" && e.Message != c.says ||
			strings.Contains(e.Message, "\n") || strings.HasPrefix(e.Message, "invalid:") {
			t.Errorf("%s %v: %d %s", c.path, c.params, a.StatusCode, a.body)
		}
	}
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{fmt.Errorf("%w: the query has read more than 5 bytes; narrow it", logbridge.ErrTooLarge), 422, "the query has read more than 5 bytes; narrow it"},
		{fmt.Errorf("%w: too many queries", logbridge.ErrUnavailable), 503, "too many queries"},
		{io.ErrUnexpectedEOF, 500, "the server's log says more"},
		{context.DeadlineExceeded, 422, "the query has taken longer than 2m0s"},
	} {
		w := start(t, func(_ *Config, d *Deps) { d.Log = refusing{d.Log, c.err} })
		for path, query := range map[string]string{"/query_range": `{device="x"}`, "/labels": "", "/series": "", "/index/stats": "", "/index/volume": "", "/detected_labels": "", "/detected_fields": `{device="x"}`, "/query": `count_over_time({device="x"}[1m])`} {
			if a := w.loki(path, during(query)); a.StatusCode != c.status || !strings.Contains(a.body, c.says) {
				t.Errorf("%s with %v: %d %s", path, c.err, a.StatusCode, a.body)
			}
		}
	}
}

func TestAnswersAreCompressedForThoseWhoAsk(t *testing.T) {
	w := start(t)
	w.storeLines(slices.Repeat([]string{"a line that is like many others"}, 100)...)
	for _, path := range []string{lokiPath + "/query_range?" + during(`{device="dev_01"}`).Encode(), apiPath + "/logs?since=2026-01-01T00:00:00Z&product=ABCDE12345"} {
		a := w.send(http.MethodGet, path, "", "Authorization", "Bearer "+adminToken, "Accept-Encoding", "gzip")
		r, err := gzip.NewReader(strings.NewReader(a.body))
		if err != nil || a.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v, %v", path, err, a.Header)
		}
		plain, err := io.ReadAll(r)
		if n := strings.Count(string(plain), "like many others"); err != nil || n != 100 {
			t.Errorf("%s: %d lines, %v", path, n, err)
		}
		if a := w.send(http.MethodGet, path, "", "Authorization", "Bearer "+adminToken, "Accept-Encoding", "identity"); a.Header.Get("Content-Encoding") != "" || a.body != string(plain) {
			t.Errorf("%s is compressed for who did not ask, or says something else", path)
		}
	}
}
