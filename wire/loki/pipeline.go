package loki

// The labels in which Loki says what went wrong with a line.
const (
	errorLabel   = "__error__"
	detailsLabel = "__error_details__"
)

// The values of __error__.
const (
	jsonFault   = "JSONParserErr"
	logfmtFault = "LogfmtParserErr"
	filterFault = "LabelFilterErr"
)

// Bounds on the labels that are taken from one line, so that an answer is not many times as large as its lines.
const (
	// maxFields is how many labels are taken from one line. Real lines have some dozens.
	maxFields = 256
	// maxFieldBytes is how long their names and values are together: names grow with depth, and would with the square of it.
	maxFieldBytes = 256 << 10
)

// extracted is what ends the name of a label from a line when the line's stream or metadata has one of that name.
const extracted = "_extracted"

// Stage is one step of a log query: a line filter, a parser, a label filter, drop, keep, label_format or line_format. String is the stage as
// a query has it, with its leading operator.
type Stage interface {
	String() string
	// run does its work on the line that p is at, and reports whether the line is kept.
	run(p *Pipeline) bool
}

// Pipeline runs the stages of a log query over lines. It keeps buffers, so it is not for concurrent use.
type Pipeline struct {
	// Pause, if not nil, is called about every hundredth of a second that regular expressions work, also in the middle of a
	// line: a long one may take them minutes. When it reports false, that line and all others are left out.
	Pause func() bool

	stages  []Stage
	worked  int  // by regular expressions since the last pause, at most, in steps
	stopped bool // Pause has said so

	line  string
	base  []Label // what the line came with: streams of the stream, then its metadata
	count int     // how many of base are the stream's
	gone  []bool  // of base, what was dropped; shorter than base when nothing was
	taken []taken // from the line, in their order
	bytes int     // of taken
	fault string  // __error__
	why   string  // __error_details__

	names flattener
	// Buffers of what Process and Categorize give.
	out, joined []Label
}

// taken is a label from the line. One that was dropped again stays as gone, since no later parser takes it a second time.
type taken struct {
	Label
	gone bool
}

// Labels are the labels of a line by where they come from.
type Labels struct {
	Stream   []Label // of its stream
	Metadata []Label // stored beside it
	Parsed   []Label // taken from it by the stages, __error__ and __error_details__ last
}

// Pipeline makes a pipeline of the query's stages.
func (e *LogExpr) Pipeline() *Pipeline {
	p := &Pipeline{}
	for _, s := range e.Stages {
		if !idle(s) {
			p.stages = append(p.stages, s)
		}
	}
	return p
}

// Process runs the stages over a line with its labels, whose names must differ and which it does not change. It gives the
// line and the labels as the stages left them, and false for a line that they leave out. Labels that were there come first,
// in their order, then those taken from the line. The labels are valid until the next call; a line whose labels no stage
// changed has the argument itself.
func (p *Pipeline) Process(line string, labels []Label) (string, []Label, bool) {
	if len(p.stages) == 0 {
		return line, labels, true
	}
	p.begin(line, labels, len(labels))
	if !p.run() {
		return "", nil, false
	}
	if !p.changed() {
		return p.line, labels, true
	}
	p.out = p.appendKept(p.out[:0], 0, len(labels))
	p.out = p.appendTaken(p.out)
	return p.line, p.out, true
}

// Categorize is Process with the labels kept apart, for answers that tell where a label comes from. Metadata under a name that
// the stream has gets another, ending in _extracted, as in Loki.
func (p *Pipeline) Categorize(line string, stream, metadata []Label) (string, Labels, bool) {
	p.joined = append(append(p.joined[:0], stream...), metadata...)
	p.begin(line, p.joined, len(stream))
	for i := p.count; i < len(p.base); i++ {
		if m := &p.base[i]; find(stream, m.Name) >= 0 {
			m.Name += extracted
		}
	}
	if !p.run() {
		return "", Labels{}, false
	}
	// One buffer for all three, so the parts are cut only when it has its final place.
	p.out = p.appendKept(p.out[:0], 0, p.count)
	streams := len(p.out)
	p.out = p.appendKept(p.out, p.count, len(p.base))
	kept := len(p.out)
	if p.changed() {
		p.out = p.appendTaken(p.out)
	}
	return p.line, Labels{Stream: p.out[:streams:streams], Metadata: p.out[streams:kept:kept], Parsed: p.out[kept:]}, true
}

func (p *Pipeline) begin(line string, labels []Label, streams int) {
	p.line, p.base, p.count = line, labels, streams
	p.gone, p.taken, p.bytes = p.gone[:0], p.taken[:0], 0
	p.fault, p.why = "", ""
}

func (p *Pipeline) run() bool {
	for _, s := range p.stages {
		if !s.run(p) || p.stopped {
			return false
		}
	}
	return true
}

// changed reports whether the labels are other than those the line came with. Details alone are nothing, as in Loki.
func (p *Pipeline) changed() bool { return len(p.gone) > 0 || len(p.taken) > 0 || p.fault != "" }

