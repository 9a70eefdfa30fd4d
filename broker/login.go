package broker

import (
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// loginResult is what came of a CONNECT.
type loginResult uint8

const (
	loginAccepted loginResult = iota
	loginMalformed
	loginNoPassword
	loginUnknownDevice
	loginWrongPassword
	loginExpired
	loginResults // how many there are
)

func (r loginResult) String() string {
	return [...]string{"accepted", "malformed name", "no password", "unknown device", "wrong password", "expired"}[r]
}

// nobodysPSK stands in for the secret of a device that does not exist or has none, so that its refusal costs what a wrong
// password costs and nobody can find out which devices there are. It is base64 of 16 bytes, as the console makes them.
const nobodysPSK = "AAAAAAAAAAAAAAAAAAAAAA=="

// login decides about a CONNECT (tencent-iot.md 2.1, 2.2): client id and user name must name the same device, and the
// password must be the HMAC of the user name exactly as it was sent. A password that is missing proves nothing and is
// refused (2.3).
func (b *Broker) login(pk *packets.Packet, now time.Time) (logbridge.DeviceID, loginResult) {
	id, err := tencent.ParseClientID(pk.Connect.ClientIdentifier)
	if err != nil {
		return id, loginMalformed
	}
	userName := string(pk.Connect.Username)
	clientID, expiry, err := tencent.ParseUserName(userName)
	if err != nil || clientID != pk.Connect.ClientIdentifier || pk.Properties.AuthenticationMethod != "" {
		return id, loginMalformed
	}
	if len(pk.Connect.Password) == 0 {
		return id, loginNoPassword
	}
	device, err := b.creds.Device(id)
	known := err == nil && device.PSK != ""
	psk := device.PSK
	if !known {
		psk = nobodysPSK
	}
	err = tencent.VerifyPassword(psk, userName, string(pk.Connect.Password), now)
	switch {
	case !known:
		return id, loginUnknownDevice
	case err != nil && expiry <= now.Unix():
		return id, loginExpired
	case err != nil:
		return id, loginWrongPassword
	}
	return id, loginAccepted
}

// refusedLogPause keeps a fleet with wrong keys from filling the log; the counters have every refusal.
const refusedLogPause = time.Second

// noteLogin counts a login and, not too often, logs a refused one. It never logs what was sent as user name or password.
func (b *Broker) noteLogin(result loginResult, id logbridge.DeviceID, remote string, now time.Time) {
	b.counters.logins[result].Add(1)
	if result == loginAccepted {
		return
	}
	last := b.counters.refusedLogged.Load()
	pause := time.Duration(now.UnixNano() - last) // negative when the clock was set back: then nothing is held back
	if pause >= 0 && pause < refusedLogPause || !b.counters.refusedLogged.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	b.log.Info("mqtt: login refused", "device", id.String(), "reason", result.String(), "remote", remote,
		"refused", b.counters.refused())
}
