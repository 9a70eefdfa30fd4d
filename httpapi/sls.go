package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

// The SLS surface (web-tracking.md 2 to 4).
const (
	// maxSLSBody is the vendor's bound, before compression (web-tracking.md 4.3).
	maxSLSBody = 10 << 20
	// maxWebQuery bounds the parameters of a GET (web-tracking.md 4.3, 5.3).
	maxWebQuery = 16 << 10
)

// The fields of track_ua.gif: the vendor does not say how it names them; these are the names of the SRS project's
// imitation (web-tracking.md 4.5). CLS does not say either, so its track.gif uses the same.
const (
	fieldUserAgent = "__userAgent__"
	fieldReferer   = "__referer__"
)

// slsErrors is the error table of the SLS surface (web-tracking.md 4.4). What wire/sls found comes with its own row. 400 is
// preferred for what can never succeed: the producers try the others again.
var slsErrors = map[reason]sls.Error{
	malformed:   {Status: http.StatusBadRequest, Code: "PostBodyInvalid"},
	badValue:    {Status: http.StatusBadRequest, Code: "ParameterInvalid"},
	missing:     {Status: http.StatusBadRequest, Code: "ParameterInvalid"},
	tooLarge:    {Status: http.StatusBadRequest, Code: "PostBodyTooLarge"},
	slow:        {Status: http.StatusBadRequest, Code: "PostBodyInvalid"},
	overload:    {Status: http.StatusServiceUnavailable, Code: "ServerBusy"},
	badAuth:     {Status: http.StatusUnauthorized, Code: "SignatureNotMatch"},
	noProject:   {Status: http.StatusNotFound, Code: "ProjectNotExist"},
	unknownName: {Status: http.StatusNotFound, Code: "LogStoreNotExist"},
	closed:      {Status: http.StatusUnauthorized, Code: "Unauthorized"},
	badOrigin:   {Status: http.StatusUnauthorized, Code: "Unauthorized"},
	unsigned:    {Status: http.StatusUnauthorized, Code: "Unauthorized"},
	unsupported: {Status: http.StatusBadRequest, Code: "ParameterInvalid"},
	badMethod:   {Status: http.StatusMethodNotAllowed, Code: "ParameterInvalid"},
	internal:    {Status: http.StatusInternalServerError, Code: "InternalServerError"},
}

func isSLSPath(path string) bool { return under(path, "/logstores") || under(path, "/sls") }

func (s *Server) routeSLS(e *echo.Echo) {
	for _, prefix := range []string{"", "/sls/:project"} {
		base := prefix + "/logstores/:logstore"
		e.POST(base+"/track", s.slsCall(s.slsTrack))
		e.GET(base+"/track", s.slsCall(s.slsGet))
		e.GET(base+"/track.gif", s.slsPixel(false))
		e.GET(base+"/track_ua.gif", s.slsPixel(true))
		e.POST(base, s.slsCall(s.slsSigned))
		e.POST(base+"/shards/:shard", s.slsCall(s.slsSigned))
		for _, path := range []string{"", "/track", "/shards/:shard"} {
			e.OPTIONS(base+path, s.slsPreflight)
		}
	}
}

// slsStore is where one request writes to.
type slsStore struct {
	project string
	store   logbridge.Logstore
	stream  logbridge.Stream
}

// slsStoreOf finds the store of a request. The project is in the path, or the Host means it (web-tracking.md 4.1). An
// unknown store yields a refusal without a stream.
func (s *Server) slsStoreOf(c echo.Context) (slsStore, error) {
	name := c.Param("project")
	if name != "" {
		if _, err := s.deps.Projects.SLSProject(name); err != nil {
			return slsStore{}, refuse(noProject, "", 0, fmt.Errorf("The Project does not exist : %s", clip(name)))
		}
	} else {
		project, ok := s.deps.Projects.ProjectByHost(hostName(c.Request()))
		if !ok {
			return slsStore{}, refuse(noProject, "", 0, errors.New("Project does not exist."))
		}
		name = project.Name
	}
	store, err := s.deps.Logstores.Logstore(name, c.Param("logstore"))
	if err != nil {
		return slsStore{}, refuse(unknownName, "", 0, fmt.Errorf("logstore %s does not exist.", clip(c.Param("logstore"))))
	}
	return slsStore{project: name, store: store, stream: logbridge.SLSStream(name, store.Name)}, nil
}

