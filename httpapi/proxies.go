package httpapi

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
)

// The headers in which a proxy may say who its client is.
const (
	HeaderXForwardedFor = "X-Forwarded-For"
	HeaderForwarded     = "Forwarded" // RFC 7239
)

// maxHops bounds the addresses that are looked at: no chain of proxies is as long.
const maxHops = 32

// forwarding finds the address of a client behind proxies that are known; nil where there are none.
type forwarding struct {
	header  string
	extract echo.IPExtractor
}

// newForwarding takes the networks of the proxies and the one header that they write. One only: a proxy passes on what a client
// says in the others.
func newForwarding(proxies []netip.Prefix, header string) (*forwarding, error) {
	if len(proxies) == 0 {
		return nil, nil
	}
	if header == "" {
		header = HeaderXForwardedFor
	}
	if header != HeaderXForwardedFor && header != HeaderForwarded {
		return nil, errors.New("httpapi: ProxyHeader is " + HeaderXForwardedFor + " or " + HeaderForwarded)
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		p = p.Masked()
		trust = append(trust, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
	}
	return &forwarding{header: header, extract: echo.ExtractIPFromXFFHeader(trust...)}, nil
}

// apply makes RemoteAddr the right-most address that is no proxy of ours: whoever stands to the left of it may have been made up. For
// a request that came from no proxy that is its peer, whatever it says. Everything that asks for an address, the attempts, the
// rates, the audit and what is kept in records, so sees the same.
func (f *forwarding) apply(r *http.Request) {
	if f == nil {
		return
	}
	values := r.Header.Values(f.header)
	if len(values) == 0 {
		return
	}
	chain := http.Request{RemoteAddr: r.RemoteAddr, Header: http.Header{HeaderXForwardedFor: {f.hops(values)}}}
	if ip := f.extract(&chain); ip != "" && ip != clientIP(r) {
		r.RemoteAddr = net.JoinHostPort(ip, "0")
	}
}

// hops lists the addresses of a header, the nearest last, without what else it says of them.
func (f *forwarding) hops(values []string) string {
	parts := strings.Split(strings.Join(values, ","), ",")
	parts = parts[max(0, len(parts)-maxHops):]
	for i, part := range parts {
		if f.header == HeaderForwarded {
			part = forwardedFor(part)
		}
		parts[i] = withoutPort(strings.TrimSpace(part))
	}
	return strings.Join(parts, ",")
}

// forwardedFor is the for parameter of an element: for=192.0.2.1, for="[2001:db8::1]:4711". Without one it is no address, and
// ends the way back to the client.
func forwardedFor(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return "unknown"
}

// withoutPort takes away the port that some proxies write.
func withoutPort(hop string) string {
	if at, err := netip.ParseAddrPort(hop); err == nil {
		return at.Addr().String()
	}
	return hop
}
