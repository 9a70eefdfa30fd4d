package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

// certificate makes a self-signed one.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestValidation(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	fill(t, r)
	id := device("x").ID
	must(t, r.PutDevice(ctx, logbridge.Device{ID: id, Certificate: certificate(t)}))
	putDevice := func(change func(*logbridge.Device)) func() error {
		d := device("x")
		change(&d)
		return func() error { return r.PutDevice(ctx, d) }
	}
	product := func(p logbridge.Product) func() error { return func() error { return r.PutProduct(ctx, p) } }
	project := func(p logbridge.SLSProject) func() error { return func() error { return r.PutSLSProject(ctx, p) } }
	topic := func(id string, origins ...string) func() error {
		return func() error { return r.PutCLSTopic(ctx, logbridge.CLSTopic{ID: id, Origins: origins}) }
	}
	for name, put := range map[string]func() error{
		"product id":       product(logbridge.Product{ID: "short"}),
		"product secret":   product(logbridge.Product{ID: "AAAAAAAAAA", Secret: "tooshort"}),
		"time zone":        product(logbridge.Product{ID: "AAAAAAAAAA", TimeZone: "Asia/Nowhere"}),
		"local zone":       product(logbridge.Product{ID: "AAAAAAAAAA", TimeZone: "Local"}),
		"device name":      putDevice(func(d *logbridge.Device) { d.ID.Device = "a/b" }),
		"no psk":           putDevice(func(d *logbridge.Device) { d.PSK = "" }),
		"psk not base64":   putDevice(func(d *logbridge.Device) { d.PSK = "?" }),
		"psk with newline": putDevice(func(d *logbridge.Device) { d.PSK = psk + "\n" }),
		"psk too long":     putDevice(func(d *logbridge.Device) { d.PSK = strings.Repeat("AAAA", 17) }),
		"certificate":      putDevice(func(d *logbridge.Device) { d.Certificate = "x" }),
		"broken certificate": putDevice(func(d *logbridge.Device) {
			d.Certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		}),
		"tag key":     putDevice(func(d *logbridge.Device) { d.Tags = map[string]string{"": "x"} }),
		"tag value":   putDevice(func(d *logbridge.Device) { d.Tags = map[string]string{"a": "x\ny"} }),
		"project":     project(logbridge.SLSProject{Name: "x"}),
		"host port":   project(logbridge.SLSProject{Name: "proj", Hosts: []string{"a.example.com:80"}}),
		"host url":    project(logbridge.SLSProject{Name: "proj", Hosts: []string{"https://a.example.com"}}),
		"topic":       topic("a/b"),
		"origin path": topic("topic", "https://a.example.com/"),
		"origin word": topic("topic", "example.com"),
		"key id": func() error {
			return r.PutAccessKey(ctx, logbridge.AccessKey{Project: "myproj", ID: "a b", Secret: "x"})
		},
		"topic key id":     func() error { return r.PutTopicKey(ctx, logbridge.TopicKey{Topic: "topic", ID: "a&b", Secret: "x"}) },
		"topic key secret": func() error { return r.PutTopicKey(ctx, logbridge.TopicKey{Topic: "topic", ID: "ab"}) },
		"key secret":       func() error { return r.PutAccessKey(ctx, logbridge.AccessKey{Project: "myproj", ID: "ab"}) },
	} {
		wantKind(t, name, put(), logbridge.ErrInvalid)
	}
	wantKind(t, "certificate too large", putDevice(func(d *logbridge.Device) { d.Certificate = strings.Repeat("x", maxCertificate+1) })(), logbridge.ErrTooLarge)
	must(t, topic("topic", "*", "null", "https://a.example.com:8443")())
}

func TestErrorsDoNotTellSecrets(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	for _, err := range []error{
		r.PutProduct(t.Context(), logbridge.Product{ID: product, Secret: "hush\x00hush"}),
		r.PutDevice(t.Context(), logbridge.Device{ID: device("d").ID, PSK: "hush!"}),
		r.PutAccessKey(t.Context(), logbridge.AccessKey{Project: "proj", ID: "id", Secret: "hush hush"}),
		r.PutTopicKey(t.Context(), logbridge.TopicKey{Topic: "topic", ID: "id", Secret: "hush hush"}),
	} {
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v", err)
		}
	}
}
