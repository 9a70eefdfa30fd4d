package loki

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
)

// vectors are what Loki itself does; the file says how they were recorded.
type vectors struct {
	Lines map[string]struct {
		Line             string
		Labels, Metadata [][2]string
	}
	Durations map[string]string
	Queries   []struct {
		Query, Error, Kind, Canonical string
		Results                       []result
	}
}

type result struct {
	Line                     string
	Kept                     bool
	Out                      string
	Empty                    bool // Out is, though the line was not
	Stream, Metadata, Parsed map[string]string
}

func readVectors(t testing.TB) vectors {
	text, err := os.ReadFile("testdata/loki.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Reasons for which we do not do as Loki does.
const (
	longDuration = "the same duration, but 1h in place of 1h0m0s and 1d in place of 24h0m0s"
	exactSize    = "Loki rounds sizes to two digits, which does not parse to the same; ours are exact"
	shortNumber  = "the same number, without zeros at its end"
	keywordName  = "a label may be called like a keyword"
	moreUnits    = "sizes are read in any case, and beyond 1PB"
	senseless    = "refused: it has no meaning"
)

// differences are the queries with which we do not do as Loki does. What is refused as not supported is not among them: there the
// error says so.
var differences = map[string]string{
	`{product="p"} | label_format __error_details__="x"`:                    senseless,
	`{product="p"} | level="error" or status=1 and bytes>1KB`:               exactSize,
	`{product="p"} | level="x" and status=1 or level="error" and bytes>1KB`: exactSize,
	`{product="p"} | logfmt | size > 3MB`:                                   exactSize,
	`{product="p"} | latency>1h`:                                            longDuration,
	`{product="p"} | bytes>=1KB`:                                            exactSize,
	`{product="p"} | bytes<1KiB`:                                            exactSize,
	`{product="p"} | bad>1KB`:                                               exactSize,
	`{ä="b"}`:                                                               "names of labels are ASCII, as in Loki's own documentation",
	`{a="b"} | x>1h30m`:                                                     longDuration,
	`{a="b"} | x>1d`:                                                        longDuration,
	`{a="b"} | x>1w`:                                                        longDuration,
	`{a="b"} | x>1.5h`:                                                      longDuration,
	`{a="b"} | x>1KB`:                                                       exactSize,
	`{a="b"} | x>1.5GiB`:                                                    exactSize,
	`{a="b"} | x>1kb`:                                                       moreUnits,
	`{a="b"} | x>1EB`:                                                       moreUnits,
	`{json="x"}`:                                                            keywordName,
	`{by="x"}`:                                                              keywordName,
	`{a="b"} | by="x"`:                                                      keywordName,
	`sum by (json) (rate({a="b"}[5m]))`:                                     keywordName,
	`vector(1)`:                                                             shortNumber,
	`vector(1)+vector(1)`:                                                   shortNumber,
	`vector( 1 ) + vector( 1 )`:                                             shortNumber,
	`vector(1.5)`:                                                           shortNumber,
	`sum(vector(1))`:                                                        shortNumber,
	`sum(rate({a="b"}[5m])) + vector(1)`:                                    shortNumber,
	`vector(-1)`:                                                            "a number may have a sign wherever it stands",
	`1/0`:                                                                   "NaN could not be parsed again",
	`count_over_time({a="b"}[5m] offset 1h)`:                                longDuration,
	`count_over_time({a="b"}[5m] offset 1h |= "x")`:                         longDuration,
	`count_over_time({a="b"}[0s])`:                                          senseless,
	`sum(1)`:                                                                senseless,
	`1 + bool 2`:                                                            senseless,
	`sum by () (rate({a="b"}[5m]))`:                                         "the same as without it, but kept",
}

func TestQueriesAsLoki(t *testing.T) {
	v := readVectors(t)
	used := map[string]bool{}
	for _, q := range v.Queries {
		e, err := Parse(q.Query)
		if (err == nil) != (q.Error == "") {
			if err != nil && strings.Contains(err.Error(), "not supported here") {
				continue
			}
			used[q.Query] = true
			if differences[q.Query] == "" {
				t.Errorf("%s: %v; Loki: %q", q.Query, err, q.Error)
			}
			continue
		}
		if err != nil {
			continue
		}
		if _, log := e.(*LogExpr); log != (q.Kind == "log") {
			t.Errorf("%s: %T; Loki: a %s query", q.Query, e, q.Kind)
		}
		if got := e.String(); unspaced(got) != unspaced(q.Canonical) {
			used[q.Query] = true
			if differences[q.Query] == "" {
				t.Errorf("%s: written as\n  %s; Loki:\n  %s", q.Query, got, q.Canonical)
			}
		}
	}
	for q := range differences {
		if !used[q] {
			t.Errorf("%s: named as different, but is not", q)
		}
	}
}

func unspaced(s string) string { return strings.ReplaceAll(s, " ", "") }

// odd says why a line may come out of a query otherwise than out of Loki, "" if it may not.
func odd(query, line string) string {
	_, bare, _ := strings.Cut(query, "| json")
	asked := strings.HasPrefix(strings.TrimLeft(bare, " "), "|") || bare == ""
	switch {
	case line == "json_odd" && asked:
		return "a line cannot say of itself that it has an __error__"
	case line == "logfmt_fffd" && strings.Contains(query, "logfmt a"):
		return "of a value with an invalid byte only that byte is replaced, as without arguments; Loki drops all of it"
	case line == "json_trunc" && asked:
		return "what could be read of an object that is not closed is taken"
	}
	return oddQueries[query]
}

// oddQueries are those with which all of the lines may come out otherwise.
var oddQueries = map[string]string{
	`{product="p"} | level_extracted!="warn" | json`:                       "Loki asks a label filter again when a parser gives the label, wherever the filter stands; we ask once, where it stands",
	`{product="p"} | level_extracted="" | logfmt | level_extracted="warn"`: "the same",
	`{product="p"} |= "a" or ""`:                                           "Loki forgets the empty alternative; every line holds it",
	`{product="p"} |~ "lost|"`:                                             "Loki forgets the empty alternative; every line matches it",
	`{product="p"} | level=~""`:                                            "Loki takes the empty expression for one that matches all; anchored it matches the empty value only",
	`{product="p"} | bad>1 | drop __error__`:                               "Loki shows details without an error if the line has metadata, and hides them if not; we hide them",
}

func TestLinesAsLoki(t *testing.T) {
	v := readVectors(t)
	used := map[string]bool{}
	for _, q := range v.Queries {
		e, err := Parse(q.Query)
		log, ok := e.(*LogExpr)
		if err != nil || !ok || q.Error != "" {
			continue
		}
		p := log.Pipeline()
		for _, want := range q.Results {
			l := v.Lines[want.Line]
			stream, metadata := labelsOf(l.Labels), labelsOf(l.Metadata)
			line, labels, kept := p.Categorize(l.Line, stream, metadata)
			got := result{Line: want.Line, Kept: kept}
			if kept {
				got.Stream, got.Metadata, got.Parsed = mapOf(labels.Stream), mapOf(labels.Metadata), mapOf(labels.Parsed)
			}
			if kept && line != l.Line {
				got.Out, got.Empty = line, line == ""
			}
			if !same(got, want) {
				why := odd(q.Query, want.Line)
				used[why] = true
				if why == "" {
					t.Errorf("%s: line %s:\n  %+v; Loki:\n  %+v", q.Query, want.Line, got, want)
				}
			}
			flat(t, q.Query, p, l.Line, append(stream, metadata...), got)
		}
	}
	for q, why := range oddQueries {
		if !used[why] {
			t.Errorf("%s: named as different, but is not", q)
		}
	}
}

// flat holds Process against what Categorize gave.
func flat(t *testing.T, query string, p *Pipeline, line string, labels []Label, want result) {
	t.Helper()
	if len(labels) != len(mapOf(labels)) {
		return
	}
	before := mapOf(labels)
	text, out, kept := p.Process(line, labels)
	if !maps.Equal(mapOf(labels), before) {
		t.Errorf("%s: line %q: the argument was changed", query, line)
	}
	all := map[string]string{}
	for _, m := range []map[string]string{want.Stream, want.Metadata, want.Parsed} {
		maps.Copy(all, m)
	}
	if kept != want.Kept || kept && (!maps.Equal(mapOf(out), all) || want.Out != "" && text != want.Out) {
		t.Errorf("%s: line %q: Process gives %v, Categorize %v", query, line, out, all)
	}
}

func labelsOf(pairs [][2]string) []Label {
	var labels []Label
	for _, p := range pairs {
		labels = append(labels, Label{p[0], p[1]})
	}
	return labels
}

func mapOf(labels []Label) map[string]string {
	m := make(map[string]string, len(labels))
	for _, l := range labels {
		m[l.Name] = l.Value
	}
	return m
}

// same compares two results; of __error_details__ only that it is there, since the words are our own.
func same(got, want result) bool {
	got.Parsed, want.Parsed = maps.Clone(got.Parsed), maps.Clone(want.Parsed)
	for _, m := range []map[string]string{got.Parsed, want.Parsed} {
		if m[detailsLabel] != "" {
			m[detailsLabel] = "…"
		}
	}
	return got.Kept == want.Kept && got.Out == want.Out && got.Empty == want.Empty && maps.Equal(got.Stream, want.Stream) && maps.Equal(got.Metadata, want.Metadata) &&
		maps.Equal(got.Parsed, want.Parsed)
}