// openStore is slsStoreOf for anonymous writes: the store must allow them, and from this page. CORS headers of a store with
// origins are set here.
func (s *Server) openStore(c echo.Context) (slsStore, error) {
	to, err := s.slsStoreOf(c)
	if err != nil {
		return to, err
	}
	r := c.Request()
	narrowCORS(c.Response().Header(), to.store.Origins, r.Header.Get("Origin"))
	if !to.store.WebTracking {
		return to, refuse(closed, to.stream, 0, errors.New("web tracking is not enabled for this logstore"))
	}
	if !fromAllowedPage(to.store.Origins, r) {
		return to, refuse(badOrigin, to.stream, 0, errors.New("this origin may not write to this logstore"))
	}
	return to, nil
}

// slsHeaders are on every answer (web-tracking.md 1, 3.5, 4.4).
func slsHeaders(c echo.Context) {
	h := c.Response().Header()
	openCORS(h)
	h.Set("X-Log-Requestid", sls.RequestID())
	h.Set("X-Log-Time", strconv.FormatInt(time.Now().Unix(), 10))
}

// slsCall answers what do returns: success is exactly 200 with no body and no Content-Type (web-tracking.md 4.4).
func (s *Server) slsCall(do echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		slsHeaders(c)
		if err := do(c); err != nil {
			return s.answerSLS(c, err)
		}
		return noContent(c, http.StatusOK)
	}
}

// answerSLS counts a refusal and writes it in the vendor's form.
func (s *Server) answerSLS(c echo.Context, err error) error {
	answer := sls.Error{Status: http.StatusServiceUnavailable, Code: "ServerBusy", Message: "the logs could not be stored in time"}
	if r := (*refusal)(nil); errors.As(err, &r) {
		s.count(logbridge.SourceSLS, r)
		if e := (*sls.Error)(nil); errors.As(r.err, &e) {
			answer = *e
		} else {
			answer = slsErrors[r.reason]
			answer.Message = r.err.Error()
		}
	}
	return c.Blob(answer.Status, "application/json", answer.JSON())
}

// failSLS answers what no handler took.
func (s *Server) failSLS(c echo.Context, status int) {
	slsHeaders(c)
	_ = s.answerSLS(c, unrouted(c, status))
}

// unrouted is the refusal of a request that no handler took.
func unrouted(c echo.Context, status int) *refusal {
	call := c.Request().Method + " " + clip(c.Request().URL.Path)
	switch status {
	case http.StatusMethodNotAllowed:
		return refuse(badMethod, "", 0, errors.New(call+" is not supported"))
	case http.StatusInternalServerError:
		return refuse(internal, "", 0, errPanic)
	}
	return refuse(unsupported, "", 0, errors.New("there is no such call: "+call))
}

func (s *Server) slsPreflight(c echo.Context) error {
	slsHeaders(c)
	to, err := s.slsStoreOf(c)
	if err != nil { // let the page send its request and read what is wrong
		return preflight(c, nil)
	}
	narrowCORS(c.Response().Header(), to.store.Origins, c.Request().Header.Get("Origin"))
	return preflight(c, to.store.Origins)
}

