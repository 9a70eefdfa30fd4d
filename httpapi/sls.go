package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
)

// userAgentField and refererField are headers and the fields of track_ua.gif: the vendor does not say how it names them;
// these are the names of the SRS project's imitation (web-tracking.md 4.5). CLS does not say either, so its track.gif has the
// same.
func userAgentField() [2]string { return [2]string{"User-Agent", "__userAgent__"} }
func refererField() [2]string   { return [2]string{"Referer", "__referer__"} }

// slsErrors is the error table of the SLS surface for what this package finds (web-tracking.md 4.4); the rest of the
// vendor's rows come from wire/sls. 400 is preferred for what can never succeed: the producers try the others again.
var slsErrors = map[reason]sls.Error{
	malformed:   {Status: http.StatusBadRequest, Code: "PostBodyInvalid"},
	tooLarge:    {Status: http.StatusBadRequest, Code: "PostBodyTooLarge"},
	slow:        {Status: http.StatusBadRequest, Code: "PostBodyInvalid"},
	overload:    {Status: http.StatusServiceUnavailable, Code: "ServerBusy"},
	unanswered:  {Status: http.StatusServiceUnavailable, Code: "ServerBusy"},
	writeToken:  {Status: http.StatusUnauthorized, Code: "Unauthorized"},
	unsupported: {Status: http.StatusBadRequest, Code: "ParameterInvalid"},
	badMethod:   {Status: http.StatusMethodNotAllowed, Code: "ParameterInvalid"},
	internal:    {Status: http.StatusInternalServerError, Code: "InternalServerError"},
}

func isSLSPath(path string) bool { return under(path, "/logstores") || under(path, "/sls") }

// slsDialect: headers as in web-tracking.md 1, 3.5 and 4.4.
func slsDialect() *dialect {
	return &dialect{
		source: logbridge.SourceSLS,
		headers: func(c echo.Context) {
			h := c.Response().Header()
			openCORS(h)
			text := &[2]string{sls.RequestID(), strconv.FormatInt(time.Now().Unix(), 10)} // one allocation for both
			h["X-Log-Requestid"], h["X-Log-Time"] = text[:1:1], text[1:]
		},
		fault: func(r *refusal) (int, []byte) {
			if e := (*sls.Error)(nil); errors.As(r.err, &e) {
				return e.Status, e.JSON()
			}
			e := slsErrors[r.reason]
			e.Message = r.err.Error()
			return e.Status, e.JSON()
		},
		tooMuch: func(what string, n, most int64) error { return sls.TooLarge(what, int(n), int(most)) },
		// The vendor's answer: browsers do not read it, native producers wait and try again (web-tracking.md 2.2, 3.1, 4.4).
		throttled: func(*http.Request) error { return sls.WriteQuotaExceed() },
	}
}

func (s *Server) routeSLS(e *echo.Echo) {
	d := s.sls
	for _, prefix := range []string{"", "/sls/:project"} {
		base := prefix + "/logstores/:logstore"
		e.POST(base+"/track", s.call(d, s.slsTrack))
		e.GET(base+"/track", s.call(d, func(c echo.Context) error { return s.slsQuery(c) }))
		e.GET(base+"/track.gif", s.pixel(d, func(c echo.Context) error { return s.slsQuery(c) }))
		e.GET(base+"/track_ua.gif", s.pixel(d, func(c echo.Context) error { return s.slsQuery(c, userAgentField(), refererField()) }))
		e.POST(base, s.call(d, s.slsSigned))
		e.POST(base+"/shards/lb", s.call(d, s.slsSigned))
		e.POST(base+"/shards/route", s.call(d, s.slsSigned)) // by a key; there are no shards here
		for _, path := range []string{"", "/track", "/track.gif", "/track_ua.gif", "/shards/lb", "/shards/route"} {
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
			return slsStore{}, refuse(unknownName, "", 0, sls.ProjectNotExist(name))
		}
	} else {
		project, ok := s.deps.Projects.ProjectByHost(hostName(c.Request()))
		if !ok {
			return slsStore{}, refuse(unknownName, "", 0, sls.ProjectNotExist(hostName(c.Request())))
		}
		name = project.Name
	}
	store, err := s.deps.Logstores.Logstore(name, c.Param("logstore"))
	if err != nil {
		return slsStore{}, refuse(unknownName, "", 0, sls.LogStoreNotExist(c.Param("logstore")))
	}
	return slsStore{project: name, store: store, stream: logbridge.SLSStream(name, store.Name)}, nil
}

