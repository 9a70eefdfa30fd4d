package httpapi

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// lokiEpoch is when the records of these tests begin; they span an hour.
var lokiEpoch = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// randomRecords makes records of all kinds, some of them at the very borders of minutes.
func randomRecords(rng *rand.Rand, n int) []logbridge.Record {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	records := make([]logbridge.Record, n)
	for i := range records {
		at := lokiEpoch.Add(time.Duration(rng.Int64N(int64(time.Hour))))
		if rng.IntN(4) == 0 {
			at = at.Truncate(time.Minute)
		}
		r := logbridge.Record{
			Time: at, ObservedTime: at, Severity: logbridge.Level(1 + rng.IntN(4)), TimeQuality: logbridge.TimeQuality(rng.IntN(3)),
			Body: pick("connect timeout", "a: b {c}, \"d\"", "status=500 took=3ms", "ok "+strconv.Itoa(i), `{"k":"v1","n":7}`),
		}
		switch rng.IntN(6) {
		case 0, 1, 2:
			r.Source = logbridge.SourceMQTT
			if rng.IntN(3) == 0 {
				r.Source = logbridge.SourceReportLog
			}
			product := pick("ABCDE12345", "FGHIJ67890")
			r.Stream = logbridge.DeviceID{Product: product, Device: pick("dev_01", "dev_02", "other")}.Stream()
			if rng.IntN(2) == 0 {
				r.Attributes = []logbridge.Attr{{Key: "tag", Value: pick("main.c", "net.c")}, {Key: "not a name", Value: "x"}}
			}
		case 3:
			r.Source, r.Stream, r.Body = logbridge.SourceSLS, logbridge.SLSStream("myproj", pick("mystore", "closed")), ""
		case 4:
			r.Source, r.Stream, r.Body = logbridge.SourceCLS, logbridge.CLSStream("topic-1"), ""
		default:
			r.Source = logbridge.Source(pick("otlp", "loki", "audit"))
			r.Stream = logbridge.ServiceStream(pick("", "shop"), pick("checkout", "cart"))
			if r.Source == logbridge.SourceAudit {
				r.Stream = logbridge.AuditStream
			}
			r.Attributes = []logbridge.Attr{{Key: "topic", Value: "taken"}}
		}
		if r.Body == "" {
			r.Attributes = []logbridge.Attr{
				{Key: "k", Value: pick("v1", "v2", "timeout: \"x\"", "")}, {Key: "device", Value: pick("phone", "desk")},
				{Key: "a.b", Value: "1"}, {Key: "k", Value: "again"}, {Key: "level", Value: "info"}, {Key: "service_namespace", Value: pick("shop", "web")},
			}
		}
		records[i] = r
	}
	return records
}

// lokiWorld is a server with random records.
func lokiWorld(t *testing.T, n int) (*world, []logbridge.Record) {
	w := start(t)
	records := randomRecords(rand.New(rand.NewPCG(1, 2)), n)
	for part := range slices.Chunk(records, 500) {
		if _, err := w.sink.Append(t.Context(), logbridge.Batch{Records: part}); err != nil {
			t.Fatal(err)
		}
	}
	return w, w.records(logbridge.Query{Until: lokiEpoch.Add(2 * time.Hour)})
}

// loki asks as Grafana does, with the token as basic-auth password.
func (w *world) loki(path string, params url.Values, headers ...string) answered {
	w.t.Helper()
	return w.send(http.MethodGet, lokiPath+path+"?"+params.Encode(), "", append([]string{"Authorization", basicAuth("grafana", adminToken)}, headers...)...)
}

func basicAuth(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// metricAnswer is what query and query_range answer for a metric query.
type metricAnswer struct {
	Status string `json:"status"`
	Data   struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
			Value  [2]any            `json:"value"`
		} `json:"result"`
	} `json:"data"`
}

// byTime gives, for each series as text, its values by Unix time in milliseconds.
func (m *metricAnswer) byTime() map[string]map[int64]string {
	out := map[string]map[int64]string{}
	for _, s := range m.Data.Result {
		var labels []loki.Label
		for name, value := range s.Metric {
			labels = append(labels, loki.Label{Name: name, Value: value})
		}
		sortLabels(labels)
		values := map[int64]string{}
		if s.Values == nil {
			s.Values = [][2]any{s.Value}
		}
		for _, v := range s.Values {
			values[int64(v[0].(float64)*1000+0.5)] = v[1].(string)
		}
		out[fmt.Sprint(labels)] = values
	}
	return out
}

