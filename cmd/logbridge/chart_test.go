package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

const chart = "../../deployments/helm/logbridge/"

// renderChart does with the chart what helm would, as far as the chart asks for it: Go's templates with four functions.
func renderChart(t *testing.T, change func(values map[string]any)) (objects []map[string]any, err error) {
	t.Helper()
	var values map[string]any
	text, err := os.ReadFile(chart + "values.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	change(values)
	functions := template.FuncMap{
		"quote":  func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"toYaml": func(v any) (string, error) { b, err := yaml.Marshal(v); return string(b), err },
		"int":    func(v any) (n int, err error) { _, err = fmt.Sscan(fmt.Sprint(v), &n); return n, err },
		"fail":   func(why string) (string, error) { return "", errors.New(why) },
	}
	files, err := filepath.Glob(chart + "templates/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	for _, file := range files {
		parsed, err := template.New(filepath.Base(file)).Funcs(functions).Option("missingkey=error").ParseFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := parsed.Execute(&out, map[string]any{"Values": values, "Release": map[string]string{"Name": "logs"}}); err != nil {
			return nil, err
		}
		for documents := yaml.NewDecoder(&out); ; {
			var object map[string]any
			if err := documents.Decode(&object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// TestChart: what the chart gives a pod is what the program takes, alone and on a cluster. (helm itself has not seen it here.)
func TestChart(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"alone": func(map[string]any) {},
		"on a cluster": func(v map[string]any) {
			v["replicas"] = 3
			v["nats"] = map[string]any{"url": "nats://a:4222,nats://b:4222,nats://c:4222", "syncAlways": true, "replicas": 3, "user": "logbridge"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := renderChart(t, change)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, o := range objects {
				kinds = append(kinds, o["kind"].(string))
				switch o["kind"] {
				case "ConfigMap":
					file := writeFile(t, "c.yaml", o["data"].(map[string]any)["logbridge.yaml"].(string))
					t.Setenv("LOGBRIDGE_CONFIG", file)
				case "StatefulSet":
					setChartEnv(t, o)
				}
			}
			if want := []string{"ConfigMap", "Service", "Service", "Service", "StatefulSet"}; !slices.Equal(kinds, want) {
				t.Errorf("%v, want %v", kinds, want)
			}
			c, err := parseServe(t)
			if err != nil {
				t.Fatal(err)
			}
			if c.HTTP != "0.0.0.0:8080" || c.Data != "/var/lib/logbridge/data" || c.RetentionAge == 0 || (c.NATS != "") != (name != "alone") {
				t.Errorf("%+v", c)
			}
		})
	}
	for why, change := range map[string]func(map[string]any){
		"needs nats.url":      func(v map[string]any) { v["replicas"] = 2 },
		"say nats.syncAlways": func(v map[string]any) { v["nats"].(map[string]any)["url"] = "nats://a" },
	} {
		if _, err := renderChart(t, change); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
	}
}

// setChartEnv sets what the pod's environment is, with something for each secret.
func setChartEnv(t *testing.T, set map[string]any) {
	t.Helper()
	spec := set["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	for _, e := range spec["containers"].([]any)[0].(map[string]any)["env"].([]any) {
		variable := e.(map[string]any)
		value, given := variable["value"].(string)
		if !given {
			value = "a secret of the Secret"
		}
		if name := variable["name"].(string); strings.HasPrefix(name, "LOGBRIDGE_") {
			t.Setenv(name, strings.ReplaceAll(value, " ", "-"))
		}
	}
}
