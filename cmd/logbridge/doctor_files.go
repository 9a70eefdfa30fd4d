package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logbridge/logbridge/registry"
)

// expirySoon is when a certificate should be renewed at the latest; the usual issuers of short ones renew at 30 days.
const expirySoon = 21 * 24 * time.Hour

// files checks what serve reads: certificates, the seal key, the administrator's token.
func (e *examination) files() {
	e.certificates()
	e.sealKey()
	e.token()
}

func (e *examination) certificates() {
	const check = "TLS"
	if e.cfg.MQTTS == "" && e.cfg.HTTPS == "" {
		e.skip(check, "neither --mqtts nor --https is set")
		return
	}
	if e.cfg.TLSCert == "" || e.cfg.TLSKey == "" { // the configuration's fault already
		return
	}
	loaded, err := loadCertificates(e.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		e.fail(check, err.Error(), "give a certificate chain and its own key as PEM, both readable by the server's user")
		return
	}
	config := loaded.current.Load().config
	e.validity("TLS certificate", e.cfg.TLSCert, leaf(config))
	if e.cfg.TLSClientCA != "" {
		for _, ca := range authorities(e.cfg.TLSClientCA) {
			e.validity("TLS client authority", e.cfg.TLSClientCA, ca)
		}
	}
	e.private("TLS key", e.cfg.TLSKey)
}

func leaf(config *tls.Config) *x509.Certificate { return config.Certificates[0].Leaf }

// authorities are the certificates of a PEM file that was found to be one.
func authorities(file string) (all []*x509.Certificate) {
	text, _ := os.ReadFile(file) // was read a moment ago
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// validity checks the dates of a certificate.
func (e *examination) validity(check, file string, c *x509.Certificate) {
	names := strings.Join(c.DNSNames, " ")
	for _, ip := range c.IPAddresses {
		names = strings.TrimSpace(names + " " + ip.String())
	}
	if names == "" {
		names = c.Subject.String()
	}
	left := time.Until(c.NotAfter)
	detail := fmt.Sprintf("%s (%s): until %s, %d days", file, names, c.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24))
	const renew = "renew it; the server reads the changed files by itself"
	switch {
	case left <= 0:
		e.fail(check, detail+" ago", renew)
	case time.Now().Before(c.NotBefore):
		e.fail(check, fmt.Sprintf("%s: not before %s", file, c.NotBefore.UTC().Format(time.RFC3339)), "see whether the clock is right, or wait")
	case left < expirySoon:
		e.warn(check, detail, renew)
	default:
		e.ok(check, "%s", detail)
	}
}

// private warns of a secret that others can read; it reports whether all is well.
func (e *examination) private(check, file string) bool {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return true
	}
	e.warn(check, fmt.Sprintf("%s can be read by other users (mode %04o)", file, info.Mode().Perm()), "chmod 600 "+file)
	return false
}

// sealKey checks that there is a key, that it can be read, and that a copy of the data would not hold it.
func (e *examination) sealKey() {
	const check = "seal key"
	if _, err := registry.ParseSealKeys(e.cfg.SealKey); err == nil {
		e.ok(check, "from the environment")
		return
	}
	file, err := e.cfg.sealKeyFile()
	if err != nil {
		e.fail(check, err.Error(), "name a file outside --data with --seal-key")
		return
	}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.hasData():
		e.fail(check, file+" is not there, but the data is", "put the copy of the key back: without it the secrets in the data cannot be read, and serve would make a new one")
		return
	case errors.Is(err, fs.ErrNotExist):
		if err := writable(nearest(filepath.Dir(file))); err != nil {
			e.fail(check, fmt.Sprintf("%s is not there and cannot be made: %v", file, err), "name another place with --seal-key")
			return
		}
		e.ok(check, "%s is not there yet; serve makes it, outside the data folder", file)
		return
	case err != nil:
		e.fail(check, err.Error(), "give it to the server's user (mode 600)")
		return
	}
	if _, err := registry.ParseSealKeys(string(text)); err != nil {
		e.fail(check, fmt.Sprintf("%s holds no key: %v", file, err), "put the copy of the key back: 32 bytes as base64 or hex")
		return
	}
	if e.private(check, file) {
		e.ok(check, "%s, outside the data folder; keep a copy of it", file)
	}
}

// hasData reports whether a server has worked on the data folder before.
func (e *examination) hasData() bool {
	_, err := os.Stat(filepath.Join(e.cfg.Data, "nats"))
	return err == nil
}

// token checks the file of the administrator's token.
func (e *examination) token() {
	const check = "administrator's token"
	if e.cfg.AdminToken != "" {
		e.ok(check, "from the settings")
		return
	}
	file := e.cfg.adminTokenFile()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		e.ok(check, "%s is not there yet; serve makes it", file)
		return
	}
	if _, _, err := loadToken(file); err != nil {
		e.fail(check, err.Error(), fmt.Sprintf("put one word of at least %d characters into it, or name another with --admin-token-file", leastToken))
		return
	}
	if e.private(check, file) {
		e.ok(check, "%s", file)
	}
}
