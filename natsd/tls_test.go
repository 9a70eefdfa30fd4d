package natsd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The key of a user as nk makes them, and the name that goes with it.
const (
	userSeed = "SUANGESD45GHZTBOPECOPO7SXUFGX7KKK67745WIUJ45DU4O7KVYHOOHBI"
	userKey  = "UDWBNBYL2TYKYSEYZIXKKP4KXUNE6LFQGQP4BKZF7QYPNMK3LTGRWPLM"
)

// authority signs certificates into a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes name.crt and name.key; the first that it makes is the authority's own.
func (a *authority) sign(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: a.cert == nil, BasicConstraintsValid: true}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(a.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a.cert == nil {
		a.cert, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		a.key = key
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// serve starts an outside server with JetStream in this process.
func serve(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.JetStream, o.StoreDir, o.SyncAlways, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir(), true, true, true
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(startTimeout) {
		t.Fatal("the server does not start")
	}
	return srv
}

// TestTLSAndNKey: a server that wants certificates of its own authority and a key of the user gets both, and nobody with less comes in.
func TestTLSAndNKey(t *testing.T) {
	a := &authority{dir: t.TempDir()}
	for _, name := range []string{"ca", "server", "client"} {
		a.sign(t, name)
	}
	if err := os.WriteFile(a.file("user.nk"), []byte(userSeed), 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.file("server.crt"), a.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(a.cert)
	srv := serve(t, &server.Options{TLS: true, TLSVerify: true, TLSTimeout: 10, Nkeys: []*server.NkeyUser{{Nkey: userKey}},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: authorities, ClientAuth: tls.RequireAndVerifyClientCert}})
	all := Config{URL: "tls://" + srv.Addr().String(), SyncAlways: true, Replicas: 1, NKey: a.file("user.nk"),
		CA: a.file("ca.crt"), Cert: a.file("client.crt"), Key: a.file("client.key")}
	n := startWith(t, all)
	if _, err := n.Bucket(t.Context(), "b"); err != nil || !n.Conn().TLSRequired() {
		t.Errorf("%v, TLS %v", err, n.Conn().TLSRequired())
	}
	over, cancel := context.WithCancel(t.Context()) // one try each: what a server says to who has no certificate may be lost with the connection
	cancel()
	for name, tt := range map[string]struct {
		less func(*Config)
		want string
	}{
		"no key":         {func(c *Config) { c.NKey = "" }, "Authorization Violation"},
		"no authority":   {func(c *Config) { c.CA = "" }, "unknown authority"},
		"no certificate": {func(c *Config) { c.Cert, c.Key = "", "" }, "tls"},
	} {
		less := all
		tt.less(&less)
		_, err := Connect(over, less, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}
