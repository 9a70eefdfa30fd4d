package loki

import (
	"errors"
	"strconv"
	"strings"
)

// templateFault is __error__ when a template makes too much of a line.
const templateFault = "TemplateFormatErr"

// maxFormatted bounds what a template makes of one line: it may name a long label any number of times.
const maxFormatted = 256 << 10

// lineName is what a template calls the line itself.
const lineName = "__line__"

// template is text with labels in it: {{.label}} and {{__line__}}. Loki has the whole of Go's templates and some hundred functions;
// what people type to read a line by its fields is this.
type template struct {
	source string
	parts  []part
}

// part of a template: text, then the value of label unless that is empty.
type part struct{ text, label string }

var errTemplate = errors.New("not a template")

func parseTemplate(source string) (template, error) {
	t := template{source: source}
	for rest := source; rest != ""; {
		before, after, found := strings.Cut(rest, "{{")
		if !found {
			t.parts = append(t.parts, part{text: rest})
			break
		}
		inside, next, closed := strings.Cut(after, "}}")
		name := strings.TrimSpace(inside)
		label, dotted := strings.CutPrefix(name, ".")
		if !closed || name != lineName && (!dotted || !isName(label)) {
			return template{}, errTemplate
		}
		t.parts = append(t.parts, part{text: before, label: label})
		rest = next
	}
	return t, nil
}

// fill gives the text with the labels that the line has now; false if it is too long. A label that is not there is empty.
func (t *template) fill(p *Pipeline) (string, bool) {
	if len(t.parts) == 1 && t.parts[0].text == "" {
		return p.named(t.parts[0].label), true // no longer than what is there
	}
	var b strings.Builder
	for _, part := range t.parts {
		value := ""
		if part.label != "" {
			value = p.named(part.label)
		}
		if b.Len()+len(part.text)+len(value) > maxFormatted {
			return "", false
		}
		b.WriteString(part.text)
		b.WriteString(value)
	}
	return b.String(), true
}

// named is what a template means by a name.
func (p *Pipeline) named(name string) string {
	switch name {
	case lineName:
		return p.line
	case errorLabel:
		return p.fault
	case detailsLabel:
		return p.why
	}
	value, _ := p.get(name)
	return value
}

// template reads the template that the parser is at.
func (p *parser) template() template {
	t, err := parseTemplate(p.tok.value)
	if err != nil {
		p.fail("the template %s is not supported here: expected text with {{.label}} or {{__line__}} in it", clip(p.tok.raw))
	}
	p.advance()
	return t
}

// lineStage is | line_format "{{.label}}", which puts another text in the place of the line.
type lineStage struct{ template template }

func (s *lineStage) run(p *Pipeline) bool {
	line, ok := s.template.fill(p)
	if !ok {
		p.failed(templateFault, "the template makes more of the line than is shown of one")
		return true
	}
	p.line = line
	return true
}

func (s *lineStage) String() string { return "| line_format " + strconv.Quote(s.template.source) }