// modelCount is what a function over ranges must give, found by looking at every record for every point; false when a line cannot
// be read.
func modelCount(records []logbridge.Record, e *loki.RangeExpr, g grouping, points grid) (map[string]map[int64]string, bool) {
	sums := map[string]map[int64]float64{}
	pipeline := e.Log.Pipeline()
	for _, r := range records {
		from, to := points.start-int64(e.Offset+e.Range), points.at(points.n-1)-int64(e.Offset)
		if at := r.Time.UnixNano(); at <= from || at > to || !matchesAll(e.Log.Matchers, appendMetadata(lokiKindOf(&r).labels(), &r)) {
			continue
		}
		line, labels, keep := pipeline.Categorize(lokiLine(&r), lokiKindOf(&r).labels(), appendMetadata(nil, &r))
		if !keep {
			continue
		}
		if labelOf(labels.Parsed, "__error__") != "" {
			return nil, false
		}
		all := slices.Concat(labels.Stream, labels.Parsed)
		if !g.without {
			all = append(all, labels.Metadata...)
		}
		value := 1.0
		if e.Op == loki.BytesOverTime || e.Op == loki.BytesRate {
			value = float64(len(line))
		}
		key := fmt.Sprint(g.of(all))
		for i := range points.n {
			end := points.at(i) - int64(e.Offset)
			if at := r.Time.UnixNano(); at > end-int64(e.Range) && at <= end {
				if sums[key] == nil {
					sums[key] = map[int64]float64{}
				}
				sums[key][points.at(i)/1e6] += value
			}
		}
	}
	out := map[string]map[int64]string{}
	for key, values := range sums {
		out[key] = map[int64]string{}
		for at, sum := range values {
			if e.Op == loki.Rate || e.Op == loki.BytesRate {
				sum /= e.Range.Seconds()
			}
			out[key][at] = strconv.FormatFloat(sum, 'f', -1, 64)
		}
	}
	return out, true
}

func matchesAll(matchers []loki.Matcher, labels []loki.Label) bool {
	for _, m := range matchers {
		if !m.Match(labelOf(labels, m.Name)) {
			return false
		}
	}
	return true
}

// The parts that the queries of the model are made of.
var (
	modelSelectors = []string{
		`{service_name=~".+"}`, `{product="ABCDE12345"}`, `{product="ABCDE12345", device="dev_01"}`, `{device=~"dev_0[12]"}`, `{level="error"}`,
		`{level!="info", source="mqtt"}`, `{logstore="mystore"}`, `{source=~"sls|cls"}`, `{topic!=""}`, `{device="dev*"}`, `{detected_level=~"warn|error", level="warn"}`,
		`{service_namespace="", service_name=~".+"}`, `{service_name="checkout"}`, `{service_namespace="shop"}`, `{product="ABCDE12345", topic="topic-1"}`,
		`{level="error", detected_level="warn"}`, `{source="nothing"}`, `{project="myproj", source!="mqtt"}`, `{source=~"mqtt|reportlog"}`,
		`{tag="main.c"}`, `{tag="main.c", device!="dev_01"}`, `{tag=~"m.*"}`, `{level="error", tag!="main.c"}`, `{not_a_name="x"}`, `{k="v1"}`, `{topic_extracted="taken"}`,
	}
	modelStages = []string{
		"", "|= `timeout`", "|= `a: b`", "|= `\"k\":\"v1\"`", "|= `timeout` |= `connect`", "!= `timeout`", "|~ `time.*`", "|= ``", "| level=`warn`",
		"| json", "| json | drop __error__", "| json | drop __error__, __error_details__ | level=`error`", "| logfmt | drop __error__", "| json | logfmt | drop __error__, __error_details__",
		"|= `status` | logfmt | status >= 500", "| json | k=`v1`", "| json | drop __error__ | device=`phone`", "|= `ok` | drop __error__", "| tag=`main.c`", "|= `v1` | json", "|= `ok` |= `1`", "|= `\"k\":\"again`", "| json | drop __error__ | service_namespace=`shop`",
	}
	modelGroups = []string{
		"", "sum", "sum by (level, detected_level)", "sum by (level)", "sum by (source)", "sum by (product)", "sum by (device)", "sum by (service_name)", "sum by (service_name, level)",
		"sum by (k)", "sum by (tag)", "sum by (k, level)", "sum by (device, source, level)", "sum without (level, detected_level)", "sum by (topic)", "sum by (topic_extracted)", "sum by (a_b)",
		"sum by (nothing)", "sum by (project, k)", "sum by (time_quality)",
	}
)

