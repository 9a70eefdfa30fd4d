package cls

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge/wire/loose"
)

// maxSigned bounds the names in q-header-list and q-url-param-list: the SDKs sign two headers and one parameter (6).
const maxSigned = 32

// Request is what a signature covers.
type Request struct {
	Method string
	// Path without a prefix such as /cls, which clients do not sign.
	Path     string
	RawQuery string
	Host     string
	Header   http.Header
	// Body as received: compressed if it is compressed.
	Body []byte
}

// Authorization is the header of that name, taken apart (6). The signature says of itself which headers and parameters it
// covers, and from when to when it is good.
type Authorization struct {
	// KeyID is the id of the key that signed.
	KeyID string
	// SignTime and KeyTime are "from;to" in Unix seconds, as sent: they are signed so.
	SignTime, KeyTime string
	// Headers and Params are names in lower case.
	Headers, Params []string
	Signature       [sha1.Size]byte
}

// ParseAuthorization takes the header q-sign-algorithm=sha1&q-ak=…&q-sign-time=…&q-key-time=…&q-header-list=…&
// q-url-param-list=…&q-signature=… apart. *Error InvalidAuthorization for another form.
func ParseAuthorization(header string) (Authorization, error) {
	parts := map[string]string{}
	for pair := range strings.SplitSeq(header, "&") {
		name, value, ok := strings.Cut(pair, "=")
		if _, twice := parts[name]; !ok || twice || len(parts) == maxSigned {
			return Authorization{}, InvalidAuthorization("Authorization is not of the form q-sign-algorithm=sha1&q-ak=…")
		}
		parts[name] = value
	}
	a := Authorization{KeyID: parts["q-ak"], SignTime: parts["q-sign-time"], KeyTime: parts["q-key-time"],
		Headers: nameList(parts["q-header-list"]), Params: nameList(parts["q-url-param-list"])}
	signature, err := hex.DecodeString(parts["q-signature"])
	switch {
	case parts["q-sign-algorithm"] != "sha1":
		return Authorization{}, InvalidAuthorization("q-sign-algorithm is not sha1")
	case a.KeyID == "":
		return Authorization{}, InvalidAuthorization("q-ak is missing")
	case err != nil || len(signature) != sha1.Size:
		return Authorization{}, InvalidAuthorization("q-signature is not 40 hexadecimal digits")
	case len(a.Headers) > maxSigned || len(a.Params) > maxSigned:
		return Authorization{}, InvalidAuthorization("q-header-list or q-url-param-list has over " + strconv.Itoa(maxSigned) + " names")
	}
	copy(a.Signature[:], signature)
	for _, span := range [...]string{a.SignTime, a.KeyTime} {
		if _, _, ok := parseSpan(span); !ok {
			return Authorization{}, InvalidAuthorization("q-sign-time or q-key-time is not of the form from;to")
		}
	}
	return a, nil
}

// CheckTime checks that now, to the second, is within both times of a signature. *Error Unauthorized: the SDKs take a minute
// off the beginning themselves, and sign each try anew.
func (a Authorization) CheckTime(now time.Time) error {
	for _, span := range [...]string{a.SignTime, a.KeyTime} {
		from, to, ok := parseSpan(span)
		if seconds := now.Unix(); !ok || seconds < from || seconds > to {
			return Unauthorized("the signature is not good at this time, which is " + strconv.FormatInt(now.Unix(), 10))
		}
	}
	return nil
}

// Verify checks the signature of a request in constant time, and the body against Content-MD5 if that is signed. *Error
// Unauthorized. The times are not compared with a clock; CheckTime does that. Signed values are encoded as Go's
// url.QueryEscape does or as encodeURIComponent does, which differ in the space.
func (a Authorization) Verify(secret string, r Request) error {
	wrong := Unauthorized("the signature does not match")
	if secret == "" {
		return wrong
	}
	text := a.formatString(r)
	good := hmac.Equal(a.Signature[:], a.mac(secret, text))
	if strings.Contains(text, "+") { // an encoded value has none else
		good = hmac.Equal(a.Signature[:], a.mac(secret, strings.ReplaceAll(text, "+", "%20"))) || good
	}
	if !good || slices.Contains(a.Headers, "content-md5") && !isMD5(r.Header.Get("Content-MD5"), r.Body) {
		return wrong
	}
	return nil
}

// Sign gives the header for a request whose other headers are set; Signature is ignored.
func (a Authorization) Sign(secret string, r Request) string {
	return "q-sign-algorithm=sha1&q-ak=" + a.KeyID + "&q-sign-time=" + a.SignTime + "&q-key-time=" + a.KeyTime +
		"&q-header-list=" + strings.Join(a.Headers, ";") + "&q-url-param-list=" + strings.Join(a.Params, ";") +
		"&q-signature=" + hex.EncodeToString(a.mac(secret, a.formatString(r)))
}

// mac is the signature of a FormatString: SignKey is derived from the secret for the key time.
func (a Authorization) mac(secret, formatString string) []byte {
	sum := sha1.Sum([]byte(formatString))
	signKey := hex.EncodeToString(hmacSHA1(secret, a.KeyTime))
	return hmacSHA1(signKey, "sha1\n"+a.SignTime+"\n"+hex.EncodeToString(sum[:])+"\n")
}

func hmacSHA1(key, text string) []byte {
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// formatString is that of section 6: method, path, the parameters and the headers that are named.
func (a Authorization) formatString(r Request) string {
	params := map[string][]string{}
	for key, value := range loose.Query(r.RawQuery) {
		if key = strings.ToLower(key); slices.Contains(a.Params, key) {
			params[key] = append(params[key], value)
		}
	}
	header := func(name string) []string {
		if name == "host" {
			return []string{r.Host}
		}
		return r.Header[textproto.CanonicalMIMEHeaderKey(name)]
	}
	return strings.ToLower(r.Method) + "\n" + r.Path + "\n" +
		encodePairs(a.Params, func(name string) []string { return params[name] }) + "\n" + encodePairs(a.Headers, header) + "\n"
}

// encodePairs joins k=v of the names, sorted; what is not there has an empty value.
func encodePairs(names []string, values func(string) []string) string {
	var pairs []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		all := values(name)
		if len(all) == 0 {
			all = []string{""}
		}
		for _, v := range all {
			pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(v))
		}
	}
	return strings.Join(pairs, "&")
}

// nameList splits a;b.
func nameList(list string) []string {
	if list == "" {
		return nil
	}
	return strings.SplitN(strings.ToLower(list), ";", maxSigned+2) // two more, so that too many are seen
}

// parseSpan reads from;to in Unix seconds.
func parseSpan(s string) (from, to int64, ok bool) {
	a, b, ok := strings.Cut(s, ";")
	from, errFrom := strconv.ParseInt(a, 10, 64)
	to, errTo := strconv.ParseInt(b, 10, 64)
	return from, to, ok && errFrom == nil && errTo == nil && from >= 0 && to >= from
}

// isMD5 compares a body with its sum, in the hexadecimal digits of the vendor's example or in the base64 of RFC 1864.
func isMD5(sum string, body []byte) bool {
	want := md5.Sum(body)
	got, err := hex.DecodeString(sum)
	if err != nil {
		got, err = base64.StdEncoding.DecodeString(sum)
	}
	return err == nil && hmac.Equal(got, want[:])
}
