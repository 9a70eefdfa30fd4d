package sink

import (
	"bytes"
	"strings"
)

// needle is a text that much is searched for. bytes.Index looks for the first byte of what it searches, which in a log is
// often one that is everywhere; a needle looks for its rarest one.
type needle struct {
	text []byte
	rare int // where in it the rarest byte is
}

// commonBytes are those that log lines are full of, the most common first: words, numbers, and hexadecimal ones.
const commonBytes = " e0t1a2o3i4n5s6r7h8l9dcum-fbpg.ywv:/,=_kxjqz\""

// A byte that comes more often than once in triesIn bytes is not rare: then bytes.Index, whose time is linear, is better.
const maxTries, triesIn = 64, 16

func newNeedle(text string) needle {
	n := needle{text: []byte(text)}
	rarest := -1
	for i := range len(text) {
		rank := strings.IndexByte(commonBytes, text[i])
		if rank < 0 {
			rank = len(commonBytes)
		}
		if rank > rarest {
			n.rare, rarest = i, rank
		}
	}
	return n
}

// in reports whether b holds the needle.
func (n *needle) in(b []byte) bool {
	last := len(b) - len(n.text) // the last place where it may begin
	tries := 0
	for at := 0; at <= last; at++ {
		if tries++; tries > maxTries+at/triesIn { // not rare here
			return bytes.Contains(b[at:], n.text)
		}
		i := bytes.IndexByte(b[at+n.rare:last+n.rare+1], n.text[n.rare])
		if i < 0 {
			return false
		}
		if at += i; bytes.Equal(b[at:at+len(n.text)], n.text) {
			return true
		}
	}
	return false
}
