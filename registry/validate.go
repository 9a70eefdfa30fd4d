package registry

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a time zone that is accepted here must be found on a machine without a zone database too
	"unicode"
	"unicode/utf8"

	"github.com/logbridge/logbridge"
)

// Bounds on what may be registered. All of it is held in memory by every node.
const (
	minProductSecret = 16                // its first 16 characters are an AES-128 key (tencent-iot.md 6)
	maxSecret        = 128               // characters of a product or access key secret; the vendors use 24 to 40
	maxPSK           = 64                // characters of base64 (tencent-iot.md 1)
	maxCertificate   = 16 << 10          // bytes of PEM; a device certificate has about 1500
	maxSubject       = 512               // bytes; X.509 allows 64 in each of its parts
	maxLower         = 30 * 24 * 60 * 60 // seconds for which a quota lowers a level; for longer, someone should say so
	maxTags          = 32                // tags of a device
	maxTagKey        = 64                // bytes
	maxTagValue      = 256               // bytes
	maxHosts         = 64                // hosts of a project
	maxHost          = 253               // bytes; the longest name in DNS
	maxOrigins       = 64                // origins of a store
	maxAccessKeyID   = 128               // bytes
	maxOrigin        = len("https://") + maxHost + len(":65535")
	maxTokenName     = 64 // bytes
)

// faults collects what is wrong with a value, each fault with the field it is in, as the YAML and the operator API call
// the field.
type faults []fault

type fault struct {
	field string
	err   error
}

// Error leaves the kind out: a field and what is wrong with it say that already.
func (f fault) Error() string {
	return f.field + ": " + strings.TrimPrefix(f.err.Error(), logbridge.ErrInvalid.Error()+": ")
}
func (f fault) Unwrap() error { return f.err }

// check adds err, if it is one, as a fault of a field.
func (f *faults) check(field string, err error) {
	if err != nil {
		*f = append(*f, fault{field, err})
	}
}

// invalid adds a fault if bad.
func (f *faults) invalid(bad bool, field, format string, args ...any) {
	if bad {
		f.check(field, fmt.Errorf("%w: "+format, append([]any{logbridge.ErrInvalid}, args...)...))
	}
}

// err joins the faults, each behind where it was found: "products[0].devices[2].psk: …".
func (f faults) err(where string) error {
	var all []error
	for _, one := range f {
		if where != "" {
			one.field = where + "." + one.field
		}
		all = append(all, one)
	}
	return errors.Join(all...)
}

func productFaults(p logbridge.Product) (f faults) {
	f.check("id", logbridge.ValidateProductID(p.ID))
	n := len(p.Secret)
	f.invalid(n > 0 && (n < minProductSecret || n > maxSecret || !printable(p.Secret)), "secret",
		"a product secret is %d to %d printable characters", minProductSecret, maxSecret)
	_, err := time.LoadLocation(p.TimeZone)
	for _, q := range p.Quota.Fields() {
		f.invalid(q.Rate < -1 || q.Rate > logbridge.MaxRate, "quota", "%s is a number up to %d, 0 for the server's default or -1 for no bound", q.Name, logbridge.MaxRate)
	}
	f.invalid(p.Quota.LowerSeconds < 0 || p.Quota.LowerSeconds > maxLower, "quota", "lower_seconds is a number up to %d, or 0 for not at all", maxLower)
	f.invalid(err != nil || p.TimeZone == "Local", "time_zone", "%q is not the name of a time zone such as Asia/Shanghai", clip(p.TimeZone))
	return f
}

func deviceFaults(d logbridge.Device) (f faults) {
	f.check("name", d.ID.Validate())
	f.invalid(d.PSK == "" && d.Certificate == "" && d.CertificateSubject == "", "psk", "a device needs a psk, a certificate or a certificate_subject")
	_, err := base64.StdEncoding.DecodeString(d.PSK)
	f.invalid(err != nil || len(d.PSK) > maxPSK || !printable(d.PSK), "psk", "a psk is base64 text of at most %d characters", maxPSK)
	f.check("certificate", checkCertificate(d.Certificate))
	f.invalid(len(d.CertificateSubject) > maxSubject || !readable(d.CertificateSubject) || strings.TrimSpace(d.CertificateSubject) != d.CertificateSubject,
		"certificate_subject", "a certificate subject is at most %d bytes without control characters and spaces at its ends", maxSubject)
	f.invalid(len(d.Tags) > maxTags, "tags", "%d tags, %d are the most", len(d.Tags), maxTags)
	for _, k := range slices.Sorted(maps.Keys(d.Tags)) {
		v := d.Tags[k]
		f.invalid(k == "" || len(k) > maxTagKey || len(v) > maxTagValue || !readable(k) || !readable(v) || strings.Contains(k, ":"), "tags",
			"tag %q: a key is 1 to %d bytes without a colon, a value at most %d bytes, both without control characters", clip(k), maxTagKey, maxTagValue)
	}
	return f
}

