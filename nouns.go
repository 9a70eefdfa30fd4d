package logbridge

import "time"

// Product is a kind of device.
type Product struct {
	ID string
	// Secret signs dynamic registration; it is sealed at rest. Empty means that the product cannot register devices.
	Secret string
	// AllowRegister lets registered devices that never connected fetch their key by /device/register.
	AllowRegister bool
	// TimeZone is the IANA zone of times in log lines, which carry none; empty is UTC.
	TimeZone string
}

// Device is one registered device.
type Device struct {
	ID DeviceID
	// PSK is the device secret: base64 text, sealed at rest. Empty for a certificate device.
	PSK string
	// Certificate is PEM; its key verifies RSA-signed uploads. A device that shows this certificate over TLS needs no password.
	Certificate string
	// CertificateSubject is the subject of certificates that are good instead of a password, whatever their key: a common
	// name, or a whole distinguished name as RFC 2253 writes it ("CN=dev_01,O=Example"). Empty is none.
	CertificateSubject string
	Tags               map[string]string
}

// SLSProject is an Alibaba SLS project, the owner of logstores and access keys.
type SLSProject struct {
	Name string
	// Hosts are Host values, without port, that mean this project beside <name>.<anything>.
	Hosts []string
}

// Logstore is one store of a project.
type Logstore struct {
	Project, Name string
	// WebTracking allows anonymous writes.
	WebTracking bool
	// Origins that a page may write from: exact origins, or "*" for any. Empty is any.
	Origins []string
}

// AccessKey signs requests to a project. The secret is sealed at rest.
type AccessKey struct{ Project, ID, Secret string }

// CLSTopic is a Tencent CLS log topic.
type CLSTopic struct {
	ID             string
	AnonymousWrite bool
	// Origins as in Logstore.
	Origins []string
}

// TopicKey signs uploads to a topic. Other topics may have a key of the same id, since the vendor's SDKs sign for all topics
// with one. The secret is sealed at rest.
type TopicKey struct{ Topic, ID, Secret string }

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
}

// Actor says who made a change and from where, for the audit stream.
type Actor struct {
	// Name is a token's name, or one of "admin", "config" and "expiry"; "quota" is kept for later.
	Name string
	// Address is the client's network address; empty for the server itself.
	Address string
}
