package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
	"github.com/mochi-mqtt/server/v2/packets"
)

// authority signs certificates of devices and of the server.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	pair := a.issue("authority")
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue makes a certificate with a common name; the first one signs itself.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server is a broker's TLS configuration that takes certificates of the authority.
func (a *authority) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue("server")}, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.pool()}
}

// registered are the credentials of a test.
type registered map[logbridge.DeviceID]logbridge.Device

func (r registered) Device(id logbridge.DeviceID) (logbridge.Device, error) {
	if d, ok := r[id]; ok {
		return d, nil
	}
	return logbridge.Device{}, fmt.Errorf("%w: device %s", logbridge.ErrNotFound, id)
}

func pemOf(c tls.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
}

// TestCertificateLogin: a certificate is a login for the device that it is registered with, and for no other.
func TestCertificateLogin(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	pinned, named, stranger := a.issue("whoever"), a.issue("dev-by-name"), a.issue("stranger")
	devices := registered{
		dev1: {ID: dev1, Certificate: pemOf(pinned)},
		dev2: {ID: dev2, PSK: testPSK, CertificateSubject: "dev-by-name"},
	}
	dev3 := logbridge.DeviceID{Product: dev1.Product, Device: "dev_03"}
	devices[dev3] = logbridge.Device{ID: dev3, CertificateSubject: "CN=dev-by-name,O=Example"}
	b, err := New(Config{Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0", TLS: a.server()}, devices, newRecorder(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, b)
	none := func(pk *packets.Packet) { pk.Connect.PasswordFlag, pk.Connect.Password = false, nil }
	nobody := func(pk *packets.Packet) {
		none(pk)
		pk.Connect.UsernameFlag, pk.Connect.Username = false, nil
	}
	meaningless := func(pk *packets.Packet) { pk.Connect.Password = []byte("21010406") }
	foreign := func(pk *packets.Packet) {
		none(pk)
		pk.Connect.Username = []byte(tencent.UserName(dev2, "AbCdE", time.Time{}))
	}
	for _, row := range []struct {
		name  string
		shown *tls.Certificate
		id    logbridge.DeviceID
		edit  func(*packets.Packet)
		want  string
	}{
		{"fingerprint", &pinned, dev1, none, "certificate"},
		{"fingerprint, any password", &pinned, dev1, meaningless, "certificate"},
		{"fingerprint, no user name", &pinned, dev1, nobody, "certificate"},
		{"common name", &named, dev2, none, "certificate"},
		{"whole subject", &named, dev3, none, "certificate"},
		{"user name of another", &pinned, dev1, foreign, "malformed"},
		{"another device", &pinned, dev2, none, "wrong certificate"},
		{"another certificate", &stranger, dev1, none, "wrong certificate"},
		{"another certificate, right password", &stranger, dev2, nil, "accepted"},
		{"unknown device", &pinned, logbridge.DeviceID{Product: dev1.Product, Device: "other"}, none, "wrong certificate"},
		{"no certificate, no password", nil, dev1, none, "no password"},
		{"no certificate, right password", nil, dev2, nil, "accepted"},
		{"no certificate, password of a certificate device", nil, dev1, meaningless, "unknown"},
	} {
		for _, version := range []byte{3, 4, 5} {
			t.Run(fmt.Sprint(row.name, " v", version), func(t *testing.T) {
				before := b.Stats().Logins
				secure := &tls.Config{RootCAs: a.pool()}
				if row.shown != nil {
					secure.Certificates = []tls.Certificate{*row.shown}
				}
				raw, err := tls.Dial("tcp", b.TLSAddr().String(), secure)
				if err != nil {
					t.Fatal(err)
				}
				c := wrap(t, raw, version)
				edit := row.edit
				if edit == nil {
					edit = func(*packets.Packet) {}
				}
				ack := c.login(row.id, edit)
				want := byte(0)
				if row.want != "certificate" && row.want != "accepted" {
					want = map[byte]byte{3: 5, 4: 5, 5: packets.ErrNotAuthorized.Code}[version]
				}
				if got := counted(before, b.Stats().Logins); ack.ReasonCode != want || got != row.want {
					t.Errorf("CONNACK %#x, counted as %q; want %#x, %q", ack.ReasonCode, got, want, row.want)
				}
				if want == 0 {
					c.alive()
				} else {
					c.expectClosed()
				}
			})
		}
	}
	foreignCA := other.issue("dev-by-name")
	raw, err := tls.Dial("tcp", b.TLSAddr().String(), &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{foreignCA}})
	if err == nil { // TLS 1.3 tells the client with the first answer
		c := wrap(t, raw, 4)
		_, _ = c.Write(c.encode(connectPacket(t, dev2, 4)))
		c.expectClosed()
	}
	old, err := tls.Dial("tcp", b.TLSAddr().String(), &tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS11})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

// counted names the one counter that is higher than before.
func counted(before, after Logins) string {
	var names []string
	for name, n := range map[string][2]uint64{
		"accepted": {before.Accepted, after.Accepted}, "certificate": {before.AcceptedByCertificate, after.AcceptedByCertificate},
		"malformed": {before.Malformed, after.Malformed}, "no password": {before.NoPassword, after.NoPassword},
		"unknown": {before.UnknownDevice, after.UnknownDevice}, "wrong password": {before.WrongPassword, after.WrongPassword},
		"expired": {before.Expired, after.Expired}, "wrong certificate": {before.WrongCertificate, after.WrongCertificate},
		"throttled": {before.Throttled, after.Throttled},
	} {
		if n[1] != n[0] {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