// slsTrack is PutWebtracking: JSON whatever the Content-Type says (web-tracking.md 1, 2.4, 4.2).
func (s *Server) slsTrack(c echo.Context) error {
	received := time.Now()
	to, err := s.openStore(c)
	if err != nil {
		return err
	}
	r := c.Request()
	if err := sls.CheckVersion(r.Header.Get("X-Log-Apiversion"), r.URL.Query().Get("APIVersion")); err != nil {
		return refuse(missing, to.stream, 0, err)
	}
	body, err := s.readBody(c, maxSLSBody)
	defer body.release()
	if err != nil {
		return refuse(kindOf(err), to.stream, 0, slsBodyError(err))
	}
	plain := s.bodies.get()
	defer plain.release()
	text, err := s.unpackSLS(r, body, plain)
	if err != nil {
		return refuse(kindOf(err), to.stream, 0, err)
	}
	group, err := sls.DecodeJSON(text)
	if err != nil {
		return refuse(malformed, to.stream, 0, err)
	}
	return s.appendSLS(c, group, to, received)
}

// slsBodyError words a body that is too large as the vendor does (web-tracking.md 4.4).
func slsBodyError(err error) error {
	if errors.Is(err, logbridge.ErrTooLarge) {
		return fmt.Errorf("Body size must little than %d.", maxSLSBody)
	}
	return err
}

// unpackSLS decompresses a body into plain; an uncompressed one is returned as it is. The share of memory is taken before:
// what the header announces, since lz4 needs it, else the most that is taken.
func (s *Server) unpackSLS(r *http.Request, body, plain *buffer) ([]byte, error) {
	how, rawSize := r.Header.Get("X-Log-Compresstype"), r.Header.Get("X-Log-Bodyrawsize")
	if how == "" {
		return body.b, nil
	}
	size := int64(maxSLSBody)
	if n, err := strconv.ParseInt(rawSize, 10, 64); err == nil && n >= 0 && n < size && strings.EqualFold(how, "lz4") {
		size = n
	}
	if err := plain.grow(r.Context(), size); err != nil {
		return nil, err
	}
	text, err := sls.Decompress(plain.b, how, rawSize, body.b, maxSLSBody)
	if err != nil {
		return nil, err
	}
	return text, nil
}

// slsGet is GET track: one log out of the query (web-tracking.md 4.5).
func (s *Server) slsGet(c echo.Context) error { return s.slsQuery(c) }

// slsQuery stores the log in the query, with more attributes behind it.
func (s *Server) slsQuery(c echo.Context, more ...logbridge.Attr) error {
	received := time.Now()
	to, err := s.openStore(c)
	if err != nil {
		return err
	}
	query := c.Request().URL.RawQuery
	if len(query) > maxWebQuery {
		return refuse(tooLarge, to.stream, 1, fmt.Errorf("Query size %d must little than %d.", len(query), maxWebQuery))
	}
	group, err := sls.DecodeQuery(query)
	if err != nil {
		return refuse(malformed, to.stream, 1, err)
	}
	for i := range group.Logs {
		group.Logs[i].Fields = append(group.Logs[i].Fields, more...)
	}
	return s.appendSLS(c, group, to, received)
}

// slsPixel is track.gif, and track_ua.gif, which also records who asks. An image can tell a page nothing, so a refused one
// is answered alike; the ledger has it (web-tracking.md 4.5).
func (s *Server) slsPixel(userAgent bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		slsHeaders(c)
		var more []logbridge.Attr
		if h := c.Request().Header; userAgent {
			more = headerFields(h, fieldUserAgent, fieldReferer)
		}
		if r := (*refusal)(nil); errors.As(s.slsQuery(c, more...), &r) {
			s.count(logbridge.SourceSLS, r)
		}
		return answerGIF(c)
	}
}

func (s *Server) appendSLS(c echo.Context, g sls.Group, to slsStore, received time.Time) error {
	records := sls.Records(g, to.stream, received, clientIP(c.Request()))
	return s.append(c.Request().Context(), logbridge.Batch{Records: records}, to.stream)
}

// slsSigned refuses what needs a signature: it is not taken yet, and an unsigned write to these paths never will be.
func (s *Server) slsSigned(c echo.Context) error {
	to, err := s.slsStoreOf(c)
	if err != nil {
		return err
	}
	return refuse(unsigned, to.stream, 0, errors.New("signed writes are not available on this server; anonymous ones go to /track"))
}
