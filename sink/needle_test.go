package sink

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzNeedle compares the search with the library's.
func FuzzNeedle(f *testing.F) {
	f.Add("error 17", "an error 16, error 17")
	f.Add("", "x")
	f.Add("#"+strings.Repeat("#", 40)+"$", strings.Repeat("#", 4000))
	f.Add("ab", "a")
	f.Fuzz(func(t *testing.T, text, b string) {
		n := newNeedle(text)
		if text != "" && n.in([]byte(b)) != bytes.Contains([]byte(b), []byte(text)) {
			t.Fatalf("%q in %q: %v", text, b, n.in([]byte(b)))
		}
	})
}
