package tencent

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"hash"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// shortKey is how much of the PSK text the C and Java SDKs use as the HTTP key (4.2).
const shortKey = 24

// Signature holds the four X-TC headers of a signed request as received (4.2).
type Signature struct{ Algorithm, Timestamp, Nonce, Signature string }

// noClock is the timestamp of a C SDK that was built without the system time (4.4).
const noClock = 1609430400

// Sent is the timestamp: the time of sending by the device's clock or, with the C SDK, as learned from $sys. It is zero for
// what devices without a clock send, 0 or a constant (4.4). ErrInvalid if it is no number.
func (s Signature) Sent() (time.Time, error) {
	seconds, err := strconv.ParseInt(s.Timestamp, 10, 64)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%w: timestamp is no number of seconds", logbridge.ErrInvalid)
	case seconds == 0, seconds == noClock:
		return time.Time{}, nil
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// Keys are what a signature may be made with. The one that the algorithm does not use may be empty.
type Keys struct {
	// Secret is the PSK text, or the product secret's for registration: the text itself, not decoded, whole or its first
	// 24 characters (4.2).
	Secret string
	// Public is the key of the device's certificate.
	Public *rsa.PublicKey
}

// Verify checks the signature of a POST to path (4.3). hosts are the names it may have been signed for: the Host header and
// the configured canonical ones, since Java always signs Tencent's; a port is cut off. The algorithm is tried as spelt and in
// lower case; with hmacsha1 the body hash may be SHA-1, as the C SDK does it, or SHA-256, as documented, and the lines may stand
// in the order of the newest embedded SDK. ErrInvalid for an
// algorithm that there is not, ErrUnauthorized when nothing matches or the key for it is missing. Clock and replay are not
// looked at (4.4).
func (s Signature) Verify(keys Keys, hosts []string, path string, body []byte) error {
	sig, err := base64.StdEncoding.Strict().DecodeString(s.Signature)
	if err != nil || len(sig) == 0 {
		return fmt.Errorf("%w: signature is not base64", logbridge.ErrUnauthorized)
	}
	var check func(text string) bool
	hashes := []string{hexSum(sha256.New, body)}
	switch strings.ToLower(s.Algorithm) {
	case HMACSHA1:
		hashes = append(hashes, hexSum(sha1.New, body))
		check = hmacCheck(sha1.New, keys.Secret, sig)
	case HMACSHA256:
		check = hmacCheck(sha256.New, keys.Secret, sig)
	case RSASHA256:
		check = rsaCheck(keys.Public, sig)
	default:
		return fmt.Errorf("%w: signature algorithm is none of %s, %s, %s", logbridge.ErrInvalid, HMACSHA1, HMACSHA256, RSASHA256)
	}
	for _, host := range hosts {
		for _, algorithm := range spellings(s.Algorithm) {
			for _, bodyHash := range hashes {
				if check(stringToSign(withoutPort(host), path, algorithm, s.Timestamp, s.Nonce, bodyHash)) ||
					algorithm == HMACSHA1 && check(embeddedStringToSign(withoutPort(host), path, algorithm, s.Timestamp, s.Nonce, bodyHash)) {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("%w: signature does not match", logbridge.ErrUnauthorized)
}

// Sign makes the X-TC-Signature of an upload with HMACSHA256 or, hashing the body with SHA-1 as the C SDK does, HMACSHA1. The
// algorithm is signed as spelt; secret is the key as it is.
func Sign(secret, algorithm, host, path, timestamp, nonce string, body []byte) (string, error) {
	var sum func() hash.Hash
	switch strings.ToLower(algorithm) {
	case HMACSHA1:
		sum = sha1.New
	case HMACSHA256:
		sum = sha256.New
	default:
		return "", fmt.Errorf("%w: signature algorithm is neither %s nor %s", logbridge.ErrInvalid, HMACSHA1, HMACSHA256)
	}
	text := stringToSign(withoutPort(host), path, algorithm, timestamp, nonce, hexSum(sum, body))
	return base64.StdEncoding.EncodeToString(appendMAC(nil, sum, []byte(secret), text)), nil
}

// stringToSign is the eight lines of 4.3; the fourth is the query, which is empty.
func stringToSign(host, path, algorithm, timestamp, nonce, bodyHash string) string {
	return strings.Join([]string{"POST", host, path, "", algorithm, timestamp, nonce, bodyHash}, "\n")
}

// embeddedStringToSign is the order of the newest embedded SDK with hmacsha1: query and algorithm stand before the path (4.3).
func embeddedStringToSign(host, path, algorithm, timestamp, nonce, bodyHash string) string {
	return strings.Join([]string{"POST", host, "", algorithm, path, timestamp, nonce, bodyHash}, "\n")
}

func spellings(algorithm string) []string {
	if lower := strings.ToLower(algorithm); lower != algorithm {
		return []string{algorithm, lower}
	}
	return []string{algorithm}
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func hexSum(sum func() hash.Hash, body []byte) string {
	h := sum()
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func hmacCheck(sum func() hash.Hash, secret string, sig []byte) func(string) bool {
	keys := secretKeys(secret)
	return func(text string) bool {
		for _, key := range keys {
			if hmac.Equal(appendMAC(nil, sum, key, text), sig) {
				return true
			}
		}
		return false
	}
}

// secretKeys are the keys that a secret's text may stand for: none when it is empty, since anyone can sign with that.
func secretKeys(secret string) [][]byte {
	switch {
	case secret == "":
		return nil
	case len(secret) > shortKey:
		return [][]byte{[]byte(secret), []byte(secret[:shortKey])}
	}
	return [][]byte{[]byte(secret)}
}

func rsaCheck(public *rsa.PublicKey, sig []byte) func(string) bool {
	return func(text string) bool {
		if public == nil {
			return false
		}
		digest := sha256.Sum256([]byte(text))
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], sig) == nil
	}
}

// ParsePublicKey takes the RSA key from a device certificate in PEM, or from a bare public key. Only the key matters: the
// certificate was registered by an operator, so neither its dates nor its issuer are looked at.
func ParsePublicKey(certificatePEM string) (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(certificatePEM))
	if block == nil {
		return nil, fmt.Errorf("%w: certificate is not PEM", logbridge.ErrInvalid)
	}
	var key any
	switch block.Type {
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate: %w", logbridge.ErrInvalid, err)
		}
		key = certificate.PublicKey
	case "PUBLIC KEY":
		var err error
		if key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("%w: public key: %w", logbridge.ErrInvalid, err)
		}
	default:
		return nil, fmt.Errorf("%w: PEM block is neither a certificate nor a public key", logbridge.ErrInvalid)
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: certificate has no RSA key", logbridge.ErrInvalid)
	}
	return public, nil
}
