package logbridge

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module  = "github.com/logbridge/logbridge"
	program = "cmd/logbridge"
)

// mayImport is the whole import table: which of our own folders a folder may import. No other arrow exists.
// cmd/logbridge may import everything; nothing but tests may import wire/recorded and natsd/natstest.
var mayImport = map[string][]string{
	".":               nil,
	"natsd":           {"."},
	"natsd/natstest":  nil,
	"sink":            {".", "natsd"},
	"registry":        {".", "natsd"},
	"levels":          {".", "natsd"},
	"quota":           {"."},
	"attempts":        {"."},
	"refusals":        {"."},
	"broker":          {".", "wire/"},
	"bridge":          {".", "wire/"},
	"httpapi":         {".", "wire/"},
	"httpapi/console": nil,
	"devicesim":       {".", "wire/"},
	"wire/loose":      {"."},
	"wire/recorded":   nil,
	"wire/tencent":    {".", "wire/loose"},
	"wire/sls":        {".", "wire/loose"},
	"wire/cls":        {".", "wire/loose"},
	"wire/loki":       {".", "wire/loose"},
	"wire/otlp":       {".", "wire/loose"},
}

// onlyIn says which folders may import a library that the rest must not know of.
var onlyIn = map[string][]string{
	"github.com/mochi-mqtt/":         {"broker"},
	"github.com/eclipse/paho":        {"bridge", "devicesim"},
	"github.com/labstack/echo":       {"httpapi"},
	"github.com/nats-io/":            {"natsd", "natsd/natstest", "sink", "registry", "levels"},
	"github.com/parquet-go/":         {"sink"},
	"github.com/coder/websocket":     {"httpapi"},
	"github.com/danielgtaylor/huma/": {"httpapi"},
}

// testsOnly are folders that no program carries: recordings, and servers for tests.
var testsOnly = []string{module + "/wire/recorded", module + "/natsd/natstest"}

func TestImportTable(t *testing.T) {
	missing := maps.Clone(mayImport)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && file != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		folder := filepath.ToSlash(filepath.Dir(file))
		own, known := mayImport[folder]
		delete(missing, folder)
		if !known && folder != program {
			t.Errorf("%s: folder %s is not in the import table", file, folder)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if complaint := checkImport(folder, name, own); complaint != "" && (folder != program || slices.Contains(testsOnly, name)) {
				t.Errorf("%s: imports %s: %s", file, name, complaint)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range missing {
		t.Errorf("the import table names %s, which is not there", folder)
	}
}

func checkImport(folder, name string, own []string) string {
	if slices.Contains(testsOnly, name) {
		return "only tests may"
	}
	if name == module || strings.HasPrefix(name, module+"/") {
		to := path.Clean("./" + strings.TrimPrefix(strings.TrimPrefix(name, module), "/"))
		for _, ok := range own {
			if ok == to || strings.HasSuffix(ok, "/") && strings.HasPrefix(to, ok) {
				return ""
			}
		}
		return folder + " may not import it"
	}
	if folder == "." && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") {
		return "the root uses the standard library only"
	}
	for library, folders := range onlyIn {
		if strings.HasPrefix(name, library) && !slices.Contains(folders, folder) {
			return "only " + strings.Join(folders, ", ") + " may"
		}
	}
	return ""
}
