package httpapi

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// TestWhatTheLogIsAskedFor says of each query what is decided by the log, and whether anything is left to look at.
func TestWhatTheLogIsAskedFor(t *testing.T) {
	for query, want := range map[string]string{
		`{product="P", device="d"}`:                                     `P/d exact`,
		`{product="P", device="d*"}`:                                    `P/ streams exact`,
		`{product="P", product!="Q"}`:                                   `P/ streams exact`,
		`{product="P", product="Q"}`:                                    `P/ streams exact`,
		`{project="p", logstore="l"}`:                                   `p:l exact`,
		`{topic="t"} | drop __error__`:                                  `topic t exact`,
		`{service_name=~".+"}`:                                          `streams exact`,
		`{job="x"}`:                                                     `sources 115 job=x exact`,
		`{job="x", source="loki"} |= "y"`:                               `sources 32 has "y" job=x exact`,
		`{job="x", source="sls"}`:                                       `none job=x exact`,
		`{job=~"x|y", device="d"}`:                                      `/d`,
		`{job!="x", device="d"} | logfmt`:                               `/d errors`,
		`{host_name="x"}`:                                               ``,
		`{seq="1.0"}`:                                                   ``,
		`{level=~"warn|error", source="mqtt"}`:                          `levels 6 sources 1 exact`,
		`{level="error", detected_level="warn"}`:                        `none exact`,
		`{source="x"}`:                                                  `none exact`,
		`{level!="off", source=~".+"}`:                                  `exact`,
		`{device="d"} |= "a: b"`:                                        `/d has "a: b" exact`,
		`{source="mqtt"} |= "a: b" | drop __error__`:                    `sources 1 has "a: b" exact`,
		`{source="otlp"} |= "timeout" |= ""`:                            `sources 16 has "timeout" exact`,
		`{source="otlp"} |= "a: bcd"`:                                   `sources 16 has " bcd"`,
		`{source="otlp"} |= "\"{}\""`:                                   `sources 16`,
		`{device="d"} |= "one" |= "three"`:                              `/d has "three"`,
		`{device="d"} |= "one" or "two"`:                                `/d`,
		`{device="d"} != "one"`:                                         `/d`,
		`{device="d"} |~ "one"`:                                         `/d`,
		`{device="d"} | logfmt`:                                         `/d exact errors`,
		`{device="d"} | logfmt | drop __error__`:                        `/d exact`,
		`{device="d"} | json | logfmt | drop __error_details__`:         `/d exact errors`,
		`{logstore="l"} | json`:                                         `:l exact`,
		`{logstore="l"} | json a="b"`:                                   `:l exact errors`,
		`{logstore="l"} |= "x" | json | level="error" | drop __error__`: `:l levels 2 has "x" exact`,
		`{logstore="l"} | json | device="phone"`:                        `:l`,
		`{device="d"} | json | device="e" | drop __error__`:             `/d streams exact`,
		`{source=~".+"} | json | device="e"`:                            `errors`,
		`{source=~".+"} | device="e"`:                                   `/e exact`,
		`{source=~".+"} | detected_level=~"warn|info"`:                  `levels 12 exact`,
		`{source=~".+"} | level="warn" or level="info"`:                 ``,
		`{source=~".+"} | drop level | level="warn"`:                    ``,
		`{source=~".+"} | label_format level=source | level="warn"`:     ``,
		`{logstore="l"} | json | status >= 500`:                         `:l`,
		`{logstore="l"} | json | __error__=""`:                          `:l`,
	} {
		expr, err := loki.Parse(query)
		check(t, err)
		if got := saysOf(selectLogs(expr.(*loki.LogExpr))); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// saysOf is a selection as text.
func saysOf(s *selection) (text string) {
	q := &s.query
	for _, part := range []struct {
		is   bool
		text string
	}{
		{s.none, "none"}, {q.Product+q.Device != "", q.Product + "/" + q.Device}, {q.Project+q.Logstore != "", q.Project + ":" + q.Logstore},
		{q.Topic != "", "topic " + q.Topic}, {q.Streams != nil, "streams"}, {!s.none && q.Levels != 0, fmt.Sprint("levels ", q.Levels)},
		{!s.none && q.Sources != 0, fmt.Sprint("sources ", q.Sources)}, {q.Contains != "", fmt.Sprintf("has %q", q.Contains)}, {s.exact, "exact"}, {s.errors, "errors"},
	} {
		if part.text == "exact" {
			for _, f := range q.Fields {
				text = strings.TrimSpace(text + " " + f.Key + "=" + f.Value)
			}
		}
		if part.is {
			if text != "" {
				text += " "
			}
			text += part.text
		}
	}
	return text
}

// countsOnly is a log that nothing may be read from.
type countsOnly struct{ Log }

func (countsOnly) Query(context.Context, logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) { yield(logbridge.Record{}, logbridge.ErrForbidden) }
}

// TestWhatCanBeCountedIsNotRead asks what dashboards ask of much data.
func TestWhatCanBeCountedIsNotRead(t *testing.T) {
	w := start(t, func(_ *Config, d *Deps) { d.Log = countsOnly{d.Log} })
	w.storeLines("a=1", "b=2", "c=3")
	for query, series := range map[string]int{
		"sum by (level, detected_level) (count_over_time({service_name=~`.+`} |= `` | drop __error__ [10s]))":                                          3,
		"sum by (detected_level) (count_over_time({service_name=`mystore`} | json | logfmt | drop __error__, __error_details__ | level=`info` [10s]))": 1,
		"count_over_time({device=\"dev_01\"} |= `=` [10s])":                                                                                            3,
		"rate({source=~`.+`}[7s])":                                                                2,
		"topk(1, sum by (device) (rate({product=`ABCDE12345`}[1m])))":                             1,
		"sum by (event) (count_over_time({logstore=`mystore`} | json [1m]))":                      3,
		"sum by (tag) (count_over_time({device=`dev_01`}[1m]))":                                   1,
		"sum by (service_name) (count_over_time({service_name=~`.+`}[1m]))":                       2,
		"sum without (level, detected_level, source) (count_over_time({product=~`.+`}[1m]))":      1,
		"sum(count_over_time({product=~`.+`}[1m])) / 60":                                          1,
		"sum by (event, level) (count_over_time({logstore=`mystore`} | json [1m]))":               3,
		"sum by (source, product, level) (count_over_time({device=`dev_01`} | level=`warn`[1m]))": 1,
	} {
		var m metricAnswer
		if w.lokiOK(&m, "/query_range", during(query, "step", "10s")); len(m.Data.Result) != series {
			t.Errorf("%s: %d series, want %d: %+v", query, len(m.Data.Result), series, m.Data.Result)
		}
	}
	for _, query := range []string{"bytes_over_time({device=`dev_01`}[1m])", "count_over_time({device=`dev_01`} |~ `=` [1m])", "sum by (took_x) (count_over_time({logstore=`mystore`} | json [1m]))"} {
		if a := w.loki("/query_range", during(query)); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s", query, a.StatusCode, a.body)
		}
	}
}
