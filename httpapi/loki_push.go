package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

const lokiPushPath = lokiPath + "/push"

// lokiIntake: errors are plain text, which Loki's clients write into their own log.
func lokiIntake() *intake {
	return &intake{source: logbridge.SourceLoki, fault: func(c echo.Context, status int, why string) error {
		return c.String(status, why+"\n")
	}}
}

func (s *Server) routeLokiPush(e *echo.Echo) {
	e.POST(lokiPushPath, s.take(s.loki, s.lokiPush))
}

// lokiPush takes JSON, or by any other type and without one protobuf in snappy, as Loki does.
func (s *Server) lokiPush(c echo.Context) error {
	unpack, decode := unsnap, loki.DecodePushProto
	if mediaType(c.Request()) == mediaJSON {
		decode = loki.DecodePushJSON
		unpack = func(r *http.Request, body []byte, plain *buffer) ([]byte, error) {
			return inflate(r.Context(), r.Header.Get("Content-Encoding"), body, plain, loki.MaxPush)
		}
	}
	upload, err := s.takeUpload(c, s.loki, loki.MaxPush, unpack, decode)
	if err != nil {
		return err
	}
	if n, why := rejected(upload); n > 0 { // Loki too stores the rest and says it like this
		return s.loki.fault(c, http.StatusBadRequest, fmt.Sprintf("%d entries of %d: %s; the rest is stored", n, n+len(upload.Records), why))
	}
	return c.NoContent(http.StatusNoContent)
}

// unsnap undoes snappy, which some clients name as content encoding and most do not. The size that the block says is taken
// as a share of memory first.
func unsnap(r *http.Request, body []byte, plain *buffer) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); !strings.EqualFold(encoding, "snappy") {
		var err error
		if body, err = inflate(r.Context(), encoding, body, plain, loki.MaxPush); err != nil {
			return nil, err
		}
	}
	if err := plain.take(r.Context(), plain.share+int64(loki.UnsnappedSize(body))); err != nil {
		return nil, err
	}
	return loki.Unsnap(nil, body)
}
