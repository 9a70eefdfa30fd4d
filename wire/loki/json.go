package loki

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/logbridge/logbridge/wire/loose"
)

var (
	errFields = errors.New("the line has more fields than are taken from one")
	// errAll ends the reading of a line from which all is taken that was asked for.
	errAll = errors.New("no more is asked for")
)

// field is an argument of a parser: the label that takes what stands at the path.
type field struct {
	label, expr string
	path        []step
}

// step of a path: a name in an object, or with array set an index.
type step struct {
	name  string
	index int
	array bool
}

func joinFields(fields []field) string {
	s := ""
	for i, f := range fields {
		if i > 0 {
			s += ","
		}
		s += " " + f.label + "=" + strconv.Quote(f.expr)
	}
	return s
}

// jsonStage is | json, with or without arguments. Without, every string, number and boolean becomes a label, whose name is its
// path joined with underscores; arrays and null are passed over. A line that is no JSON object, or not to its end, is kept
// with what could be read, and has __error__.
type jsonStage struct{ fields []field }

func (s *jsonStage) String() string { return "| json" + joinFields(s.fields) }

func (s *jsonStage) run(p *Pipeline) bool {
	if len(s.fields) > 0 {
		s.pick(p)
		return true
	}
	in := loose.NewScanner(p.line)
	p.names.prefix = p.names.prefix[:0]
	p.object(&in)
	if err := in.Err(); err != nil {
		p.failed(jsonFault, err.Error())
	}
	return true
}

// object takes the members of an object.
func (p *Pipeline) object(in *loose.Scanner) {
	for in.Enter('{'); in.Next(); {
		key := in.Key()
		mark := len(p.names.prefix)
		switch in.Peek() {
		case '{':
			p.names.push(key)
			p.object(in)
		case '[', 'n', 0:
			in.Raw()
		default:
			value := in.Text()
			p.names.push(key)
			if name := p.names.name(); name != "" && in.Err() == nil && !p.take(name, clean(value)) {
				in.Fail(errFields)
			}
		}
		p.names.prefix = p.names.prefix[:mark]
	}
}

// clean replaces what stands for an invalid byte, which Loki's labels may not hold, by a space.
func clean(value string) string {
	return strings.ReplaceAll(value, string(utf8.RuneError), " ")
}

// flattener makes names of labels from the keys of a line. Lines of a kind have the same keys, so it keeps their names.
type flattener struct {
	prefix []byte // the path so far, as a name
	known  map[string]string
}

// Bounds on the names that a flattener keeps.
const (
	maxKnown     = 1024
	maxKnownName = 128
)

// push adds a key to the path: every character that names may not have becomes an underscore, and so does what joins two keys. Keys
// of space alone count for nothing.
func (f *flattener) push(key string) {
	key = strings.TrimSpace(key)
	if key == "" {
		return
	}
	if len(f.prefix) > 0 || isDigit(key[0]) {
		f.prefix = append(f.prefix, '_')
	}
	for _, r := range key {
		if r >= utf8.RuneSelf || r != '_' && !isDigit(byte(r)) && (byte(r)|0x20 < 'a' || byte(r)|0x20 > 'z') {
			r = '_'
		}
		f.prefix = append(f.prefix, byte(r))
	}
}

// name is the path as a name, "" if nothing is left of it.
func (f *flattener) name() string { return f.keep(f.prefix) }

// extracted is the name that a label has when its own is taken.
func (f *flattener) extracted(name string) string {
	mark := len(f.prefix)
	f.prefix = append(append(f.prefix, name...), extracted...)
	name = f.keep(f.prefix[mark:])
	f.prefix = f.prefix[:mark]
	return name
}

// keep is a name as a string, one that it has already if there is.
func (f *flattener) keep(text []byte) string {
	if name, ok := f.known[string(text)]; ok {
		return name
	}
	name := string(text)
	if len(f.known) < maxKnown && len(name) <= maxKnownName {
		if f.known == nil {
			f.known = make(map[string]string)
		}
		f.known[name] = name
	}
	return name
}

// fieldSet is a set of the arguments of a stage.
type fieldSet [maxFields / 64]uint64

