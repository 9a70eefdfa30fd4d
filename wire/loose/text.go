package loose

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Repair gives text as valid UTF-8: surrogate pairs that were encoded one by one (CESU-8: the CLS browser SDK and Java's
// modified UTF-8 do it, web-tracking.md 5.1) are joined to the character they mean, other invalid bytes become U+FFFD. The
// result is always a copy.
func Repair(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	return strings.ToValidUTF8(string(joinSurrogates(text)), string(utf8.RuneError))
}

// joinSurrogates rewrites ED A0..AF xx ED B0..BF xx to the four bytes of one character.
func joinSurrogates(text []byte) []byte {
	const lead = 0xed
	out := make([]byte, 0, len(text))
	for {
		n := bytes.IndexByte(text, lead)
		if n < 0 {
			return append(out, text...)
		}
		out = append(out, text[:n]...)
		text = text[n:]
		if isPair(text) {
			high := rune(text[1]&0x0f)<<6 | rune(text[2]&0x3f)
			low := rune(text[4]&0x0f)<<6 | rune(text[5]&0x3f)
			out = utf8.AppendRune(out, 0x10000+high<<10+low)
			text = text[6:]
			continue
		}
		out = append(out, lead)
		text = text[1:]
	}
}

func isPair(b []byte) bool {
	return len(b) >= 6 && b[0] == 0xed && b[1]&0xf0 == 0xa0 && b[2]&0xc0 == 0x80 &&
		b[3] == 0xed && b[4]&0xf0 == 0xb0 && b[5]&0xc0 == 0x80
}

// AppendString appends s as a JSON string. Only what must be is escaped: the answers that need it are bounded in bytes.
func AppendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s { // an invalid byte comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
