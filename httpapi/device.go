package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The device surface (tencent-iot.md 4).
const (
	devicePrefix  = "/device"
	reportLogPath = "/device/reportlog"
	// maxDeviceBody: C posts at most 3000 bytes, Java its whole queue of up to 10 000 lines (tencent-iot.md 4.1).
	maxDeviceBody = 4 << 20
	// maxHeaderField bounds a signature header; an RSA signature of a 4096-bit key is 684 characters.
	maxHeaderField = 1024
)

// tencentGateways are the hosts that the SDKs sign whatever address they were told to use (tencent-iot.md 4, 4.3).
func tencentGateways() []string {
	return []string{
		"ap-guangzhou.gateway.tencentdevices.com",
		"us-east.gateway.tencentdevices.com",
		"europe.gateway.tencentdevices.com",
		"ap-bangkok.gateway.tencentdevices.com",
	}
}

// deviceCodes is the error table of the device surface. All go out with status 200: the C SDK takes 400, 401 and 500 for
// success and breaks for good at 403 and 404 (tencent-iot.md 4.5). A device that does not exist is answered like a wrong
// signature, so that nobody learns which exist.
var deviceCodes = map[reason]string{
	malformed:   "InvalidParameter",
	badValue:    "InvalidParameterValue",
	missing:     "MissingParameter",
	tooLarge:    "LimitExceeded",
	slow:        "InvalidRequest",
	overload:    "RequestLimitExceeded",
	badAuth:     "AuthFailure.SignatureFailure",
	unknownName: "AuthFailure.SignatureFailure",
	expired:     "AuthFailure.SignatureExpire",
	throttled:   "AuthFailure.SignatureFailure",
	registerOff: "UnsupportedOperation",
	notThere:    "ResourceNotFound",
	inUse:       "ResourceInUse",
	unsupported: "InvalidAction",
	badMethod:   "UnsupportedOperation",
	unanswered:  "InternalError", // the C SDK keeps the lines and sends them again
	internal:    "InternalError",
}

// mismatch is all that an unauthenticated sender is told.
const mismatch = "the signature does not match"

// isDevicePath takes the old protocols' paths too: a 404 would break those devices for good, wherever it stands
// (tencent-iot.md 5).
func isDevicePath(path string) bool {
	return under(path, devicePrefix) || under(path, framePrefix) || under(path, oldRegisterPrefix)
}

func (s *Server) routeDevice(e *echo.Echo) {
	e.POST(reportLogPath, s.uploads(s.storeReport))
	e.POST(framePath, s.uploads(s.storeFrame))
	e.POST(registerPath, s.register)
	e.POST(oldRegisterPath, s.registerOld)
}

// failDevice answers what no handler took.
func (s *Server) failDevice(c echo.Context, status int) {
	r := &refusal{reason: unsupported, err: errors.New("there is no such call; logs go to POST " + reportLogPath)}
	switch status {
	case http.StatusMethodNotAllowed:
		r = &refusal{reason: badMethod, err: errors.New("only POST is supported")}
	case http.StatusInternalServerError:
		r = &refusal{reason: internal, err: errPanic}
	}
	if c.Request().Method == http.MethodPost { // others bring no lines
		s.count(logbridge.SourceReportLog, r)
	}
	_ = s.answerDevice(c, r)
}

// answerDevice answers in the words of the path: success, or a refusal.
func (s *Server) answerDevice(c echo.Context, err error) error {
	id, r := sls.RequestID(), (*refusal)(nil)
	refused := errors.As(err, &r)
	switch path := c.Request().URL.Path; {
	case under(path, framePrefix):
		retcode := 0
		if refused {
			retcode = retcodeOf(r.reason)
		}
		return writeDevice(c, tencent.ReplyFrame(retcode, id))
	case !refused:
		return writeDevice(c, tencent.Reply(id))
	case under(path, oldRegisterPrefix):
		return writeDevice(c, tencent.ReplyOldRegisterError(r.tell(), id))
	}
	return writeDevice(c, tencent.ReplyError(deviceCodes[r.reason], r.tell(), id))
}

// tell is what a device is told of a refusal.
func (r *refusal) tell() string {
	switch r.reason {
	case badAuth, unknownName, throttled:
		return mismatch
	case internal:
		return "internal error"
	}
	return r.err.Error()
}

// writeDevice writes an answer in the one form that all SDKs understand: status 200, an exact Content-Length, at most
// 255 bytes, in one write, and then the connection is closed, since the C SDK waits a second for more if it is not
// (tencent-iot.md 4.5).
func writeDevice(c echo.Context, body []byte) error {
	h := c.Response().Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Connection", "close")
	c.Response().WriteHeader(http.StatusOK)
	_, writeErr := c.Response().Write(body)
	return writeErr
}

// uploads answers a device's upload, and counts it if store refuses it.
func (s *Server) uploads(store func(echo.Context) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := store(c)
		s.countDevice(err)
		return s.answerDevice(c, err)
	}
}

// countDevice counts what a device wanted in vain.
func (s *Server) countDevice(err error) {
	if r := (*refusal)(nil); errors.As(err, &r) {
		s.count(logbridge.SourceReportLog, r)
	}
}

