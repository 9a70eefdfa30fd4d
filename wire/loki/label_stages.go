package loki

import "strings"

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
			if c.matcher == nil || c.matcher.Match(p.fault) {
				p.fault = ""
			}
		case detailsLabel:
			if c.matcher == nil || c.matcher.Match(p.why) {
				p.why = ""
			}
		default:
			if value, ok := p.get(c.name); ok && (c.matcher == nil || c.matcher.Match(value)) {
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
		if t := &p.taken[i]; !s.keeps(t.Label) {
			t.gone = true
		}
	}
	for i, l := range p.base {
		if !s.keeps(l) {
			p.hide(i)
		}
	}
	return true
}

func (s *keepStage) keeps(l Label) bool {
	for _, c := range s.picks {
		if c.name == l.Name && (c.matcher == nil || c.matcher.Match(l.Value)) {
			return true
		}
	}
	return false
}

func (s *keepStage) String() string { return "| keep " + joinPicks(s.picks) }

// renameStage is | label_format new=old.
type renameStage struct{ renames []renaming }

type renaming struct{ to, from string }

func (s *renameStage) run(p *Pipeline) bool {
	for _, r := range s.renames {
		if value, ok := p.get(r.from); ok {
			p.set(r.to, value) // there is room: what is renamed is not longer than before, but for its name in the query
			p.drop(r.from)
		}
	}
	return true
}

func (s *renameStage) String() string {
	var parts []string
	for _, r := range s.renames {
		parts = append(parts, r.to+"="+r.from)
	}
	return "| label_format " + strings.Join(parts, ", ")
}
