package loki

// Stage is one step of a log query: a line filter, a parser, a label filter, drop, keep or label_format. String is the stage as
// a query has it, with its leading operator.
type Stage interface {
	String() string
	run(p *Pipeline) bool
}

// Pipeline runs the stages of a log query over lines. It keeps buffers, so it is not for concurrent use.
type Pipeline struct {
	stages []Stage
	out    []Label
}

// Labels are the labels of a line by where they come from.
type Labels struct {
	Stream   []Label // of its stream
	Metadata []Label // stored beside it
	Parsed   []Label // taken from it by the stages, __error__ and __error_details__ last
}

// Pipeline makes a pipeline of the query's stages.
func (e *LogExpr) Pipeline() *Pipeline { return &Pipeline{stages: e.Stages} }

// Process runs the stages over a line with its labels, which it does not change. It gives the line and the labels as the
// stages left them, and false for a line that they leave out. Labels that were there come first, in their order, then
// those taken from the line. The labels are valid until the next call; a query that does not touch labels gives the argument back.
func (p *Pipeline) Process(line string, labels []Label) (string, []Label, bool) {
	return line, labels, true
}

// Categorize is Process with the labels kept apart, for answers that tell where a label comes from.
func (p *Pipeline) Categorize(line string, stream, metadata []Label) (string, Labels, bool) {
	return line, Labels{Stream: stream, Metadata: metadata}, true
}

// LineContains gives texts that every line which the pipeline lets through must hold as it is stored: those of the filters |=
// before any stage that changes the line. Empty filters and those with alternatives are not among them.
func (e *LogExpr) LineContains() []string { return nil }

// Simple reports whether no stage can leave out a line or change what is shown of it, apart from |= filters without
// alternatives: then matchers and LineContains say all there is. Stages that drop labels are no-ops when they name only
// __error__ and __error_details__, which no line has before a parser.
func (e *LogExpr) Simple() bool { return false }