func (s *fieldSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *fieldSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// pick takes what the arguments ask for. An argument that is not found becomes an empty label, as in Loki.
func (s *jsonStage) pick(p *Pipeline) {
	if p.line == "" {
		return
	}
	in := loose.NewScanner(p.line)
	if c := p.line[0]; c != '{' && c != '[' && c != '"' {
		p.fault = jsonFault
		return
	}
	var all, found fieldSet
	for i := range s.fields {
		all.add(i)
	}
	s.descend(p, &in, 0, all, &found)
	if in.Err() == errFields { // what is no JSON behind the fields asked for is of no interest, as in Loki
		p.failed(jsonFault, errFields.Error())
	}
	for i, f := range s.fields {
		if _, ok := p.get(f.label); !ok && !found.has(i) {
			p.set(f.label, "")
		}
	}
}

// descend goes through the next value for those fields of live whose path leads into it; depth steps of them are gone.
func (s *jsonStage) descend(p *Pipeline, in *loose.Scanner, depth int, live fieldSet, found *fieldSet) {
	kind := in.Peek()
	if kind != '{' && kind != '[' {
		in.Raw()
		return
	}
	index := 0
	for in.Enter(kind); in.Next(); index++ {
		key := ""
		if kind == '{' {
			key = in.Key()
		}
		var here, below fieldSet
		any, deeper := false, false
		for i := range s.fields {
			if !live.has(i) || found.has(i) {
				continue
			}
			path := s.fields[i].path
			if at := path[depth]; at.array != (kind == '[') || at.array && at.index != index || !at.array && at.name != key {
				continue
			}
			any = true
			if len(path) == depth+1 {
				here.add(i)
			} else {
				below.add(i)
				deeper = true
			}
		}
		switch {
		case !any:
			in.Raw()
		case here == (fieldSet{}):
			s.descend(p, in, depth+1, below, found)
		default:
			raw := s.value(p, in, here, found)
			if deeper {
				inner := loose.NewScanner(raw)
				s.descend(p, &inner, depth+1, below, found)
			}
		}
	}
}

// value takes the next value for all fields of here, and gives its JSON.
func (s *jsonStage) value(p *Pipeline, in *loose.Scanner, here fieldSet, found *fieldSet) string {
	kind := in.Peek()
	raw := in.Raw()
	if err := in.Err(); err != nil {
		p.failed(jsonFault, err.Error())
		return ""
	}
	value := raw
	switch kind {
	case '"':
		text := loose.NewScanner(raw)
		value = clean(text.String())
	case 'n':
		value = ""
	}
	rest := false
	for i := range s.fields {
		if here.has(i) {
			found.add(i)
			name := s.fields[i].label
			if p.clashes(name) {
				name += extracted
			}
			if !p.set(name, value) {
				in.Fail(errFields)
			}
		}
		rest = rest || !found.has(i)
	}
	if !rest {
		in.Fail(errAll)
	}
	return raw
}

// parsePath reads a path: names with dots between them, ["…"] for other names, [0] for an index.
func parsePath(expr string) ([]step, bool) {
	var path []step
	rest := strings.TrimSpace(expr)
	for rest != "" {
		if inside, ok := strings.CutPrefix(rest, "["); ok {
			s, after, ok := bracketed(inside)
			if !ok {
				return nil, false
			}
			path, rest = append(path, s), after
			continue
		}
		if len(path) > 0 {
			if rest[0] != '.' {
				return nil, false
			}
			rest = rest[1:]
		}
		n := 0
		for n < len(rest) && isName(rest[:n+1]) {
			n++
		}
		if n == 0 {
			return nil, false
		}
		path, rest = append(path, step{name: rest[:n]}), rest[n:]
	}
	return path, len(path) > 0
}

// bracketed reads the step that follows a [ and the ] behind it.
func bracketed(s string) (step, string, bool) {
	if quoted, ok := strings.CutPrefix(s, `"`); ok {
		name, after, ok := strings.Cut(quoted, `"]`)
		return step{name: name}, after, ok
	}
	digits, after, ok := strings.Cut(s, "]")
	n, err := strconv.ParseUint(digits, 10, 31)
	return step{index: int(n), array: true}, after, ok && err == nil
}
