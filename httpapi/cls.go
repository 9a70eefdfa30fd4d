package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/cls"
	"github.com/logbridge/logbridge/wire/sls"
)

// clsErrors is the error table of the CLS surface for what this package finds (web-tracking.md 5.3); the rest of the
// vendor's rows come from wire/cls. Too large is 413, the only error that SDK 1.0.13 does not send again at once.
var clsErrors = map[reason]cls.Error{
	malformed:   {Status: http.StatusBadRequest, Code: "InvalidContent"},
	tooLarge:    {Status: http.StatusRequestEntityTooLarge, Code: "LogSizeExceed"},
	slow:        {Status: http.StatusBadRequest, Code: "InvalidContent"},
	overload:    {Status: http.StatusInternalServerError, Code: "InternalError"},
	unanswered:  {Status: http.StatusInternalServerError, Code: "InternalError"},
	unsupported: {Status: http.StatusMethodNotAllowed, Code: "NotSupported"},
	badMethod:   {Status: http.StatusMethodNotAllowed, Code: "NotSupported"},
	internal:    {Status: http.StatusInternalServerError, Code: "InternalError"},
}

func isCLSPath(path string) bool {
	switch path {
	case "/track", "/track.gif", "/tracklog", "/structuredlog":
		return true
	}
	return under(path, "/cls")
}

func (s *Server) routeCLS(e *echo.Echo) {
	for _, prefix := range []string{"", "/cls"} {
		e.POST(prefix+"/tracklog", s.clsCall(s.clsTrackLog))
		e.GET(prefix+"/track", s.clsCall(func(c echo.Context) error { return s.clsQuery(c) }))
		e.GET(prefix+"/track.gif", s.clsPixel)
		for _, path := range []string{"/tracklog", "/track"} {
			e.OPTIONS(prefix+path, s.clsPreflight)
		}
	}
}

// clsHeaders are on every answer (web-tracking.md 5.3, 7).
func clsHeaders(c echo.Context) {
	h := c.Response().Header()
	openCORS(h)
	h.Set("X-Cls-Requestid", sls.RequestID())
}

// clsCall answers what do returns: success is exactly 200 with no body; 204 makes the SDK send again (web-tracking.md 1).
func (s *Server) clsCall(do echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		clsHeaders(c)
		if err := do(c); err != nil {
			return s.answerCLS(c, err)
		}
		return noContent(c, http.StatusOK)
	}
}

// answerCLS counts a refusal and writes it in the vendor's form.
func (s *Server) answerCLS(c echo.Context, err error) error {
	answer := *cls.InternalError()
	if r := (*refusal)(nil); errors.As(err, &r) {
		s.count(logbridge.SourceCLS, r)
		if e := (*cls.Error)(nil); errors.As(r.err, &e) {
			answer = *e
		} else {
			answer = clsErrors[r.reason]
			answer.Message = r.err.Error()
		}
	}
	return c.Blob(answer.Status, "application/json", answer.JSON())
}

// failCLS answers what no handler took.
func (s *Server) failCLS(c echo.Context, status int) {
	clsHeaders(c)
	_ = s.answerCLS(c, unrouted(c, status))
}

func (s *Server) clsPreflight(c echo.Context) error {
	clsHeaders(c)
	topic, err := s.deps.Topics.CLSTopic(c.QueryParam("topic_id"))
	if err != nil { // let the page send its request and read what is wrong
		return preflight(c, nil)
	}
	narrowCORS(c.Response().Header(), topic.Origins, c.Request().Header.Get("Origin"))
	return preflight(c, topic.Origins)
}

// openTopic finds a topic that takes anonymous writes from this page.
func (s *Server) openTopic(c echo.Context, id string) (logbridge.Stream, error) {
	if id == "" {
		return "", refuse(missing, "", 0, cls.InvalidParam("topic_id is missing"))
	}
	topic, err := s.deps.Topics.CLSTopic(id)
	if err != nil {
		return "", refuse(unknownName, "", 0, cls.TopicNotExist())
	}
	r, stream := c.Request(), logbridge.CLSStream(topic.ID)
	narrowCORS(c.Response().Header(), topic.Origins, r.Header.Get("Origin"))
	if !topic.AnonymousWrite {
		return "", refuse(closed, stream, 0, cls.NotAllowed("anonymous write is not enabled for this topic"))
	}
	if !fromAllowedPage(topic.Origins, r) {
		return "", refuse(badOrigin, stream, 0, cls.NotAllowed("this origin may not write to this topic"))
	}
	return stream, nil
}

// clsTrackLog is the anonymous upload of several logs to one topic (web-tracking.md 5.1 to 5.3).
func (s *Server) clsTrackLog(c echo.Context) error {
	received := time.Now()
	stream, err := s.openTopic(c, c.QueryParam("topic_id"))
	if err != nil {
		return err
	}
	body, err := s.readBody(c, cls.MaxBody)
	defer body.release()
	if err != nil {
		return refuse(kindOf(err), stream, 0, err)
	}
	group, err := cls.DecodeJSON(body.b)
	if err != nil {
		return refuse(kindOf(err), stream, 0, err)
	}
	return s.appendCLS(c, group, stream, received)
}

// clsQuery stores the one log in the query, with more attributes behind it.
func (s *Server) clsQuery(c echo.Context, more ...logbridge.Attr) error {
	received := time.Now()
	id, group, err := cls.DecodeQuery(c.Request().URL.RawQuery)
	if err != nil {
		return refuse(kindOf(err), "", 1, err)
	}
	stream, err := s.openTopic(c, id)
	if err != nil {
		return err
	}
	for i := range group.Logs {
		group.Logs[i].Fields = append(group.Logs[i].Fields, more...)
	}
	return s.appendCLS(c, group, stream, received)
}

// clsPixel also records the User-Agent (web-tracking.md 5.3); a refused pixel is answered like a stored one.
func (s *Server) clsPixel(c echo.Context) error {
	clsHeaders(c)
	more := headerFields(c.Request().Header, fieldUserAgent, "")
	if r := (*refusal)(nil); errors.As(s.clsQuery(c, more...), &r) {
		s.count(logbridge.SourceCLS, r)
	}
	return answerGIF(c)
}

func (s *Server) appendCLS(c echo.Context, g cls.Group, stream logbridge.Stream, received time.Time) error {
	records := cls.Records(g, stream, received, clientIP(c.Request()))
	return s.append(c.Request().Context(), logbridge.Batch{Records: records}, stream)
}
