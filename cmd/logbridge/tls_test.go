package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/logbridge/logbridge/wire/tencent"
)

// TestTLS: a device and a page reach the server over TLS, with --mqtts and --https.
func TestTLS(t *testing.T) {
	home := newPlace(t, e2eConfig)
	ca := home.authority("ca")
	ca.issue("tls", time.Hour)
	home.args = append(home.args, home.tlsArgs()...)
	s := home.start(anyone, anyone)
	secure := &tls.Config{RootCAs: ca.pool()}

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

// issuer is an authority of the test, and where its files are.
type issuer struct {
	place *place
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

// authority makes an authority and writes its certificate to <name>.crt.
func (p *place) authority(name string) *issuer {
	p.t.Helper()
	a := &issuer{place: p}
	a.issue(name, time.Hour)
	return a
}

// issue makes <name>.crt and <name>.key, for 127.0.0.1 and with this common name; the first one signs itself.
func (a *issuer) issue(name string, lasts time.Duration) *x509.Certificate {
	t := a.place.t
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts), IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.place.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.place.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		a.cert, a.key = made, key
	}
	return made
}

func (a *issuer) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// pair loads <name>.crt and <name>.key.
func (p *place) pair(name string) tls.Certificate {
	p.t.Helper()
	pair, err := tls.LoadX509KeyPair(p.file(name+".crt"), p.file(name+".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	return pair
}

func (p *place) file(name string) string { return filepath.Join(p.dir, name) }

func (p *place) write(name string, text []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.file(name), text, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// tlsArgs make the server speak TLS with tls.crt and take certificates of ca.crt.
func (p *place) tlsArgs() []string {
	return []string{"--mqtts", anyone, "--https", anyone, "--tls-cert", p.file("tls.crt"), "--tls-key", p.file("tls.key"), "--tls-client-ca", p.file("ca.crt")}
}

// TestClientCertificates: the stock MQTT tools log in with a certificate and no password, bound by fingerprint or by subject, over
// TLS 1.2 and 1.3; and with nothing that proves who they are they do not.
func TestClientCertificates(t *testing.T) {
	pub, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Skip("SKIPPED: mosquitto_pub is not installed (Debian: mosquitto-clients); logins by certificate are not tried")
	}
	home := newPlace(t, e2eConfig)
	ca, others := home.authority("ca"), home.authority("other-ca")
	ca.issue("tls", time.Hour)
	ca.issue("pinned", time.Hour)
	ca.issue("dev_10", time.Hour)
	others.issue("stranger", time.Hour)
	home.args = append(home.args, home.tlsArgs()...)
	s := home.start(anyone, anyone)
	s.run("device", "add", "ABCDE12345/dev_09", "--cert", home.file("pinned.crt"))
	s.run("device", "add", "ABCDE12345/dev_10", "--cert-subject", "dev_10")

	_, port, err := net.SplitHostPort(s.addr("mqtts"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(name, certificate, version, text string, more ...string) (string, error) {
		id := device(name)
		args := append([]string{"-h", "127.0.0.1", "-p", port, "--cafile", home.file("ca.crt"), "-q", "1", "--tls-version", version,
			"-i", tencent.ClientID(id), "-t", tencent.ReportTopic(id), "-m", text}, more...)
		if certificate != "" {
			args = append(args, "--cert", home.file(certificate+".crt"), "--key", home.file(certificate+".key"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, pub, args...).CombinedOutput()
		return string(out), err
	}
	var want []string
	for _, version := range []string{"tlsv1.2", "tlsv1.3"} {
		for _, mqtt := range []string{"311", "5"} {
			for _, who := range [][2]string{{"dev_09", "pinned"}, {"dev_10", "dev_10"}} {
				text := "INF" + version + " " + mqtt + " " + who[0]
				if out, err := say(who[0], who[1], version, text, "-V", mqtt); err != nil {
					t.Errorf("%s %s %s: %v: %s", who[0], version, mqtt, err, out)
				}
				want = append(want, text[3:])
			}
		}
	}
	for _, row := range [][2]string{{"dev_09", ""}, {"dev_09", "dev_10"}, {"dev_10", "pinned"}, {"dev_10", "stranger"}, {"dev_99", "pinned"}} {
		if out, err := say(row[0], row[1], "tlsv1.3", "INFforged"); err == nil {
			t.Errorf("%s got in with the certificate of %q: %s", row[0], row[1], out)
		}
	}
	wantBodies(t, s.records("source=mqtt"), want...)
	if text := s.metrics(); !strings.Contains(text, `logbridge_mqtt_connects_total{result="accepted_by_certificate"} 8`) ||
		!strings.Contains(text, `logbridge_mqtt_connects_total{result="wrong_certificate"} 3`) ||
		!strings.Contains(text, `logbridge_mqtt_connects_total{result="no_password"} 1`) {
		t.Error(regexp.MustCompile(`(?m)^logbridge_mqtt_connects.*$`).FindAllString(text, -1))
	}
}

// TestCertificatesReload: new files are used at the next handshake, broken ones are not, and an authority that is taken away
// lets nobody in any more, resumed sessions included.
func TestCertificatesReload(t *testing.T) {
	home := newPlace(t, e2eConfig)
	ca := home.authority("ca")
	first := ca.issue("tls", time.Hour)
	ca.issue("dev_10", time.Hour)
	var out lockedBuffer
	files, err := loadCertificates(Config{TLSCert: home.file("tls.crt"), TLSKey: home.file("tls.key"), TLSClientCA: home.file("ca.crt")},
		slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	files.now = func() time.Time { return now }
	listener, err := tls.Listen("tcp", anyone, files.config())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go greetAll(listener)
	pair := home.pair("dev_10")
	client := &tls.Config{RootCAs: ca.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(8),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }} // whatever the server asks for
	shown := func() (*x509.Certificate, error) {
		now = now.Add(2 * certificateCheck)
		c, err := tls.Dial("tcp", listener.Addr().String(), client)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		_, err = io.ReadFull(c, make([]byte, 2)) // with TLS 1.3 the server's verdict comes only now
		return c.ConnectionState().PeerCertificates[0], err
	}
	expect := func(want *x509.Certificate, saying string) {
		t.Helper()
		got, err := shown()
		if err != nil || !got.Equal(want) {
			t.Fatalf("another certificate was shown, or none: %v", err)
		}
		if !strings.Contains(out.String(), saying) {
			t.Errorf("the log does not say %q:\n%s", saying, out.String())
		}
	}
	expect(first, "")
	second := ca.issue("tls", 2*time.Hour)
	expect(second, "certificates read again")
	home.write("tls.crt", []byte("garbage"))
	expect(second, "the earlier ones stay")
	third := ca.issue("tls", 3*time.Hour)
	expect(third, "")
	ca.issue("key-of-another", time.Hour)
	home.copyFileTo("key-of-another.key", "tls.key")
	expect(third, "")
	fourth := ca.issue("tls", 4*time.Hour)
	expect(fourth, "")
	if used, failed := files.reloads.Load(), files.failures.Load(); used != 3 || failed != 2 {
		t.Errorf("%d reloads, %d failures", used, failed)
	}
	home.write("ca.crt", []byte("no certificate"))
	expect(fourth, "there is no PEM certificate")
	home.authority("other")
	home.copyFileTo("other.crt", "ca.crt")
	if _, err := shown(); err == nil {
		t.Error("a certificate of an authority that was taken away gets in")
	}
}

// greetAll says two bytes to whoever completes the handshake.
func greetAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = c.Write([]byte("hi"))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
	}
}

// copyFileTo copies a file of the folder over another.
func (p *place) copyFileTo(from, to string) {
	p.t.Helper()
	b, err := os.ReadFile(p.file(from))
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(to, b)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
