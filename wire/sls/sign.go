package sls

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge/wire/loose"
)

// The headers of a signed request (3.2).
const (
	headerDate   = "X-Log-Date"
	headerMethod = "X-Log-Signaturemethod"
	headerMD5    = "Content-Md5"
	methodV1     = "hmac-sha1"
)

// maxSkew is how far a request's date may be from our clock (3.5).
const maxSkew = 15 * time.Minute

// Request is what a signature covers.
type Request struct {
	Method string
	// Path as it was sent, escapes and all, without a prefix such as /sls/{project}, which clients do not sign (3.4).
	Path     string
	RawQuery string
	Header   http.Header
	// Body as received: compressed if it is compressed.
	Body []byte
	// Host with its port, as the header has it; V4 signs it.
	Host string
}

// ParseV1Authorization takes "LOG {AccessKeyId}:{signature}" apart (3.3). *Error ParameterInvalid for another form, and
// Unauthorized without an id, which is how a browser without credentials asks (3.1).
func ParseV1Authorization(h string) (accessKeyID, signature string, err error) {
	rest, ok := strings.CutPrefix(h, "LOG ")
	id, signature, found := strings.Cut(strings.TrimSpace(rest), ":")
	if !ok || !found {
		scheme, _, _ := strings.Cut(h, " ") // the rest may be somebody's secret
		return "", "", ParameterInvalid(scheme)
	}
	if id == "" {
		return "", "", Unauthorized("The AccessKeyId is unauthorized.")
	}
	return id, signature, nil
}

// VerifyV1 checks the signature of a request (3.3) with the header values as they were received, and then the body against
// Content-MD5, without which a body would not be signed at all. *Error: SignatureNotMatch, or what is missing. The date is
// not compared with a clock; CheckDate does that.
func VerifyV1(secret string, r Request) error {
	_, signature, err := ParseV1Authorization(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	switch method := r.Header.Get(headerMethod); {
	case method == "":
		return MissingSignatureMethod()
	case method != methodV1:
		return InvalidSignatureMethod(method)
	case r.date() == "":
		return MissingDate()
	}
	got, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || secret == "" || !hmac.Equal(got, r.mac(secret)) {
		return SignatureNotMatch(signature)
	}
	if len(r.Body) == 0 {
		return nil
	}
	want := md5.Sum(r.Body)
	if sum, err := hex.DecodeString(r.Header.Get(headerMD5)); err != nil || !hmac.Equal(sum, want[:]) {
		return SignatureNotMatch(signature)
	}
	return nil
}

// SignV1 signs a request whose other headers are set: the Authorization header for it.
func SignV1(accessKeyID, secret string, r Request) string {
	return "LOG " + accessKeyID + ":" + base64.StdEncoding.EncodeToString(r.mac(secret))
}

// CheckDate checks that a signed request is at most 15 minutes from now (3.5). *Error MissingDate, InvalidRequestTime,
// RequestTimeExpired.
func CheckDate(header http.Header, now time.Time) error {
	date := Request{Header: header}.date()
	if date == "" {
		return MissingDate()
	}
	for _, layout := range [...]string{http.TimeFormat, layoutV4, "Mon, 2 Jan 2006 15:04:05 MST", time.RFC1123Z, time.RFC850, time.ANSIC} {
		t, err := time.Parse(layout, date)
		if err != nil {
			continue
		}
		if skew := now.Sub(t); skew > maxSkew || skew < -maxSkew {
			return RequestTimeExpired(date, now)
		}
		return nil
	}
	return InvalidRequestTime(date)
}

func (r Request) date() string {
	if date := r.Header.Get(headerDate); date != "" {
		return date
	}
	return r.Header.Get("Date")
}

func (r Request) mac(secret string) []byte {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(r.stringToSign()))
	return mac.Sum(nil)
}

// stringToSign is that of 3.3. x-log-date replaces the date and is not among the signed headers.
func (r Request) stringToSign() string {
	var b strings.Builder
	for _, line := range [...]string{r.Method, r.Header.Get(headerMD5), r.Header.Get("Content-Type"), r.date()} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	var signed []string
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		if textproto.CanonicalMIMEHeaderKey(name) == headerDate ||
			!strings.HasPrefix(lower, "x-log-") && !strings.HasPrefix(lower, "x-acs-") {
			continue
		}
		signed = append(signed, lower+":"+strings.Join(values, ",")+"\n")
	}
	slices.Sort(signed)
	for _, line := range signed {
		b.WriteString(line)
	}
	b.WriteString(r.resource())
	return b.String()
}

// resource is the path and the query's decoded pairs, sorted.
func (r Request) resource() string {
	if r.RawQuery == "" {
		return r.Path
	}
	var pairs []string
	for key, value := range loose.Query(r.RawQuery) {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return r.Path + "?" + strings.Join(pairs, "&")
}