// TestMetricQueriesAgreeWithAModel asks many queries, of which the log answers some by counting and others by reading.
func TestMetricQueriesAgreeWithAModel(t *testing.T) {
	w, records := lokiWorld(t, 500)
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	asked, failed, empty := 0, 0, 0
	ask := func(selector, stages, group, op, window, offset, step string) {
		inner := fmt.Sprintf("%s(%s %s [%s]%s)", op, selector, stages, window, offset)
		query := inner
		if group != "" {
			query = group + " (" + inner + ")"
		}
		expr, err := loki.Parse(inner)
		if err != nil {
			t.Fatalf("%s: %v", inner, err)
		}
		g := everyLabel
		if group != "" {
			outer, err := loki.Parse(query)
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			g = grouping{names: outer.(*loki.VectorExpr).By, without: outer.(*loki.VectorExpr).Without}
		}
		start, end := lokiEpoch.Add(10*time.Minute), lokiEpoch.Add(50*time.Minute)
		path, params := "/query_range", url.Values{"query": {query}, "start": {nanos(start)}, "end": {nanos(end)}, "step": {step}}
		if step == "" {
			path, params = "/query", url.Values{"query": {query}, "time": {nanos(end)}}
			start = end
		}
		var every time.Duration
		if step != "" {
			if every, err = loki.ParseDuration(step); err != nil {
				t.Fatal(err)
			}
		}
		points, err := gridOf(start, end, every)
		check(t, err)
		want, readable := modelCount(records, expr.(*loki.RangeExpr), g, points)
		a := w.loki(path, params)
		asked++
		if !readable {
			failed++
			if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "pipeline error") {
				t.Errorf("%s: %d %.200s, want a pipeline error", query, a.StatusCode, a.body)
			}
			return
		}
		var got metricAnswer
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %.300s", query, a.StatusCode, a.body)
			return
		}
		if len(want) == 0 {
			empty++
		}
		if g, w := fmt.Sprint(got.byTime()), fmt.Sprint(want); g != w {
			t.Errorf("%s step %s:\n got %.600s\nwant %.600s", query, step, g, w)
		}
	}
	for _, group := range modelGroups {
		for _, selector := range []string{modelSelectors[0], modelSelectors[1], `{logstore="mystore"}`} {
			ask(selector, "| json | drop __error__", group, "count_over_time", "5m", "", "1m")
			ask(selector, "", group, "count_over_time", "1m", "", "1m")
		}
	}
	for _, stages := range modelStages {
		ask(modelSelectors[0], stages, "sum by (level)", "count_over_time", "5m", "", "")
		ask(`{source=~"sls|cls"}`, stages, "sum by (device)", "rate", "5m", "", "1m")
	}
	for _, selector := range modelSelectors {
		ask(selector, "", "sum by (source)", "count_over_time", "1m", "", "1m")
	}
	for range 100 {
		ask(pick(modelSelectors), pick(modelStages), pick(modelGroups), pick([]string{"count_over_time", "rate", "bytes_over_time", "bytes_rate"}),
			pick([]string{"1m", "5m", "90s", "10s"}), pick([]string{"", "", " offset 5m", " offset -5m"}), pick([]string{"1m", "70s", "11s", "5001ms", "", ""}))
	}
	t.Logf("%d queries, %d failed as they must, %d empty", asked, failed, empty)
	if failed == 0 || asked-failed-empty < 100 {
		t.Error("the queries say too little")
	}
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
