package registry

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
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
	minProductSecret = 16       // its first 16 characters are an AES-128 key (tencent-iot.md 6)
	maxSecret        = 128      // characters of a product or access key secret; the vendors use 24 to 40
	maxPSK           = 64       // characters of base64 (tencent-iot.md 1)
	maxCertificate   = 16 << 10 // bytes of PEM; a device certificate has about 1500
	maxTags          = 32       // tags of a device
	maxTagKey        = 64       // bytes
	maxTagValue      = 256      // bytes
	maxHosts         = 64       // hosts of a project
	maxHost          = 253      // bytes; the longest name in DNS
	maxOrigins       = 64       // origins of a store
	maxAccessKeyID   = 128      // bytes
	maxTokenName     = 64       // bytes
)

// field is a fault with the field it is in, as the YAML and the operator API call it.
func field(name, format string, args ...any) error {
	return fault{name, fmt.Errorf("%w: "+format, append([]any{logbridge.ErrInvalid}, args...)...)}
}

type fault struct {
	field string
	err   error
}

func (f fault) Error() string { return f.field + ": " + f.err.Error() }
func (f fault) Unwrap() error { return f.err }

func validateProduct(p logbridge.Product) error {
	if err := logbridge.ValidateProductID(p.ID); err != nil {
		return fault{"id", err}
	}
	if n := len(p.Secret); n > 0 && (n < minProductSecret || n > maxSecret || !printable(p.Secret)) {
		return field("secret", "a product secret is %d to %d printable characters", minProductSecret, maxSecret)
	}
	if _, err := time.LoadLocation(p.TimeZone); err != nil || p.TimeZone == "Local" {
		return field("time_zone", "%q is not the name of a time zone such as Asia/Shanghai", clip(p.TimeZone))
	}
	return nil
}

func validateDevice(d logbridge.Device) error {
	if err := d.ID.Validate(); err != nil {
		return fault{"name", err}
	}
	if d.PSK == "" && d.Certificate == "" {
		return field("psk", "a device needs a psk or a certificate")
	}
	if err := validatePSK(d.PSK); err != nil {
		return err
	}
	if err := validateCertificate(d.Certificate); err != nil {
		return err
	}
	return validateTags(d.Tags)
}

func validatePSK(psk string) error {
	if _, err := base64.StdEncoding.DecodeString(psk); err != nil || len(psk) > maxPSK || strings.ContainsAny(psk, "\r\n") {
		return field("psk", "a psk is base64 text of at most %d characters", maxPSK)
	}
	return nil
}

func validateCertificate(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxCertificate {
		return fault{"certificate", fmt.Errorf("%w: certificate of %d bytes, %d are the most", logbridge.ErrTooLarge, len(text), maxCertificate)}
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return field("certificate", "it is not a PEM certificate")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return field("certificate", "it does not parse as X.509: %w", err)
	}
	return nil
}

func validateTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return field("tags", "%d tags, %d are the most", len(tags), maxTags)
	}
	for k, v := range tags {
		if k == "" || len(k) > maxTagKey || len(v) > maxTagValue || !readable(k) || !readable(v) || strings.Contains(k, ":") {
			return field("tags", "tag %q: a key is 1 to %d bytes without a colon, a value at most %d bytes, both without control characters",
				clip(k), maxTagKey, maxTagValue)
		}
	}
	return nil
}

func validateProject(p logbridge.SLSProject) error {
	if err := logbridge.ValidateStoreName(p.Name); err != nil {
		return fault{"project", err}
	}
	if len(p.Hosts) > maxHosts {
		return field("hosts", "%d hosts, %d are the most", len(p.Hosts), maxHosts)
	}
	for _, h := range p.Hosts {
		if h == "" || len(h) > maxHost || !printable(h) || strings.ContainsAny(h, "/@[]?#") || strings.Count(h, ":") == 1 {
			return field("hosts", "%q is not a host name or address without a port", clip(h))
		}
	}
	return nil
}

func validateLogstore(s logbridge.Logstore) error {
	if err := logbridge.ValidateStoreName(s.Project); err != nil {
		return fault{"project", err}
	}
	if err := logbridge.ValidateStoreName(s.Name); err != nil {
		return fault{"name", err}
	}
	return validateOrigins(s.Origins)
}

func validateTopic(t logbridge.CLSTopic) error {
	if err := logbridge.ValidateStoreName(t.ID); err != nil {
		return fault{"topic", err}
	}
	return validateOrigins(t.Origins)
}

// validateOrigins accepts what a browser sends as Origin, and "*".
func validateOrigins(origins []string) error {
	if len(origins) > maxOrigins {
		return field("origins", "%d origins, %d are the most", len(origins), maxOrigins)
	}
	for _, o := range origins {
		if o == "*" || o == "null" {
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || len(o) > maxHost+len("https://:65535") || u.Scheme+"://"+u.Host != o {
			return field("origins", "%q is not * or an origin such as https://www.example.com", clip(o))
		}
	}
	return nil
}

func validateAccessKey(k logbridge.AccessKey) error {
	if err := logbridge.ValidateStoreName(k.Project); err != nil {
		return fault{"project", err}
	}
	if k.ID == "" || len(k.ID) > maxAccessKeyID || !printable(k.ID) || strings.ContainsAny(k.ID, ":/") {
		return field("id", "an access key id is 1 to %d printable characters without : and /", maxAccessKeyID)
	}
	if k.Secret == "" || len(k.Secret) > maxSecret || !printable(k.Secret) {
		return field("secret", "an access key secret is 1 to %d printable characters", maxSecret)
	}
	return nil
}

func validateToken(name string, role logbridge.Role, expires, now time.Time) error {
	if name == "" || len(name) > maxTokenName || !readable(name) || slices.Contains(reservedNames, name) {
		return field("name", "a token name is 1 to %d bytes without control characters and none of %s", maxTokenName, strings.Join(reservedNames, ", "))
	}
	switch role {
	case logbridge.RoleViewer, logbridge.RoleOperator, logbridge.RoleAdmin, logbridge.RoleIngest:
	default:
		return field("role", "%q is none of viewer, operator, admin, ingest", clip(string(role)))
	}
	if !expires.IsZero() && !expires.After(now) {
		return field("expires", "it is in the past")
	}
	return nil
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
