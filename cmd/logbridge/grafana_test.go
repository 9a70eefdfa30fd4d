package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/logbridge/logbridge"
)

// grafanaFolder is what the compose file gives to Grafana.
const grafanaFolder = "../../deployments/grafana/"

// dataSources is a provisioning file of Grafana.
type dataSources struct {
	APIVersion  int `yaml:"apiVersion"`
	DataSources []struct {
		Name, UID, Type, Access, URL string
		IsDefault                    bool              `yaml:"isDefault"`
		Editable                     bool              `yaml:"editable"`
		BasicAuth                    bool              `yaml:"basicAuth"`
		BasicAuthUser                string            `yaml:"basicAuthUser"`
		SecureJSONData               map[string]string `yaml:"secureJsonData"`
		JSONData                     map[string]any    `yaml:"jsonData"`
	} `yaml:"datasources"`
}

// dashboard is what a test needs of Grafana's.
type dashboard struct {
	UID           string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type, AllValue string
			IncludeAll           bool
			DataSource           dashboardSource
			Query                json.RawMessage
		}
	}
	Panels []struct {
		Title, Type string
		DataSource  dashboardSource
		Targets     []struct {
			Expr, QueryType, LegendFormat string
			DataSource                    dashboardSource
		}
	}
}

type dashboardSource struct{ Type, UID string }

// grafana asks a server as Grafana's data source does.
type grafana struct {
	t          *testing.T
	url        string
	user, pass string
	now        time.Time
}

