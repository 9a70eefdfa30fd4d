package broker

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strings"
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
	loginWrongCertificate
	loginThrottled
	loginCertificate // accepted by certificate
	loginResults     // how many there are
)

func (r loginResult) String() string {
	return [...]string{"accepted", "malformed name", "no password", "unknown device", "wrong password", "expired", "certificate of another", "too many failures", "accepted by certificate"}[r]
}

// nobodysPSK stands in for the secret of a device that does not exist or has none, so that its refusal costs what a wrong
// password costs and nobody can find out which devices there are. It is base64 of 16 bytes, as the console makes them.
const nobodysPSK = "AAAAAAAAAAAAAAAAAAAAAA=="

// login decides about a CONNECT and takes note of one that fails.
func (b *Broker) login(c *conn, pk *packets.Packet, now time.Time) (logbridge.DeviceID, loginResult) {
	id, err := tencent.ParseClientID(pk.Connect.ClientIdentifier)
	if err != nil || pk.Properties.AuthenticationMethod != "" {
		b.failed(c, id, false)
		return id, loginMalformed
	}
	device, err := b.creds.Device(id)
	known := err == nil
	certificate := c.certificate()
	if known && certificate != nil && names(certificate, device) && userNames(pk, true) {
		return id, loginCertificate
	}
	if b.cfg.Attempts != nil && !b.cfg.Attempts.Allowed(c.address(), id) {
		return id, loginThrottled
	}
	result := checkPassword(pk, device, known, now)
	if result == loginNoPassword && certificate != nil {
		result = loginWrongCertificate
	}
	if result != loginAccepted {
		b.failed(c, id, known)
	}
	return id, result
}

func (b *Broker) failed(c *conn, id logbridge.DeviceID, known bool) {
	if b.cfg.Attempts != nil {
		b.cfg.Attempts.Failed(c.address(), id, known)
	}
}

// userNames says whether the user name names the same device as the client id. One that is missing does if it may.
func userNames(pk *packets.Packet, mayMiss bool) bool {
	if len(pk.Connect.Username) == 0 {
		return mayMiss
	}
	clientID, _, err := tencent.ParseUserName(string(pk.Connect.Username))
	return err == nil && clientID == pk.Connect.ClientIdentifier
}

// checkPassword decides about a login without a certificate (tencent-iot.md 2.1, 2.2): client id and user name must name the
// same device, and the password must be the HMAC of the user name exactly as it was sent, or of a certificate device its
// signature. A password that is missing proves nothing and is refused (2.3).
func checkPassword(pk *packets.Packet, device logbridge.Device, known bool, now time.Time) loginResult {
	userName, password := string(pk.Connect.Username), string(pk.Connect.Password)
	switch {
	case !userNames(pk, password == ""):
		return loginMalformed
	case password == "":
		return loginNoPassword
	}
	_, expiry, _ := tencent.ParseUserName(userName) // userNames has read it
	var err error
	if known && device.Certificate != "" && strings.HasSuffix(password, ";"+tencent.RSASHA256) {
		err = tencent.VerifyCertificatePassword(device.Certificate, userName, password, now)
	} else {
		psk := device.PSK
		known = known && psk != ""
		if !known {
			psk = nobodysPSK
		}
		err = tencent.VerifyPassword(psk, userName, password, now)
	}
	switch {
	case !known:
		return loginUnknownDevice
	case err != nil && expiry <= now.Unix():
		return loginExpired
	case err != nil:
		return loginWrongPassword
	}
	return loginAccepted
}

// names says whether a certificate that TLS has verified is the device's: the registered one, by its SHA-256 fingerprint, or
// one with the registered subject, which is a common name or a whole distinguished name.
func names(shown *x509.Certificate, device logbridge.Device) bool {
	if block, _ := pem.Decode([]byte(device.Certificate)); block != nil && sha256.Sum256(block.Bytes) == sha256.Sum256(shown.Raw) {
		return true
	}
	subject := device.CertificateSubject
	return subject != "" && (subject == shown.Subject.CommonName || subject == shown.Subject.String())
}

// refusedLogPause keeps a fleet with wrong keys from filling the log; the counters have every refusal.
const refusedLogPause = time.Second

// noteLogin counts a login and, not too often, logs a refused one. It never logs what was sent as user name or password.
func (b *Broker) noteLogin(result loginResult, id logbridge.DeviceID, remote string, now time.Time) {
	b.counters.logins[result].Add(1)
	if result == loginAccepted || result == loginCertificate {
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
