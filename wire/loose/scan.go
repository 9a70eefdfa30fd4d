package loose

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting, and with it the recursion of Raw. Fields of log events are nested a handful deep; what is
// deeper is not a log.
const maxDepth = 64

// ErrSyntax: the input is not the JSON that was asked for. It carries nothing of the input, which may be secret.
var ErrSyntax = errors.New("not valid JSON")

// ErrDepth: the input is nested too deep.
var ErrDepth = errors.New("JSON is nested too deep")

// Scanner reads one JSON text front to back. After a fault all its methods return zero values and Err gives the first
// fault, so a caller checks once, at the end. It is more lenient than the standard in two points that real clients
// need: control characters in strings and unknown escapes are taken as they are.
//
//	for s.Enter('{'); s.Next(); {
//		switch key := s.Key(); key {
//		case "name":
//			name = s.Text()
//		default:
//			s.Raw()
//		}
//	}
type Scanner struct {
	text  string
	pos   int
	err   error
	depth int
	// inObject has bit d set when the container at depth d is an object.
	inObject uint64
	// first: the container was just entered, no element has been read.
	first bool
	// decoded holds the latest strings that needed unescaping.
	decoded strings.Builder
}

// NewScanner reads text, which must be valid UTF-8 (Repair) for the strings handed out to be so.
func NewScanner(text string) Scanner { return Scanner{text: text} }

// Err is the first fault.
func (s *Scanner) Err() error { return s.err }

// Fail makes err the fault unless there is one already.
func (s *Scanner) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.pos = len(s.text)
}

func (s *Scanner) syntax() { s.Fail(ErrSyntax) }

// Peek is the first character of what comes next, 0 at the end: '{', '[', '"', a digit or '-' of a number, 't', 'f', 'n'.
func (s *Scanner) Peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// Enter begins an object ('{') or an array ('['). Anything else there is a fault.
func (s *Scanner) Enter(open byte) {
	if s.Peek() != open {
		s.syntax()
		return
	}
	if s.depth == maxDepth {
		s.Fail(ErrDepth)
		return
	}
	s.pos++
	if open == '{' {
		s.inObject |= 1 << s.depth
	} else {
		s.inObject &^= 1 << s.depth
	}
	s.depth++
	s.first = true
}

// Next reports whether the container that was entered last has a further element, and leaves the container when not.
// Between two calls the element must be consumed: Key and a value in an object, a value in an array.
func (s *Scanner) Next() bool {
	c := s.Peek()
	if s.err != nil || s.depth == 0 {
		return false
	}
	end := byte(']')
	if s.inObject&(1<<(s.depth-1)) != 0 {
		end = '}'
	}
	switch {
	case c == end:
		s.pos++
		s.depth--
		s.first = false
		return false
	case s.first:
		s.first = false
		return true
	case c == ',':
		s.pos++
		return true
	}
	s.syntax()
	return false
}

// Key is the name of the next member.
func (s *Scanner) Key() string {
	key := s.String()
	if s.Peek() != ':' {
		s.syntax()
		return ""
	}
	s.pos++
	return key
}

// String is the next value, which must be a string, decoded.
func (s *Scanner) String() string {
	raw, escaped := s.rawString()
	if !escaped {
		return raw
	}
	if s.decoded.Cap()-s.decoded.Len() < len(raw) { // decoding never makes a string longer
		s.nextChunk(len(raw))
	}
	start := s.decoded.Len()
	unescape(&s.decoded, raw)
	return s.decoded.String()[start:]
}

// nextChunk makes room for decoded strings: twice as much each time, but not more than can still come. The full chunk lives
// on in the strings that were taken from it.
func (s *Scanner) nextChunk(least int) {
	const first = 256
	size := min(max(first, 2*s.decoded.Cap()), least+len(s.text)-s.pos)
	s.decoded.Reset()
	s.decoded.Grow(max(least, size))
}

// Text is the next value as text: a string decoded, anything else as the JSON that was sent.
func (s *Scanner) Text() string {
	if s.Peek() == '"' {
		return s.String()
	}
	return s.Raw()
}

// Optional is Text, but nothing for null.
func (s *Scanner) Optional() string {
	if s.Peek() == 'n' {
		s.Raw()
		return ""
	}
	return s.Text()
}

