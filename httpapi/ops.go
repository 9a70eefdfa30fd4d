package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// routeHealth: /healthz says that the process answers, /readyz that uploads can be stored, /ready is the same in the
// words of Loki clients.
func (s *Server) routeHealth(e *echo.Echo) {
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	e.GET("/ready", s.ready)
}

func (s *Server) ready(c echo.Context) error {
	if s.draining.Err() != nil {
		return c.String(http.StatusServiceUnavailable, "shutting down\n")
	}
	if err := s.deps.Ready(); err != nil {
		return c.String(http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
	}
	return c.String(http.StatusOK, "ready\n")
}

const frontText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>logbridge</title></head>
<body><h1>logbridge</h1>
<p>Device fleets and web pages log into this server; operators read and steer from it.</p>
<ul>
<li>Devices: <code>POST /device/reportlog</code></li>
<li>Web pages: <code>/logstores/{store}/track</code> and <code>/sls/{project}/logstores/{store}/track</code> (Alibaba SLS), <code>/tracklog?topic_id=</code> (Tencent CLS)</li>
<li>Grafana and logcli: a data source of type Loki at this address, with a token as the password of basic authentication</li>
<li>Operators: <code>/api/v1</code>, described by <a href="/api/v1/openapi.json">openapi.json</a>; logs are at <code>/api/v1/logs</code></li>
<li>Operations: <a href="/healthz">healthz</a>, <a href="/readyz">readyz</a>, <a href="/metrics">metrics</a></li>
</ul></body></html>
`

// frontPage says what this is and where things are.
func (s *Server) frontPage(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	return c.HTML(http.StatusOK, frontText)
}
