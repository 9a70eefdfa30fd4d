package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/cls"
	"github.com/logbridge/logbridge/wire/loose"
)

// structuredLog is the path that the CLS SDKs of services post to, and sign.
const structuredLog = "/structuredlog"

// What a record and an attribute cost in memory beside their text.
const (
	recordMemory    = 160
	attributeMemory = 32
)

// clsStructured is the upload of the SDKs of services: a protobuf list of groups, signed with an access key of the topic
// (web-tracking.md 6). Without a signature it is taken as the anonymous forms are, since the Go SDK without keys sends it so.
func (s *Server) clsStructured(c echo.Context) error {
	received := time.Now()
	topic, err := s.topicOf(c, queryValue(c.Request().URL.RawQuery, "topic_id"))
	if err != nil {
		return err
	}
	stream := logbridge.CLSStream(topic.ID)
	key, err := s.structuredKey(c.Request(), topic, stream)
	if err != nil {
		return err
	}
	v, err := s.arrive(c.Request(), s.cls, stream, &topic.WebRules, key == nil)
	if err != nil {
		return err
	}
	body, err := s.readBody(c, min(v.limits.RequestBytes, cls.MaxBody))
	defer body.release()
	if err != nil {
		return refuse(kindOf(err), stream, 0, err)
	}
	if err := key.check(c.Request(), body.b); err != nil {
		return refuse(badAuth, stream, 0, err)
	}
	plain := s.bodies.get()
	defer plain.release()
	records, err := s.decodeStructured(&v, body, plain, received)
	if err != nil {
		return err
	}
	return s.keep(&v, records)
}

// topicKey is the signature of a request with the secret that it must be of; nil is for a request that needs none.
type topicKey struct {
	secret string
	signed cls.Authorization
}

// structuredKey finds the key that a request names, before its body is read. A signature is checked even where the topic takes
// anonymous writes: a wrong key shall not pass for none.
func (s *Server) structuredKey(r *http.Request, topic logbridge.CLSTopic, stream logbridge.Stream) (*topicKey, error) {
	header := r.Header.Get("Authorization")
	switch {
	case header == "" && !topic.AnonymousWrite:
		return nil, refuse(closed, stream, 0, cls.MissingAuthorization())
	case header == "":
		return nil, mayWriteTopic(r, topic, stream)
	}
	signed, err := cls.ParseAuthorization(header)
	if err != nil {
		return nil, refuse(badAuth, stream, 0, err)
	}
	if r.Header.Get("X-Cls-Token") != "" {
		return nil, refuse(badAuth, stream, 0, cls.Unauthorized("temporary credentials are not known here"))
	}
	key, err := s.deps.TopicKeys.TopicKey(topic.ID, signed.KeyID)
	if err != nil {
		return nil, refuse(badAuth, stream, 0, cls.Unauthorized("the topic has no access key of this id"))
	}
	if err := signed.CheckTime(time.Now()); err != nil {
		return nil, refuse(expired, stream, 0, err)
	}
	return &topicKey{key.Secret, signed}, nil
}

// check verifies the signature over the path without our prefix, which SDKs do not sign. The Go SDK takes a prefix as part of
// its host and signs that, but sends the host alone.
func (k *topicKey) check(r *http.Request, body []byte) error {
	if k == nil {
		return nil
	}
	path, prefixed := strings.CutPrefix(r.URL.Path, clsPrefix)
	request := cls.Request{Method: r.Method, Path: path, RawQuery: r.URL.RawQuery, Host: r.Host, Header: r.Header, Body: body}
	err := k.signed.Verify(k.secret, request)
	if err != nil && prefixed {
		request.Host += clsPrefix
		err = k.signed.Verify(k.secret, request)
	}
	return err
}

// decodeStructured undoes the compression, into plain, holds what comes out to the topic's limits and makes records. It may be much
// more than the body: its share of memory is taken before, and then that of the records. Errors are refusals.
func (s *Server) decodeStructured(v *visit, body, plain *buffer, received time.Time) ([]logbridge.Record, error) {
	text, err := unpackStructured(v, body, plain)
	if err != nil {
		return nil, refuse(kindOf(err), v.stream, 0, err)
	}
	groups, err := cls.DecodeList(text)
	if err != nil {
		return nil, refuse(kindOf(err), v.stream, 0, err)
	}
	if err := s.checkGroups(v, groups, len(body.b)); err != nil {
		return nil, err
	}
	records := s.recordsCLS(v, groups, received)
	size := len(text) + recordsMemory(records)
	body.release()
	if err := plain.keep(v.request.Context(), int64(size)); err != nil {
		return nil, refuse(kindOf(err), v.stream, len(records), err)
	}
	return records, nil
}

func unpackStructured(v *visit, body, plain *buffer) ([]byte, error) {
	r := v.request
	if err := checkProtobuf(r); err != nil {
		return nil, err
	}
	how := strings.ToLower(r.Header.Get("X-Cls-Compress-Type"))
	if how == "" {
		return body.b, nil
	}
	if err := plain.take(r.Context(), loose.MaxUnpacked); err != nil {
		return nil, err
	}
	text, err := cls.Decompress(plain.b, how, body.b)
	if err != nil {
		return nil, err
	}
	plain.b = text
	if n := int64(len(text)); n > v.limits.RequestBytes {
		return nil, v.dialect.tooMuch("body", n, v.limits.RequestBytes)
	}
	return text, nil
}

// checkGroups is check for several groups, whose logs are counted together.
func (s *Server) checkGroups(v *visit, groups []cls.Group, size int) error {
	var all []cls.Log
	for i := range groups {
		g := &groups[i]
		if err := v.checkEvents(g.Logs, g.Tags); err != nil {
			return refuse(tooLarge, v.stream, len(g.Logs), err)
		}
		all = append(all, g.Logs...)
	}
	return s.check(v, all, nil, size)
}

// checkProtobuf holds the Content-Type to the one that the SDKs send.
func checkProtobuf(r *http.Request) error {
	switch {
	case r.Header.Get("Content-Type") == "":
		return cls.MissingContentType()
	case mediaType(r) != mediaProto:
		return cls.InvalidContentType()
	}
	return nil
}

// recordsMemory is about what records take beside the text of the request.
func recordsMemory(records []logbridge.Record) (size int) {
	for i := range records {
		size += recordMemory + attributeMemory*len(records[i].Attributes)
	}
	return size
}
