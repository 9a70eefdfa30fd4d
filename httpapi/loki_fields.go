package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// The bounds of looking for fields.
const (
	// defaultFields and maxFieldNames are how many fields, or values of one, are given.
	defaultFields, maxFieldNames = 1000, 5000
	// defaultFieldLines and maxFieldLines are how many of the newest lines are looked at.
	defaultFieldLines, maxFieldLines = 1000, 5000
	// maxFieldValues bounds the different values that are kept of all fields together, to count them.
	maxFieldValues = 100_000
)

// detectedField is a field that lines have.
type detectedField struct {
	Label       string   `json:"label"`
	Type        string   `json:"type"`
	Cardinality int      `json:"cardinality"`
	Parsers     []string `json:"parsers"` // null for what is stored beside the line

	values map[string]bool
}

// lokiDetectedFields answers detected_fields: what is stored beside the newest lines, and what a parser finds in them.
func (s *Server) lokiDetectedFields(ctx context.Context, r *lokiRequest) ([]byte, error) {
	limit, err := r.bounded("limit", defaultFields, maxFieldNames)
	if err != nil {
		return nil, err
	}
	found, err := s.detectFields(ctx, r, limit, "")
	if err != nil {
		return nil, err
	}
	list := make([]*detectedField, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		f := found[name]
		f.Cardinality = len(f.values)
		list = append(list, f)
	}
	return json.Marshal(map[string]any{"fields": list, "limit": limit})
}

// lokiFieldValues answers detected_field/<name>/values.
func (s *Server) lokiFieldValues(ctx context.Context, r *lokiRequest) ([]byte, error) {
	limit, err := r.bounded("limit", defaultFields, maxFieldNames)
	if err != nil {
		return nil, err
	}
	found, err := s.detectFields(ctx, r, limit, r.name)
	if err != nil {
		return nil, err
	}
	values := []string{}
	if f := found[r.name]; f != nil {
		values = slices.Sorted(maps.Keys(f.values))
	}
	return json.Marshal(map[string]any{"values": values[:min(limit, len(values))], "limit": limit})
}

// bounded reads a parameter that is a number from 1; more than most is taken as most, as Loki's clients ask for much.
func (r *lokiRequest) bounded(name string, otherwise, most int) (int, error) {
	v := r.form.Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, newProblem(http.StatusBadRequest, fmt.Sprintf("parameter %s: %q is not a positive number", name, clip(v)))
	}
	return min(n, most), nil
}

// fieldFinder looks for fields in lines. Only is the one that is asked for, empty for all.
type fieldFinder struct {
	only         string
	limit        int
	found        map[string]*detectedField
	kept         int // values, of all
	json, logfmt *loki.Pipeline
}

// detectFields looks at the newest lines that the query gives, as many as maxAnswer allows, since their values are kept.
func (s *Server) detectFields(ctx context.Context, r *lokiRequest, limit int, only string) (map[string]*detectedField, error) {
	lines, err := r.bounded("line_limit", defaultFieldLines, maxFieldLines)
	if err != nil {
		return nil, err
	}
	expr, err := loki.Parse(r.params.Query)
	if err != nil {
		return nil, err
	}
	logs, ok := expr.(*loki.LogExpr)
	if !ok {
		return nil, newProblem(http.StatusBadRequest, "fields are those of lines: the query must be a log query")
	}
	f := fieldFinder{only: only, limit: limit, found: map[string]*detectedField{}}
	if f.json, err = parserOf(plainJSON); err == nil {
		f.logfmt, err = parserOf("| logfmt")
	}
	if err != nil {
		return nil, err
	}
	size := 0
	for e, err := range s.lokiLines(ctx, selectLogs(logs), r.params.Start, r.params.End, logbridge.NewestFirst, lines) {
		if err != nil {
			return nil, err
		}
		f.line(e)
		if size += e.holds + labelsBytes(e.labels.Metadata); size > maxAnswer {
			break
		}
	}
	return f.found, nil
}

// parserOf is the pipeline of one stage.
func parserOf(stage string) (*loki.Pipeline, error) {
	expr, err := loki.Parse(`{` + labelService + `=~".+"} ` + stage)
	if err != nil {
		return nil, err
	}
	logs, ok := expr.(*loki.LogExpr)
	if !ok {
		return nil, fmt.Errorf("%s is no stage", stage)
	}
	return logs.Pipeline(), nil
}

// line notes the fields of a line: those stored beside it, but for seq, which is another for each line, and those that it
// gives as JSON or, if it is none, as logfmt. The query may have parsed it already.
func (f *fieldFinder) line(e lokiEntry) {
	for _, l := range e.labels.Metadata {
		if l.Name != metaSeq {
			f.note(l, "")
		}
	}
	stream := slices.Clone(e.labels.Stream)
	for _, parser := range []struct {
		name     string
		pipeline *loki.Pipeline
	}{{"json", f.json}, {"logfmt", f.logfmt}} {
		_, labels, _ := parser.pipeline.Categorize(e.line, stream, nil)
		if labelOf(labels.Parsed, "__error__") != "" {
			continue
		}
		for _, l := range labels.Parsed {
			f.note(l, parser.name)
		}
		return
	}
}

func (f *fieldFinder) note(l loki.Label, parser string) {
	if l.Value == "" || strings.HasPrefix(l.Name, "__error") || f.only != "" && l.Name != f.only {
		return
	}
	d := f.found[l.Name]
	if d == nil {
		if len(f.found) == f.limit {
			return
		}
		d = &detectedField{Label: l.Name, Type: typeOf(l.Value), values: map[string]bool{}}
		f.found[l.Name] = d
	}
	if parser != "" && !slices.Contains(d.Parsers, parser) {
		d.Parsers = append(d.Parsers, parser)
	}
	if !d.values[l.Value] && f.kept < maxFieldValues {
		f.kept++
		d.values[l.Value] = true
		if d.Type != typeOf(l.Value) {
			d.Type = common(d.Type, typeOf(l.Value))
		}
	}
}

// The types of a field.
const (
	typeInt, typeFloat, typeBool, typeDuration, typeBytes, typeString = "int", "float", "boolean", "duration", "bytes", "string"
)

// typeOf is what a value can be read as.
func typeOf(value string) string {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return typeInt
	}
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return typeFloat
	}
	if value == "true" || value == "false" {
		return typeBool
	}
	if _, err := time.ParseDuration(value); err == nil {
		return typeDuration
	}
	if isBytes(value) {
		return typeBytes
	}
	return typeString
}

// common is the type that values of two different types have.
func common(a, b string) string {
	if a == typeInt && b == typeFloat || a == typeFloat && b == typeInt {
		return typeFloat
	}
	return typeString
}

// isBytes reports a number with a unit of bytes, as 5MB or 1.5 KiB.
func isBytes(value string) bool {
	number := strings.TrimRight(value, "BKMGTPEkmgtpei ")
	if _, err := strconv.ParseFloat(number, 64); err != nil {
		return false
	}
	switch strings.ToLower(strings.TrimSpace(value[len(number):])) {
	case "b", "kb", "mb", "gb", "tb", "pb", "eb", "kib", "mib", "gib", "tib", "pib", "eib":
		return true
	}
	return false
}
