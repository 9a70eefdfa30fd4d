package httpapi

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/otlp"
)

// otlpIntake: errors are a google.rpc.Status in the form of the request (specification.md, "Failures").
func otlpIntake() *intake {
	return &intake{source: logbridge.SourceOTLP, fault: func(c echo.Context, status int, why string) error {
		kind, asJSON := otlpForm(c.Request())
		return c.Blob(status, kind, otlp.Status(asJSON, rpcCode[status], why))
	}}
}

// rpcCode is the google.rpc.Code that goes with each status.
var rpcCode = map[int]int{
	http.StatusBadRequest:            3,  // INVALID_ARGUMENT
	http.StatusUnauthorized:          16, // UNAUTHENTICATED
	http.StatusForbidden:             7,  // PERMISSION_DENIED
	http.StatusNotFound:              5,  // NOT_FOUND
	http.StatusMethodNotAllowed:      12, // UNIMPLEMENTED
	http.StatusRequestEntityTooLarge: 3,
	http.StatusUnsupportedMediaType:  3,
	http.StatusTooManyRequests:       8,  // RESOURCE_EXHAUSTED
	http.StatusInternalServerError:   13, // INTERNAL
	http.StatusServiceUnavailable:    14, // UNAVAILABLE
}

func isOTLPPath(path string) bool { return under(path, "/v1/logs") || under(path, "/otlp") }

func (s *Server) routeOTLP(e *echo.Echo) {
	for _, path := range []string{"/v1/logs", "/otlp/v1/logs"} { // the second is where Loki has it
		e.POST(path, s.take(s.otlp, s.otlpLogs))
	}
}

// otlpForm is the form of the answer, which is that of the request; JSON if that has none that is known.
func otlpForm(r *http.Request) (kind string, asJSON bool) {
	if mediaType(r) == mediaProto {
		return mediaProto, false
	}
	return mediaJSON, true
}

// otlpLogs is ExportLogsServiceRequest over HTTP (query-and-export.md 2).
func (s *Server) otlpLogs(c echo.Context) error {
	r := c.Request()
	kind, asJSON := otlpForm(r)
	decode := otlp.DecodeProto
	if asJSON {
		decode = otlp.DecodeJSON
	}
	unpack := func(r *http.Request, body []byte, plain *buffer) ([]byte, error) {
		if mediaType(r) != kind {
			return nil, refuse(unsupported, "", 0, fmt.Errorf("content type %q is neither %s nor %s", clip(r.Header.Get("Content-Type")), mediaProto, mediaJSON))
		}
		return inflate(r.Context(), r.Header.Get("Content-Encoding"), body, plain, otlp.MaxBody)
	}
	upload, err := s.takeUpload(c, s.otlp, otlp.MaxBody, unpack, decode)
	if err != nil {
		return err
	}
	n, why := rejected(upload)
	return c.Blob(http.StatusOK, kind, otlp.Answer(asJSON, n, why))
}