// Raw consumes the next value, whatever it is, and gives it as it was sent.
func (s *Scanner) Raw() string {
	first := s.Peek()
	start := s.pos
	switch first {
	case '"':
		s.rawString()
	case '{':
		for s.Enter('{'); s.Next(); s.Raw() {
			s.rawString()
			if s.Peek() != ':' {
				s.syntax()
			} else {
				s.pos++
			}
		}
	case '[':
		for s.Enter('['); s.Next(); {
			s.Raw()
		}
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
	if s.err != nil {
		return ""
	}
	return s.text[start:s.pos]
}

// End checks that nothing but space follows.
func (s *Scanner) End() error {
	if s.Peek() != 0 || s.depth != 0 {
		s.syntax()
	}
	return s.err
}

func (s *Scanner) literal(word string) {
	if !strings.HasPrefix(s.text[s.pos:], word) {
		s.syntax()
		return
	}
	s.pos += len(word)
}

// number takes a number of the standard's form.
func (s *Scanner) number() {
	s.skipByte('-')
	if !s.skipByte('0') && s.skipDigits() == 0 {
		s.syntax()
		return
	}
	if s.skipByte('.') && s.skipDigits() == 0 {
		s.syntax()
		return
	}
	if s.skipByte('e') || s.skipByte('E') {
		if !s.skipByte('+') {
			s.skipByte('-')
		}
		if s.skipDigits() == 0 {
			s.syntax()
		}
	}
}

func (s *Scanner) skipByte(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *Scanner) skipDigits() (n int) {
	for s.pos < len(s.text) && s.text[s.pos] >= '0' && s.text[s.pos] <= '9' {
		s.pos++
		n++
	}
	return n
}

// shortString is how far rawString looks byte by byte, which for most keys and values is quicker than two searches.
const shortString = 16

// rawString consumes a string and gives what stands between its quotes.
func (s *Scanner) rawString() (raw string, escaped bool) {
	if s.Peek() != '"' {
		s.syntax()
		return "", false
	}
	rest := s.text[s.pos+1:]
	i := 0
	for ; i < len(rest) && i < shortString && rest[i] != '\\'; i++ {
		if rest[i] == '"' {
			s.pos += i + 2
			return rest[:i], false
		}
	}
	n := strings.IndexByte(rest[i:], '"')
	if n < 0 {
		s.syntax()
		return "", false
	}
	if strings.IndexByte(rest[i:i+n], '\\') < 0 {
		s.pos += i + n + 2
		return rest[:i+n], false
	}
	for ; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			s.pos += i + 2
			return rest[:i], true
		}
	}
	s.syntax()
	return "", false
}

// unescape appends raw to b with its escapes replaced. Half a surrogate pair becomes U+FFFD.
func unescape(b *strings.Builder, raw string) {
	for {
		n := strings.IndexByte(raw, '\\')
		if n < 0 {
			b.WriteString(raw)
			return
		}
		b.WriteString(raw[:n])
		raw = raw[n+1:]
		if raw[0] == 'u' {
			r, used := unicodeEscape(raw[1:])
			if used > 0 {
				b.WriteRune(r)
				raw = raw[1+used:]
				continue
			}
		}
		if c := simpleEscape(raw[0]); c != 0 {
			b.WriteByte(c)
			raw = raw[1:]
			continue
		}
		b.WriteByte('\\') // and what follows as it is: no escape that we know
	}
}

func simpleEscape(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

// unicodeEscape decodes what follows \u: four digits, or twelve characters of a surrogate pair. used is 0 when there
// are no four digits.
func unicodeEscape(s string) (r rune, used int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	const high, low, end = 0xd800, 0xdc00, 0xe000
	if r < high || r >= end {
		return r, 4
	}
	if r < low && len(s) >= 10 && s[4] == '\\' && s[5] == 'u' {
		if r2, ok := hex4(s[6:]); ok && r2 >= low && r2 < end {
			return (r-high)<<10 | (r2 - low) + 0x10000, 10
		}
	}
	return utf8.RuneError, 4
}

func hex4(s string) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for i := range 4 {
		c := rune(s[i])
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | c
	}
	return r, true
}
