package loki

import (
	"strconv"
	"strings"
)

// pick is a label of drop and keep: by its name, or only if its value matches.
type pick struct {
	name    string
	matcher *Matcher
}

func (c pick) String() string {
	if c.matcher != nil {
		return c.matcher.String()
	}
	return c.name
}

func joinPicks(picks []pick) string {
	var parts []string
	for _, c := range picks {
		parts = append(parts, c.String())
	}
	return strings.Join(parts, ", ")
}

// dropStage is | drop a, b="c".
type dropStage struct{ picks []pick }

func (s *dropStage) run(p *Pipeline) bool {
	for _, c := range s.picks {
		switch c.name {
		case errorLabel:
			if c.matcher == nil || c.matcher.match(p, p.fault) {
				p.fault = ""
			}
		case detailsLabel:
			if c.matcher == nil || c.matcher.match(p, p.why) {
				p.why = ""
			}
		default:
			if value, ok := p.get(c.name); ok && (c.matcher == nil || c.matcher.match(p, value)) {
				p.drop(c.name)
			}
		}
	}
	return true
}

func (s *dropStage) String() string { return "| drop " + joinPicks(s.picks) }

// keepStage is | keep a, b="c". What __error__ says stays.
type keepStage struct{ picks []pick }

func (s *keepStage) run(p *Pipeline) bool {
	for i := range p.taken {
		if t := &p.taken[i]; !s.keeps(p, t.Label) {
			t.gone = true
		}
	}
	for i, l := range p.base {
		if !s.keeps(p, l) {
			p.hide(i)
		}
	}
	return true
}

func (s *keepStage) keeps(p *Pipeline, l Label) bool {
	for _, c := range s.picks {
		if c.name == l.Name && (c.matcher == nil || c.matcher.match(p, l.Value)) {
			return true
		}
	}
	return false
}

func (s *keepStage) String() string { return "| keep " + joinPicks(s.picks) }

// formatStage is | label_format new=old, other="{{.template}}".
type formatStage struct{ formats []format }

// format makes label to of label from, which is then gone, or of a template.
type format struct {
	to, from string
	template *template
}

func (s *formatStage) run(p *Pipeline) bool {
	var filled []string
	for i, f := range s.formats {
		if f.template == nil {
			if value, ok := p.get(f.from); ok {
				s.set(p, f.to, value)
				p.drop(f.from)
			}
			continue
		}
		// All templates see the labels as they are before the first of them, as in Loki.
		if filled == nil && !s.fill(p, i, &filled) {
			return true
		}
		s.set(p, f.to, filled[i])
	}
	return true
}

// fill fills the templates from the i-th on.
func (s *formatStage) fill(p *Pipeline, i int, filled *[]string) bool {
	all := make([]string, len(s.formats))
	for ; i < len(s.formats); i++ {
		if t := s.formats[i].template; t != nil {
			var ok bool
			if all[i], ok = t.fill(p); !ok {
				p.failed(templateFault, "the template makes more of the line than a label holds")
				return false
			}
		}
	}
	*filled = all
	return true
}

func (s *formatStage) set(p *Pipeline, name, value string) {
	if !p.set(name, value) {
		p.failed(templateFault, errFields.Error())
	}
}

func (s *formatStage) String() string {
	var parts []string
	for _, f := range s.formats {
		if f.template != nil {
			parts = append(parts, f.to+"="+strconv.Quote(f.template.source))
		} else {
			parts = append(parts, f.to+"="+f.from)
		}
	}
	return "| label_format " + strings.Join(parts, ", ")
}
