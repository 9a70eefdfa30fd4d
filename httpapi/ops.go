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