func (p *Pipeline) appendKept(out []Label, from, to int) []Label {
	for i := from; i < to; i++ {
		if len(p.gone) == 0 || !p.gone[i] {
			out = append(out, p.base[i])
		}
	}
	return out
}

func (p *Pipeline) appendTaken(out []Label) []Label {
	for _, t := range p.taken {
		if !t.gone {
			out = append(out, t.Label)
		}
	}
	if p.fault != "" {
		out = append(out, Label{errorLabel, p.fault})
	}
	if p.why != "" {
		out = append(out, Label{detailsLabel, p.why})
	}
	return out
}

func find(labels []Label, name string) int {
	for i := range labels {
		if labels[i].Name == name {
			return i
		}
	}
	return -1
}

// get is the value of a label as the stages so far left it.
func (p *Pipeline) get(name string) (string, bool) {
	for i := range p.taken {
		if t := &p.taken[i]; t.Name == name && !t.gone {
			return t.Value, true
		}
	}
	if i := find(p.base, name); i >= 0 && (len(p.gone) == 0 || !p.gone[i]) {
		return p.base[i].Value, p.base[i].Value != ""
	}
	return "", false
}

// clashes reports whether a label from the line must be called otherwise. A stream's label that was dropped still counts,
// dropped metadata does not, as in Loki.
func (p *Pipeline) clashes(name string) bool {
	i := find(p.base, name)
	return i >= 0 && (i < p.count || len(p.gone) == 0 || !p.gone[i])
}

// take adds a label from the line under the name that is free for it; the first of a name stays. It reports whether there was
// room.
func (p *Pipeline) take(name, value string) bool {
	if reserved(name) {
		return true
	}
	if p.clashes(name) {
		name = p.names.extracted(name)
	}
	for i := range p.taken {
		if p.taken[i].Name == name {
			return true
		}
	}
	return p.add(name, value)
}

// reserved are names that no line may give: what stands in them is ours to say.
func reserved(name string) bool { return name == errorLabel || name == detailsLabel }

// set gives a label from the line its value, whether it has one or not, and hides what the line came with. It reports whether
// there was room.
func (p *Pipeline) set(name, value string) bool {
	if reserved(name) {
		return true
	}
	for i := range p.taken {
		t := &p.taken[i]
		if t.Name != name {
			continue
		}
		if p.bytes += len(value) - len(t.Value); p.bytes > maxFieldBytes {
			p.bytes -= len(value) - len(t.Value)
			return false
		}
		t.Value, t.gone = value, false
		return true
	}
	if i := find(p.base, name); i >= 0 {
		p.hide(i)
	}
	return p.add(name, value)
}

func (p *Pipeline) add(name, value string) bool {
	if len(p.taken) >= maxFields || p.bytes+len(name)+len(value) > maxFieldBytes {
		return false
	}
	p.bytes += len(name) + len(value)
	p.taken = append(p.taken, taken{Label: Label{name, value}})
	return true
}

func (p *Pipeline) hide(i int) {
	if len(p.gone) == 0 {
		if cap(p.gone) < len(p.base) {
			p.gone = make([]bool, len(p.base))
		}
		p.gone = p.gone[:len(p.base)]
		clear(p.gone)
	}
	p.gone[i] = true
}

// drop removes a label.
func (p *Pipeline) drop(name string) {
	for i := range p.taken {
		if p.taken[i].Name == name {
			p.taken[i].gone = true
		}
	}
	for i := range p.base {
		if p.base[i].Name == name {
			p.hide(i)
		}
	}
}

// failed notes that a stage could not do its work on the line.
func (p *Pipeline) failed(fault, why string) { p.fault, p.why = fault, why }

// idle reports whether a stage lets every line through and changes nothing: the empty filter |= "".
func idle(s Stage) bool {
	f, ok := s.(*lineFilter)
	return ok && f.op == "|=" && f.has("")
}

// LineContains gives texts that every line which the pipeline lets through must hold as it is stored: those of the filters |=
// before any line_format. Empty filters and those with alternatives are not among them.
func (e *LogExpr) LineContains() []string {
	var all []string
	for _, s := range e.Stages {
		if _, changes := s.(*lineStage); changes {
			break
		}
		if f, ok := s.(*lineFilter); ok && f.op == "|=" && len(f.tests) == 1 && f.tests[0].text != "" {
			all = append(all, f.tests[0].text)
		}
	}
	return all
}

// Simple reports whether the stages do nothing at all: there are none, or empty filters, or such as drop __error__ before any
// parser. Then the matchers say all there is.
func (e *LogExpr) Simple() bool { return e.simple(false) }

// OnlyContains reports whether the stages do nothing but what LineContains says: a line is let through if it holds all of
// those texts, and labels stay as they are.
func (e *LogExpr) OnlyContains() bool { return e.simple(true) }

func (e *LogExpr) simple(filters bool) bool {
	for _, s := range e.Stages {
		switch s := s.(type) {
		case *lineFilter:
			if !idle(s) && (!filters || s.op != "|=" || len(s.tests) > 1) {
				return false
			}
		case *dropStage:
			for _, pick := range s.picks {
				if !reserved(pick.name) {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}
