package httpapi

import (
	"context"
	"encoding/json"
	"runtime"

	"github.com/logbridge/logbridge/wire/loki"
)

// What Grafana asks beside logs and counts: who is there, and for things that are not here, which an honest empty answer
// keeps it from asking for again and again.

// lokiVersion is the version of Loki whose API this is. Grafana switches features on by it.
const lokiVersion = "3.7.8"

func (s *Server) lokiBuildInfo(context.Context, *lokiRequest) ([]byte, error) {
	return json.Marshal(map[string]string{
		"version": lokiVersion, "revision": s.cfg.Version, "branch": "logbridge", "buildUser": "", "buildDate": "", "goVersion": runtime.Version(),
	})
}

// lokiFormat gives a query in its canonical form.
func lokiFormat(_ context.Context, r *lokiRequest) ([]byte, error) {
	expr, err := loki.Parse(r.params.Query)
	if err != nil {
		return nil, err
	}
	return lokiData(expr.String())
}

// lokiPatterns: patterns of lines are not looked for.
func lokiPatterns(context.Context, *lokiRequest) ([]byte, error) { return lokiData([]struct{}{}) }

// lokiRules: there are no rules.
func lokiRules(context.Context, *lokiRequest) ([]byte, error) {
	return lokiData(map[string][]struct{}{"groups": {}})
}

// lokiLimits tells Logs Drilldown what it may ask for, and that there are no patterns to show.
func lokiLimits(context.Context, *lokiRequest) ([]byte, error) {
	return json.Marshal(map[string]any{
		"limits": map[string]any{
			"discover_log_levels":         true,
			"discover_service_name":       []string{labelService},
			"log_level_fields":            []string{labelLevel},
			"max_entries_limit_per_query": maxLines,
			"max_line_size_truncate":      false,
			"max_query_series":            maxSeries,
			"volume_enabled":              true,
			"volume_max_series":           maxSeries,
		},
		"pattern_ingester_enabled": false,
		"version":                  lokiVersion,
	})
}
