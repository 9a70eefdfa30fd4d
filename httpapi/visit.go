package httpapi

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// defaultLimits hold where neither the store nor the server's settings say otherwise. Rates have none; the sizes of requests are
// the vendors' (web-tracking.md 4.3, 5.3), those of fields what no page needs more of.
func defaultLimits() logbridge.WebLimits {
	return logbridge.WebLimits{
		RequestBytes: logbridge.MaxWebRequest, QueryBytes: logbridge.MaxWebQuery, Events: logbridge.MaxWebEvents,
		Fields: 1024, KeyBytes: 1024, ValueBytes: logbridge.MaxWebText,
	}
}

// defaultPrivacy fills in what is not said. Masked: enough to tell networks and countries apart, and nobody's.
func defaultPrivacy(p logbridge.WebPrivacy) logbridge.WebPrivacy {
	p.OptOut = cmp.Or(p.OptOut, logbridge.OptOutIgnore)
	return p
}

// The ways in which a write token is given: beside these two by a header of its own.
const (
	// writeTokenPath begins a path, so that an SDK can be given it as a part of its host: https://logs.example.com/w/<token>.
	writeTokenPath = "/w/"
	// writeTokenQuery is for an <img>.
	writeTokenQuery  = "write_token"
	writeTokenHeader = "X-Logbridge-Write-Token"
)

// takeWriteToken moves a write token from path and query to its header, so that nothing else sees it: no handler, no log, no
// signature and no field of an event. It is taken of the surfaces of pages only: a proxy that keeps the world from /api must not be
// led around.
func takeWriteToken(r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, writeTokenPath); ok {
		token, path, _ := strings.Cut(rest, "/")
		if path = oneSlash("/" + path); isSLSPath(path) || isCLSPath(path) {
			r.URL.Path = path
			r.Header.Set(writeTokenHeader, token)
		}
	}
	if !strings.Contains(r.URL.RawQuery, writeTokenQuery+"=") || !isSLSPath(r.URL.Path) && !isCLSPath(r.URL.Path) {
		return
	}
	pairs := strings.Split(r.URL.RawQuery, "&")
	kept := pairs[:0]
	for _, pair := range pairs {
		if token, ok := strings.CutPrefix(pair, writeTokenQuery+"="); ok {
			r.Header.Set(writeTokenHeader, token)
			continue
		}
		kept = append(kept, pair)
	}
	r.URL.RawQuery = strings.Join(kept, "&")
}

var errWriteToken = errors.New("a write token of this store is needed")

// hasWriteToken says whether a request brings one of the tokens.
func hasWriteToken(r *http.Request, tokens []string) bool {
	if len(tokens) == 0 {
		return true
	}
	got, good := []byte(r.Header.Get(writeTokenHeader)), 0
	for _, t := range tokens {
		good |= subtle.ConstantTimeCompare(got, []byte(t))
	}
	return good == 1
}

// visit is one request that writes to a store, with what the store asks of it.
type visit struct {
	spender
	dialect *dialect
	request *http.Request
	limits  logbridge.WebLimits
	privacy logbridge.WebPrivacy
	// page says that it comes from a page: anonymous, or with temporary credentials. The others are the operator's own.
	page bool
	// named says that the store or the settings say themselves what is kept of an address.
	named bool
}

// arrive begins a visit. A writer that has nothing left is refused here, before its body is read.
func (s *Server) arrive(r *http.Request, d *dialect, stream logbridge.Stream, rules *logbridge.WebRules, page bool) (visit, error) {
	l := rules.Limits.Or(s.cfg.Limits)
	v := visit{dialect: d, request: r, limits: l, privacy: rules.Privacy, page: page}
	v.stream, v.all = stream, rate{l.StoreEvents, l.StoreBytes}
	if page {
		v.address, v.own = clientAddr(r).Unmap().WithZone(""), rate{l.AddressEvents, l.AddressBytes}
	}
	v.privacy.Address = cmp.Or(v.privacy.Address, s.cfg.Privacy.Address)
	v.named = v.privacy.Address != ""
	v.privacy.Address = cmp.Or(v.privacy.Address, logbridge.AddressMasked)
	v.privacy.OptOut = cmp.Or(v.privacy.OptOut, s.cfg.Privacy.OptOut)
	if len(v.privacy.Redact)+len(v.privacy.Patterns) == 0 {
		v.privacy.Redact, v.privacy.Patterns = s.cfg.Privacy.Redact, s.cfg.Privacy.Patterns
	}
	if !s.rates.has(&v.spender) {
		return v, refuse(overRate, stream, 0, d.throttled(r))
	}
	return v, nil
}

// check holds what was decoded to the store's limits and then to its rates; size is that of the body or query as it came.
func (s *Server) check(v *visit, events []loose.Event, tags []logbridge.Attr, size int) error {
	err := v.checkEvents(events, tags)
	if err != nil {
		return refuse(tooLarge, v.stream, len(events), err)
	}
	if !s.rates.spend(&v.spender, len(events), size) {
		return refuse(overRate, v.stream, len(events), v.dialect.throttled(v.request))
	}
	return nil
}

