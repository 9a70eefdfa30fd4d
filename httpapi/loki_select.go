package httpapi

import (
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// selection is a log query made ready for the log: what the log can decide is in query, what it cannot is left to the
// pipeline.
type selection struct {
	query logbridge.Query
	// none: no record can match.
	none bool
	// exact: the pipeline lets every line through that query selects.
	exact bool
	// errors: the pipeline may say of a line that it could not be read, which fails a metric query.
	errors bool
	log    *loki.LogExpr
	// parsers are how many stages take labels from the line; onlyJSON: each is a plain json.
	parsers  int
	onlyJSON bool
}

// selectLogs translates a log query. Every matcher of a stream's label is decided by the log: those about the level or the source by sets,
// equality of the labels that a stream has by the fields of Query, which find a stream by its name, and all others by looking
// at each stream once. Of the line filters the longest text that lines must hold is looked for by the log. Parsers let every
// line through, and no stage of those that are known here changes what a stream label is, so a filter on one of these is a
// matcher like others.
func selectLogs(e *loki.LogExpr) *selection {
	e = filterAttributes(e)
	s := selectStreams(e.Matchers)
	matchers, rest := slices.Clone(e.Matchers), loki.LogExpr{}
	known, parsers, plain, errors := true, 0, 0, false
	for _, stage := range e.Stages {
		text := stage.String()
		filter := labelFilter(text)
		switch {
		case isParser(text):
			parsers++
			if text == plainJSON {
				plain++
			}
			errors = errors || text != plainJSON || !s.events()
		case known && s.decides(filter, parsers > 0):
			matchers = append(matchers, filter...)
		case dropsErrors(text):
			errors = false
		default:
			rest.Stages = append(rest.Stages, stage)
			known = known && (&loki.LogExpr{Stages: rest.Stages}).OnlyContains()
		}
	}
	s = selectStreams(matchers)
	s.log, s.parsers, s.onlyJSON, s.errors = e, parsers, parsers > 0 && plain == parsers, errors
	needles := e.LineContains()
	s.exact = s.contain(needles) && len(needles) <= 1 && rest.OnlyContains()
	return s
}

// decides reports that a filter of labels is about labels that follow from stream, source and level, none of which a parser
// takes from the line.
func (s *selection) decides(filter []loki.Matcher, parsed bool) bool {
	for _, m := range filter {
		if !slices.Contains(viewLabels, m.Name) || parsed && !s.always(m.Name) {
			return false
		}
	}
	return len(filter) > 0
}

// always reports that all that is selected has this label. A parser takes what a line says under a name that its stream has
// not, and calls it otherwise when it has.
func (s *selection) always(name string) bool {
	switch name {
	case labelLevel, labelDetectedLevel, labelSource, labelService:
		return true
	case labelProduct, labelDevice:
		return s.bodies()
	case labelProject, labelLogstore:
		return s.query.Project != "" || s.query.Logstore != "" || s.from(logbridge.SourceSLS)
	case labelTopic:
		return s.query.Topic != "" || s.from(logbridge.SourceCLS)
	}
	return false
}

// from reports that all that is selected came by these sources.
func (s *selection) from(sources ...logbridge.Source) bool {
	return s.query.Sources != 0 && s.query.Sources&^logbridge.SourcesOf(sources...) == 0
}

// parses reports that a parser takes labels from the lines.
func (s *selection) parses() bool { return s.parsers > 0 }

// plainJSON is the parser that reads the line of every web event, since it is written by appendAttributes.
const plainJSON = "| json"

func isParser(stage string) bool {
	return stage == plainJSON || strings.HasPrefix(stage, plainJSON+" ") || stage == "| logfmt" || strings.HasPrefix(stage, "| logfmt ")
}

// dropsErrors reports that a stage drops what a parser says of lines that it could not read, and nothing else.
func dropsErrors(stage string) bool {
	names, ok := strings.CutPrefix(stage, "| drop ")
	has := false
	for name := range strings.SplitSeq(names, ",") {
		switch strings.TrimSpace(name) {
		case "__error__":
			has = true
		case "__error_details__":
		default:
			return false
		}
	}
	return ok && has
}

// labelFilter gives the matchers that a stage is, if it is a filter of labels by text; nil otherwise.
func labelFilter(stage string) []loki.Matcher {
	text, ok := strings.CutPrefix(stage, "| ")
	if !ok {
		return nil
	}
	matchers, err := loki.ParseSelector("{" + text + "}")
	if err != nil {
		return nil
	}
	return matchers
}

// selectStreams is selectLogs for matchers alone.
func selectStreams(matchers []loki.Matcher) *selection {
	s := &selection{exact: true, log: &loki.LogExpr{Matchers: matchers}}
	var rest []loki.Matcher
	levels, sources := allLevels, allSources
	for _, m := range matchers {
		switch m.Name {
		case labelLevel, labelDetectedLevel:
			levels &= levelsThat(m)
		case labelSource:
			sources &= sourcesThat(m)
		default:
			if !slices.Contains(viewLabels, m.Name) {
				s.attribute(m)
			} else if !s.equal(m) {
				rest = append(rest, m)
			}
		}
	}
	if len(s.query.Fields) > 0 { // the fields of a web event are in its line, and no labels of it
		sources &^= logbridge.SourcesOf(logbridge.SourceSLS, logbridge.SourceCLS)
	}
	s.none = levels == 0 || sources == 0
	if levels != allLevels {
		s.query.Levels = levels
	}
	if sources != allSources {
		s.query.Sources = sources
	}
	if len(rest) > 0 {
		s.query.Streams = streamsThat(rest)
	}
	return s
}

// filterAttributes makes filters of the matchers of what are attributes here. To those who pushed a line with the label job, or
// send it by OTLP, {job="x"} shall find it; but labels that anybody may invent are not what streams are told apart by here.
// Those that the log can decide stay.
func filterAttributes(e *loki.LogExpr) *loki.LogExpr {
	var filters strings.Builder
	var matchers []loki.Matcher
	for _, m := range e.Matchers {
		if slices.Contains(viewLabels, m.Name) || isAttribute(m) {
			matchers = append(matchers, m)
		} else {
			filters.WriteString(" | " + m.String())
		}
	}
	if filters.Len() == 0 {
		return e
	}
	expr, err := loki.Parse("{" + labelSource + `=~".+"}` + filters.String())
	if err != nil { // a matcher is a filter, and shorter than the query that it is of
		return e
	}
	return &loki.LogExpr{Matchers: matchers, Stages: slices.Concat(expr.(*loki.LogExpr).Stages, e.Stages)}
}

// isAttribute reports that a matcher asks for an attribute of just this name, which the log can look for. A name with an
// underscore may be that of several.
func isAttribute(m loki.Matcher) bool {
	return m.Op == loki.Equal && m.Value != "" && !strings.Contains(m.Name, "_") && m.Name != metaSeq
}

// attribute puts such a matcher into the query. Others do not narrow what a request about labels selects.
func (s *selection) attribute(m loki.Matcher) {
	if isAttribute(m) {
		s.query.Fields = append(s.query.Fields, logbridge.Attr{Key: m.Name, Value: m.Value})
	}
}

// What records have.
var (
	allLevels  = logbridge.LevelsOf(logbridge.LevelError, logbridge.LevelWarn, logbridge.LevelInfo, logbridge.LevelDebug)
	allSources = logbridge.SourcesOf(logbridge.Sources...)
)

func levelsThat(m loki.Matcher) (set logbridge.LevelSet) {
	for l := logbridge.LevelError; l <= logbridge.LevelDebug; l++ {
		if m.Match(l.String()) {
			set |= logbridge.LevelsOf(l)
		}
	}
	return set
}

func sourcesThat(m loki.Matcher) (set logbridge.SourceSet) {
	for _, source := range logbridge.Sources {
		if m.Match(string(source)) {
			set |= logbridge.SourcesOf(source)
		}
	}
	return set
}

// equal puts the equality of a label into the query; false when there is no field for it, or it is taken.
func (s *selection) equal(m loki.Matcher) bool {
	if m.Op != loki.Equal || m.Value == "" {
		return false
	}
	var field *string
	switch m.Name {
	case labelProduct:
		field = &s.query.Product
	case labelDevice:
		if logbridge.IsGlob(m.Value) { // the query would take it for a pattern
			return false
		}
		field = &s.query.Device
	case labelProject:
		field = &s.query.Project
	case labelLogstore:
		field = &s.query.Logstore
	case labelTopic:
		field = &s.query.Topic
	}
	if field == nil || *field != "" {
		return false
	}
	*field = m.Value
	return true
}

// streamsThat decides by all labels that a stream has; one that it has not is empty.
func streamsThat(matchers []loki.Matcher) func(logbridge.Stream) bool {
	return func(s logbridge.Stream) bool {
		labels := streamLabels(s)
		for _, m := range matchers {
			if !m.Match(labelOf(labels, m.Name)) {
				return false
			}
		}
		return true
	}
}

// jsonSyntax are the characters that the line of a record without a body may have between its keys and values, or in place of
// what they hold. A text without them is in the line if and only if it is in a key or a value, which is what the log looks
// at; the letters of an escape, and the number that tells repeated keys apart, are not counted as text.
const jsonSyntax = `"\{}:,#`

func inJSON(r rune) bool { return r < ' ' || r == 0xFFFD || strings.ContainsRune(jsonSyntax, r) }

// contain gives the log the longest text to look for that the needles allow, and reports whether it is a whole needle.
func (s *selection) contain(needles []string) (whole bool) {
	whole = true
	for _, needle := range needles {
		pieces := []string{needle}
		if !s.bodies() {
			pieces = strings.FieldsFunc(needle, inJSON)
		}
		for _, piece := range pieces {
			if len(piece) > len(s.query.Contains) {
				s.query.Contains, s.query.Where = piece, logbridge.InLine
				whole = piece == needle
			}
		}
	}
	return whole && (len(needles) == 0 || s.query.Contains != "")
}

// bodies reports that all that is selected are lines of devices, which have a body: nothing of JSON is in their lines that is
// not in what they hold. Of a line with an empty text, which is shown as its attributes, JSON's own characters are not counted as
// text, and counting by an attribute counts it too: for these few, all lines are not read.
func (s *selection) bodies() bool {
	return s.query.Product != "" || s.query.Device != "" || s.from(logbridge.SourceMQTT, logbridge.SourceReportLog)
}

// events reports that all that is selected are web events, whose lines are their fields.
func (s *selection) events() bool {
	return s.query.Project != "" || s.query.Logstore != "" || s.query.Topic != "" || s.from(logbridge.SourceSLS, logbridge.SourceCLS)
}

// during is the query within a time range, until exclusive. Bounds beyond what a time in nanoseconds can say do not bound.
func (s *selection) during(since, until time.Time) logbridge.Query {
	q := s.query
	q.Since, q.Until = since, until
	return q
}
