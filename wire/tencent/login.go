package tencent

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// The algorithms of passwords and signatures as SDKs spell them (2.2, 4.2).
const (
	HMACSHA1   = "hmacsha1"
	HMACSHA256 = "hmacsha256"
	RSASHA256  = "rsa-sha256"
)

// sdkAppID stands in the user name. SDKs send 12010126 or 21010406 and nothing depends on it (2.1).
const sdkAppID = "12010126"

// maxExpiryDigits is the longest expiry that an SDK sends, LONG_MAX (2.2).
const maxExpiryDigits = 19

// UserName is the MQTT user name <clientid>;<sdkappid>;<connid>;<expiry> (2.1). SDKs make connID from 5 random letters or
// digits. A zero expiry means never.
func UserName(id logbridge.DeviceID, connID string, expiry time.Time) string {
	until := int64(math.MaxInt64)
	if !expiry.IsZero() {
		until = expiry.Unix()
	}
	return ClientID(id) + ";" + sdkAppID + ";" + connID + ";" + strconv.FormatInt(until, 10)
}

// ParseUserName takes the client id and the expiry from a user name (2.1). The expiry is meant as Unix seconds; SDKs also
// send milliseconds and LONG_MAX, which are simply far ahead (2.2), and what 64 bits cannot hold is as far as they reach.
func ParseUserName(userName string) (clientID string, expiry int64, err error) {
	fields := strings.SplitN(userName, ";", 5)
	if len(fields) != 4 || fields[0] == "" {
		return "", 0, fmt.Errorf("%w: user name is not <clientid>;<sdkappid>;<connid>;<expiry>", logbridge.ErrInvalid)
	}
	n, err := strconv.ParseUint(fields[3], 10, 64)
	if err != nil || len(fields[3]) > maxExpiryDigits {
		return "", 0, fmt.Errorf("%w: expiry in user name is not a number of up to %d digits", logbridge.ErrInvalid, maxExpiryDigits)
	}
	return fields[0], int64(min(n, math.MaxInt64)), nil
}

// Password is the MQTT password (2.2): the HMAC over the exact bytes of the user name, its key the decoded PSK, in lower-case
// hex, then ";" and the algorithm, HMACSHA256 or HMACSHA1.
func Password(psk, userName, algorithm string) (string, error) {
	mac, err := loginMAC(psk, userName, algorithm)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(mac) + ";" + algorithm, nil
}

// VerifyPassword checks a login in key mode. The password must be Password of exactly this user name (SDKs cut the expiry
// short, so the name is never rebuilt from its parts, 2.2) and the expiry, if the password is right, ahead of now.
// ErrUnauthorized otherwise. That the user name names the connection's client id is for the caller to check.
func VerifyPassword(psk, userName, password string, now time.Time) error {
	_, expiry, err := ParseUserName(userName)
	if err != nil {
		return fmt.Errorf("%w: %w", logbridge.ErrUnauthorized, err)
	}
	token, algorithm, _ := strings.Cut(password, ";")
	want, err := loginMAC(psk, userName, algorithm)
	if err != nil {
		return fmt.Errorf("%w: %w", logbridge.ErrUnauthorized, err)
	}
	got, err := hex.DecodeString(token)
	if err != nil || !hmac.Equal(got, want) {
		return fmt.Errorf("%w: password does not match the user name", logbridge.ErrUnauthorized)
	}
	if expiry <= now.Unix() {
		return fmt.Errorf("%w: user name expired at %d", logbridge.ErrUnauthorized, expiry)
	}
	return nil
}

// VerifyCertificatePassword checks the login of a certificate device that cannot show its certificate, as the C SDK's WebSocket
// build sends it (2.1): hex(RSA-SHA256 of the user name) and ";rsa-sha256", checked with the registered certificate. The
// expiry must be ahead of now. ErrUnauthorized otherwise.
func VerifyCertificatePassword(certificatePEM, userName, password string, now time.Time) error {
	_, expiry, err := ParseUserName(userName)
	if err != nil {
		return fmt.Errorf("%w: %w", logbridge.ErrUnauthorized, err)
	}
	token, algorithm, _ := strings.Cut(password, ";")
	sig, err := hex.DecodeString(token)
	if err != nil || algorithm != RSASHA256 {
		return fmt.Errorf("%w: password is no RSA signature", logbridge.ErrUnauthorized)
	}
	public, err := ParsePublicKey(certificatePEM)
	if err != nil {
		return fmt.Errorf("%w: %w", logbridge.ErrUnauthorized, err)
	}
	if !rsaCheck(public, sig)(userName) {
		return fmt.Errorf("%w: password does not match the user name", logbridge.ErrUnauthorized)
	}
	if expiry <= now.Unix() {
		return fmt.Errorf("%w: user name expired at %d", logbridge.ErrUnauthorized, expiry)
	}
	return nil
}

func loginMAC(psk, userName, algorithm string) ([]byte, error) {
	var sum func() hash.Hash
	switch algorithm {
	case HMACSHA1:
		sum = sha1.New
	case HMACSHA256:
		sum = sha256.New
	default:
		return nil, fmt.Errorf("%w: password algorithm is neither %s nor %s", logbridge.ErrInvalid, HMACSHA256, HMACSHA1)
	}
	key, err := base64.StdEncoding.DecodeString(psk)
	if err != nil || len(key) == 0 { // an empty key would let anyone compute the password
		return nil, fmt.Errorf("%w: device secret is not base64 text", logbridge.ErrInvalid)
	}
	return appendMAC(nil, sum, key, userName), nil
}

func appendMAC(dst []byte, sum func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(sum, key)
	mac.Write([]byte(text))
	return mac.Sum(dst)
}
