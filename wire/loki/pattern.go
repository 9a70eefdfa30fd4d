package loki

import (
	"io"
	"regexp"
	"unicode/utf8"
)

// The work of regular expressions is counted in steps: those of the program times the bytes that it reads. That is the
// most it can be, at some ten nanoseconds each; what people write takes a small part of it.
const (
	// pauseSteps is after how many a pipeline pauses.
	pauseSteps = 1 << 19
	// longSteps is how many make it worth to read a text in parts, to pause in between. It costs the shortcuts that package
	// regexp has for a text in one piece.
	longSteps = 1 << 22
)

// pattern is a regular expression with about how long its program is.
type pattern struct {
	*regexp.Regexp
	steps int
}

// in reports whether text matches, and lets p pause, if it is not nil.
func (e *pattern) in(p *Pipeline, text string) bool {
	if p == nil || p.Pause == nil {
		return e.MatchString(text)
	}
	if e.steps*len(text) > longSteps {
		return e.MatchReader(&pausing{p: p, text: text, steps: e.steps})
	}
	return p.work(e.steps*len(text)) && e.MatchString(text)
}

// work counts steps and pauses when it is time. It reports whether to go on.
func (p *Pipeline) work(steps int) bool {
	if p.worked += steps; p.worked >= pauseSteps && !p.stopped {
		p.worked, p.stopped = 0, !p.Pause()
	}
	return !p.stopped
}

// pausing reads a text with pauses. It ends early when it is told to in one of them.
type pausing struct {
	p     *Pipeline
	text  string
	steps int // for each byte
}

// ReadRune implements io.RuneReader.
func (in *pausing) ReadRune() (rune, int, error) {
	if in.text == "" || !in.p.work(in.steps) {
		return 0, 0, io.EOF
	}
	r, size := utf8.DecodeRuneInString(in.text)
	in.text = in.text[size:]
	return r, size, nil
}
