package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// lokiPath is where the API of Grafana Loki is, for Grafana and logcli (query-and-export.md 1).
const lokiPath = "/loki/api/v1"

// The bounds of one request for reading, and of all of them.
const (
	// maxLokiForm bounds a POST form: a query of 64 KiB, escaped, and the other parameters.
	maxLokiForm = 256 << 10
	// maxLokiReads is how many requests are answered at a time: as many as the log reads for. Each may hold maxAnswer or
	// maxCells; those beyond wait, since a page of Logs Drilldown asks for some dozens at once.
	maxLokiReads = 8
	// lokiWait is how long a request waits for its turn. Grafana gives up after 30 s, by default.
	lokiWait = 25 * time.Second
	// lokiTime bounds an answer. What the log works for it is bounded there; this is for what is done with the lines.
	lokiTime = 2 * time.Minute
	// gzipFrom: below it compression costs more than it saves.
	gzipFrom = 1024
)

// lokiChallenges are sent with every 401 of this surface: Grafana's data source knows both.
var lokiChallenges = []string{challenge, `Basic realm="logbridge"`}

// lokiRequest is one request for reading.
type lokiRequest struct {
	form   url.Values
	name   string // of a label or field in the path
	params loki.Params
	// categorized: the client wants to know where each label comes from.
	categorized bool
}

// lokiRead computes an answer: JSON text.
type lokiRead func(ctx context.Context, r *lokiRequest) ([]byte, error)

// routeLoki registers what reads. Every call is there as GET and as POST form. Parameters that are not known are not looked
// at, nor is the header X-Scope-OrgID: there is one tenant.
func (s *Server) routeLoki(e *echo.Echo) {
	reads := e.Group(lokiPath, gzipped(), s.lokiViewer)
	for path, read := range map[string]lokiRead{
		"/query":                        s.lokiInstant,
		"/query_range":                  s.lokiRange,
		"/labels":                       s.lokiLabels,
		"/label":                        s.lokiLabels,
		"/label/:name/values":           s.lokiLabelValues,
		"/series":                       s.lokiSeries,
		"/index/stats":                  s.lokiStats,
		"/index/volume":                 s.lokiVolume,
		"/index/volume_range":           s.lokiVolumeRange,
		"/detected_labels":              s.lokiDetectedLabels,
		"/detected_fields":              s.lokiDetectedFields,
		"/detected_field/:name/values":  s.lokiFieldValues,
		"/detected_fields/:name/values": s.lokiFieldValues,
		"/patterns":                     lokiPatterns,
		"/format_query":                 lokiFormat,
		"/status/buildinfo":             s.lokiBuildInfo,
		"/drilldown-limits":             lokiLimits,
		"/rules":                        lokiRules,
	} {
		reads.Match([]string{http.MethodGet, http.MethodPost}, path, s.lokiHandler(read))
	}
	reads.GET("/tail", s.lokiTail)
	// The alerting page of Grafana asks for the rules under Prometheus' name.
	e.GET("/prometheus/api/v1/rules", s.lokiHandler(lokiRules), gzipped(), s.lokiViewer)
}

// gzipped compresses answers for those who ask; what is flushed goes out compressed. What is followed stays as it is, since a
// compressor would take a megabyte for each follower, and so does a WebSocket.
func gzipped() echo.MiddlewareFunc {
	return middleware.GzipWithConfig(middleware.GzipConfig{
		MinLength: gzipFrom,
		Skipper: func(c echo.Context) bool {
			follow := c.QueryParam("follow")
			return c.IsWebSocket() || follow == "true" || follow == "1"
		},
	})
}

// lokiViewer lets through who may read.
func (s *Server) lokiViewer(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		bearer := bearerOf(r.Header.Get("Authorization"))
		if bearer == "" {
			return writeLokiProblem(c, newProblem(http.StatusUnauthorized, "a token is needed, as bearer or as the password of basic authentication"))
		}
		who, p := s.authenticate(r, bearer)
		if p == nil {
			p = who.permit(logbridge.RoleViewer)
		}
		if p != nil {
			return writeLokiProblem(c, p)
		}
		c.SetRequest(r.WithContext(withCaller(r.Context(), who)))
		return next(c)
	}
}

// bearerOf makes a bearer token of a basic-auth password, with any user, since that is what data sources and logcli can be
// told; other headers stay as they are.
func bearerOf(authorization string) string {
	scheme, encoded, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return authorization
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return ""
	}
	_, password, _ := strings.Cut(string(plain), ":")
	return "Bearer " + password
}

