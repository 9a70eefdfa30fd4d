package httpapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// What stands where something was taken out.
const (
	redactedEmail = "[email]"
	redactedPhone = "[phone]"
	redactedToken = "[token]"
	redactedOwn   = "[redacted]"
)

// maxRedaction bounds the time that the texts of one request may take: RE2's patterns take linear time, but a pattern of a thousand
// steps over ten megabytes is still a minute. What is not looked through in time is refused, not stored as it is.
const maxRedaction = 2 * time.Second

// The built-in patterns. They are cautious with bare digits, which are times and numbers of orders far more often than telephones: a
// telephone has a plus sign, separators where a national form has them, or the eleven digits of a Chinese mobile.
var (
	emailPattern = regexp.MustCompile(`[\pL\pN._%+\-]+(?:@|%40)[\pL\pN\-]+(?:\.[\pL\pN\-]+)+`)
	phonePattern = regexp.MustCompile(`\+\d(?:[ .()\-]{0,2}\d){7,14}\b` + // +86 138 0013 8000, +1 (555) 010-9999
		`|\(\d{3}\) ?\d{3}[ .\-]\d{4}\b` + // (555) 010-9999
		`|\b\d{3}[ .\-]\d{3}[ .\-]\d{4}\b` + // 555-010-9999
		`|\b(?:86)?1[3-9]\d{9}\b` + // 13800138000
		`|\b1[3-9]\d[ \-]\d{4}[ \-]\d{4}\b` + // 138-0013-8000
		`|\b0\d{2,3}-\d{7,8}\b`) // 010-12345678
	tokenPattern = regexp.MustCompile(`\beyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?` + // a JSON web token
		`|(?i:\b(?:bearer|basic) +[\w.~+/\-]{8,}=*)` +
		`|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\b(?:LTAI|AKID|STS\.)[A-Za-z0-9]{12,64}\b` + // access keys of clouds
		`|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w\-]{16,}|\bxox[abeprs]-[\w\-]{10,}|\bsk-[\w\-]{20,}|\bAIza[\w\-]{30,}`)
	// secretPair is a secret under its name, in a URL, a form or JSON.
	secretPair = regexp.MustCompile(`(?i)(\b(?:password|passwd|pwd|secret|token|access_token|refresh_token|id_token|api_?key|client_secret|session_?id)` +
		`\\?["']?\s*[=:]\s*\\?["']?)[^\s"'&,;\\]{4,}`)
)

// secretNames are names of fields whose values are secrets whatever they look like, in lower case without separators.
var secretNames = map[string]bool{
	"password": true, "passwd": true, "pwd": true, "secret": true, "token": true, "accesstoken": true, "refreshtoken": true, "idtoken": true,
	"apikey": true, "clientsecret": true, "authorization": true, "cookie": true, "setcookie": true, "sessionid": true,
}

// redactor takes out of values what a store does not want to keep.
type redactor struct {
	names, patterns     []string // that it was made of
	email, phone, token bool
	own                 []*regexp.Regexp
}

// newRedactor makes a redactor; what is wrong with a pattern was found when it was registered.
func newRedactor(names, patterns []string) (*redactor, error) {
	r := &redactor{names: names, patterns: patterns, email: slices.Contains(names, logbridge.RedactEmail),
		phone: slices.Contains(names, logbridge.RedactPhone), token: slices.Contains(names, logbridge.RedactToken)}
	for _, p := range patterns {
		compiled, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("redaction: %w", err)
		}
		r.own = append(r.own, compiled)
	}
	return r, nil
}

var errRedaction = errors.New("the patterns of the store take too long over what was sent")

