package loki

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
)

// kind of a token.
type kind uint8

const (
	endOfQuery kind = iota
	word            // a name or keyword
	text            // a quoted string
	number          // 1.5
	quantity        // a number with a unit: 10ms, 1KB
	within          // what stands in brackets: 5m of [5m]
	flag            // --strict
	symbol          // punctuation and operators
)

// token is a part of a query. raw is how it stands there, value what it means: a string without its quotes.
type token struct {
	kind       kind
	raw, value string
	at         int // offset in the query
}

// what describes the token for a sentence.
func (t token) what() string {
	switch t.kind {
	case endOfQuery:
		return "the end of the query"
	case text:
		return "the string " + clip(t.raw) // it has its own quotes
	}
	return quoted(t.raw)
}

// maxQuoted is how much of a query an error quotes at most.
const maxQuoted = 40

func quoted(s string) string { return strconv.Quote(clip(s)) }

func clip(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// symbols are tried in this order, so the longer ones come first.
var symbols = [...]string{
	"|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=",
	"{", "}", "(", ")", ",", "=", "|", ">", "<", "+", "-", "*", "/", "%", "^", ".",
}

// lexer cuts a query into tokens.
type lexer struct {
	query string
	pos   int
}

// fault is an error at an offset of the query: one sentence that begins with line and column, both counted from 1.
func (l *lexer) fault(at int, format string, args ...any) error {
	before := l.query[:min(at, len(l.query))]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return fmt.Errorf("%w query: line %d, column %d: %s", logbridge.ErrInvalid, line, column, fmt.Sprintf(format, args...))
}

// next is the next token.
func (l *lexer) next() (token, error) {
	l.space()
	start := l.pos
	if start == len(l.query) {
		return token{kind: endOfQuery, at: start}, nil
	}
	switch c := l.query[start]; {
	case c == '"' || c == '`':
		return l.text(c)
	case c == '[':
		return l.within()
	case isDigit(c) || c == '.' && start+1 < len(l.query) && isDigit(l.query[start+1]):
		return l.number()
	case c == '-' && strings.HasPrefix(l.query[start:], "--"):
		l.pos += 2
		l.while(func(r rune) bool { return r == '-' || unicode.IsLetter(r) })
		return l.token(flag, start), nil
	}
	if l.while(isNameRune); l.pos > start {
		return l.token(word, start), nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(l.query[start:], s) {
			l.pos += len(s)
			return l.token(symbol, start), nil
		}
	}
	r, size := utf8.DecodeRuneInString(l.query[start:])
	if r == '\'' {
		return token{}, l.fault(start, `a string is written in "…" or back-ticks, not in '…'`)
	}
	return token{}, l.fault(start, "%s has no meaning here", quoted(l.query[start:start+size]))
}

func (l *lexer) token(k kind, start int) token {
	s := l.query[start:l.pos]
	return token{kind: k, raw: s, value: s, at: start}
}

// space passes over white space and comments.
func (l *lexer) space() {
	for {
		l.while(unicode.IsSpace)
		if l.pos == len(l.query) || l.query[l.pos] != '#' {
			return
		}
		l.while(func(r rune) bool { return r != '\n' })
	}
}

func (l *lexer) while(ok func(rune) bool) {
	for l.pos < len(l.query) {
		r, size := utf8.DecodeRuneInString(l.query[l.pos:])
		if !ok(r) {
			return
		}
		l.pos += size
	}
}

// text reads a string: with the escapes of Go between quotes, as it is between back-ticks.
func (l *lexer) text(quote byte) (token, error) {
	start := l.pos
	end := start + 1
	for ; end < len(l.query) && l.query[end] != quote; end++ {
		switch c := l.query[end]; {
		case quote == '`':
		case c == '\n':
			return token{}, l.fault(start, "the string is not closed at the end of its line")
		case c == '\\':
			end++
		}
	}
	if end >= len(l.query) {
		return token{}, l.fault(start, "the string is not closed")
	}
	l.pos = end + 1
	t := l.token(text, start)
	if !utf8.ValidString(t.raw) {
		return token{}, l.fault(start, "the string is not valid UTF-8")
	}
	t.value = t.raw[1 : len(t.raw)-1]
	if quote == '"' {
		value, err := strconv.Unquote(t.raw)
		if err != nil {
			return token{}, l.fault(start, "the string %s has an escape that there is not; in back-ticks a backslash is nothing special", clip(t.raw))
		}
		t.value = value
	}
	return t, nil
}

// within reads a range in brackets.
func (l *lexer) within() (token, error) {
	start := l.pos
	n := strings.IndexByte(l.query[start:], ']')
	if n < 0 {
		return token{}, l.fault(start, "the range is not closed: expected a duration and ']'")
	}
	l.pos += n + 1
	t := l.token(within, start)
	t.value = t.raw[1 : len(t.raw)-1]
	return t, nil
}

// number reads a number and the unit that follows it at once.
func (l *lexer) number() (token, error) {
	start := l.pos
	l.digits()
	if l.pos < len(l.query) && l.query[l.pos]|0x20 == 'e' {
		mark := l.pos
		l.pos++
		if l.pos < len(l.query) && (l.query[l.pos] == '+' || l.query[l.pos] == '-') {
			l.pos++
		}
		before := l.pos
		if l.digits(); l.pos == before {
			l.pos = mark
		}
	}
	end := l.pos
	l.while(func(r rune) bool { return isNameRune(r) || r == '.' })
	t := l.token(number, start)
	if l.pos > end {
		t.kind = quantity
	}
	return t, nil
}

func (l *lexer) digits() {
	for l.pos < len(l.query) && (isDigit(l.query[l.pos]) || l.query[l.pos] == '.') {
		l.pos++
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isNameRune allows letters of any script where a name may stand, so that an error names the whole word.
func isNameRune(r rune) bool {
	return r == '_' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// isName reports whether s may be the name of a label.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}
