package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// The bounds of a preflight answer.
const (
	// corsMaxAge: without a cached preflight the STS plugin loses its last batch at page unload (web-tracking.md 3.1); an
	// hour is also how long a withdrawn origin may go on asking.
	corsMaxAge = "3600"
	// maxCORSHeaders: the SDKs ask for eight at most (web-tracking.md 7).
	maxCORSHeaders = 64
	// maxCORSHeader bounds one header's name.
	maxCORSHeader = 64
)

// exposed are the headers that pages read (web-tracking.md 7).
const exposed = "x-log-requestid, x-cls-requestid"

// openCORS lets a page of any origin read the answer. It is set first, so that errors carry it too.
func openCORS(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOriginValue[:]
	h["Access-Control-Expose-Headers"] = exposedValue[:]
}

// Values of headers that are on every answer, made once: net/http copies them. They are not to be changed.
var (
	anyOriginValue = [...]string{"*"}
	exposedValue   = [...]string{exposed}
	zeroValue      = [...]string{"0"}
)

// narrowCORS is openCORS for a store that takes writes of some origins only.
func narrowCORS(h http.Header, origins []string, origin string) {
	if anyOrigin(origins) {
		return
	}
	h.Set("Vary", "Origin")
	if allowedOrigin(origins, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		return
	}
	h.Del("Access-Control-Allow-Origin")
}

// preflight answers OPTIONS: it names the requested headers, since a wildcard does not cover Authorization
// (web-tracking.md 7).
func preflight(c echo.Context, origins []string) error {
	r, h := c.Request(), c.Response().Header()
	h.Set("Content-Length", "0")
	if origin := r.Header.Get("Origin"); !anyOrigin(origins) && !allowedOrigin(origins, origin) {
		return noContent(c, http.StatusForbidden)
	}
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS")
	if names := headerNames(r.Header.Values("Access-Control-Request-Headers")); names != "" {
		h.Set("Access-Control-Allow-Headers", names)
	}
	h.Set("Access-Control-Max-Age", corsMaxAge)
	h.Add("Vary", "Access-Control-Request-Headers")
	return noContent(c, http.StatusOK)
}

// noContent writes an empty answer without a Content-Type: a JSON type with no body makes a client throw
// (web-tracking.md 4.4).
func noContent(c echo.Context, status int) error {
	c.Response().Header()["Content-Length"] = zeroValue[:]
	c.Response().WriteHeader(status)
	return nil
}

// headerNames keeps what is a header name; browsers separate by comma, jsdom by comma and space.
func headerNames(values []string) string {
	var names []string
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if isToken(name) && len(name) <= maxCORSHeader && len(names) < maxCORSHeaders && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ",")
}

// isToken reports whether s is a token of RFC 9110 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

func anyOrigin(origins []string) bool { return len(origins) == 0 || slices.Contains(origins, "*") }

func allowedOrigin(origins []string, origin string) bool {
	return origin != "" && slices.ContainsFunc(origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// fromAllowedPage reports whether a write may come from where it says it comes. An image has no Origin but, unless the page
// asks otherwise, a Referer. What says nothing is refused: else any page could hide where it is.
func fromAllowedPage(origins []string, r *http.Request) bool {
	if anyOrigin(origins) {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		if u, err := url.Parse(r.Header.Get("Referer")); err == nil && u.Host != "" {
			origin = u.Scheme + "://" + u.Host
		}
	}
	return allowedOrigin(origins, origin)
}