// openStore is slsStoreOf for anonymous writes: the store must allow them, from this page, with a token if it has any. CORS
// headers of a store with origins are set here.
func (s *Server) openStore(c echo.Context) (to slsStore, v visit, err error) {
	to, err = s.slsStoreOf(c)
	if err != nil {
		return to, v, err
	}
	r := c.Request()
	narrowCORS(c.Response().Header(), to.store.Origins, r.Header.Get("Origin"))
	if !to.store.WebTracking {
		return to, v, refuse(closed, to.stream, 0, sls.Unauthorized("web tracking is not enabled for this logstore"))
	}
	if !fromAllowedPage(to.store.Origins, r) {
		return to, v, refuse(badOrigin, to.stream, 0, sls.Unauthorized("this origin may not write to this logstore"))
	}
	if !hasWriteToken(r, to.store.WriteTokens) {
		return to, v, refuse(writeToken, to.stream, 0, errWriteToken)
	}
	v, err = s.arrive(r, s.sls, to.stream, &to.store.WebRules, true)
	return to, v, err
}

func (s *Server) slsPreflight(c echo.Context) error {
	s.sls.headers(c)
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
	to, v, err := s.openStore(c)
	if err != nil {
		return err
	}
	r := c.Request()
	if err := slsVersion(r); err != nil {
		return refuse(malformed, to.stream, 0, err)
	}
	body, err := s.readSLS(c, &v)
	defer body.release()
	if err != nil {
		return err
	}
	group, err := s.decodeSLS(body, &v, sls.DecodeJSON)
	if err != nil {
		return err
	}
	return s.keepSLS(&v, body, group, sls.Records, received)
}

// keepSLS stores the logs of a request, which are within the limits. What was decoded, which may be forty times the body, takes the
// body's place in the bound of memory.
func (s *Server) keepSLS(v *visit, body *buffer, g sls.Group, records recordsSLS, received time.Time) error {
	defer g.Release()
	if err := body.keep(v.request.Context(), int64(g.Size()+len(body.b))); err != nil {
		return refuse(kindOf(err), v.stream, len(g.Logs), err)
	}
	address := s.address(v)
	g.Tags = s.enrich(v, g.Logs, g.Tags, g.Source, address)
	return s.keep(v, records(g, v.stream, received, address))
}

// recordsSLS makes records: sls.Records or sls.SignedRecords.
type recordsSLS func(g sls.Group, stream logbridge.Stream, received time.Time, clientIP string) []logbridge.Record

// slsVersion checks the version of a POST.
func slsVersion(r *http.Request) error {
	return sls.CheckVersion(r.Header.Get("X-Log-Apiversion"), queryValue(r.URL.RawQuery, "APIVersion"))
}

// readSLS reads a body; the caller releases it.
func (s *Server) readSLS(c echo.Context, v *visit) (*buffer, error) {
	most := v.limits.RequestBytes
	body, err := s.readBody(c, most)
	switch {
	case errors.Is(err, logbridge.ErrTooLarge):
		return body, refuse(tooLarge, v.stream, 0, sls.TooLarge("Body size", int(max(c.Request().ContentLength, most+1)), int(most)))
	case err != nil:
		return body, refuse(kindOf(err), v.stream, 0, err)
	}
	return body, nil
}

// decodeSLS decompresses and decodes a body, and holds it to the store's limits.
func (s *Server) decodeSLS(body *buffer, v *visit, decode func([]byte) (sls.Group, error)) (sls.Group, error) {
	text := body.b
	if how := v.request.Header.Get("X-Log-Compresstype"); how != "" {
		plain := s.bodies.get()
		defer plain.release()
		var err error
		if text, err = unpackSLS(v, how, text, plain); err != nil {
			return sls.Group{}, refuse(kindOf(err), v.stream, 0, err)
		}
	}
	group, err := decode(text)
	if err != nil {
		return sls.Group{}, refuse(kindOf(err), v.stream, 0, err)
	}
	return group, s.check(v, group.Logs, group.Tags, len(body.b))
}

// unpackSLS decompresses into plain. It takes a share of memory for the most that may come out,
// since only lz4 says beforehand what does, and keeps what did come out.
func unpackSLS(v *visit, how string, body []byte, plain *buffer) ([]byte, error) {
	r, most := v.request, int(v.limits.RequestBytes)
	if err := plain.take(r.Context(), int64(most)); err != nil {
		return nil, err
	}
	text, err := sls.Decompress(plain.b, how, r.Header.Get("X-Log-Bodyrawsize"), body, most)
	if err != nil {
		return nil, err
	}
	plain.b = text
	return text, plain.take(r.Context(), int64(cap(text)))
}

// slsQuery stores the one log in the query, with headers as further fields (web-tracking.md 4.5).
func (s *Server) slsQuery(c echo.Context, headers ...[2]string) error {
	received := time.Now()
	to, v, err := s.openStore(c)
	if err != nil {
		return err
	}
	r := c.Request()
	if n := int64(len(r.URL.RawQuery)); n > v.limits.QueryBytes {
		return refuse(tooLarge, to.stream, 1, sls.TooLarge("Query size", int(n), int(v.limits.QueryBytes)))
	}
	group, err := sls.DecodeQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(kindOf(err), to.stream, 1, err)
	}
	if err := s.check(&v, group.Logs, nil, len(r.URL.RawQuery)); err != nil {
		return err
	}
	v.addHeaders(group.Logs, headers)
	body := s.bodies.get()
	defer body.release()
	return s.keepSLS(&v, body, group, sls.Records, received)
}

