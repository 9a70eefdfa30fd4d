package loki

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxProgram bounds the regular expressions of one query by the steps of the programs they become, since matching costs
// as many per byte. A list of a thousand device names needs about as many as it has characters.
const maxProgram = 20_000

// maxClasses bounds how often one expression names a class of Unicode (\p{…}), each of which may be kilobytes of ranges.
const maxClasses = 32

// pattern compiles a regular expression that must match the whole of a value, or any part of a line.
func (p *parser) pattern(expr string, whole bool) *pattern {
	if strings.Count(expr, `\p`)+strings.Count(expr, `\P`) > maxClasses {
		p.fail("the regular expression %s names more than %d classes", quoted(expr), maxClasses)
		return nil
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	var fault *syntax.Error
	if errors.As(err, &fault) {
		p.fail("the regular expression %s is not valid: %s", quoted(expr), fault.Code)
		return nil
	}
	if err != nil {
		p.fail("the regular expression %s is not valid", quoted(expr))
		return nil
	}
	n := steps(tree)
	if p.program -= n; p.program < 0 {
		p.fail("the regular expressions are too large")
		return nil
	}
	if whole {
		expr = "^(?s:" + expr + ")$"
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		p.fail("the regular expression %s is not valid", quoted(expr))
		return nil
	}
	return &pattern{re, n}
}

// steps is about how long the program of an expression is.
func steps(re *syntax.Regexp) int {
	const beyond = 2 * maxProgram
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+steps(sub), beyond)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n+len(re.Rune)/16, beyond)
}

// lineFilter is |=, !=, |~ or !~. The first and third may have several tests, of which one must hold.
type lineFilter struct {
	op    string
	tests []lineTest
}

// lineTest looks for text, or for what pattern describes.
type lineTest struct {
	text    string
	pattern *pattern
	// fold: pattern is this text in any case, all of it ASCII in lower case; unless beyond is set, nothing else matches.
	fold   string
	beyond bool
	// plain: pattern is just this text.
	plain bool
}

// lineTest makes a test of the string that the parser is at.
func (p *parser) lineTest(op string) lineTest {
	t := lineTest{text: p.tok.value}
	if op == "|=" || op == "!=" {
		return t
	}
	t.pattern = p.pattern(t.text, false)
	if t.pattern == nil {
		return t
	}
	if text, all := t.pattern.LiteralPrefix(); all && text == t.text {
		t.plain = true
	} else if text, ok := strings.CutPrefix(t.text, "(?i)"); ok && text != "" && regexp.QuoteMeta(text) == text && ascii(text) {
		t.fold = strings.ToLower(text)
		t.beyond = strings.ContainsAny(t.fold, "ks") // the Kelvin sign and the long s fold to them
	}
	return t
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (t *lineTest) holds(p *Pipeline) bool {
	line := p.line
	switch {
	case t.pattern == nil || t.plain:
		return strings.Contains(line, t.text)
	case t.fold != "" && (!t.beyond || ascii(line)):
		return containsFold(line, t.fold)
	}
	return t.pattern.in(p, line)
}

// containsFold reports whether s holds lower in any case.
func containsFold(s, lower string) bool {
	upper := lower[0]
	if upper >= 'a' && upper <= 'z' {
		upper -= 'a' - 'A'
	}
	for i := 0; i+len(lower) <= len(s); i++ {
		if (s[i] == lower[0] || s[i] == upper) && strings.EqualFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

func (f *lineFilter) has(text string) bool {
	for i := range f.tests {
		if f.tests[i].text == text {
			return true
		}
	}
	return false
}

func (f *lineFilter) run(p *Pipeline) bool {
	for i := range f.tests {
		if f.tests[i].holds(p) {
			return f.op[0] == '|'
		}
	}
	return f.op[0] != '|'
}

func (f *lineFilter) String() string {
	s := f.op + " "
	for i, t := range f.tests {
		if i > 0 {
			s += " or "
		}
		s += strconv.Quote(t.text)
	}
	return s
}
