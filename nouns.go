package logbridge

import (
	"cmp"
	"time"
)

// Product is a kind of device.
type Product struct {
	ID string
	// Secret signs dynamic registration; it is sealed at rest. Empty means that the product cannot register devices.
	Secret string
	// AllowRegister lets registered devices that never connected fetch their key by /device/register.
	AllowRegister bool
	// TimeZone is the IANA zone of times in log lines, which carry none; empty is UTC.
	TimeZone string
	// Quota is how much its devices may log.
	Quota Quota
}

// Quota is how many lines and bytes a second devices may log, each one and all of a product together. A rate of 0 is not set,
// and a negative one is no bound. Bytes are those of the text and the attributes of lines.
type Quota struct {
	DeviceLines  int64 `json:"device_lines,omitempty" yaml:"device_lines,omitempty" doc:"lines a second of each device; 0 is the server's default, -1 no bound"`
	DeviceBytes  int64 `json:"device_bytes,omitempty" yaml:"device_bytes,omitempty" doc:"bytes a second of each device, likewise"`
	ProductLines int64 `json:"product_lines,omitempty" yaml:"product_lines,omitempty" doc:"lines a second of all devices of the product together, likewise"`
	ProductBytes int64 `json:"product_bytes,omitempty" yaml:"product_bytes,omitempty" doc:"bytes a second of all devices of the product together, likewise"`
	// LowerSeconds is for how long the level of a device that is over its own quota is lowered to error; 0 is not at all.
	LowerSeconds int64 `json:"lower_seconds,omitempty" yaml:"lower_seconds,omitempty" doc:"for how many seconds the level of a device that is over its own quota is lowered to error, unless it has a level of its own; 0 is not at all"`
}

// MaxRate bounds the rates of a Quota: nothing sends more in a second, and a minute of it still counts exactly.
const MaxRate int64 = 1e12

// QuotaField is one rate of a quota under its name in settings.
type QuotaField struct {
	Name string
	Rate int64
}

// Fields lists the rates.
func (q Quota) Fields() [4]QuotaField {
	return [4]QuotaField{{"device_lines", q.DeviceLines}, {"device_bytes", q.DeviceBytes}, {"product_lines", q.ProductLines}, {"product_bytes", q.ProductBytes}}
}

// Or gives q with the rates that are not set as in other.
func (q Quota) Or(other Quota) Quota {
	return Quota{
		DeviceLines: cmp.Or(q.DeviceLines, other.DeviceLines), DeviceBytes: cmp.Or(q.DeviceBytes, other.DeviceBytes),
		ProductLines: cmp.Or(q.ProductLines, other.ProductLines), ProductBytes: cmp.Or(q.ProductBytes, other.ProductBytes),
		LowerSeconds: q.LowerSeconds,
	}
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
	WebRules
}

// AccessKey signs requests to a project. The secret is sealed at rest.
type AccessKey struct{ Project, ID, Secret string }

// TemporaryKey is an access key that may write to one logstore, signs together with its security token, and ends by itself.
type TemporaryKey struct {
	Project, Logstore string
	ID, Secret, Token string
	Expires           time.Time
}

// CLSTopic is a Tencent CLS log topic.
type CLSTopic struct {
	ID             string
	AnonymousWrite bool
	// Origins as in Logstore.
	Origins []string
	WebRules
}

// TopicKey signs uploads to a topic. Other topics may have a key of the same id, since the vendor's SDKs sign for all topics
// with one. The secret is sealed at rest.
type TopicKey struct{ Topic, ID, Secret string }

// Actor says who made a change and from where, for the audit stream.
type Actor struct {
	// Name is a token's name, or one of "admin", "config", "expiry" and "quota".
	Name string
	// Address is the client's network address; empty for the server itself.
	Address string
}
