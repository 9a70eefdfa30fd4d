package sls

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Error is an answer in the vendor's form (4.4). It wraps the kind of package logbridge that it is.
type Error struct {
	Status        int
	Code, Message string
	kind          error
}

func (e *Error) Error() string {
	return "sls " + strconv.Itoa(e.Status) + " " + e.Code + ": " + e.Message
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.kind }

// JSON is the body of the answer: {"errorCode":…,"errorMessage":…}.
func (e *Error) JSON() []byte {
	body := loose.AppendString([]byte(`{"errorCode":`), e.Code)
	body = loose.AppendString(append(body, `,"errorMessage":`...), e.Message)
	return append(body, '}')
}

// newError makes a row of the table in 4.4. Of args, text from outside is shortened.
func newError(status int, code, format string, args ...any) *Error {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = clip(s)
		}
	}
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...), kind: kindOf(status)}
}

func kindOf(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return logbridge.ErrUnauthorized
	case http.StatusForbidden:
		return logbridge.ErrForbidden
	case http.StatusNotFound:
		return logbridge.ErrNotFound
	case http.StatusInternalServerError, http.StatusServiceUnavailable:
		return logbridge.ErrUnavailable
	}
	return logbridge.ErrInvalid
}

// clip shortens text from outside before it goes into an answer.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return loose.Repair([]byte(s))
}

// The rows of 4.4. Native producers repeat what is answered with 401, 403, 404 or 5xx and give up on 400.

// PostBodyInvalid: the body is not the JSON that it must be.
func PostBodyInvalid() *Error {
	return newError(http.StatusBadRequest, "PostBodyInvalid", "The request body is not valid JSON object.")
}

// invalidProtobuf is PostBodyInvalid for a body that must be protobuf.
func invalidProtobuf() *Error {
	return newError(http.StatusBadRequest, "PostBodyInvalid", "Fail to parse protobuf.")
}

// PostBodyUncompressError: the body is not compressed as it says.
func PostBodyUncompressError() *Error {
	return newError(http.StatusBadRequest, "PostBodyUncompressError", "Post body uncompressed fail.")
}

// PostBodyTooLarge: the body is n bytes, before or after decompression.
func PostBodyTooLarge(n int) *Error { return tooLarge("Body size", n, MaxBody) }

// TooLarge is PostBodyTooLarge for n of something where most are taken.
func TooLarge(what string, n, most int) *Error { return tooLarge(what, n, most) }

func tooLarge(what string, n, most int) *Error {
	e := newError(http.StatusBadRequest, "PostBodyTooLarge", "%s %d must little than %d.", what, n, most)
	e.kind = logbridge.ErrTooLarge
	return e
}

// InvalidCompressType: x-log-compresstype is none that we know.
func InvalidCompressType(compressType string) *Error {
	return newError(http.StatusBadRequest, "InvalidCompressType", "x-log-compresstype %s is unsupported.", compressType)
}

// MissingBodyRawSize: an lz4 block that does not say how long it will be.
func MissingBodyRawSize() *Error {
	return newError(http.StatusBadRequest, "MissingBodyRawSize", "x-log-bodyrawsize does not exist in header when it is necessary.")
}

// InvalidBodyRawSize: x-log-bodyrawsize is no size.
func InvalidBodyRawSize(size string) *Error {
	return newError(http.StatusBadRequest, "InvalidBodyRawSize", "x-log-bodyrawsize %s is invalid.", size)
}

// MissingAPIVersion: no version in header or query.
func MissingAPIVersion() *Error {
	return newError(http.StatusBadRequest, "MissingAPIVersion", "x-log-apiversion does not exist in http header.")
}

// InvalidAPIVersion: another version than 0.6.0.
func InvalidAPIVersion(version string) *Error {
	return newError(http.StatusBadRequest, "InvalidAPIVersion", "x-log-apiversion %s is unsupported.", version)
}

// MissingDate: a signed request without Date and x-log-date.
func MissingDate() *Error {
	return newError(http.StatusBadRequest, "MissingDate", "Date does not exist in http header.")
}

// InvalidRequestTime: the date of a signed request cannot be read.
func InvalidRequestTime(date string) *Error {
	return newError(http.StatusBadRequest, "InvalidRequestTime", "Request time %s not follow RFC822 spec.", date)
}

// RequestTimeExpired: it is too far from our clock (3.5).
func RequestTimeExpired(date string, now time.Time) *Error {
	return newError(http.StatusBadRequest, "RequestTimeExpired",
		"Request time %s has been expired while server time is %s.", date, now.UTC().Format(http.TimeFormat))
}

// MissingSignatureMethod: a signed request without x-log-signaturemethod.
func MissingSignatureMethod() *Error {
	return newError(http.StatusBadRequest, "MissingSignatureMethod", "x-log-signaturemethod does not exist in http header.")
}

// InvalidSignatureMethod: another method than hmac-sha1.
func InvalidSignatureMethod(method string) *Error {
	return newError(http.StatusBadRequest, "InvalidSignatureMethod", "x-log-signaturemethod %s is unsupported.", method)
}

// ParameterInvalid: the Authorization header is not of a form that we know.
func ParameterInvalid(authorization string) *Error {
	return newError(http.StatusBadRequest, "ParameterInvalid", "Http extend authorization : %s is invalid.", authorization)
}

// InvalidHost: the Host header names no project.
func InvalidHost(host string) *Error {
	return newError(http.StatusBadRequest, "InvalidHost", "Host header %s is invalid.", host)
}

// SignatureNotMatch: the signature or the body's MD5 is wrong.
func SignatureNotMatch(signature string) *Error {
	return newError(http.StatusUnauthorized, "SignatureNotMatch", "Signature %s not matched.", signature)
}

// Unauthorized: message says why, in the vendor's words; for a store without web tracking too (4.4, the code is our choice).
func Unauthorized(message string) *Error {
	e := newError(http.StatusUnauthorized, "Unauthorized", "")
	e.Message = message
	return e
}

// WriteQuotaExceed: over a quota.
func WriteQuotaExceed() *Error {
	return newError(http.StatusForbidden, "WriteQuotaExceed", "Write quota is exceeded.")
}

// ProjectNotExist: no such project.
func ProjectNotExist(name string) *Error {
	return newError(http.StatusNotFound, "ProjectNotExist", "The Project does not exist : %s", name)
}

// LogStoreNotExist: no such logstore.
func LogStoreNotExist(name string) *Error {
	return newError(http.StatusNotFound, "LogStoreNotExist", "logstore %s does not exist.", name)
}

// MissingContentType: a body that does not say what it is.
func MissingContentType() *Error {
	return newError(http.StatusBadRequest, "MissingContentType", "Content-Type does not exist in http header when body is not empty.")
}

// MissingContentLength: a body without its length.
func MissingContentLength() *Error {
	return newError(http.StatusLengthRequired, "MissingContentLength",
		"Content-Length does not exist in http header when it is necessary.")
}

// InvalidContentType: a body that is neither JSON nor another form that we know.
func InvalidContentType(contentType string) *Error {
	return newError(http.StatusUnsupportedMediaType, "InvalidContentType", "Content-Type %s is unsupported.", contentType)
}

// InternalServerError: a fault of ours.
func InternalServerError() *Error {
	return newError(http.StatusInternalServerError, "InternalServerError", "Internal server error message.")
}

// ServerBusy: a temporary condition; clients repeat the request.
func ServerBusy() *Error {
	return newError(http.StatusServiceUnavailable, "ServerBusy", "The server is busy, please try again later.")
}