// lokiHandler reads the parameters, waits for its turn, and writes what read computes. The turn lasts until the answer is
// written, since it holds memory so long.
func (s *Server) lokiHandler(read lokiRead) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), lokiTime)
		defer cancel()
		defer context.AfterFunc(s.draining, cancel)()
		r, err := readLokiRequest(c)
		if err == nil {
			err = s.lokiTurn(ctx)
		}
		if err != nil {
			return writeLokiProblem(c, s.lokiProblem(err))
		}
		defer func() { <-s.lokiReads }()
		answer, err := read(ctx, r)
		if err != nil {
			return writeLokiProblem(c, s.lokiProblem(err))
		}
		return writeSlowly(c, answer)
	}
}

// lokiTurn takes one of the places of those who are answered.
func (s *Server) lokiTurn(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, lokiWait)
	defer cancel()
	select {
	case s.lokiReads <- struct{}{}:
		return nil
	case <-wait.Done():
		if err := ctx.Err(); err != nil {
			return err
		}
		return newProblem(http.StatusServiceUnavailable, "too many queries at a time; ask again in a moment")
	}
}

// readLokiRequest reads path, query and form.
func readLokiRequest(c echo.Context) (*lokiRequest, error) {
	req := c.Request()
	req.Body = http.MaxBytesReader(c.Response(), req.Body, maxLokiForm)
	if err := req.ParseForm(); err != nil {
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			return nil, newProblem(http.StatusRequestEntityTooLarge, "the form is larger than 256 KiB")
		}
		return nil, newProblem(http.StatusBadRequest, "the parameters are not well escaped")
	}
	// The deadline for the body is over with it: it would end the query as well.
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
	params, err := loki.ParseParams(req.Form, time.Now())
	if err != nil {
		return nil, err
	}
	return &lokiRequest{
		form: req.Form, name: c.Param("name"), params: params,
		categorized: strings.Contains(req.Header.Get("X-Loki-Response-Encoding-Flags"), "categorize-labels"),
	}, nil
}

// writeSlowly writes an answer that may be large to a reader that may be slow: as long as it takes something, it may go on.
func writeSlowly(c echo.Context, answer []byte) error {
	w := c.Response()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	for len(answer) > 0 {
		n := min(len(answer), maxPending)
		_ = control.SetWriteDeadline(time.Now().Add(readerTimeout))
		if _, err := w.Write(answer[:n]); err != nil {
			return nil // the reader is gone
		}
		answer = answer[n:]
	}
	return nil
}

// lokiKinds are Loki's words for statuses.
var lokiKinds = map[int]string{
	http.StatusBadRequest:            "bad_data",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not_found",
	http.StatusUnprocessableEntity:   "execution",
	http.StatusRequestEntityTooLarge: "bad_data",
	http.StatusServiceUnavailable:    "unavailable",
	statusClientClosed:               "canceled",
}

// statusClientClosed is what Loki answers when the client has gone: nobody reads it but proxies and their logs.
const statusClientClosed = 499

// lokiProblem is the error table of this surface. A query over its bounds is no request with too large a body: it could be
// read and not be executed.
func (s *Server) lokiProblem(err error) *problem {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusUnprocessableEntity, "the query has taken longer than "+lokiTime.String()+"; narrow it by time range or stream, or filter by text")
	case errors.Is(err, context.Canceled):
		if s.draining.Err() != nil {
			return newProblem(http.StatusServiceUnavailable, "the server is shutting down")
		}
		return newProblem(statusClientClosed, "the query was canceled")
	}
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	return s.queryProblem(err)
}

// writeLokiProblem answers with JSON whose message Grafana shows.
func writeLokiProblem(c echo.Context, p *problem) error {
	if p.Status == http.StatusUnauthorized {
		c.Response().Header()["Www-Authenticate"] = lokiChallenges
	}
	// The query may have taken longer than the time in which a whole answer must be written.
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(readerTimeout))
	kind, ok := lokiKinds[p.Status]
	if !ok {
		kind = "internal"
	}
	sentence := p.Detail
	if sentence == "" {
		sentence = strings.ToLower(http.StatusText(p.Status))
	}
	return c.JSONBlob(p.Status, loki.AppendError(nil, kind, sentence))
}

// lokiData is the envelope of answers that are small.
func lokiData(data any) ([]byte, error) {
	return json.Marshal(struct {
		Status string `json:"status"`
		Data   any    `json:"data"`
	}{"success", data})
}
