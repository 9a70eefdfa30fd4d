package logbridge

import (
	"cmp"
	"errors"
	"fmt"
)

// WebRules is what a logstore or a topic asks of those who write to it, beside their origin, and what it keeps of them. The zero
// value asks nothing and leaves everything else to the server's settings.
type WebRules struct {
	// WriteTokens are what an anonymous write must bring one of; none is no such demand. They stand in pages for everyone to
	// read: they keep out who has not seen a page, and let one page be shut out. Sealed at rest. Several allow a change.
	WriteTokens []string
	Limits      WebLimits
	Privacy     WebPrivacy
}

// WebLimits bounds what is written to a store. 0 is the server's default; for a rate, which has none unless set, -1 is no bound.
type WebLimits struct {
	AddressEvents int64 `json:"address_events,omitempty" yaml:"address_events,omitempty" doc:"events a second of each client address that writes anonymously or with temporary credentials; 0 is the server's default, -1 no bound"`
	AddressBytes  int64 `json:"address_bytes,omitempty" yaml:"address_bytes,omitempty" doc:"bytes a second of each such address, as they came, likewise"`
	StoreEvents   int64 `json:"store_events,omitempty" yaml:"store_events,omitempty" doc:"events a second of all writers of the store together, likewise"`
	StoreBytes    int64 `json:"store_bytes,omitempty" yaml:"store_bytes,omitempty" doc:"bytes a second of all writers of the store together, likewise"`

	RequestBytes int64 `json:"request_bytes,omitempty" yaml:"request_bytes,omitempty" doc:"bytes of a body, before and after decompression; 0 is the server's default, as in the rest"`
	QueryBytes   int64 `json:"query_bytes,omitempty" yaml:"query_bytes,omitempty" doc:"bytes of the query of a GET"`
	Events       int64 `json:"events,omitempty" yaml:"events,omitempty" doc:"events in a request"`
	Fields       int64 `json:"fields,omitempty" yaml:"fields,omitempty" doc:"fields of an event, tags included"`
	KeyBytes     int64 `json:"key_bytes,omitempty" yaml:"key_bytes,omitempty" doc:"bytes of a field's name"`
	ValueBytes   int64 `json:"value_bytes,omitempty" yaml:"value_bytes,omitempty" doc:"bytes of a field's value"`
}

// The most that WebLimits may allow of one request: what the most generous of the protocols takes (web-tracking.md 4.3, 5.3). Each
// form has its own bounds below these.
const (
	MaxWebRequest = 10 << 20
	MaxWebQuery   = 16 << 10
	MaxWebEvents  = 100_000
	MaxWebFields  = 1 << 18
	MaxWebText    = 1 << 20
)

// WebLimit is one limit under its name in settings, with what it may be at most.
type WebLimit struct {
	Name  string
	Value int64
	Most  int64
	Rate  bool // it may also be -1
}

// List gives the limits by name.
func (l WebLimits) List() []WebLimit {
	return []WebLimit{
		{"address_events", l.AddressEvents, MaxRate, true}, {"address_bytes", l.AddressBytes, MaxRate, true},
		{"store_events", l.StoreEvents, MaxRate, true}, {"store_bytes", l.StoreBytes, MaxRate, true},
		{"request_bytes", l.RequestBytes, MaxWebRequest, false}, {"query_bytes", l.QueryBytes, MaxWebQuery, false},
		{"events", l.Events, MaxWebEvents, false}, {"fields", l.Fields, MaxWebFields, false},
		{"key_bytes", l.KeyBytes, MaxWebText, false}, {"value_bytes", l.ValueBytes, MaxWebText, false},
	}
}

// Or gives l with the limits that are not set as in other.
func (l WebLimits) Or(other WebLimits) WebLimits {
	return WebLimits{
		AddressEvents: cmp.Or(l.AddressEvents, other.AddressEvents), AddressBytes: cmp.Or(l.AddressBytes, other.AddressBytes),
		StoreEvents: cmp.Or(l.StoreEvents, other.StoreEvents), StoreBytes: cmp.Or(l.StoreBytes, other.StoreBytes),
		RequestBytes: cmp.Or(l.RequestBytes, other.RequestBytes), QueryBytes: cmp.Or(l.QueryBytes, other.QueryBytes),
		Events: cmp.Or(l.Events, other.Events), Fields: cmp.Or(l.Fields, other.Fields),
		KeyBytes: cmp.Or(l.KeyBytes, other.KeyBytes), ValueBytes: cmp.Or(l.ValueBytes, other.ValueBytes),
	}
}

// WebPrivacy is what is kept of the people behind anonymous writes and those with temporary credentials. Empty is the server's
// default.
type WebPrivacy struct {
	Address AddressForm `json:"address,omitempty" yaml:"address,omitempty" enum:",none,masked,hashed,full" doc:"what is kept of a client's address: none, masked (its /24, or /48 of IPv6), hashed (with a key, another every day) or full"`
	OptOut  OptOut      `json:"opt_out,omitempty" yaml:"opt_out,omitempty" enum:",ignore,address,event" doc:"what is not kept of a client that says DNT: 1 or Sec-GPC: 1: ignore (all is kept), address (neither its address nor its User-Agent and Referer), event (nothing)"`
	// Redact names built-in patterns whose finds are replaced before anything is stored.
	Redact []string `json:"redact,omitempty" yaml:"redact,omitempty" doc:"what is replaced in values before they are stored: email, phone, token"`
	// Patterns are such patterns of the operator's own, in RE2 syntax.
	Patterns []string `json:"patterns,omitempty" yaml:"patterns,omitempty" doc:"own patterns, in RE2 syntax, whose finds are replaced"`
}

// AddressForm is the form in which a client's address is kept.
type AddressForm string

// The forms of an address.
const (
	AddressNone   AddressForm = "none"
	AddressMasked AddressForm = "masked"
	AddressHashed AddressForm = "hashed"
	AddressFull   AddressForm = "full"
)

// OptOut is what follows from a client's wish not to be tracked.
type OptOut string

// The consequences.
const (
	OptOutIgnore  OptOut = "ignore"
	OptOutAddress OptOut = "address"
	OptOutEvent   OptOut = "event"
)

// The built-in patterns of WebPrivacy.Redact.
const (
	RedactEmail = "email"
	RedactPhone = "phone"
	RedactToken = "token"
)

// Redactions lists them.
func Redactions() []string { return []string{RedactEmail, RedactPhone, RedactToken} }

// CheckWebLimits returns ErrInvalid with every limit that is none.
func CheckWebLimits(l WebLimits) error {
	var faults []error
	for _, one := range l.List() {
		least := int64(0)
		if one.Rate {
			least = -1
		}
		if one.Value < least || one.Value > one.Most {
			faults = append(faults, fmt.Errorf("%w: %s is a number from %d to %d", ErrInvalid, one.Name, least, one.Most))
		}
	}
	return errors.Join(faults...)
}

// CheckAddressForm returns ErrInvalid for what is no form; empty is one.
func CheckAddressForm(a AddressForm) error {
	switch a {
	case "", AddressNone, AddressMasked, AddressHashed, AddressFull:
		return nil
	}
	return fmt.Errorf("%w: %q is none of none, masked, hashed, full", ErrInvalid, clip(string(a)))
}

// CheckOptOut returns ErrInvalid for what is no consequence; empty is one.
func CheckOptOut(o OptOut) error {
	switch o {
	case "", OptOutIgnore, OptOutAddress, OptOutEvent:
		return nil
	}
	return fmt.Errorf("%w: %q is none of ignore, address, event", ErrInvalid, clip(string(o)))
}
