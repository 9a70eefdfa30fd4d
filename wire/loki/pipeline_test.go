package loki

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func mustPipeline(t testing.TB, stages string) *Pipeline {
	t.Helper()
	e, err := Parse(`{a="b"} ` + stages)
	if err != nil {
		t.Fatal(err)
	}
	return e.(*LogExpr).Pipeline()
}

var streamLabels = []Label{{"source", "mqtt"}, {"product", "p"}, {"device", "d1"}, {"service_name", "p"}, {"level", "error"}, {"detected_level", "error"}}

// TestLabelsOfOneLineAreBounded: a line cannot make an answer many times its size, and says so.
func TestLabelsOfOneLineAreBounded(t *testing.T) {
	var many, deep, pairs strings.Builder
	many.WriteString(`{"k":0`)
	for i := range 2 * maxFields {
		fmt.Fprintf(&many, `,"k%d":%d`, i, i)
		fmt.Fprintf(&pairs, "k%d=%d ", i, i)
	}
	many.WriteByte('}')
	deep.WriteString(`{"` + strings.Repeat("x", maxFieldBytes/4) + `":{"a":1,"b":2,"c":3,"d":4,"e":5}}`)
	tooDeep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	for name, row := range map[string]struct {
		stages, line, fault string
		fields              int
	}{
		"many fields":     {"| json", many.String(), jsonFault, maxFields},
		"long names":      {"| json", deep.String(), jsonFault, 3},
		"deep":            {"| json", tooDeep, jsonFault, 0},
		"many pairs":      {"| logfmt", pairs.String(), logfmtFault, maxFields},
		"long arguments":  {`| json a="x", b="x", c="x"`, `{"x":"` + strings.Repeat("y", maxFieldBytes/2-10) + `"}`, jsonFault, 2},
		"long value":      {`| logfmt x`, `x="` + strings.Repeat("y", maxFieldBytes) + `"`, logfmtFault, 1},
		"long template":   {`| json | label_format y="` + strings.Repeat("{{.x}}", 30) + `"`, `{"x":"` + strings.Repeat("y", 10_000) + `"}`, templateFault, 1},
		"long sum":        {`| json | label_format y="` + strings.Repeat("{{.x}}", 26) + `"`, `{"x":"` + strings.Repeat("y", 10_000) + `"}`, templateFault, 1},
		"long line":       {`| json | line_format "` + strings.Repeat("{{.x}}", 30) + `"`, `{"x":"` + strings.Repeat("y", 10_000) + `"}`, templateFault, 1},
		"what fits, fits": {"| json", `{"x":"` + strings.Repeat("y", maxFieldBytes/2) + `"}`, "", 1},
	} {
		_, labels, kept := mustPipeline(t, row.stages).Categorize(row.line, nil, nil)
		fault := mapOf(labels.Parsed)[errorLabel]
		fields := len(labels.Parsed)
		if fault != "" {
			fields -= 2 // with its details
		}
		if !kept || fault != row.fault || fields != row.fields {
			t.Errorf("%s: %d fields, %q, %v; want %d, %q", name, fields, fault, kept, row.fields, row.fault)
		}
	}
}

// TestNamesAreKeptWithinBounds: lines with ever new keys do not grow a pipeline.
func TestNamesAreKeptWithinBounds(t *testing.T) {
	p := mustPipeline(t, "| json")
	for i := range 2 * maxKnown {
		p.Process(fmt.Sprintf(`{"key%d":1,"%s%d":2}`, i, strings.Repeat("x", maxKnownName), i), nil)
	}
	if len(p.names.known) != maxKnown {
		t.Errorf("%d names are kept", len(p.names.known))
	}
}

// TestArgumentsStayAsTheyWere: Categorize after Process must not write into what the caller owns.
func TestArgumentsStayAsTheyWere(t *testing.T) {
	p := mustPipeline(t, "| json | label_format x=level | drop device")
	flat := slices.Clone(streamLabels)
	spare := append(slices.Clone(streamLabels), Label{"spare", "1"})
	stream := spare[:len(streamLabels)]
	metadata := []Label{{"seq", "1"}, {"level", "of the metadata"}}
	for range 3 {
		p.Process(`{"a":1}`, flat)
		p.Categorize(`{"b":2}`, stream, metadata)
		p.Process(`no json`, flat)
	}
	if !slices.Equal(flat, streamLabels) || !slices.Equal(spare, append(slices.Clone(streamLabels), Label{"spare", "1"})) ||
		!slices.Equal(metadata, []Label{{"seq", "1"}, {"level", "of the metadata"}}) {
		t.Error(flat, spare, metadata)
	}
}

