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
	writeToken:  {Status: http.StatusForbidden, Code: "NotAllowed"},
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
			h["X-Cls-Requestid"] = []string{sls.RequestID()}
		},
		fault: func(r *refusal) (int, []byte) {
			if e := (*cls.Error)(nil); errors.As(r.err, &e) {
				return e.Status, e.JSON()
			}
			e := clsErrors[r.reason]
			e.Message = r.err.Error()
			return e.Status, e.JSON()
		},
		tooMuch: func(what string, n, most int64) error {
			return cls.LogSizeExceed("%s is %d, at most %d", what, n, most)
		},
		throttled: func(r *http.Request) error { return cls.SpeedQuotaExceed(waits(r)) },
	}
}

// waits says of a client that it answers 429 by waiting before it tries again. Browser SDK 2.0.0, which sends text/plain, and the
// SDKs of services, which send protobuf, do. SDK 1.0.13 and those of mini-programs send application/json; the former repeats everything
// but 200 and 413 at once, five times (web-tracking.md 5.1, 5.2, 6).
func waits(r *http.Request) bool { return mediaType(r) != mediaJSON }

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
	topic, err := s.deps.Topics.CLSTopic(queryValue(c.Request().URL.RawQuery, "topic_id"))
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

// openTopic finds a topic that takes anonymous writes from this page, with its token if it has any.
func (s *Server) openTopic(c echo.Context, id string) (v visit, err error) {
	topic, err := s.topicOf(c, id)
	if err != nil {
		return v, err
	}
	stream, r := logbridge.CLSStream(topic.ID), c.Request()
	if !topic.AnonymousWrite {
		return v, refuse(closed, stream, 0, cls.NotAllowed("anonymous write is not enabled for this topic"))
	}
	if err := mayWriteTopic(r, topic, stream); err != nil {
		return v, err
	}
	return s.arrive(r, s.cls, stream, &topic.WebRules, true)
}

// mayWriteTopic asks an anonymous writer where it comes from and for its token.
func mayWriteTopic(r *http.Request, topic logbridge.CLSTopic, stream logbridge.Stream) error {
	if !fromAllowedPage(topic.Origins, r) {
		return refuse(badOrigin, stream, 0, cls.NotAllowed("this origin may not write to this topic"))
	}
	if !hasWriteToken(r, topic.WriteTokens) {
		return refuse(writeToken, stream, 0, errWriteToken)
	}
	return nil
}

// clsTrackLog is the anonymous upload of several logs to one topic (web-tracking.md 5.1 to 5.3).
func (s *Server) clsTrackLog(c echo.Context) error {
	received := time.Now()
	v, err := s.openTopic(c, queryValue(c.Request().URL.RawQuery, "topic_id"))
	if err != nil {
		return err
	}
	body, err := s.readBody(c, min(v.limits.RequestBytes, cls.MaxBody))
	defer body.release()
	if err != nil {
		return refuse(kindOf(err), v.stream, 0, err)
	}
	group, err := cls.DecodeJSON(body.b)
	if err != nil {
		return refuse(kindOf(err), v.stream, 0, err)
	}
	if err := s.check(&v, group.Logs, nil, len(body.b)); err != nil {
		return err
	}
	return s.keepCLS(&v, body, group, received)
}

// clsQuery stores the one log in the query, with headers as further fields (web-tracking.md 5.3).
func (s *Server) clsQuery(c echo.Context, headers ...[2]string) error {
	received := time.Now()
	r := c.Request()
	id, group, err := cls.DecodeQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(kindOf(err), "", 1, err)
	}
	v, err := s.openTopic(c, id)
	if err != nil {
		return err
	}
	if n := int64(len(r.URL.RawQuery)); n > v.limits.QueryBytes {
		return refuse(tooLarge, v.stream, 1, s.cls.tooMuch("query", n, v.limits.QueryBytes))
	}
	if err := s.check(&v, group.Logs, nil, len(r.URL.RawQuery)); err != nil {
		return err
	}
	v.addHeaders(group.Logs, headers)
	body := s.bodies.get()
	defer body.release()
	return s.keepCLS(&v, body, group, received)
}

// keepCLS stores the logs of a request, which are within the limits. What was decoded takes the body's place in the bound of memory. The
// group is released.
func (s *Server) keepCLS(v *visit, body *buffer, g cls.Group, received time.Time) error {
	defer g.Release()
	size := len(body.b)
	for i := range g.Logs {
		size += recordMemory + attributeMemory*(len(g.Logs[i].Fields)+4)
	}
	if err := body.keep(v.request.Context(), int64(size)); err != nil {
		return refuse(kindOf(err), v.stream, len(g.Logs), err)
	}
	return s.keep(v, s.recordsCLS(v, []cls.Group{g}, received))
}

// recordsCLS makes records of what groups hold.
func (s *Server) recordsCLS(v *visit, groups []cls.Group, received time.Time) (records []logbridge.Record) {
	address := s.address(v)
	for i, g := range groups {
		g.Tags = s.enrich(v, g.Logs, g.Tags, g.Source, address)
		made := cls.Records(g, v.stream, received, address)
		if i == 0 {
			records = made
		} else {
			records = append(records, made...)
		}
	}
	return records
}
