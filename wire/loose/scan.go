package loose

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds nesting. Fields of log events are nested a handful deep; what is deeper is not a log.
const maxDepth = 64

// ErrSyntax: the input is not the JSON that was asked for. It carries nothing of the input, which may be secret.
var ErrSyntax = errors.New("not valid JSON")

// ErrDepth: the input is nested too deep.
var ErrDepth = errors.New("JSON is nested too deep")

// Scanner reads one JSON text front to back: the tokens of jsontext, handed out as parts of one input string. After a fault
// all its methods return zero values and Err gives the first fault, so a caller checks once, at the end. It is more
// lenient than the standard in what real clients need: control characters in strings, unknown escapes and half surrogate
// pairs do not make it refuse a text, and a name may occur twice in an object.
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
	plain bool     // text has no backslash
	in    *decoder // nil after End
	seen  byte     // what the last Next saw
	err   error
}

// decoder is what is used again by the next Scanner: nothing that a Scanner hands out lies in it.
type decoder struct {
	jsontext.Decoder
	input bytes.Buffer // a jsontext.Decoder reads this type where its bytes lie
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// scan reads input, whose bytes are those of text.
func scan(text string, input []byte) Scanner {
	in := decoders.Get().(*decoder)
	in.input = *bytes.NewBuffer(input)
	in.Reset(&in.input, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return Scanner{text: text, in: in}
}

// NewScanner reads text, which must be valid UTF-8 (Repair) for the strings handed out to be so.
func NewScanner(text string) Scanner {
	text = tolerate(text)
	return scan(text, []byte(text))
}

// ScanBody reads a body as it came: NewScanner of what Repair makes of it. The usual body, which needs neither repair nor tolerance, is
// copied once, and not to be changed as long as it is read.
func ScanBody(body []byte) Scanner {
	if !utf8.Valid(body) {
		return NewScanner(Repair(body))
	}
	text := string(body)
	if mayNeedTolerance(body) {
		return NewScanner(text)
	}
	s := scan(text, body)
	s.plain = true
	return s
}

// Err is the first fault.
func (s *Scanner) Err() error { return s.err }

// Fail makes err the fault unless there is one already.
func (s *Scanner) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Peek is the kind of what comes next: '{', '}', '[', ']', '"', '0' for a number, 't', 'f', 'n', and 0 at the end.
func (s *Scanner) Peek() byte {
	if s.err != nil || s.in == nil {
		return 0
	}
	return byte(s.in.PeekKind())
}

// Enter begins an object ('{') or an array ('['). Anything else there is a fault.
func (s *Scanner) Enter(open byte) {
	if s.Peek() != open {
		s.Fail(ErrSyntax)
		return
	}
	if s.in.StackDepth() == maxDepth {
		s.Fail(ErrDepth)
		return
	}
	s.token()
}

// Next reports whether the container that was entered last has a further element, and leaves the container when not.
// Between two calls the element must be consumed: Key and a value in an object, a value in an array.
func (s *Scanner) Next() bool {
	s.seen = s.Peek()
	switch s.seen {
	case 0:
		s.Fail(ErrSyntax)
		return false
	case '}', ']':
		s.token()
		return false
	}
	return true
}

func (s *Scanner) token() {
	if _, err := s.in.ReadToken(); err != nil {
		s.Fail(ErrSyntax)
	}
}

// Key is the name of the member that Next has seen.
func (s *Scanner) Key() string {
	if s.seen != '"' {
		s.Fail(ErrSyntax)
		return ""
	}
	return s.unquote(s.value())
}

// String is the next value, which must be a string, decoded.
func (s *Scanner) String() string {
	if s.Peek() != '"' {
		s.Fail(ErrSyntax)
		return ""
	}
	return s.unquote(s.value())
}

// unquote decodes a string; "" stays what it is, after a fault.
func (s *Scanner) unquote(quoted string) string {
	if len(quoted) < 2 {
		return ""
	}
	if raw := quoted[1 : len(quoted)-1]; s.plain || strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(quoted)), quoted)
	// Half a surrogate pair is an error here that leaves U+FFFD in its place.
	if err != nil && len(text) == 0 {
		s.Fail(ErrSyntax)
	}
	return string(text)
}

// Text is the next value as text: a string decoded, anything else as the JSON that was sent.
func (s *Scanner) Text() string {
	switch s.Peek() {
	case '"':
		return s.unquote(s.value())
	case '{', '[':
		return s.container()
	}
	return s.value()
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
	if c := s.Peek(); c == '{' || c == '[' {
		return s.container()
	}
	return s.value()
}

// container consumes a whole object or array, token by token, so that its depth is seen before it is taken.
func (s *Scanner) container() string {
	outside := s.in.StackDepth()
	start := -1
	for s.err == nil {
		if s.in.StackDepth() > maxDepth {
			s.Fail(ErrDepth)
			break
		}
		s.token()
		if start < 0 {
			start = int(s.in.InputOffset()) - 1
		}
		if s.in.StackDepth() == outside {
			return s.text[start:s.in.InputOffset()]
		}
	}
	return ""
}

// value consumes a string, number or literal and gives the part of the text that it is.
func (s *Scanner) value() string {
	if s.err != nil || s.in == nil {
		return ""
	}
	v, err := s.in.ReadValue()
	if err != nil {
		s.Fail(ErrSyntax)
		return ""
	}
	end := int(s.in.InputOffset())
	return s.text[end-len(v) : end]
}

// End checks that nothing but space follows. It is the last call; what comes after it finds nothing.
func (s *Scanner) End() error {
	if s.in == nil {
		return s.err
	}
	if s.err == nil {
		if _, err := s.in.ReadToken(); !errors.Is(err, io.EOF) {
			s.Fail(ErrSyntax)
		}
	}
	s.in.input = bytes.Buffer{}
	s.in.Reset(&s.in.input) // so that it does not keep the input
	decoders.Put(s.in)
	s.in = nil
	return s.err
}

// tolerate makes strings good JSON that real clients send as they are: a control character becomes its escape, and the
// backslash of an unknown escape becomes two.
func tolerate(text string) string {
	if !mayNeedTolerance([]byte(text)) {
		return text
	}
	const digits = "0123456789abcdef"
	var out strings.Builder
	done, inString := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			inString = !inString
		case !inString:
		case c == '\\' && knownEscape(text[i+1:]):
			i++
		case c == '\\':
			out.WriteString(text[done:i])
			out.WriteString(`\\`)
			done = i + 1
		case c < ' ':
			out.WriteString(text[done:i])
			out.WriteString(`\u00` + string(digits[c>>4]) + string(digits[c&15]))
			done = i + 1
		}
	}
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
}

// mayNeedTolerance says whether there is a control character or a backslash, eight bytes at a time.
func mayNeedTolerance(text []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		// A byte is below n, and the high bit of its place is set, where subtracting n borrows; it is a backslash where the
		// difference from one is below 1. Borrowing may mark the place behind one that is marked, too, which does not matter.
		x := binary.LittleEndian.Uint64(text)
		y := x ^ '\\'*ones
		if ((x-' '*ones)&^x|(y-ones)&^y)&highs != 0 {
			return true
		}
	}
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return true
		}
	}
	return false
}

// knownEscape reports whether s, which follows a backslash, begins as the standard says.
func knownEscape(s string) bool {
	if s == "" {
		return true // an unfinished string, which is a fault anyway
	}
	if s[0] != 'u' {
		return strings.IndexByte(`"\/bfnrt`, s[0]) >= 0
	}
	if len(s) < 5 {
		return false
	}
	return strings.Trim(s[1:5], "0123456789abcdefABCDEF") == ""
}
