package cls

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Error is an answer in the vendor's form (5.3). It wraps the kind of package logbridge that it is.
type Error struct {
	Status        int
	Code, Message string
	kind          error
}

func (e *Error) Error() string {
	return "cls " + strconv.Itoa(e.Status) + " " + e.Code + ": " + e.Message
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.kind }

// JSON is the body of the answer: {"errorcode":…,"errormessage":…}, all lower case.
func (e *Error) JSON() []byte {
	body := loose.AppendString([]byte(`{"errorcode":`), e.Code)
	body = loose.AppendString(append(body, `,"errormessage":`...), e.Message)
	return append(body, '}')
}

// The codes of 5.3. The 1.0.13 SDK repeats at once whatever is not 200 or 413, the 2.0.0 SDK what is not 200, 400, 401, 403
// or 413, the Go SDK what is not 200, 401, 403, 404 or 413 (5.1, 5.2, 6).

// MissingContent: an empty body.
func MissingContent() *Error {
	return &Error{http.StatusBadRequest, "MissingContent", "request body is empty", logbridge.ErrInvalid}
}

// InvalidContent: the body is not the JSON that it must be; message says what is wrong.
func InvalidContent(message string) *Error {
	return &Error{http.StatusBadRequest, "InvalidContent", message, logbridge.ErrInvalid}
}

// InvalidParam: a parameter of the query is missing or wrong; message says which.
func InvalidParam(message string) *Error {
	return &Error{http.StatusBadRequest, "InvalidParam", message, logbridge.ErrInvalid}
}

// MissingAuthorization: the topic takes signed writes only, and this one is not.
func MissingAuthorization() *Error {
	return &Error{http.StatusBadRequest, "MissingAuthorization", "the topic takes signed writes only: Authorization is missing", logbridge.ErrUnauthorized}
}

// InvalidAuthorization: the Authorization header has not the form of section 6; message says what is wrong.
func InvalidAuthorization(message string) *Error {
	return &Error{http.StatusBadRequest, "InvalidAuthorization", message, logbridge.ErrUnauthorized}
}

// Unauthorized: the topic has no such key, or the signature is not that of the key, or not of this time; message says which.
func Unauthorized(message string) *Error {
	return &Error{http.StatusUnauthorized, "Unauthorized", message, logbridge.ErrUnauthorized}
}

// MissingContentType: no Content-Type.
func MissingContentType() *Error {
	return &Error{http.StatusBadRequest, "MissingContentType", "Content-Type is missing", logbridge.ErrInvalid}
}

// InvalidContentType: a Content-Type other than application/x-protobuf.
func InvalidContentType() *Error {
	return &Error{http.StatusBadRequest, "InvalidContentType", "Content-Type is not application/x-protobuf", logbridge.ErrInvalid}
}

// InvalidCompressType: x-cls-compress-type names nothing that this package knows.
func InvalidCompressType() *Error {
	return &Error{http.StatusBadRequest, "InvalidCompressType", "x-cls-compress-type is none of lz4, zstd, deflate", logbridge.ErrInvalid}
}

// NotAllowed: the topic takes no anonymous writes, from this origin or at all (the code is our choice, 5.3).
func NotAllowed(message string) *Error {
	return &Error{http.StatusForbidden, "NotAllowed", message, logbridge.ErrForbidden}
}

// TopicNotExist: no such topic.
func TopicNotExist() *Error {
	return &Error{http.StatusNotFound, "TopicNotExist", "topic does not exist", logbridge.ErrNotFound}
}

// LogSizeExceed: over a limit. 413 is the one error that the 1.0.13 SDK does not repeat (5.3).
func LogSizeExceed(format string, args ...any) *Error {
	return &Error{http.StatusRequestEntityTooLarge, "LogSizeExceed", fmt.Sprintf(format, args...), logbridge.ErrTooLarge}
}

// SpeedQuotaExceed: over a quota. 429 is for a client that waits then; for the others it is 413, the one status after which the 1.0.13
// SDK does not send the same again at once (5.1).
func SpeedQuotaExceed(waits bool) *Error {
	status := http.StatusTooManyRequests
	if !waits {
		status = http.StatusRequestEntityTooLarge
	}
	return &Error{status, "SpeedQuotaExceed", "write quota is exceeded", logbridge.ErrForbidden}
}

// InternalError: a fault of ours, or a temporary condition.
func InternalError() *Error {
	return &Error{http.StatusInternalServerError, "InternalError", "internal error, try again later", logbridge.ErrUnavailable}
}