func loadGrafana(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(grafanaFolder + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGrafanaDashboard asks every query of the dashboard, in the way of the provisioned data source, and wants data for each.
func TestGrafanaDashboard(t *testing.T) {
	s := newPlace(t, e2eConfig).start(anyone, anyone)
	logSomething(t, s)
	g := &grafana{t: t, now: time.Now()}
	source := g.connect(s)
	var board dashboard
	if err := json.Unmarshal([]byte(loadGrafana(t, "dashboards/logbridge.json")), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID != "logbridge" || board.SchemaVersion < 36 || len(board.Panels) != 5 {
		t.Errorf("dashboard %q of schema %d with %d panels", board.UID, board.SchemaVersion, len(board.Panels))
	}
	for _, chosen := range []map[string]string{
		{"product": ".*", "device": ".*", "search": ""},
		{"product": "(ABCDE12345)", "device": "(dev_01|dev_02)", "search": ""},
	} {
		for _, v := range board.Templating.List {
			if v.Type != "query" {
				continue
			}
			if v.DataSource != source || !v.IncludeAll || v.AllValue != ".*" {
				t.Errorf("variable %s: %+v", v.Name, v)
			}
			want := map[string][]string{"product": {"ABCDE12345"}, "device": {"dev_01", "dev_02"}}[v.Name]
			if got := g.variable(v.Query, chosen); !slices.Equal(got, want) {
				t.Errorf("variable %s has %q, want %q", v.Name, got, want)
			}
		}
		want := map[string][]string{
			"Lines by level":         {"error", "info"},
			"Errors by product":      {"ABCDE12345"},
			"Devices that log most":  {"dev_01", "dev_02"},
			"Web events by logstore": {"mystore"},
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				if p.DataSource != source || target.DataSource != source {
					t.Errorf("panel %s asks %+v and %+v", p.Title, p.DataSource, target.DataSource)
				}
				got := g.panel(target.Expr, target.QueryType, target.LegendFormat, chosen)
				if p.Type == "logs" {
					if len(got) == 0 {
						t.Errorf("panel %s with %v shows nothing", p.Title, chosen)
					}
				} else if !slices.Equal(got, want[p.Title]) {
					t.Errorf("panel %s with %v shows %q, want %q", p.Title, chosen, got, want[p.Title])
				}
			}
		}
	}
}

// logSomething stores lines of two devices and web events.
func logSomething(t *testing.T, s *process) {
	t.Helper()
	client := &http.Client{Timeout: patience}
	now := time.Now().UTC().Format(time.DateTime)
	for _, name := range []string{"dev_01", "dev_02"} {
		up, err := newUpload(device(name), "1", "ERR|"+now+"|main.c|broken", "INF|"+now+"|main.c|fine")
		if err == nil {
			err = up.send(client, s.url())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := track(client, s.url(), "cart"); err != nil {
		t.Fatal(err)
	}
}

// connect reads the provisioned data source, with a viewer's token for its variables, as what the dashboard names.
func (g *grafana) connect(s *process) dashboardSource {
	g.t.Helper()
	var made struct{ Token string }
	body := map[string]string{"name": "grafana", "role": string(logbridge.RoleViewer)}
	if err := s.operator().call(g.t.Context(), http.MethodPost, "/tokens", body, &made); err != nil {
		g.t.Fatal(err)
	}
	text := strings.NewReplacer("$LOGBRIDGE_URL", s.url(), "$LOGBRIDGE_VIEWER_TOKEN", made.Token).Replace(loadGrafana(g.t, "provisioning/datasources/logbridge.yaml"))
	var file dataSources
	if err := yaml.UnmarshalWithOptions([]byte(text), &file, yaml.Strict()); err != nil {
		g.t.Fatal(err)
	}
	if file.APIVersion != 1 || len(file.DataSources) != 1 || !file.DataSources[0].BasicAuth || file.DataSources[0].Access != "proxy" {
		g.t.Fatalf("data sources %+v", file)
	}
	d := file.DataSources[0]
	g.url, g.user, g.pass = d.URL, d.BasicAuthUser, d.SecureJSONData["basicAuthPassword"]
	// "Save & test" is this query (query-and-export.md 1).
	var health struct {
		Result []struct{ Value [2]any }
	}
	g.ask("query", url.Values{"query": {"vector(1)+vector(1)"}, "time": {fmt.Sprint(g.now.UnixNano())}}, &health)
	if len(health.Result) != 1 || health.Result[0].Value[1] != "2" {
		g.t.Errorf("health check: %+v", health)
	}
	return dashboardSource{d.Type, d.UID}
}

// ask calls the Loki API and decodes the data of its answer.
func (g *grafana) ask(call string, query url.Values, data any) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.url+"/loki/api/v1/"+call+"?"+query.Encode(), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.SetBasicAuth(g.user, g.pass)
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	answer := struct{ Data any }{data}
	if err == nil && res.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		g.t.Fatalf("%s of %v: status %d, %v: %s", call, query, res.StatusCode, err, text)
	}
}

// fill replaces variables, those of the dashboard and Grafana's own.
func fill(text string, chosen map[string]string) string {
	text = strings.NewReplacer("$__auto", "10s", "$__interval", "10s", "$__range", "3600s").Replace(text)
	for name, value := range chosen {
		text = strings.ReplaceAll(text, "$"+name, value)
	}
	return text
}

// times are the parameters of the dashboard's time range.
func (g *grafana) times(query url.Values) url.Values {
	query.Set("start", fmt.Sprint(g.now.Add(-time.Hour).UnixNano()))
	query.Set("end", fmt.Sprint(g.now.Add(time.Minute).UnixNano()))
	return query
}

// variable gives the values of a query variable: type 1 is the values of a label, of all streams or of those of a selector.
func (g *grafana) variable(query json.RawMessage, chosen map[string]string) (values []string) {
	g.t.Helper()
	var v struct {
		Type          int
		Label, Stream string
	}
	if err := json.Unmarshal(query, &v); err != nil || v.Type != 1 {
		g.t.Fatalf("variable query %s: %v", query, err)
	}
	q := g.times(url.Values{})
	if v.Stream != "" {
		q.Set("query", fill(v.Stream, chosen))
	}
	g.ask("label/"+v.Label+"/values", q, &values)
	return values
}

// panel gives what the legend names, in order, of a metric query that has data; and the lines of a log query.
func (g *grafana) panel(expr, kind, legend string, chosen map[string]string) []string {
	g.t.Helper()
	q := url.Values{"query": {fill(expr, chosen)}}
	if kind == "instant" {
		q.Set("time", fmt.Sprint(g.now.Add(time.Minute).UnixNano()))
		kind = "query"
	} else {
		q = g.times(q)
		q.Set("step", "10s")
		kind = "query_range"
	}
	var data struct {
		Result []struct {
			Metric, Stream map[string]string
			Value          []any
			Values         [][]any
		}
	}
	g.ask(kind, q, &data)
	names := map[string]bool{}
	for _, r := range data.Result {
		name := strings.Trim(legend, "{}")
		switch {
		case len(r.Stream) > 0 && len(r.Values) > 0:
			names[fmt.Sprint(r.Values[0][1])] = true
		case len(r.Values) > 0 || len(r.Value) == 2:
			names[r.Metric[name]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// TestComposeGivesGrafanaItsFiles: the folders that the compose file mounts are those that the test above read.
func TestComposeGivesGrafanaItsFiles(t *testing.T) {
	text, err := os.ReadFile("../../deployments/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	g := compose.Services["grafana"]
	for _, want := range []string{"./grafana/provisioning:/etc/grafana/provisioning:ro", "./grafana/dashboards:/etc/grafana/dashboards:ro"} {
		if !slices.Contains(g.Volumes, want) {
			t.Errorf("volumes %q, want %s", g.Volumes, want)
		}
	}
	if _, ok := g.Environment["LOGBRIDGE_VIEWER_TOKEN"]; !ok || g.Environment["LOGBRIDGE_URL"] != "http://logbridge:8080" {
		t.Errorf("environment %v", g.Environment)
	}
	if provider := loadGrafana(t, "provisioning/dashboards/logbridge.yaml"); !strings.Contains(provider, "path: /etc/grafana/dashboards\n") {
		t.Errorf("provider %s", provider)
	}
}
