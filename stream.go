package logbridge

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Stream is what one query usually asks for: one device, one logstore, one topic. Its text form is
// device/<product>/<device>, sls/<project>/<logstore>, cls/<topic>, otlp/<namespace>/<service> or audit.
type Stream string

// AuditStream holds every change, expiry and refusal. Nothing outside can write it.
const AuditStream Stream = "audit"

// SLSStream is the stream of a logstore.
func SLSStream(project, logstore string) Stream { return Stream("sls/" + project + "/" + logstore) }

// CLSStream is the stream of a topic.
func CLSStream(topic string) Stream { return Stream("cls/" + topic) }

// ServiceStream is the stream of a service that logs by OTLP or Loki's push, under names that other tools gave it: what no name
// of a stream may hold becomes an underscore.
func ServiceStream(namespace, service string) Stream {
	return Stream("otlp/" + streamPart(namespace, "-") + "/" + streamPart(service, "unknown_service"))
}

// maxStreamPart is the longest name of a namespace or service in a stream; longer ones are cut.
const maxStreamPart = 128

func streamPart(s, absent string) string {
	if s == "" {
		return absent
	}
	s = strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '_'
		}
		return r
	}, s)
	if len(s) > maxStreamPart {
		cut := maxStreamPart
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return s
}

// Service gives namespace and service of a service stream; the namespace is "-" when none was given.
func (s Stream) Service() (namespace, service string, ok bool) {
	rest, ok := strings.CutPrefix(string(s), "otlp/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// Device gives the device of a device stream.
func (s Stream) Device() (DeviceID, bool) {
	rest, ok := strings.CutPrefix(string(s), "device/")
	if !ok {
		return DeviceID{}, false
	}
	p, d, ok := strings.Cut(rest, "/")
	return DeviceID{Product: p, Device: d}, ok
}

// Logstore gives project and logstore of an SLS stream.
func (s Stream) Logstore() (project, logstore string, ok bool) {
	rest, ok := strings.CutPrefix(string(s), "sls/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// Topic gives the topic of a CLS stream.
func (s Stream) Topic() (string, bool) { return strings.CutPrefix(string(s), "cls/") }

// DeviceID names a device: ProductId and DeviceName in Tencent's words (tencent-iot.md 1).
type DeviceID struct{ Product, Device string }

// ProductIDLen is the length of every product id.
const ProductIDLen = 10

// maxDeviceName is the longest device name.
const maxDeviceName = 48

// ParseDeviceID reads "product/device" and checks both names.
func ParseDeviceID(s string) (DeviceID, error) {
	p, d, ok := strings.Cut(s, "/")
	id := DeviceID{Product: p, Device: d}
	if !ok {
		return id, fmt.Errorf("%w: device %q is not of the form product/device", ErrInvalid, clip(s))
	}
	return id, id.Validate()
}

// Validate checks the names: a product id is 10 letters and digits, a device name 1 to 48 letters, digits and : _ -.
func (id DeviceID) Validate() error {
	if err := ValidateProductID(id.Product); err != nil {
		return err
	}
	if n := len(id.Device); n == 0 || n > maxDeviceName || !all(id.Device, deviceChar) {
		return fmt.Errorf("%w: device name %q is not 1 to %d letters, digits or : _ -", ErrInvalid, clip(id.Device), maxDeviceName)
	}
	return nil
}

// ValidateProductID checks that s is 10 letters and digits.
func ValidateProductID(s string) error {
	if len(s) != ProductIDLen || !all(s, alphanumeric) {
		return fmt.Errorf("%w: product id %q is not %d letters and digits", ErrInvalid, clip(s), ProductIDLen)
	}
	return nil
}

func (id DeviceID) String() string { return id.Product + "/" + id.Device }

// Stream is the device's own stream.
func (id DeviceID) Stream() Stream { return Stream("device/" + id.Product + "/" + id.Device) }

// ValidateStoreName checks the name of a project, logstore or topic: 2 to 63 letters, digits, - _ or . (the vendors'
// pages differ; this is the most lenient of them that keeps names safe in a path, a header and a file).
func ValidateStoreName(s string) error {
	if n := len(s); n < 2 || n > 63 || !all(s, storeChar) || s[0] == '.' || s[0] == '-' {
		return fmt.Errorf("%w: name %q is not 2 to 63 letters, digits, - _ or . beginning with a letter, a digit or _", ErrInvalid, clip(s))
	}
	return nil
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func deviceChar(c byte) bool { return alphanumeric(c) || c == ':' || c == '_' || c == '-' }

func storeChar(c byte) bool { return alphanumeric(c) || c == '-' || c == '_' || c == '.' }
