package registry

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
)

// Bounds on the rules of a store.
const (
	maxWriteTokens = 4   // one for today's pages, one for yesterday's, and as many more
	minWriteToken  = 16  // characters; a shorter one is guessed
	maxWriteToken  = 128 // characters; it stands in the URL of every image
	maxPatterns    = 16
	maxPattern     = 256 // bytes of a pattern
	// maxProgram bounds the instructions of all patterns of a store: a scan costs at most so many steps for each byte.
	maxProgram = 4096
)

// checkWriteToken accepts what may stand in a path and in a query as it is.
func checkWriteToken(token string) bool {
	return len(token) >= minWriteToken && len(token) <= maxWriteToken && !strings.ContainsFunc(token, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.~", c))
	})
}

// webRules adds what is wrong with the rules of a store.
func (f *faults) webRules(w logbridge.WebRules) {
	f.invalid(len(w.WriteTokens) > maxWriteTokens, "write_tokens", "%d tokens, %d are the most", len(w.WriteTokens), maxWriteTokens)
	for _, t := range w.WriteTokens {
		f.invalid(!checkWriteToken(t), "write_tokens", "a write token is %d to %d letters, digits or - _ . ~", minWriteToken, maxWriteToken)
	}
	f.check("limits", logbridge.CheckWebLimits(w.Limits))
	f.privacy(w.Privacy)
}

func (f *faults) privacy(p logbridge.WebPrivacy) {
	f.check("privacy.address", logbridge.CheckAddressForm(p.Address))
	f.check("privacy.opt_out", logbridge.CheckOptOut(p.OptOut))
	for _, name := range p.Redact {
		f.invalid(!slices.Contains(logbridge.Redactions(), name), "privacy.redact", "%q is none of %s", clip(name), strings.Join(logbridge.Redactions(), ", "))
	}
	f.invalid(len(p.Redact) > len(logbridge.Redactions()), "privacy.redact", "%d names, there are %d", len(p.Redact), len(logbridge.Redactions()))
	f.invalid(len(p.Patterns) > maxPatterns, "privacy.patterns", "%d patterns, %d are the most", len(p.Patterns), maxPatterns)
	size := 0
	for _, pattern := range p.Patterns[:min(len(p.Patterns), maxPatterns)] {
		n, err := programSize(pattern)
		f.check("privacy.patterns", err)
		size += n
	}
	f.invalid(size > maxProgram, "privacy.patterns", "together they make a program of %d steps, %d are the most: repeat less", size, maxProgram)
}

// programSize checks a pattern and says how large its program is.
func programSize(pattern string) (int, error) {
	if pattern == "" || len(pattern) > maxPattern {
		return 0, fmt.Errorf("%w: a pattern is 1 to %d bytes", logbridge.ErrInvalid, maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("%w: pattern %q: %w", logbridge.ErrInvalid, clip(pattern), err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, fmt.Errorf("%w: pattern %q: %w", logbridge.ErrInvalid, clip(pattern), err)
	}
	return len(program.Inst), nil
}

// cloneRules copies what the caller might change.
func cloneRules(w logbridge.WebRules) logbridge.WebRules {
	w.WriteTokens = slices.Clone(w.WriteTokens)
	w.Privacy.Redact, w.Privacy.Patterns = slices.Clone(w.Privacy.Redact), slices.Clone(w.Privacy.Patterns)
	return w
}

// ProvisionRules are the rules of a provisioned logstore or topic; what is nil says nothing.
type ProvisionRules struct {
	WriteTokens []string              `yaml:"write_tokens,omitempty"`
	Limits      *logbridge.WebLimits  `yaml:"limits,omitempty"`
	Privacy     *logbridge.WebPrivacy `yaml:"privacy,omitempty"`
}

// rules are those that p speaks of, the rest zero.
func (p ProvisionRules) rules() logbridge.WebRules {
	w := logbridge.WebRules{WriteTokens: p.WriteTokens}
	if p.Limits != nil {
		w.Limits = *p.Limits
	}
	if p.Privacy != nil {
		w.Privacy = *p.Privacy
	}
	return w
}

// set applies each rule that p speaks of.
func (p ProvisionRules) set(m *merge, to *logbridge.WebRules) {
	wanted := p.rules()
	set(m, "write_tokens", &to.WriteTokens, wanted.WriteTokens, p.WriteTokens != nil)
	set(m, "limits", &to.Limits, wanted.Limits, p.Limits != nil)
	set(m, "privacy", &to.Privacy, wanted.Privacy, p.Privacy != nil)
}