func checkCertificate(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxCertificate {
		return fmt.Errorf("%w: certificate of %d bytes, %d are the most", logbridge.ErrTooLarge, len(text), maxCertificate)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("%w: it is not a PEM certificate", logbridge.ErrInvalid)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("%w: it does not parse as X.509: %w", logbridge.ErrInvalid, err)
	}
	return nil
}

func projectFaults(p logbridge.SLSProject) (f faults) {
	f.check("project", logbridge.ValidateStoreName(p.Name))
	f.invalid(len(p.Hosts) > maxHosts, "hosts", "%d hosts, %d are the most", len(p.Hosts), maxHosts)
	for _, h := range p.Hosts {
		f.invalid(h == "" || len(h) > maxHost || !printable(h) || strings.ContainsAny(h, "/@[]?#") || strings.Count(h, ":") == 1,
			"hosts", "%q is not a host name or address without a port", clip(h))
	}
	return f
}

func logstoreFaults(s logbridge.Logstore) (f faults) {
	f.check("project", logbridge.ValidateStoreName(s.Project))
	f.check("name", logbridge.ValidateStoreName(s.Name))
	f.origins(s.Origins)
	f.webRules(s.WebRules)
	return f
}

func topicFaults(t logbridge.CLSTopic) (f faults) {
	f.check("topic", logbridge.ValidateStoreName(t.ID))
	f.origins(t.Origins)
	f.webRules(t.WebRules)
	return f
}

// origins accepts what a browser sends as Origin, and "*".
func (f *faults) origins(origins []string) {
	f.invalid(len(origins) > maxOrigins, "origins", "%d origins, %d are the most", len(origins), maxOrigins)
	for _, o := range origins {
		if o == "*" || o == "null" {
			continue
		}
		u, err := url.Parse(o)
		f.invalid(err != nil || u.Scheme == "" || u.Host == "" || len(o) > maxOrigin || u.Scheme+"://"+u.Host != o,
			"origins", "%q is not * or an origin such as https://www.example.com", clip(o))
	}
}

func keyFaults(k logbridge.AccessKey) (f faults) {
	f.check("project", logbridge.ValidateStoreName(k.Project))
	f.accessKey(k.ID, k.Secret, ":/")
	return f
}

// topicKeyFaults refuses ids that would end early in an Authorization header (web-tracking.md 6).
func topicKeyFaults(k logbridge.TopicKey) (f faults) {
	f.check("topic", logbridge.ValidateStoreName(k.Topic))
	f.accessKey(k.ID, k.Secret, "&/")
	return f
}

// accessKey accepts an id without the characters that have another meaning where it is sent.
func (f *faults) accessKey(id, secret, without string) {
	f.invalid(id == "" || len(id) > maxAccessKeyID || !printable(id) || strings.ContainsAny(id, without), "id",
		"an access key id is 1 to %d printable characters without %c and %c", maxAccessKeyID, without[0], without[1])
	f.invalid(secret == "" || len(secret) > maxSecret || !printable(secret), "secret",
		"an access key secret is 1 to %d printable characters", maxSecret)
}

func tokenFaults(name string, role logbridge.Role, scope []string, expires, now time.Time) (f faults) {
	f.invalid(name == "" || len(name) > maxTokenName || !readable(name) || slices.Contains(reservedNames, name), "name",
		"a token name is 1 to %d bytes without control characters and none of %s", maxTokenName, strings.Join(reservedNames, ", "))
	switch role {
	case logbridge.RoleViewer, logbridge.RoleOperator, logbridge.RoleAdmin, logbridge.RoleIngest:
	default:
		f.invalid(true, "role", "%q is none of viewer, operator, admin, ingest", clip(string(role)))
	}
	f.invalid(!expires.IsZero() && !expires.After(now), "expires", "it is in the past")
	f.check("scope", logbridge.ValidateScope(scope))
	return f
}

// printable reports whether s is ASCII without spaces and control characters.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// readable reports whether s is UTF-8 without control characters.
func readable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// clip shortens outside text before it goes into an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
