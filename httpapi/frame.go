package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The older upload of devices: a signed frame of text (tencent-iot.md 5).
const (
	framePrefix = "/cgi-bin"
	framePath   = "/cgi-bin/report-log"
	// The headers of a frame that is encrypted: how, and the client id of the device.
	headerEncryption = "X-TC-IotEncryptType"
	headerClientID   = "X-TC-IotCid"
)

// retcodeOf is the number that a frame is answered with. To the C SDKs all but 0 are the same; these read like HTTP.
func retcodeOf(r reason) int {
	switch r {
	case badAuth, unknownName, throttled, expired:
		return http.StatusUnauthorized
	case tooLarge:
		return http.StatusRequestEntityTooLarge
	case overload, unanswered:
		return http.StatusServiceUnavailable
	case internal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// storeFrame takes one frame; nil means that its lines are stored.
func (s *Server) storeFrame(c echo.Context) error {
	received := time.Now()
	r := c.Request()
	body, err := s.readBody(c, maxDeviceBody)
	defer body.release()
	if err != nil {
		return refuse(kindOf(err), "", 0, err)
	}
	plain, err := s.decrypted(r, body.b)
	if err != nil {
		return err
	}
	frame, err := tencent.ParseFrame(plain)
	if err != nil {
		return refuse(kindOf(err), "", 0, err)
	}
	lines, err := frame.Lines()
	if err != nil {
		return refuse(kindOf(err), "", 0, err)
	}
	stream, err := s.verifyFrame(r, frame, plain, len(lines))
	if err != nil {
		return err
	}
	clock := tencent.Signature{Timestamp: strconv.FormatInt(frame.Timestamp, 10)}
	if err := s.checkSkew(clock, received); err != nil {
		return refuse(expired, stream, len(lines), err)
	}
	sent, _ := clock.Sent() // a number is a time
	upload := tencent.Upload{Device: frame.Device, Messages: lines}
	return s.storeUpload(c, upload, stream, received, sent, "report-log "+frame.Device.String()+" "+tencent.FrameSignature(plain))
}

// secretOf is a device's key, or one that nobody has.
func (s *Server) secretOf(id logbridge.DeviceID) (secret string, known bool, err error) {
	device, err := s.deps.Devices.Device(id)
	switch {
	case errors.Is(err, logbridge.ErrNotFound), err == nil && device.PSK == "":
		return s.decoy, err == nil, nil
	case err != nil:
		return "", false, refuse(internal, "", 0, err)
	}
	return device.PSK, true, nil
}

// decrypted gives the frame of a body, which newer builds of the C SDK encrypt.
func (s *Server) decrypted(r *http.Request, body []byte) ([]byte, error) {
	if r.Header.Get(headerEncryption) == "" {
		return body, nil
	}
	id, err := tencent.ParseClientID(r.Header.Get(headerClientID))
	if err != nil {
		return nil, refuse(malformed, "", 0, err)
	}
	if !s.mayTry(r, id) {
		return nil, refuse(throttled, "", 0, errThrottled)
	}
	secret, known, err := s.secretOf(id)
	if err != nil {
		return nil, err
	}
	plain, err := tencent.DecryptFrame(body, secret)
	if err != nil {
		s.tried(r, id, known)
		return nil, refuse(badAuth, "", 0, err)
	}
	if frame, err := tencent.ParseFrame(plain); err != nil || frame.Device != id {
		s.tried(r, id, known)
		return nil, refuse(badAuth, "", 0, errors.New("the encrypted frame is not of the device that the header names"))
	}
	return plain, nil
}

// verifyFrame finds the device and checks the signature; it returns the device's stream. Frames of certificate devices are signed
// with something public and refused (tencent-iot.md 5).
func (s *Server) verifyFrame(r *http.Request, f tencent.Frame, body []byte, lines int) (logbridge.Stream, error) {
	if !s.mayTry(r, f.Device) {
		return "", refuse(throttled, "", lines, errThrottled)
	}
	secret, known, err := s.secretOf(f.Device)
	if err != nil {
		return "", err
	}
	err = tencent.VerifyFrame(body, secret)
	if known && err == nil {
		return f.Device.Stream(), nil
	}
	s.tried(r, f.Device, known)
	if !known {
		return "", refuse(unknownName, "", lines, errors.New("no such device"))
	}
	return "", refuse(badAuth, f.Device.Stream(), lines, err)
}
