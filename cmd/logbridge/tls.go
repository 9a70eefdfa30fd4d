package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificateCheck is how often, at most, a handshake looks whether the files have changed.
const certificateCheck = time.Second

// certificates are the files behind --mqtts and --https. They are read again when a handshake finds them changed, so that a
// renewed certificate needs no restart; while the new ones cannot be read, or do not belong together, the old ones stay.
type certificates struct {
	cert, key, clientCA string // clientCA may be empty: then no certificate is asked for
	log                 *slog.Logger

	mu      sync.Mutex // guards the next three
	checked time.Time
	seen    [3]fileStamp
	now     func() time.Time

	current           atomic.Pointer[loadedCertificates]
	reloads, failures atomic.Uint64
}

// loadedCertificates is what the files said.
type loadedCertificates struct {
	config  *tls.Config
	expires time.Time // of the server's certificate
}

// fileStamp tells whether a file has changed.
type fileStamp struct {
	changed time.Time
	size    int64
}

func stampOf(file string) fileStamp {
	info, err := os.Stat(file) // a file that is not there has the zero stamp
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info.ModTime(), info.Size()}
}

// loadCertificates reads the files; all must be right at the start.
func loadCertificates(cfg Config, log *slog.Logger) (*certificates, error) {
	c := &certificates{cert: cfg.TLSCert, key: cfg.TLSKey, clientCA: cfg.TLSClientCA, log: log, now: time.Now}
	c.seen, c.checked = c.stamps(), c.now()
	loaded, err := c.load()
	c.current.Store(loaded)
	return c, err
}

func (c *certificates) stamps() [3]fileStamp {
	return [3]fileStamp{stampOf(c.cert), stampOf(c.key), stampOf(c.clientCA)}
}

func (c *certificates) load() (*loadedCertificates, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	cfg := baseTLS()
	cfg.Certificates = []tls.Certificate{pair}
	if c.clientCA != "" {
		text, err := os.ReadFile(c.clientCA)
		if err != nil {
			return nil, fmt.Errorf("--tls-client-ca: %w", err)
		}
		cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("--tls-client-ca: there is no PEM certificate in " + c.clientCA)
		}
	}
	return &loadedCertificates{cfg, pair.Leaf.NotAfter}, nil
}

// baseTLS is TLS 1.2 and 1.3, with what Go holds for safe. A session is never resumed: that would go by the authorities of the
// time when it began.
func baseTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
}

// config is for a listener: each handshake gets what the files say then.
func (c *certificates) config() *tls.Config {
	cfg := baseTLS()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.refresh()
		return c.current.Load().config, nil
	}
	return cfg
}

// refresh reads the files again if they have changed. A handshake that comes while another one reads does not wait.
func (c *certificates) refresh() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.checked); since >= 0 && since < certificateCheck {
		return
	}
	c.checked = now
	seen := c.stamps() // before reading: a change meanwhile is seen the next time
	if seen == c.seen {
		return
	}
	c.seen = seen
	loaded, err := c.load()
	if err != nil {
		c.failures.Add(1)
		c.log.Error("tls: the changed certificate files are not used, the earlier ones stay", "error", err)
		return
	}
	c.current.Store(loaded)
	c.reloads.Add(1)
	c.log.Info("tls: certificates read again", "cert", c.cert, "expires", loaded.expires.UTC().Format(time.RFC3339))
}
