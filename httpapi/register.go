package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/sls"
	"github.com/logbridge/logbridge/wire/tencent"
)

// Dynamic registration: a device that knows its product's secret fetches its own key, once (tencent-iot.md 6). It is off unless the
// product allows it, and then for devices that an operator has registered and that never connected.
const (
	registerPath      = "/device/register"
	oldRegisterPrefix = "/register"
	oldRegisterPath   = "/register/dev"
	// maxRegisterBody: two names, and a certificate that some SDKs offer and nobody reads.
	maxRegisterBody = 32 << 10
)

// Attempts bounds how often a signature may be wrong. Both are called concurrently and do not block.
type Attempts interface {
	// Allowed says whether a request of this device from this address is to be looked at.
	Allowed(from netip.Addr, id logbridge.DeviceID) bool
	// Failed takes note of a wrong signature; known says that there is such a device.
	Failed(from netip.Addr, id logbridge.DeviceID, known bool)
}

// Registrations knows which devices have connected or sent logs since they were registered, restarts included.
type Registrations interface {
	EverConnected(id logbridge.DeviceID) bool
}

var errThrottled = errors.New("too many wrong signatures")

// mayTry says whether a request of a device is to be looked at.
func (s *Server) mayTry(r *http.Request, id logbridge.DeviceID) bool {
	return s.deps.Attempts == nil || s.deps.Attempts.Allowed(clientAddr(r), id)
}

// tried takes note of a wrong signature.
func (s *Server) tried(r *http.Request, id logbridge.DeviceID, known bool) {
	if s.deps.Attempts != nil {
		s.deps.Attempts.Failed(clientAddr(r), id, known)
	}
}

// key is what a registration gives out.
type key struct {
	payload string
	length  int
}

func (s *Server) register(c echo.Context) error {
	k, err := s.newRegistration(c)
	if err != nil {
		return s.refuseRegistration(c, err)
	}
	return writeDevice(c, tencent.ReplyRegister(k.payload, k.length, sls.RequestID()))
}

func (s *Server) registerOld(c echo.Context) error {
	k, err := s.oldRegistration(c)
	if err != nil {
		return s.refuseRegistration(c, err)
	}
	return writeDevice(c, tencent.ReplyOldRegister(k.payload, k.length, sls.RequestID()))
}

func (s *Server) refuseRegistration(c echo.Context, err error) error {
	s.countDevice(err)
	return s.answerDevice(c, err)
}

func (s *Server) newRegistration(c echo.Context) (k key, err error) {
	received := time.Now()
	r := c.Request()
	body, err := s.readBody(c, maxRegisterBody)
	defer body.release()
	if err != nil {
		return k, refuse(kindOf(err), "", 0, err)
	}
	sig, err := signatureOf(r.Header)
	if err != nil {
		return k, err
	}
	id, err := tencent.ParseRegister(body.b)
	if err != nil {
		return k, refuse(kindOf(err), "", 0, err)
	}
	if err := s.checkSkew(sig, received); err != nil { // signed, and so as good before as after
		return k, refuse(expired, "", 0, err)
	}
	hosts := append([]string{r.Host}, s.cfg.DeviceHosts...)
	return s.giveKey(r, id, func(secret string) error {
		return sig.Verify(tencent.Keys{Secret: secret}, hosts, registerPath, body.b)
	})
}

func (s *Server) oldRegistration(c echo.Context) (k key, err error) {
	body, err := s.readBody(c, maxRegisterBody)
	defer body.release()
	if err != nil {
		return k, refuse(kindOf(err), "", 0, err)
	}
	asked, err := tencent.ParseOldRegister(body.b)
	if err != nil {
		return k, refuse(kindOf(err), "", 0, err)
	}
	return s.giveKey(c.Request(), asked.Device, asked.Verify)
}

// giveKey decides about a registration. verify checks its signature with a product's secret. Who does not have that learns nothing,
// neither about the product nor about the device.
func (s *Server) giveKey(r *http.Request, id logbridge.DeviceID, verify func(secret string) error) (k key, err error) {
	if !s.mayTry(r, id) {
		return k, refuse(throttled, "", 0, errThrottled)
	}
	product, err := s.deps.Products.Product(id.Product)
	known := err == nil && product.Secret != ""
	secret := s.decoy
	switch {
	case known:
		secret = product.Secret
	case err != nil && !errors.Is(err, logbridge.ErrNotFound):
		return k, refuse(internal, "", 0, err)
	}
	err = verify(secret)
	switch {
	case errors.Is(err, logbridge.ErrInvalid):
		return k, refuse(badValue, "", 0, err)
	case !known:
		s.tried(r, id, false)
		return k, refuse(unknownName, "", 0, errors.New("no such product, or it has no secret"))
	case err != nil:
		_, missing := s.deps.Devices.Device(id)
		s.tried(r, id, missing == nil)
		return k, refuse(badAuth, "", 0, err)
	case !product.AllowRegister || s.deps.Registrations == nil:
		return k, refuse(registerOff, "", 0, fmt.Errorf("product %s does not let devices register", id.Product))
	}
	device, err := s.deps.Devices.Device(id)
	switch {
	case errors.Is(err, logbridge.ErrNotFound):
		return k, refuse(notThere, "", 0, fmt.Errorf("device %s is not registered", id.Device))
	case err != nil:
		return k, refuse(internal, "", 0, err)
	case s.deps.Registrations.EverConnected(id):
		return k, refuse(inUse, id.Stream(), 0, fmt.Errorf("device %s has connected before and has its key", id.Device))
	case device.PSK == "":
		return k, refuse(badValue, id.Stream(), 0, fmt.Errorf("device %s has a certificate, no key", id.Device))
	}
	k.payload, k.length, err = tencent.RegisterPayload(product.Secret, device.PSK)
	if err != nil {
		return key{}, refuse(internal, id.Stream(), 0, err)
	}
	s.log.Info("a device has fetched its key", "device", id.String(), "remote", r.RemoteAddr)
	return k, nil
}
