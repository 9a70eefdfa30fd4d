package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
	"github.com/logbridge/logbridge/wire/sls"
)

// dialect is what the SLS and the CLS surface do not have in common.
type dialect struct {
	source logbridge.Source
	// headers sets what is on every answer.
	headers func(c echo.Context)
	// fault is the dialect's error table.
	fault func(r *refusal) (status int, body []byte)
	// tooMuch is the dialect's error for n of something where most are taken.
	tooMuch func(what string, n, most int64) error
	// throttled is its error for a writer that is over its rate: what makes the client wait or give up.
	throttled func(r *http.Request) error
}

// call answers what do returns. Success is exactly 200 with no body and no Content-Type: 204 counts as an error with some
// SDKs, and a JSON type without a body makes one throw (web-tracking.md 1).
func (s *Server) call(d *dialect, do echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		d.headers(c)
		if err := do(c); err != nil {
			return s.answerFault(c, d, err)
		}
		return noContent(c, http.StatusOK)
	}
}

// answerFault counts a refusal and writes it in the vendor's form.
func (s *Server) answerFault(c echo.Context, d *dialect, err error) error {
	return s.writeFault(c, d, s.refused(d.source, err))
}

// refused is the refusal that err is, and counts it; what is none is a fault of this server.
func (s *Server) refused(source logbridge.Source, err error) *refusal {
	r := (*refusal)(nil)
	if !errors.As(err, &r) {
		r = refuse(internal, "", 0, err)
	}
	s.count(source, r)
	return r
}

func (s *Server) writeFault(c echo.Context, d *dialect, r *refusal) error {
	status, body := d.fault(r)
	return c.Blob(status, "application/json", body)
}

// failWeb answers what no handler took.
func (s *Server) failWeb(c echo.Context, d *dialect, status int) {
	d.headers(c)
	_ = s.writeFault(c, d, s.unrouted(c, d.source, status, unsupported))
}

// unrouted is the refusal of a request that no handler took, none its reason if there is no such path. It is counted, unless
// the request brought no logs.
func (s *Server) unrouted(c echo.Context, source logbridge.Source, status int, none reason) *refusal {
	call := c.Request().Method + " " + clip(c.Request().URL.Path)
	r := refuse(none, "", 0, errors.New("there is no such call: "+call))
	switch status {
	case http.StatusMethodNotAllowed:
		r = refuse(badMethod, "", 0, errors.New(call+" is not supported"))
	case http.StatusInternalServerError:
		r = refuse(internal, "", 0, errPanic)
	}
	if c.Request().ContentLength != 0 {
		s.count(source, r)
	}
	return r
}

// pixel answers an image. It can tell a page nothing, so a refused one is answered like one that is stored; the ledger has
// it (web-tracking.md 4.5).
func (s *Server) pixel(d *dialect, do echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		d.headers(c)
		if r := (*refusal)(nil); errors.As(do(c), &r) {
			s.count(d.source, r)
		}
		h := c.Response().Header()
		h.Set("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0")
		h.Set("Pragma", "no-cache")
		h.Set("Expires", "0")
		return c.Blob(http.StatusOK, "image/gif", sls.GIF)
	}
}

// queryValue is the first value of a query's key. The usual query, without anything that is escaped, is not taken apart.
func queryValue(rawQuery, key string) string {
	if strings.ContainsAny(rawQuery, "%+;") {
		values, _ := url.ParseQuery(rawQuery) // what can be read of it
		return values.Get(key)
	}
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if name, value, _ := strings.Cut(pair, "="); name == key {
			return value
		}
	}
	return ""
}

// addHeaders adds headers of a request to its one log, where they are there, unless the client does not want to be tracked.
func (v *visit) addHeaders(logs []loose.Event, names [][2]string) {
	if v.optsOut() || len(logs) == 0 {
		return
	}
	for _, n := range names {
		if value := v.request.Header.Get(n[0]); value != "" { // bytes, not necessarily text
			logs[0].Fields = append(logs[0].Fields, logbridge.Attr{Key: n[1], Value: strings.ToValidUTF8(value, string(utf8.RuneError))})
		}
	}
}
