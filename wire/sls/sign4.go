package sls

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/logbridge/logbridge/wire/loose"
)

// The words of a V4 signature (4.7).
const (
	schemeV4      = "SLS4-HMAC-SHA256"
	headerSHA256  = "X-Log-Content-Sha256"
	scopeTail     = "/sls/aliyun_v4_request"
	layoutV4      = "20060102T150405Z"
	dateV4        = len("20060102")
	prefixV4      = "aliyun_v4"
	serviceV4     = "sls"
	terminatorV4  = "aliyun_v4_request"
	unsignedMetas = "x-log-meta-"
)

// credential is what an Authorization header of V4 names: "SLS4-HMAC-SHA256 Credential={id}/{yyyymmdd}/{region}/sls/aliyun_v4_request,Signature={hex}".
type credential struct{ id, date, region, signature string }

func (c credential) scope() string { return c.date + "/" + c.region + scopeTail }

// AccessKeyID is who has signed a request, by V1 or V4. *Error as ParseV1Authorization.
func AccessKeyID(authorization string) (string, error) {
	if !isV4(authorization) {
		id, _, err := ParseV1Authorization(authorization)
		return id, err
	}
	c, err := parseV4(authorization)
	return c.id, err
}

// Verify checks the signature of a request, V4 (4.7) or V1 (VerifyV1), and then the body against the checksum that is signed.
// *Error: SignatureNotMatch, or what is missing. The date is not compared with a clock; CheckDate does that.
func Verify(secret string, r Request) error {
	if !isV4(r.Header.Get("Authorization")) {
		return VerifyV1(secret, r)
	}
	c, err := parseV4(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	date := r.Header.Get(headerDate)
	if date == "" {
		return MissingDate()
	}
	got, err := hex.DecodeString(c.signature)
	if err != nil || secret == "" || !strings.HasPrefix(date, c.date) || !hmac.Equal(got, r.macV4(secret, c)) {
		return SignatureNotMatch(c.signature)
	}
	want := sha256.Sum256(r.Body)
	if sum, err := hex.DecodeString(r.Header.Get(headerSHA256)); err != nil || !hmac.Equal(sum, want[:]) {
		return SignatureNotMatch(c.signature)
	}
	return nil
}

// SignV4 signs a request whose other headers are set, x-log-date and x-log-content-sha256 among them: the Authorization header
// for it.
func SignV4(accessKeyID, secret, region string, r Request) string {
	c := credential{id: accessKeyID, region: region}
	if date := r.Header.Get(headerDate); len(date) >= dateV4 {
		c.date = date[:dateV4]
	}
	return schemeV4 + " Credential=" + c.id + "/" + c.scope() + ",Signature=" + hex.EncodeToString(r.macV4(secret, c))
}

func isV4(authorization string) bool { return strings.HasPrefix(authorization, schemeV4+" ") }

func parseV4(authorization string) (c credential, err error) {
	rest := strings.TrimPrefix(authorization, schemeV4+" ")
	named, signature, ok := strings.Cut(rest, ",")
	signature, signed := strings.CutPrefix(strings.TrimSpace(signature), "Signature=")
	named, names := strings.CutPrefix(strings.TrimSpace(named), "Credential=")
	named, scoped := strings.CutSuffix(named, scopeTail)
	parts := strings.Split(named, "/")
	if !ok || !signed || !names || !scoped || len(parts) != 3 || len(parts[1]) != dateV4 || parts[2] == "" {
		return c, ParameterInvalid(schemeV4) // the rest may be somebody's secret
	}
	if parts[0] == "" {
		return c, Unauthorized("The AccessKeyId is unauthorized.")
	}
	return credential{parts[0], parts[1], parts[2], signature}, nil
}

// macV4 is the signature: the key is derived from the secret for one day, region and service.
func (r Request) macV4(secret string, c credential) []byte {
	canonical := sha256.Sum256([]byte(r.canonicalV4()))
	key := []byte(prefixV4 + secret)
	for _, part := range [...]string{c.date, c.region, serviceV4, terminatorV4} {
		key = hmacSHA256(key, part)
	}
	return hmacSHA256(key, strings.Join([]string{schemeV4, r.Header.Get(headerDate), c.scope(), hex.EncodeToString(canonical[:])}, "\n"))
}

func hmacSHA256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// canonicalV4 is the canonical request: method, path, query, the signed headers, their names, the body's checksum as it was sent.
func (r Request) canonicalV4() string {
	lines := map[string]string{}
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		switch {
		case strings.HasPrefix(lower, unsignedMetas):
		case strings.HasPrefix(lower, "x-log-"), strings.HasPrefix(lower, "x-acs-"), lower == "content-type":
			lines[lower] = strings.Join(values, ",")
		}
	}
	if r.Host != "" {
		lines["host"] = r.Host
	}
	names := make([]string, 0, len(lines))
	for name := range lines {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(r.Method + "\n" + r.Path + "\n" + r.queryV4() + "\n")
	for _, name := range names {
		b.WriteString(name + ":" + lines[name] + "\n")
	}
	b.WriteString("\n" + strings.Join(names, ";") + "\n" + r.Header.Get(headerSHA256))
	return b.String()
}

// queryV4 is the query's pairs sorted by key. Only values are escaped, and an empty one has no equals sign.
func (r Request) queryV4() string {
	var pairs [][2]string
	for key, value := range loose.Query(r.RawQuery) {
		pairs = append(pairs, [2]string{key, value})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0])
		if p[1] != "" {
			b.WriteString("=" + strings.ReplaceAll(url.QueryEscape(p[1]), "+", "%20"))
		}
	}
	return b.String()
}
