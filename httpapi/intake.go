package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// The media types of uploads of services.
const (
	mediaJSON  = "application/json"
	mediaProto = "application/x-protobuf"
)

// retryAfter is how many seconds a client shall wait after an answer that says to come again: what was in the way is over
// within one.
const retryAfter = "1"

// intake is a surface on which services log in with a token: OTLP (otlp.go) and Loki's push (loki_push.go).
type intake struct {
	source logbridge.Source
	// fault writes an error in the form of the surface.
	fault func(c echo.Context, status int, why string) error
}

// intakeStatus is the error table of both. Their clients send again what was answered with 429 or 503, and drop what was
// answered with any other status from 400 on (query-and-export.md 1 and 2).
var intakeStatus = map[reason]int{
	malformed:   http.StatusBadRequest,
	tooLarge:    http.StatusRequestEntityTooLarge,
	badToken:    http.StatusUnauthorized,
	badRole:     http.StatusForbidden,
	notInScope:  http.StatusForbidden,
	unsupported: http.StatusUnsupportedMediaType,
	badMethod:   http.StatusMethodNotAllowed,
	unknownName: http.StatusNotFound,
	overload:    http.StatusTooManyRequests,
	slow:        http.StatusServiceUnavailable, // the next try may be faster
	unanswered:  http.StatusServiceUnavailable,
	internal:    http.StatusInternalServerError,
}

// take answers what do returns; do has answered a success itself.
func (s *Server) take(in *intake, do echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := do(c); err != nil {
			return s.writeIntakeFault(c, in, s.refused(in.source, err))
		}
		return nil
	}
}

func (s *Server) writeIntakeFault(c echo.Context, in *intake, r *refusal) error {
	status := intakeStatus[r.reason]
	why := r.err.Error()
	switch status {
	case http.StatusUnauthorized:
		c.Response().Header()["Www-Authenticate"] = lokiChallenges
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		c.Response().Header().Set("Retry-After", retryAfter)
	case http.StatusInternalServerError:
		why = "the server's log says more"
	}
	return in.fault(c, status, why)
}

// failIntake answers what no handler took.
func (s *Server) failIntake(c echo.Context, in *intake, status int) {
	_ = s.writeIntakeFault(c, in, s.unrouted(c, in.source, status, unknownName))
}

// mediaType is the type of a request's body, without its parameters.
func mediaType(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// decoder reads a body that was unpacked.
type decoder func(body []byte, received time.Time) (loose.Upload, error)

// takeUpload reads and stores one upload: the token, the body, its compression, its records. unpack undoes the compression,
// into the empty buffer that it gets. It returns what was read, of which nothing is stored if there is an error.
func (s *Server) takeUpload(c echo.Context, in *intake, most int64, unpack func(*http.Request, []byte, *buffer) ([]byte, error), decode decoder) (loose.Upload, error) {
	received := time.Now()
	token, err := s.mayWrite(c.Request())
	if err != nil {
		return loose.Upload{}, err
	}
	body, err := s.readBody(c, most)
	defer body.release()
	if err != nil {
		return loose.Upload{}, refuse(kindOf(err), "", 0, err)
	}
	plain := s.bodies.get()
	defer plain.release()
	text, err := unpack(c.Request(), body.b, plain)
	if r := (*refusal)(nil); errors.As(err, &r) {
		return loose.Upload{}, err
	}
	var upload loose.Upload
	if err == nil {
		upload, err = decode(text, received)
	}
	if err != nil {
		return loose.Upload{}, refuse(kindOf(err), "", 0, err)
	}
	if err := inScope(token, upload); err != nil {
		return loose.Upload{}, err
	}
	key := ""
	if !upload.Untimed {
		key = replayKey(in.source, token, text)
	}
	body.release()
	if err := plain.keep(c.Request().Context(), int64(upload.Size)); err != nil {
		return loose.Upload{}, refuse(kindOf(err), "", len(upload.Records), err)
	}
	return upload, s.appendUpload(in, upload, key)
}

// inScope refuses an upload as a whole if a part of it is for a stream that a limited token may not write to.
func inScope(token logbridge.Token, u loose.Upload) error {
	n := len(u.Records)
	foreign := logbridge.Stream("")
	look := func(s logbridge.Stream) {
		if !token.Sees(s) {
			foreign = s
		}
	}
	for i := range u.Records {
		look(u.Records[i].Stream)
	}
	for _, r := range u.Rejected {
		n += r.Records
		look(r.Stream)
	}
	if foreign == "" {
		return nil
	}
	return refuse(notInScope, "", n, fmt.Errorf("stream %q is not in the scope of the token; nothing of the upload is stored", foreign))
}

// replayKey names an upload of which each record has its own time: clients send the same bytes again after an answer that
// was lost or said to, and would not send them else.
func replayKey(source logbridge.Source, token logbridge.Token, text []byte) string {
	return fmt.Sprintf("%s/%s/%x", source, token.ID, sha256.Sum256(text))
}

func (s *Server) appendUpload(in *intake, u loose.Upload, key string) error {
	stream := logbridge.Stream("") // of several, a failure is counted under none
	for i := range u.Records {
		if i == 0 {
			stream = u.Records[i].Stream
		} else if u.Records[i].Stream != stream {
			stream = ""
			break
		}
	}
	err := s.append(logbridge.Batch{Records: u.Records, ReplayKey: key, Delivery: logbridge.Redelivery}, stream)
	if err != nil {
		return err
	}
	for _, r := range u.Rejected {
		s.deps.Counter.Refuse(in.source, r.Stream, string(tooLarge), r.Records)
	}
	return nil
}

// rejected is how many records of an upload are too long, and a sentence about it.
func rejected(u loose.Upload) (n int, why string) {
	for _, r := range u.Rejected {
		n += r.Records
	}
	if n > 0 {
		why = fmt.Sprintf("records of more than %d bytes are not taken", loose.MaxRecord)
	}
	return n, why
}

// inflate reads a compressed body into plain; the share of memory grows with what comes out.
func inflate(ctx context.Context, encoding string, body []byte, plain *buffer, most int64) ([]byte, error) {
	var r io.Reader
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("%w: body is not gzip", logbridge.ErrInvalid)
		}
		r = z
	case "deflate":
		r = undeflate(body)
	default:
		return nil, refuse(unsupported, "", 0, fmt.Errorf("content encoding %q is not supported, gzip is", clip(encoding)))
	}
	err := plain.read(ctx, r, most, most+1)
	if err != nil && kindOf(err) == internal {
		err = fmt.Errorf("%w: body is not %s", logbridge.ErrInvalid, strings.ToLower(encoding))
	}
	return plain.b, err
}

// undeflate reads what is called deflate: zlib, as HTTP has it and the OpenTelemetry Collector sends it, or raw, as Loki reads
// it. A raw stream does not begin like zlib's: method 8, and a multiple of 31.
func undeflate(body []byte) io.Reader {
	if len(body) > 2 && body[0]&15 == 8 && (int(body[0])<<8|int(body[1]))%31 == 0 {
		if z, err := zlib.NewReader(bytes.NewReader(body)); err == nil {
			return z
		}
	}
	return flate.NewReader(bytes.NewReader(body))
}