// records takes it out of bodies and values, in place.
func (r *redactor) records(records []logbridge.Record) error {
	if r == nil {
		return nil
	}
	end := time.Now().Add(maxRedaction)
	for i := range records {
		rec := &records[i]
		var err error
		if rec.Body, err = r.text(rec.Body, end); err != nil {
			return err
		}
		for j := range rec.Attributes {
			a := &rec.Attributes[j]
			if a.Value, err = r.value(a.Key, a.Value, end); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *redactor) value(key, value string, end time.Time) (string, error) {
	if r.token && value != "" && isSecretName(key) {
		return redactedToken, nil
	}
	return r.text(value, end)
}

// text takes it out of one text, unless it is too late for that. A look at the characters spares most texts the patterns.
func (r *redactor) text(s string, end time.Time) (string, error) {
	if s == "" {
		return s, nil
	}
	if time.Now().After(end) {
		return s, fmt.Errorf("%w: %w", logbridge.ErrTooLarge, errRedaction)
	}
	if r.token && len(s) >= 8 {
		if mayHoldPair(s) {
			s = secretPair.ReplaceAllString(s, "${1}"+redactedToken)
		}
		if mayHoldToken(s) {
			s = tokenPattern.ReplaceAllLiteralString(s, redactedToken)
		}
	}
	if r.email && (strings.IndexByte(s, '@') >= 0 || strings.Contains(s, "%40")) {
		s = emailPattern.ReplaceAllLiteralString(s, redactedEmail)
	}
	if r.phone {
		s = redactPhones(s)
	}
	for _, p := range r.own {
		finds, err := findAll(p, s, end)
		if err != nil {
			return s, err
		}
		s = replaceFinds(s, finds)
	}
	return s, nil
}

// firstFinds is how many finds are looked for before the first look at the time: more than most texts have.
const firstFinds = 16

// findAll gives what a pattern finds. One find takes linear time, but all of them may take that time each, such as those of a.*z|a.
func findAll(p *regexp.Regexp, s string, end time.Time) ([][]int, error) {
	for most := firstFinds; ; most *= 2 {
		finds := p.FindAllStringIndex(s, most)
		if len(finds) < most {
			return finds, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%w: %w", logbridge.ErrTooLarge, errRedaction)
		}
	}
}

func replaceFinds(s string, finds [][]int) string {
	if len(finds) == 0 {
		return s
	}
	var out strings.Builder
	done := 0
	for _, f := range finds {
		out.WriteString(s[done:f[0]])
		out.WriteString(redactedOwn)
		done = f[1]
	}
	out.WriteString(s[done:])
	return out.String()
}

// leastPhone is how many digits the shortest telephone number has.
const leastPhone = 8

// redactPhones asks the pattern only where enough digits stand together, with one character on each side: it is slow, and most digits
// are times and numbers of other things.
func redactPhones(s string) string {
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		if !phoneChar(s[i]) {
			continue
		}
		begin, digits := i, 0
		for ; i < len(s) && phoneChar(s[i]); i++ {
			if s[i] >= '0' && s[i] <= '9' {
				digits++
			}
		}
		if digits < leastPhone {
			continue
		}
		begin, end := max(done, begin-1), min(len(s), i+1)
		run := s[begin:end]
		if clean := phonePattern.ReplaceAllLiteralString(run, redactedPhone); clean != run {
			out.WriteString(s[done:begin])
			out.WriteString(clean)
			done = end
		}
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// phoneChar is what phonePattern is made of.
func phoneChar(c byte) bool {
	return c >= '0' && c <= '9' || c == ' ' || c == '-' || c == '.' || c == '+' || c == '(' || c == ')'
}

// mayHoldPair is true when the name of a secret stands before a sign of equality or a colon.
func mayHoldPair(s string) bool {
	for at := strings.IndexAny(s, "=:"); at >= 0; {
		name := strings.TrimRight(s[max(0, at-maxSecretName):at], `\"' `)
		begin := len(name)
		for begin > 0 && (name[begin-1] == '_' || name[begin-1]|0x20 >= 'a' && name[begin-1]|0x20 <= 'z') {
			begin--
		}
		if isSecretName(name[begin:]) {
			return true
		}
		next := strings.IndexAny(s[at+1:], "=:")
		if next < 0 {
			return false
		}
		at += 1 + next
	}
	return false
}

// maxSecretName is the longest name of a secret, with quotes and space behind it.
const maxSecretName = 24

// isSecretName is true of secretNames, however they are written.
func isSecretName(name string) bool {
	if len(name) < 3 || len(name) > maxSecretName {
		return false
	}
	var buf [maxSecretName]byte
	n := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_' || c == '-' || c == '.':
		case c >= 'A' && c <= 'Z':
			buf[n] = c | 0x20
			n++
		default:
			buf[n] = c
			n++
		}
	}
	return secretNames[string(buf[:n])]
}

// mayHoldToken is true when a beginning of tokenPattern is there.
func mayHoldToken(s string) bool {
	for _, begin := range tokenBegins {
		if strings.Contains(s, begin) {
			return true
		}
	}
	return false
}

var tokenBegins = []string{"eyJ", "earer ", "EARER ", "asic ", "ASIC ", "AKIA", "ASIA", "LTAI", "AKID", "STS.", "gh", "glpat-", "xox", "sk-", "AIza"}

// redactors keeps the redactor of each stream as long as its rules stay. The zero value is empty.
type redactors struct {
	byStream sync.Map // of logbridge.Stream to *redactor
}

// of is the redactor of a stream; nil where nothing is to be taken out.
func (m *redactors) of(stream logbridge.Stream, p logbridge.WebPrivacy) (*redactor, error) {
	if len(p.Redact)+len(p.Patterns) == 0 {
		return nil, nil
	}
	if known, ok := m.byStream.Load(stream); ok {
		if r := known.(*redactor); slices.Equal(r.names, p.Redact) && slices.Equal(r.patterns, p.Patterns) {
			return r, nil
		}
	}
	r, err := newRedactor(p.Redact, p.Patterns)
	if err == nil {
		m.byStream.Store(stream, r)
	}
	return r, err
}
