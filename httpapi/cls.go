package httpapi

import (
	"errors"
	"net/http"
	"strings"
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

// clsPrefix may stand before each path of the surface.
const clsPrefix = "/cls"

func isCLSPath(path string) bool {
	switch strings.TrimSuffix(path, "/") {
	case "/track", "/track.gif", "/tracklog", "/structuredlog":
		return true
	}
	return under(path, clsPrefix)
}

// clsDialect: headers as in web-tracking.md 5.3 and 7.
func clsDialect() *dialect {
	return &dialect{
		source: logbridge.SourceCLS,
		headers: func(c echo.Context) {
			h := c.Response().Header()
			openCORS(h)
			h.Set("X-Cls-Requestid", sls.RequestID())
		},
		fault: func(r *refusal) (int, []byte) {
			if e := (*cls.Error)(nil); errors.As(r.err, &e) {
				return e.Status, e.JSON()
			}
			e := clsErrors[r.reason]
			e.Message = r.err.Error()
			return e.Status, e.JSON()
		},
	}
}

func (s *Server) routeCLS(e *echo.Echo) {
	d := s.cls
	for _, prefix := range []string{"", clsPrefix} {
		e.POST(prefix+"/tracklog", s.call(d, s.clsTrackLog))
		e.POST(prefix+structuredLog, s.call(d, s.clsStructured))
		e.GET(prefix+"/track", s.call(d, func(c echo.Context) error { return s.clsQuery(c) }))
		e.GET(prefix+"/track.gif", s.pixel(d, func(c echo.Context) error { return s.clsQuery(c, userAgentField()) }))
		for _, path := range []string{"/tracklog", structuredLog, "/track", "/track.gif"} {
			e.OPTIONS(prefix+path, s.clsPreflight)
		}
	}
}

func (s *Server) clsPreflight(c echo.Context) error {
	s.cls.headers(c)
	topic, err := s.deps.Topics.CLSTopic(c.QueryParam("topic_id"))
	if err != nil { // let the page send its request and read what is wrong
		return preflight(c, nil)
	}
	narrowCORS(c.Response().Header(), topic.Origins, c.Request().Header.Get("Origin"))
	return preflight(c, topic.Origins)
}

// topicOf finds a topic. CORS headers of one with origins are set here.
func (s *Server) topicOf(c echo.Context, id string) (logbridge.CLSTopic, error) {
	if id == "" {
		return logbridge.CLSTopic{}, refuse(missing, "", 0, cls.InvalidParam("topic_id is missing"))
	}
	topic, err := s.deps.Topics.CLSTopic(id)
	if err != nil {
		return logbridge.CLSTopic{}, refuse(unknownName, "", 0, cls.TopicNotExist())
	}
	narrowCORS(c.Response().Header(), topic.Origins, c.Request().Header.Get("Origin"))
	return topic, nil
}

// openTopic finds a topic that takes anonymous writes from this page.
func (s *Server) openTopic(c echo.Context, id string) (logbridge.Stream, error) {
	topic, err := s.topicOf(c, id)
	if err != nil {
		return "", err
	}
	stream := logbridge.CLSStream(topic.ID)
	if !topic.AnonymousWrite {
		return "", refuse(closed, stream, 0, cls.NotAllowed("anonymous write is not enabled for this topic"))
	}
	if !fromAllowedPage(topic.Origins, c.Request()) {
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
	return s.appendCLS(c, cls.Records(group, stream, received, clientIP(c.Request())), stream)
}

// clsQuery stores the one log in the query, with headers as further fields (web-tracking.md 5.3).
func (s *Server) clsQuery(c echo.Context, headers ...[2]string) error {
	received := time.Now()
	r := c.Request()
	id, group, err := cls.DecodeQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(kindOf(err), "", 1, err)
	}
	stream, err := s.openTopic(c, id)
	if err != nil {
		return err
	}
	for i := range group.Logs {
		group.Logs[i].Fields = append(group.Logs[i].Fields, headerFields(r.Header, headers...)...)
	}
	return s.appendCLS(c, cls.Records(group, stream, received, clientIP(r)), stream)
}

// appendCLS stores the logs of a request. Their times are of the clock of a browser or a service; the request does not say
// when it was sent.
func (s *Server) appendCLS(c echo.Context, records []logbridge.Record, stream logbridge.Stream) error {
	logbridge.RepairTimes(records, time.Time{}, nil)
	return s.append(c.Request().Context(), logbridge.Batch{Records: records}, stream)
}
