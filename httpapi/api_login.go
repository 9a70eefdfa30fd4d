package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// defaultLogin is how long a login is good when it is not said: long enough for a day's work at a device's place.
const defaultLogin = 24 * time.Hour

type loginDevice struct {
	Product string `path:"product"`
	Device  string `path:"device"`
	Body    *struct {
		For string `json:"for,omitempty" doc:"how long the login is good, a duration such as 24h (the default), at least 1s" example:"24h"`
	}
}

// deviceLogin is what a device sends to log in by MQTT.
type deviceLogin struct {
	ClientID  string    `json:"client_id"`
	UserName  string    `json:"user_name"`
	Password  string    `json:"password"`
	MQTTPort  int       `json:"mqtt_port,omitempty" doc:"the broker's port"`
	ExpiresAt time.Time `json:"expires_at" doc:"when the broker takes it no more; a connection that is open then stays open"`
}

func (a *api) logins() {
	call(a, logbridge.RoleAdmin, http.MethodPost, "/products/{product}/devices/{device}/login", "login-device",
		"Make an MQTT login that takes a device's place", a.loginDevice)
}

// loginDevice makes user name and password as the device would (tencent-iot.md 2.2). It is for administrators: who has
// the answer is the device.
func (a *api) loginDevice(ctx context.Context, in *loginDevice) (*answer[deviceLogin], error) {
	d, err := a.deps.Devices.Device(logbridge.DeviceID{Product: in.Product, Device: in.Device})
	if err != nil {
		return nil, err
	}
	if d.PSK == "" {
		return nil, fmt.Errorf("%w: device %s has no psk", logbridge.ErrInvalid, d.ID)
	}
	good := defaultLogin
	if in.Body != nil && in.Body.For != "" {
		if good, err = time.ParseDuration(in.Body.For); err != nil || good < time.Second {
			return nil, fmt.Errorf("%w: for %q is not a duration of at least 1s", logbridge.ErrInvalid, clip(in.Body.For))
		}
	}
	expires := time.Now().Add(good).Truncate(time.Second)
	user := tencent.UserName(d.ID, connID(), expires)
	password, err := tencent.Password(d.PSK, user, tencent.HMACSHA256)
	if err != nil {
		return nil, err
	}
	changed(ctx, nil, map[string]any{"user_name": user, "expires_at": expires.UTC()})
	return &answer[deviceLogin]{deviceLogin{tencent.ClientID(d.ID), user, password, a.cfg.MQTTPort, expires.UTC()}}, nil
}

// connID is the random part of a user name, five letters or digits (tencent-iot.md 2.1).
func connID() string { return rand.Text()[:5] }
