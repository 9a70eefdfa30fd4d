package logbridge

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Role is what a token may do.
type Role string

// The roles: viewer reads; operator also changes levels and stores; admin may do all; ingest may only write logs of
// services.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleAdmin    Role = "admin"
	RoleIngest   Role = "ingest"
)

// Token is an API token. The token itself is shown once and kept only as a hash.
type Token struct {
	ID      string
	Name    string
	Role    Role
	Created time.Time
	// Expires is zero for a token without an end.
	Expires time.Time
	// Scope limits what the token is good for to streams that are, or are below, one of these: device/<product>,
	// sls/<project>, sls/<project>/<logstore>, cls/<topic>, otlp/<namespace> or otlp/<namespace>/<service>, likewise one
	// device, all of a kind (device, sls, cls, otlp) or audit. Empty is everything.
	Scope []string
}

// Limited reports whether the token is good for a part of the streams alone.
func (t Token) Limited() bool { return len(t.Scope) > 0 }

// Sees reports whether a stream is in the token's scope. The beginning of streams up to a slash, such as device/<product>, is if
// all of them are.
func (t Token) Sees(s Stream) bool {
	return !t.Limited() || slices.ContainsFunc(t.Scope, func(entry string) bool { return below(string(s), entry) })
}

// SeesIn reports whether anything below the beginning of streams is in the token's scope.
func (t Token) SeesIn(beginning Stream) bool {
	return t.Sees(beginning) || slices.ContainsFunc(t.Scope, func(entry string) bool { return below(entry, string(beginning)) })
}

// below reports whether name is dir or begins with its segments.
func below(name, dir string) bool {
	rest, ok := strings.CutPrefix(name, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// MaxScope is how many entries a token's scope has at most: each is compared with each stream that is looked at.
const MaxScope = 64

// maxScopeEntry is the longest stream: two names of services, each of maxStreamPart.
const maxScopeEntry = len("otlp//") + 2*maxStreamPart

// ValidateScope checks the entries of a token's scope.
func ValidateScope(scope []string) error {
	if len(scope) > MaxScope {
		return fmt.Errorf("%w: a scope of %d entries, %d are the most", ErrInvalid, len(scope), MaxScope)
	}
	for _, entry := range scope {
		if err := validateScopeEntry(entry); err != nil {
			return fmt.Errorf("%w: scope %q: %s", ErrInvalid, clip(entry), strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
		}
	}
	return nil
}

func validateScopeEntry(entry string) error {
	parts := strings.Split(entry, "/")
	kind, names := parts[0], parts[1:]
	most, name := 2, ValidateStoreName
	switch kind {
	case "device":
		name = ValidateProductID
		if len(names) == 2 {
			return DeviceID{Product: names[0], Device: names[1]}.Validate()
		}
	case "sls":
	case "cls":
		most = 1
	case "otlp":
		name = validateServiceName
	case string(AuditStream):
		most = 0
	default:
		return fmt.Errorf("%w: it begins with none of device, sls, cls, otlp and audit", ErrInvalid)
	}
	if len(names) > most || len(entry) > maxScopeEntry {
		return fmt.Errorf("%w: it is longer than any stream", ErrInvalid)
	}
	for _, n := range names {
		if err := name(n); err != nil {
			return err
		}
	}
	return nil
}

// validateServiceName accepts what ServiceStream makes of names.
func validateServiceName(s string) error {
	if s == "" || streamPart(s, "") != s || !utf8.ValidString(s) {
		return fmt.Errorf("%w: a namespace or service is 1 to %d bytes without control characters", ErrInvalid, maxStreamPart)
	}
	return nil
}