// slsDecoder is the form of a signed body: JSON, as the STS plugin and old mobile clients send it, or protobuf, as all other
// producers do (web-tracking.md 3.2, 4.7).
func slsDecoder(r *http.Request, body []byte) (func([]byte) (sls.Group, error), error) {
	switch kind := r.Header.Get("Content-Type"); {
	case mediaType(r) == mediaJSON:
		return sls.DecodeJSON, nil
	case mediaType(r) == mediaProto:
		return sls.DecodeProtobuf, nil
	case kind == "" && len(body) > 0:
		return nil, sls.MissingContentType()
	default:
		return nil, sls.InvalidContentType(kind)
	}
}

// slsSigned is PutLogs: JSON or protobuf with a signature, V1 or V4 (web-tracking.md 3.2, 3.3, 4.7). It honours the time that was sent.
func (s *Server) slsSigned(c echo.Context) error {
	received := time.Now()
	to, err := s.slsStoreOf(c)
	if err != nil {
		return err
	}
	r := c.Request()
	narrowCORS(c.Response().Header(), to.store.Origins, r.Header.Get("Origin"))
	secret, err := s.accessSecret(r, to, received)
	if err != nil {
		return err
	}
	v, err := s.arrive(r, s.sls, to.stream, &to.store.WebRules, r.Header.Get(securityToken) != "")
	if err != nil {
		return err
	}
	if err := slsVersion(r); err != nil {
		return refuse(malformed, to.stream, 0, err)
	}
	body, err := s.readSLS(c, &v)
	defer body.release()
	if err != nil {
		return err
	}
	err = sls.Verify(secret, sls.Request{
		Method: r.Method, Path: signedPath(r.URL.EscapedPath()), RawQuery: r.URL.RawQuery, Header: r.Header, Body: body.b, Host: r.Host,
	})
	if err == nil {
		err = sls.CheckDate(r.Header, received)
	}
	if err != nil {
		return refuse(signedFault(err), to.stream, 0, err)
	}
	decode, err := slsDecoder(r, body.b)
	if err != nil {
		return refuse(unsupported, to.stream, 0, err)
	}
	group, err := s.decodeSLS(body, &v, decode)
	if err != nil {
		return err
	}
	return s.keepSLS(&v, body, group, sls.SignedRecords, received)
}

// securityToken is the header of temporary credentials.
const securityToken = "X-Acs-Security-Token"

// accessSecret finds the secret of the access key that a request names.
func (s *Server) accessSecret(r *http.Request, to slsStore, now time.Time) (string, error) {
	id, err := sls.AccessKeyID(r.Header.Get("Authorization"))
	if err != nil {
		return "", refuse(badAuth, to.stream, 0, err)
	}
	if token := r.Header.Get(securityToken); token != "" {
		return s.temporarySecret(id, token, to, now)
	}
	key, err := s.deps.AccessKeys.AccessKey(id)
	if err != nil || key.Project != to.project {
		return "", refuse(badAuth, to.stream, 0, sls.Unauthorized("The AccessKeyId is unauthorized."))
	}
	return key.Secret, nil
}

// temporarySecret finds the secret of a temporary key by its security token, which must be of that key, not have ended, and be
// for this store. The answers are the vendor's.
func (s *Server) temporarySecret(id, token string, to slsStore, now time.Time) (string, error) {
	key, err := s.deps.TemporaryKeys.TemporaryKey(token)
	switch {
	case err != nil || key.ID != id:
		return "", refuse(badAuth, to.stream, 0, sls.Unauthorized("The security token you provided is invalid."))
	case !now.Before(key.Expires):
		return "", refuse(expired, to.stream, 0, sls.Unauthorized("The security token you provided has expired."))
	case key.Project != to.project || key.Logstore != to.store.Name:
		return "", refuse(badRole, to.stream, 0, sls.Unauthorized("denied by sts or ram, action: log:PostLogStoreLogs, resource: acs:log:*:*:project/"+
			to.project+"/logstore/"+to.store.Name))
	}
	return key.Secret, nil
}

// signedPath is what clients sign of a path: it begins at /logstores (web-tracking.md 3.4).
func signedPath(path string) string { return path[strings.Index(path, "/logstores"):] }

// signedFault tells a wrong clock and a missing header from a wrong signature.
func signedFault(err error) reason {
	if e := (*sls.Error)(nil); errors.As(err, &e) && e.Code == "RequestTimeExpired" {
		return expired
	}
	return kindOf(err)
}