func (v *visit) checkEvents(events []loose.Event, tags []logbridge.Attr) error {
	if n := int64(len(events)); n > v.limits.Events {
		return v.dialect.tooMuch("Log count", n, v.limits.Events)
	}
	if err := v.checkFields(tags); err != nil {
		return err
	}
	for _, e := range events {
		if n := int64(len(e.Fields) + len(tags)); n > v.limits.Fields {
			return v.dialect.tooMuch("Field count", n, v.limits.Fields)
		}
		if err := v.checkFields(e.Fields); err != nil {
			return err
		}
	}
	return nil
}

func (v *visit) checkFields(fields []logbridge.Attr) error {
	for i := range fields {
		if n := int64(len(fields[i].Key)); n > v.limits.KeyBytes {
			return v.dialect.tooMuch("Key size", n, v.limits.KeyBytes)
		}
		if n := int64(len(fields[i].Value)); n > v.limits.ValueBytes {
			return v.dialect.tooMuch("Value size", n, v.limits.ValueBytes)
		}
	}
	return nil
}

// optsOut says whether the client does not want to be tracked: Tracking Preference Expression, and Global Privacy Control.
func (v *visit) optsOut() bool {
	return v.privacy.OptOut != logbridge.OptOutIgnore && v.page &&
		(v.request.Header.Get("Dnt") == "1" || v.request.Header.Get("Sec-Gpc") == "1")
}

// dropsAll says that nothing of such a client is kept.
func (v *visit) dropsAll() bool { return v.optsOut() && v.privacy.OptOut == logbridge.OptOutEvent }

// address is the client's address as it is kept; "" for not at all. That of a server which signs with the operator's own key is
// nobody's.
func (s *Server) address(v *visit) string {
	form := v.privacy.Address
	switch {
	case !v.page:
		return clientIP(v.request)
	case v.optsOut(), form == logbridge.AddressNone, !v.spender.address.IsValid():
		return ""
	case form == logbridge.AddressMasked:
		return maskAddress(v.spender.address)
	case form == logbridge.AddressHashed:
		return s.hashAddress(v.spender.address, v.stream, time.Now())
	}
	return v.spender.address.String()
}

// maskAddress leaves the /24 of an IPv4 address and the /48 of an IPv6 address: a network, not a person. A loopback address is
// nobody's and stays.
func maskAddress(a netip.Addr) string {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	prefix, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	if a.IsLoopback() {
		return a.String()
	}
	return prefix.Addr().String()
}

// hashAddress is a name for an address that holds for one store and one day (UTC): the same visitor has it all day, nobody can see
// from it who that is or that he was there yesterday, unless he has the registry's key. Without the key nothing is kept.
func (s *Server) hashAddress(a netip.Addr, stream logbridge.Stream, now time.Time) string {
	if s.deps.AddressKey == nil {
		return ""
	}
	root, err := s.deps.AddressKey()
	if err != nil {
		s.log.Warn("addresses are not kept: their key is not there", "error", err)
		return ""
	}
	day := mac([]byte(root), now.UTC().Format(time.DateOnly)+"\x00"+string(stream))
	const length = 10 // bytes: 80 bits tell all addresses of a day apart
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac(day, a.String())[:length]))
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// addressTag is the vendor's name for the address of a client as a tag (web-tracking.md 4.6).
const addressTag = "__client_ip__"

// enrich adds what the server knows of a page's visitor: the address as a tag where the store asks for it by name and __source__
// is taken, and the class of a program that is no browser.
func (s *Server) enrich(v *visit, events []loose.Event, tags []logbridge.Attr, source, address string) []logbridge.Attr {
	if !v.page {
		return tags
	}
	if v.named && source != "" && address != "" {
		tags = append(tags[:len(tags):len(tags)], logbridge.Attr{Key: addressTag, Value: address})
	}
	if class := s.bots.class(v.request.Header.Get("User-Agent")); class != "" {
		for i := range events {
			events[i].Fields = append(events[i].Fields, logbridge.Attr{Key: botField, Value: class})
		}
	}
	return tags
}

// keep is the last step of a visit: it takes out what the store does not want, and stores the rest.
func (s *Server) keep(v *visit, records []logbridge.Record) error {
	if len(records) > 0 && v.dropsAll() {
		s.deps.Counter.Drop(v.dialect.source, v.stream, string(optedOut), len(records))
		return nil
	}
	redact, err := s.redactors.of(v.stream, v.privacy)
	if err == nil {
		err = redact.records(records)
	}
	if err != nil {
		return refuse(kindOf(err), v.stream, len(records), err)
	}
	// Times are of the clock of a browser or a service, and are repaired by the time of receipt alone: the Date of a signed request is
	// within minutes of it or the request is refused, and may be of another host's clock than the events.
	logbridge.RepairTimes(records, time.Time{}, nil)
	return s.append(logbridge.Batch{Records: records}, v.stream)
}
