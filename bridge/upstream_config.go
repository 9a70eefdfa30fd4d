package bridge

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
)

// UpstreamConfig says which outside broker to link to, and how.
type UpstreamConfig struct {
	// Address is host:port.
	Address string
	// TLS is nil for plain TCP.
	TLS *tls.Config
	// User and Password are the login at the broker; both may be empty.
	User, Password string
	// ClientID is what the link is called at the broker. It must stay the same, since the broker keeps under it what it has not
	// delivered, and be the same on all nodes, since they take turns; with Share it must be another on each node.
	ClientID string
	// Share, when set, is the group of a shared subscription: all nodes read at a time, instead of one of them. It is only for
	// brokers that are proven to deliver it for topics that begin with $ (Debian's mosquitto 2.0.11 does not).
	Share string
}

// name is what the link is called in logs, metrics and the lease.
func (c UpstreamConfig) name() string { return c.Address + " " + c.ClientID }

// ParseUpstream reads the address of a broker:
//
//	mqtt://user:password@host:port?setting=value
//	mqtts://host?password_file=…&ca=…
//
// The settings: client_id, share, user_file and password_file (a file with nothing else), and for mqtts ca, cert and key (PEM files).
// Errors are ErrInvalid, and do not repeat the address, which may hold a password.
func ParseUpstream(address string) (UpstreamConfig, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return UpstreamConfig{}, fmt.Errorf("%w: write it as mqtt://host:port or mqtts://host:port", logbridge.ErrInvalid)
	}
	secure := u.Scheme == "mqtts"
	port := cmp.Or(u.Port(), map[bool]string{false: "1883", true: "8883"}[secure])
	c := UpstreamConfig{Address: net.JoinHostPort(u.Hostname(), port), User: u.User.Username()}
	c.Password, _ = u.User.Password()
	settings, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("%w: its settings are not written as ?name=value&name=value", logbridge.ErrInvalid)
	}
	known := []string{"client_id", "share", "user_file", "password_file"}
	if secure {
		known = append(known, "ca", "cert", "key")
	}
	var faults []error
	for name, values := range settings {
		if !slices.Contains(known, name) || len(values) > 1 {
			faults = append(faults, fmt.Errorf("%w: setting %q: there are %s, each once", logbridge.ErrInvalid, name, strings.Join(known, ", ")))
		}
	}
	c.ClientID, c.Share = settings.Get("client_id"), settings.Get("share")
	faults = append(faults, secret(&c.User, settings.Get("user_file")), secret(&c.Password, settings.Get("password_file")))
	if strings.ContainsAny(c.Share, "/+#") {
		faults = append(faults, fmt.Errorf("%w: share: a group's name has no / + or #", logbridge.ErrInvalid))
	}
	if c.Share != "" && c.ClientID == "" {
		faults = append(faults, fmt.Errorf("%w: share needs a client_id, another one on each node", logbridge.ErrInvalid))
	}
	if c.ClientID == "" { // 23 letters and digits are what every broker takes (MQTT 3.1.1, 3.1.3.1)
		sum := sha256.Sum256([]byte(c.Address + " " + c.User))
		c.ClientID = "logbridge" + hex.EncodeToString(sum[:6])
	}
	if secure {
		c.TLS, err = upstreamTLS(u.Hostname(), settings)
		faults = append(faults, err)
	}
	return c, errors.Join(faults...)
}

// secret reads a file into to.
func secret(to *string, file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w: %w", logbridge.ErrInvalid, err)
	}
	*to = strings.TrimRight(string(text), "\r\n")
	return nil
}

func upstreamTLS(host string, settings url.Values) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if file := settings.Get("ca"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w: ca: %w", logbridge.ErrInvalid, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%w: ca: %s holds no certificate", logbridge.ErrInvalid, file)
		}
	}
	cert, key := settings.Get("cert"), settings.Get("key")
	if cert == "" && key == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: cert and key: %w", logbridge.ErrInvalid, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}
