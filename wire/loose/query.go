package loose

import (
	"iter"
	"net/url"
	"strings"
)

// Query gives the pairs of a URL query in their order, decoded: '+' is a space, and an escape that is none stays as it is.
func Query(rawQuery string) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for pair := range strings.SplitSeq(rawQuery, "&") {
			key, value, _ := strings.Cut(pair, "=")
			if pair != "" && !yield(unescapeQuery(key), unescapeQuery(value)) {
				return
			}
		}
	}
}

func unescapeQuery(s string) string {
	text, err := url.QueryUnescape(s)
	if err != nil {
		text = s
	}
	return Repair([]byte(text))
}
