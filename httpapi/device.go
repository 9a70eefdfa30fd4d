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
	unsupported: "InvalidAction",
	badMethod:   "UnsupportedOperation",
	unanswered:  "InternalError", // the C SDK keeps the lines and sends them again
	internal:    "InternalError",
}

// mismatch is all that an unauthenticated sender is told.
const mismatch = "the signature does not match"

// isDevicePath also takes the old protocol's /cgi-bin/report-log, which is not served: a 404 would break those devices for
// good, too (tencent-iot.md 5).
func isDevicePath(path string) bool { return under(path, devicePrefix) || under(path, "/cgi-bin") }

func (s *Server) routeDevice(e *echo.Echo) {
	e.POST(reportLogPath, s.reportLog)
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

// answerDevice writes the answer in the one form that all SDKs understand: status 200, an exact Content-Length, at most
// 255 bytes, in one write, and then the connection is closed, since the C SDK waits a second for more if it is not
// (tencent-iot.md 4.5).
func (s *Server) answerDevice(c echo.Context, err error) error {
	id := sls.RequestID()
	body := tencent.Reply(id)
	if r := (*refusal)(nil); errors.As(err, &r) {
		message := r.err.Error()
		switch r.reason {
		case badAuth, unknownName:
			message = mismatch
		case internal:
			message = "internal error"
		}
		body = tencent.ReplyError(deviceCodes[r.reason], message, id)
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Connection", "close")
	c.Response().WriteHeader(http.StatusOK)
	_, writeErr := c.Response().Write(body)
	return writeErr
}

func (s *Server) reportLog(c echo.Context) error {
	err := s.storeReport(c)
	if r := (*refusal)(nil); errors.As(err, &r) {
		s.count(logbridge.SourceReportLog, r)
	}
	return s.answerDevice(c, err)
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
	return s.storeUpload(c, sig, upload, stream, received)
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
		return "", refuse(unknownName, "", len(u.Messages), errors.New("no such device"))
	case err != nil:
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

// storeUpload makes records of the lines, stores them and notes what they say about the level that the device follows.
func (s *Server) storeUpload(c echo.Context, sig tencent.Signature, u tencent.Upload, stream logbridge.Stream, received time.Time) error {
	if len(u.Messages) == 0 {
		return nil
	}
	loc := s.deps.Products.Location(u.Device.Product)
	lines := make([]tencent.Line, len(u.Messages))
	for i, message := range u.Messages {
		lines[i] = tencent.ParseLine(message, loc)
	}
	sent, _ := sig.Sent() // zero if it is no time
	batch := logbridge.Batch{
		Records:   tencent.Records(lines, logbridge.SourceReportLog, stream, received, sent),
		ReplayKey: "reportlog " + u.Device.String() + " " + sig.Nonce + " " + sig.Signature,
	}
	if err := s.append(c.Request().Context(), batch, stream); err != nil {
		return err
	}
	tencent.Observe(u.Device, batch.Records, received, s.deps.Observer.Observe)
	return nil
}
