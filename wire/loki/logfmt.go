package loki

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// logfmtStage is | logfmt, with or without arguments: every key=value becomes a label. What is not logfmt is passed over, or with
// --strict ends the reading with __error__. A key without a value counts for nothing unless --keep-empty says so.
type logfmtStage struct {
	strict, keepEmpty bool
	fields            []field
}

func (s *logfmtStage) String() string {
	text := "| logfmt"
	if s.strict {
		text += " --strict"
	}
	if s.keepEmpty {
		text += " --keep-empty"
	}
	return text + joinFields(s.fields)
}

func (s *logfmtStage) run(p *Pipeline) bool {
	for _, f := range s.fields {
		if !p.clashes(f.label) {
			p.set(f.label, "")
		}
	}
	in := pairs{line: p.line}
	for in.more() {
		key, value, err := in.next()
		if err != nil && s.strict {
			p.failed(logfmtFault, err.Error())
			return true
		}
		if err != nil {
			continue
		}
		p.names.prefix = p.names.prefix[:0]
		p.names.push(key)
		name := p.names.name()
		if name == "" {
			continue
		}
		if !s.pair(p, name, value) {
			p.failed(logfmtFault, errFields.Error())
			return true
		}
	}
	return true
}

// pair takes one pair, and reports whether there was room.
func (s *logfmtStage) pair(p *Pipeline, name, value string) bool {
	value = clean(value)
	if len(s.fields) == 0 {
		return value == "" && !s.keepEmpty || p.take(name, value)
	}
	for _, f := range s.fields {
		if f.expr == name {
			name = f.label
			break
		}
	}
	for _, f := range s.fields {
		if f.label != name {
			continue
		}
		if p.clashes(name) {
			return p.take(name, value)
		}
		return p.set(name, value)
	}
	return true
}

var errLogfmt = errors.New("not valid logfmt")

// pairs reads the pairs of a line one by one. It is not a module's decoder, since those stop at the first fault, and Loki goes
// on behind the next space.
type pairs struct {
	line string
	pos  int
}

// more reports whether anything but space is left.
func (in *pairs) more() bool {
	for in.pos < len(in.line) && in.line[in.pos] <= ' ' {
		in.pos++
	}
	return in.pos < len(in.line)
}

// next reads a key and its value, which is empty if there is none. After an error the rest of the word is passed over.
func (in *pairs) next() (key, value string, err error) {
	start := in.pos
	for in.pos < len(in.line) && in.line[in.pos] > ' ' && in.line[in.pos] != '=' && in.line[in.pos] != '"' {
		in.pos++
	}
	key = in.line[start:in.pos]
	bad := key == "" || strings.ContainsRune(key, utf8.RuneError)
	if !in.at('=') && !in.at('"') && !bad {
		return key, "", nil
	}
	if bad || !in.at('=') {
		in.skip()
		return "", "", errLogfmt
	}
	in.pos++
	if in.at('"') {
		value, err = in.quoted()
		return key, value, err
	}
	start = in.pos
	for in.pos < len(in.line) && in.line[in.pos] > ' ' {
		if in.at('=') || in.at('"') {
			in.skip()
			return "", "", errLogfmt
		}
		in.pos++
	}
	return key, in.line[start:in.pos], nil
}

func (in *pairs) at(c byte) bool { return in.pos < len(in.line) && in.line[in.pos] == c }

// skip goes to the next space.
func (in *pairs) skip() {
	for in.pos < len(in.line) && in.line[in.pos] > ' ' {
		in.pos++
	}
}

// quoted reads a value in quotes, in which a backslash escapes as in JSON.
func (in *pairs) quoted() (string, error) {
	start := in.pos
	escaped := false
	for in.pos++; in.pos < len(in.line); in.pos++ {
		switch in.line[in.pos] {
		case '\\':
			escaped = true
			in.pos++
		case '"':
			in.pos++
			raw := in.line[start:in.pos]
			if !escaped {
				return raw[1 : len(raw)-1], nil
			}
			value, err := jsontext.AppendUnquote(nil, raw)
			if err != nil {
				return "", errLogfmt
			}
			return string(value), nil
		}
	}
	in.pos = len(in.line)
	return "", errLogfmt
}
