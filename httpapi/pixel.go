package httpapi

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

// answerGIF writes the pixel with headers that keep every cache from answering in its place (web-tracking.md 4.5).
func answerGIF(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
	return c.Blob(http.StatusOK, "image/gif", []byte(sls.GIF))
}

// headerFields are the User-Agent and, if it has a name, the Referer of a request as fields of a log.
func headerFields(h http.Header, userAgent, referer string) []logbridge.Attr {
	var fields []logbridge.Attr
	if v := h.Get("User-Agent"); v != "" {
		fields = append(fields, logbridge.Attr{Key: userAgent, Value: validText(v)})
	}
	if v := h.Get("Referer"); v != "" && referer != "" {
		fields = append(fields, logbridge.Attr{Key: referer, Value: validText(v)})
	}
	return fields
}

// validText is s as UTF-8: headers are bytes.
func validText(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }
