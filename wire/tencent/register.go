package tencent

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// encryptionPSK says in a registration's payload that the device logs in with a key, not with a certificate (6).
const encryptionPSK = 2

// ParseRegister reads the body of POST /device/register (6): a JSON object with ProductId and DeviceName, in which other
// members are ignored. ErrInvalid when it is none or the names are none.
func ParseRegister(body []byte) (id logbridge.DeviceID, err error) {
	s := loose.NewScanner(loose.Repair(body))
	for s.Enter('{'); s.Next(); {
		switch s.Key() {
		case "ProductId":
			id.Product = s.Text()
		case "DeviceName":
			id.Device = s.Text()
		default:
			s.Raw()
		}
	}
	return id, registerFault(&s, id)
}

// RegisterPayload is what a registered device gets (6): base64 of its key in JSON, encrypted with the product secret, and the
// length of the JSON.
func RegisterPayload(productSecret, psk string) (payload string, length int, err error) {
	plain := fmt.Appendf(nil, `{"encryptionType":%d,"psk":`, encryptionPSK)
	plain = append(loose.AppendString(plain, psk), '}')
	sealed, err := seal(productSecret, plain)
	return base64.StdEncoding.EncodeToString(sealed), len(plain), err
}

// ReplyRegister is the answer to a registration that succeeded; with a PSK of at most 64 characters it stays within
// MaxReply. One that failed is answered by ReplyError.
func ReplyRegister(payload string, length int, requestID string) []byte {
	reply := append(strconv.AppendInt([]byte(`{"Response":{"Len":`), int64(length), 10), `,"Payload":`...)
	reply = append(loose.AppendString(reply, payload), `,"RequestId":`...)
	return append(loose.AppendString(reply, fit(requestID, maxReplyField)), `}}`...)
}

// OldRegister is the body of POST /register/dev, the older way to register (6).
type OldRegister struct {
	Device           logbridge.DeviceID
	Nonce, Timestamp string
	Signature        string
}

// ParseOldRegister reads it; nonce and timestamp may be numbers or strings.
func ParseOldRegister(body []byte) (r OldRegister, err error) {
	s := loose.NewScanner(loose.Repair(body))
	for s.Enter('{'); s.Next(); {
		switch s.Key() {
		case "productId":
			r.Device.Product = s.Text()
		case "deviceName":
			r.Device.Device = s.Text()
		case "nonce":
			r.Nonce = s.Text()
		case "timestamp":
			r.Timestamp = s.Text()
		case "signature":
			r.Signature = s.Text()
		default:
			s.Raw()
		}
	}
	return r, registerFault(&s, r.Device)
}

func registerFault(s *loose.Scanner, id logbridge.DeviceID) error {
	if err := s.End(); err != nil {
		return fmt.Errorf("register: %w: %w", logbridge.ErrInvalid, err)
	}
	if err := id.Validate(); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

// Verify checks the signature: base64 of the hexadecimal text of an HMAC-SHA1 over the four fields (6). ErrUnauthorized when it
// does not match or there is no secret.
func (r OldRegister) Verify(productSecret string) error {
	if productSecret == "" || !hmac.Equal([]byte(r.Signature), []byte(r.sign(productSecret))) {
		return fmt.Errorf("%w: signature does not match", logbridge.ErrUnauthorized)
	}
	return nil
}

// Sign sets the signature: the client's side, for tests.
func (r *OldRegister) Sign(productSecret string) { r.Signature = r.sign(productSecret) }

func (r OldRegister) sign(secret string) string {
	text := "deviceName=" + r.Device.Device + "&nonce=" + r.Nonce + "&productId=" + r.Device.Product + "&timestamp=" + r.Timestamp
	mac := appendMAC(nil, sha1.New, []byte(secret), text)
	return base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(mac)))
}

// The code of a refused older registration is what the real gateway answers to a wrong signature (6); others are not known.
const (
	oldRegisterOK      = 0
	oldRegisterRefused = 1010
)

// ReplyOldRegister is the answer to an older registration that succeeded.
func ReplyOldRegister(payload string, length int, requestID string) []byte {
	reply := fmt.Appendf(nil, `{"code":%d,"message":"","len":%d,"payload":`, oldRegisterOK, length)
	reply = append(loose.AppendString(reply, payload), `,"requestId":`...)
	return append(loose.AppendString(reply, fit(requestID, maxReplyField)), '}')
}

// ReplyOldRegisterError is the answer to one that failed; the message is cut to fit.
func ReplyOldRegisterError(message, requestID string) []byte {
	reply := fmt.Appendf(nil, `{"code":%d,"message":`, oldRegisterRefused)
	end := append(loose.AppendString([]byte(`,"requestId":`), fit(requestID, maxReplyField)), '}')
	reply = loose.AppendString(reply, fit(message, MaxReply-len(reply)-len(`""`)-len(end)))
	return append(reply, end...)
}

// ReplyFrame is the answer to a frame (5): Retcode 0 is stored, anything else is a failure. Something stands behind the number,
// since the newest C SDK cuts off the last byte of an answer before it reads it.
func ReplyFrame(retcode int, requestID string) []byte {
	reply := fmt.Appendf(nil, `{"Retcode":%d,"RequestId":`, retcode)
	return append(loose.AppendString(reply, fit(requestID, maxReplyField)), '}')
}
