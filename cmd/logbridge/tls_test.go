package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge/wire/tencent"
)

// TestTLS: a device and a page reach the server over TLS, with --mqtts and --https.
func TestTLS(t *testing.T) {
	home := newPlace(t, e2eConfig)
	trusted := home.writeCertificate()
	home.args = append(home.args, "--mqtts", anyone, "--https", anyone,
		"--tls-cert", filepath.Join(home.dir, "tls.crt"), "--tls-key", filepath.Join(home.dir, "tls.key"))
	s := home.start(anyone, anyone)
	secure := &tls.Config{RootCAs: trusted}

	page := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: secure}}
	if err := track(page, "https://"+s.addr("https"), "over TLS"); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, s.records("source=sls"), "over TLS")

	d := &testDevice{t: t, id: device("dev_01")}
	user := tencent.UserName(d.id, "AbCdE", time.Now().Add(time.Hour))
	password, err := tencent.Password(e2ePSK, user, tencent.HMACSHA256)
	if err != nil {
		t.Fatal(err)
	}
	d.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + s.addr("mqtts")).SetTLSConfig(secure).SetAutoReconnect(false).
		SetClientID(tencent.ClientID(d.id)).SetUsername(user).SetPassword(password))
	d.done(d.client.Connect())
	t.Cleanup(func() { d.client.Disconnect(0) })
	d.report("INFby mqtts")
	wantBodies(t, s.records("source=mqtt"), "by mqtts")
}

// writeCertificate makes a certificate for 127.0.0.1 that lasts as long as the test and returns who trusts it.
func (p *place) writeCertificate() *x509.CertPool {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		p.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der},
		"tls.key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}