// storeReport takes one upload; nil means that its lines are stored.
func (s *Server) storeReport(c echo.Context) error {
	received := time.Now()
	r := c.Request()
	body, err := s.readBody(c, maxDeviceBody)
	defer body.release()
	if err != nil {
		return refuse(kindOf(err), "", 0, err)
	}
	sig, err := signatureOf(r.Header)
	if err != nil {
		return err
	}
	upload, err := tencent.ParseUpload(body.b)
	if err != nil {
		return refuse(kindOf(err), "", 0, err)
	}
	stream, err := s.verifyUpload(r, sig, upload, body.b, received)
	if err != nil {
		return err
	}
	sent, _ := sig.Sent() // zero if it is no time
	return s.storeUpload(c, upload, stream, received, sent, "reportlog "+upload.Device.String()+" "+sig.Nonce+" "+sig.Signature)
}

// signatureOf reads the four X-TC headers (tencent-iot.md 4.2).
func signatureOf(h http.Header) (tencent.Signature, error) {
	fields := [4]string{}
	for i, name := range [4]string{"X-Tc-Algorithm", "X-Tc-Timestamp", "X-Tc-Nonce", "X-Tc-Signature"} {
		fields[i] = h.Get(name)
		switch {
		case fields[i] == "":
			return tencent.Signature{}, refuse(missing, "", 0, fmt.Errorf("header %s is missing", name))
		case len(fields[i]) > maxHeaderField:
			return tencent.Signature{}, refuse(badValue, "", 0, fmt.Errorf("header %s is too long", name))
		}
	}
	return tencent.Signature{Algorithm: fields[0], Timestamp: fields[1], Nonce: fields[2], Signature: fields[3]}, nil
}

// verifyUpload finds the device and checks the signature; it returns the device's stream. A device that does not exist is
// checked against a secret that nobody has, so that the answer takes as long.
func (s *Server) verifyUpload(r *http.Request, sig tencent.Signature, u tencent.Upload, body []byte, now time.Time) (logbridge.Stream, error) {
	if !s.mayTry(r, u.Device) {
		return "", refuse(throttled, "", len(u.Messages), errThrottled)
	}
	stream := logbridge.Stream("")
	keys := tencent.Keys{Secret: s.decoy}
	device, err := s.deps.Devices.Device(u.Device)
	switch {
	case err == nil:
		stream = u.Device.Stream()
		keys.Secret = device.PSK
		// Parsed each time: it takes a third of what checking an RSA signature takes.
		if device.Certificate != "" {
			keys.Public, err = tencent.ParsePublicKey(device.Certificate)
		}
		if err != nil {
			s.log.Warn("registered certificate", "device", u.Device, "error", err)
		}
	case !errors.Is(err, logbridge.ErrNotFound):
		return "", refuse(internal, "", len(u.Messages), err)
	}
	hosts := append([]string{r.Host}, s.cfg.DeviceHosts...)
	err = sig.Verify(keys, hosts, reportLogPath, body)
	switch {
	case errors.Is(err, logbridge.ErrInvalid):
		return "", refuse(badValue, stream, len(u.Messages), err)
	case stream == "":
		s.tried(r, u.Device, false)
		return "", refuse(unknownName, "", len(u.Messages), errors.New("no such device"))
	case err != nil:
		s.tried(r, u.Device, true)
		return "", refuse(badAuth, stream, len(u.Messages), err)
	}
	if err := s.checkSkew(sig, now); err != nil {
		return "", refuse(expired, stream, len(u.Messages), err)
	}
	return stream, nil
}

// checkSkew is off by default. Devices without a clock send 0 or a constant; they are always let through
// (tencent-iot.md 4.4).
func (s *Server) checkSkew(sig tencent.Signature, now time.Time) error {
	if s.cfg.DeviceSkew == 0 {
		return nil
	}
	sent, err := sig.Sent()
	if err == nil && (sent.IsZero() || now.Sub(sent).Abs() <= s.cfg.DeviceSkew) {
		return nil
	}
	return fmt.Errorf("the timestamp is more than %s from the server's time %d", s.cfg.DeviceSkew, now.Unix())
}

// storeUpload makes records of the lines, stores them and notes what they say about the level that the device follows. sent is the device's clock at
// sending, zero if it has none; replayKey is the same for an exact replay only.
func (s *Server) storeUpload(c echo.Context, u tencent.Upload, stream logbridge.Stream, received, sent time.Time, replayKey string) error {
	if len(u.Messages) == 0 {
		return nil
	}
	loc := s.deps.Products.Location(u.Device.Product)
	lines := make([]tencent.Line, len(u.Messages))
	for i, message := range u.Messages {
		lines[i] = tencent.ParseLine(message, loc)
	}
	batch := logbridge.Batch{
		Records:   tencent.Records(lines, logbridge.SourceReportLog, stream, received, sent),
		ReplayKey: replayKey,
	}
	if err := s.append(batch, stream); err != nil {
		return err
	}
	tencent.Observe(u.Device, lines, batch.Records, received, func(o logbridge.Observation) { s.deps.Observer.Observe(o) })
	return nil
}