// TestOrderOfLabels: what the line came with first, in its order; then what was taken from it, in the line's; errors last.
func TestOrderOfLabels(t *testing.T) {
	p := mustPipeline(t, "| json | drop product, b")
	_, labels, _ := p.Process(`{"z":1,"b":2,"a":3,"level":4,`, streamLabels)
	var got []string
	for _, l := range labels {
		got = append(got, l.Name)
	}
	want := "source device service_name level detected_level z a level_extracted __error__ __error_details__"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
	_, split, _ := p.Categorize(`{"seq":1}`, streamLabels, []Label{{"level", "m"}, {"seq", "9.1"}})
	if got, want := fmt.Sprint(split), "{[{source mqtt} {device d1} {service_name p} {level error} {detected_level error}] [{level_extracted m} {seq 9.1}] [{seq_extracted 1}]}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFoldedFilters: the fast way of (?i) finds what the expression finds.
func TestFoldedFilters(t *testing.T) {
	for _, row := range []struct {
		needle, line string
		want         bool
	}{
		{"error", "an ERROR", true}, {"error", "ErroR", true}, {"error", "erro", false}, {"error", "", false}, {"error", "e error", true},
		{"ERROR", "error", true}, {"a_1", "xA_1", true}, {"@", "`", false}, {"1", "21", true}, {"k", "\u212a", true}, {"s", "ſ", true},
		{"é", "É", true}, {"ee", "eE", true}, {"eee", "eeE", true}, {"a.c", "abc", true}, {"", "x", true},
	} {
		p := mustPipeline(t, "|~ `(?i)"+row.needle+"`")
		if _, _, kept := p.Process(row.line, nil); kept != row.want {
			t.Errorf("%q in %q: %v", row.needle, row.line, kept)
		}
	}
}

// TestNoAllocations: a line costs no memory unless something is taken from it.
func TestNoAllocations(t *testing.T) {
	line := `{"level":"warn","msg":"hello world","status":500}`
	logfmt := "level=warn msg=hello status=500 path=/x"
	for stages, text := range map[string]string{
		"": line, "|= `` | drop __error__": line, "|= `status` != `x` |~ `5..` |~ `(?i)HELLO`": line, "| level=`error` or level=~`w.*`": line,
		"| drop level, nope": line, "| keep level": line, "| label_format lvl=level": line, "| logfmt | status_extracted=`` | level_extracted!=`x`": logfmt,
		"| device=~`d.` |= `hello`": line,
	} {
		p := mustPipeline(t, stages)
		p.Process(text, streamLabels)
		if n := allocations(func() { p.Process(text, streamLabels) }); n > 0 {
			t.Errorf("%s: %v allocations a line", stages, n)
		}
		meta := []Label{{"seq", "1"}}
		p.Categorize(text, streamLabels, meta)
		if n := allocations(func() { p.Categorize(text, streamLabels, meta) }); n > 0 {
			t.Errorf("%s: %v allocations a line when categorized", stages, n)
		}
	}
}

// allocations is the least of many runs: the race detector makes the pool of package regexp forget now and then.
func allocations(f func()) float64 {
	least := testing.AllocsPerRun(1, f)
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, f))
	}
	return least
}

func BenchmarkPipeline(b *testing.B) {
	json := `{"level":"warn","msg":"hello world","status":500,"ok":true,"dur":"15ms","list":[1,2,3],"req":{"method":"GET","path":"/x","hdr":{"x-id":"7"}}}`
	for _, row := range []struct{ name, stages, line string }{
		{"none", "|= `` | drop __error__", json},
		{"contains", "|= `status`", json},
		{"regexp", "|~ `sta.us`", json},
		{"fold", "|~ `(?i)STATUS`", json},
		{"label", "| level=`error`", json},
		{"json", "| json", json},
		{"json1", "| json status", json},
		{"logfmt", "| logfmt", `level=warn ts=2026-01-02T03:04:05Z msg="hello big world" status=200 dur=1.5s size=3MiB path=/api/v1/x user=u1`},
	} {
		b.Run(row.name, func(b *testing.B) {
			p := mustPipeline(b, row.stages)
			b.SetBytes(int64(len(row.line)))
			b.ReportAllocs()
			for b.Loop() {
				p.Process(row.line, streamLabels)
			}
		})
	}
}

func FuzzPipeline(f *testing.F) {
	v := readVectors(f)
	for _, q := range v.Queries {
		if stages, ok := strings.CutPrefix(q.Query, `{product="p"}`); ok && len(q.Results) > 0 {
			for _, r := range q.Results[:1] {
				f.Add(stages, v.Lines[r.Line].Line)
			}
		}
	}
	for _, l := range v.Lines {
		f.Add("| json | logfmt | drop a, level", l.Line)
		f.Add(`| json a, b="c.d", c="e[1]"`, l.Line)
	}
	f.Fuzz(func(t *testing.T, stages, line string) {
		e, err := Parse(`{a="b"} ` + stages)
		log, ok := e.(*LogExpr)
		if err != nil || !ok || !utf8.ValidString(line) {
			return
		}
		p := log.Pipeline()
		out, labels, kept := p.Process(line, streamLabels)
		if !kept {
			return
		}
		for _, s := range log.LineContains() {
			if !strings.Contains(line, s) {
				t.Fatalf("%q is let through, but %q is not in it", line, s)
			}
		}
		if log.OnlyContains() && len(labels) != len(streamLabels) || out != line && !strings.Contains(strings.ToLower(stages), "line_format") {
			t.Fatalf("%v of %q, though nothing may change", labels, line)
		}
		size := 0
		for i, l := range labels {
			if !isName(l.Name) || !utf8.ValidString(l.Value) {
				t.Fatalf("label %q", l)
			}
			if find(labels[:i], l.Name) >= 0 {
				t.Fatalf("label %s twice in %v", l.Name, labels)
			}
			size += len(l.Name) + len(l.Value)
		}
		if len(labels) > len(streamLabels)+maxFields+2 || size > maxFieldBytes+1000+len(stages) || len(out) > max(len(line), maxFormatted) {
			t.Fatalf("%d labels of %d bytes", len(labels), size)
		}
		first := slices.Clone(labels)
		if _, again, kept := p.Process(line, streamLabels); !kept || !slices.Equal(first, again) {
			t.Fatalf("%v, and again %v", first, again)
		}
	})
}
