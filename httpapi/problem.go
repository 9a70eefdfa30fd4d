package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
)

// problem is an error of the operator API: application/problem+json (RFC 9457) with a stable code.
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Code   string         `json:"code"`
	Detail string         `json:"detail,omitempty"`
	Errors []problemFault `json:"errors,omitempty"`
}

// problemFault is one fault of a request's body or parameters.
type problemFault struct {
	Location string `json:"location,omitempty"`
	Message  string `json:"message"`
}

func (p *problem) Error() string { return p.Detail }

// GetStatus and ContentType are what huma asks of an error it is to write as it is.
func (p *problem) GetStatus() int              { return p.Status }
func (p *problem) ContentType(_ string) string { return "application/problem+json" }

// problemCodes is the error table of the operator API: the code that goes with each status.
var problemCodes = map[int]string{
	http.StatusBadRequest:            "invalid",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not_found",
	http.StatusMethodNotAllowed:      "method_not_allowed",
	http.StatusNotAcceptable:         "not_acceptable",
	http.StatusRequestTimeout:        "too_slow",
	http.StatusConflict:              "conflict",
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "unsupported_media_type",
	http.StatusUnprocessableEntity:   "invalid",
	http.StatusTooManyRequests:       "too_many",
	http.StatusServiceUnavailable:    "unavailable",
}

// newProblem makes a problem of a status and a sentence.
func newProblem(status int, detail string) *problem {
	code, ok := problemCodes[status]
	if !ok {
		code = "internal"
	}
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// problemOf is a problem that needs no sentence of its own.
func problemOf(status int) *problem {
	switch status {
	case http.StatusNotFound:
		return newProblem(status, "there is no such call")
	case http.StatusMethodNotAllowed:
		return newProblem(status, "this path has no such method")
	}
	return newProblem(status, "")
}

// problem turns the kinds of error into statuses. What has no kind is a fault of this server: it is logged and not shown.
func (s *Server) problem(err error) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	for _, row := range []struct {
		kind   error
		status int
	}{
		{logbridge.ErrInvalid, http.StatusBadRequest},
		{logbridge.ErrNotFound, http.StatusNotFound},
		{logbridge.ErrUnauthorized, http.StatusUnauthorized},
		{logbridge.ErrForbidden, http.StatusForbidden},
		{logbridge.ErrTooLarge, http.StatusRequestEntityTooLarge},
		{logbridge.ErrUnavailable, http.StatusServiceUnavailable},
		{os.ErrDeadlineExceeded, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, row.kind) {
			// The code says the kind already.
			return newProblem(row.status, strings.TrimPrefix(err.Error(), row.kind.Error()+": "))
		}
	}
	s.log.Error("operator API", "error", err)
	return newProblem(http.StatusInternalServerError, "the server's log says more")
}

// problems is the huma transformer that gives huma's own errors (unknown members, wrong types) their code. The value at
// fault is left out: it may be a secret.
func problems(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(m.Status, m.Detail)
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, problemFault{Location: e.Location, Message: e.Message})
		}
	}
	if len(p.Errors) > 0 {
		p.Detail = strings.TrimSpace(p.Errors[0].Location + " " + p.Errors[0].Message)
	}
	return p, nil
}

// writeProblem answers outside of huma.
func writeProblem(c echo.Context, p *problem) {
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte(`{"code":"internal"}`)
	}
	if p.Status == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", challenge)
	}
	_ = c.Blob(p.Status, p.ContentType(""), append(b, '\n'))
}
