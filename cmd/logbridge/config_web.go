package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/httpapi"
)

// webLimits are those of stores that say nothing.
func (c *Config) webLimits() logbridge.WebLimits {
	return logbridge.WebLimits{
		AddressEvents: c.WebAddressEvents, AddressBytes: c.WebAddressBytes, StoreEvents: c.WebStoreEvents, StoreBytes: c.WebStoreBytes,
		RequestBytes: c.WebRequestBytes, QueryBytes: c.WebQueryBytes, Events: c.WebEvents, Fields: c.WebFields,
		KeyBytes: c.WebKeyBytes, ValueBytes: c.WebValueBytes,
	}
}

// webPrivacy is that of stores that say nothing.
func (c *Config) webPrivacy() logbridge.WebPrivacy {
	return logbridge.WebPrivacy{Address: logbridge.AddressForm(c.WebAddress), OptOut: logbridge.OptOut(c.WebOptOut), Redact: c.WebRedact}
}

func (c *Config) checkWeb() error {
	var faults []error
	for _, l := range c.webLimits().List() {
		if l.Value < 0 || l.Value > l.Most {
			faults = append(faults, fmt.Errorf("--web-%s: use a number up to %d, or 0 for the default", strings.ReplaceAll(l.Name, "_", "-"), l.Most))
		}
	}
	if logbridge.CheckAddressForm(logbridge.AddressForm(c.WebAddress)) != nil {
		faults = append(faults, fmt.Errorf("--web-address: use none, masked, hashed or full, not %q", c.WebAddress))
	}
	if logbridge.CheckOptOut(logbridge.OptOut(c.WebOptOut)) != nil {
		faults = append(faults, fmt.Errorf("--web-opt-out: use ignore, address or event, not %q", c.WebOptOut))
	}
	for _, name := range c.WebRedact {
		if !slices.Contains(logbridge.Redactions(), name) {
			faults = append(faults, fmt.Errorf("--web-redact: use %s, not %q", strings.Join(logbridge.Redactions(), ", "), name))
		}
	}
	return errors.Join(append(faults, c.checkProxies())...)
}

func (c *Config) checkProxies() error {
	switch {
	case c.ProxyHeader != "" && len(c.TrustedProxies) == 0:
		return errors.New("--proxy-header: name the proxies with --trusted-proxies, or leave it out")
	case c.ProxyHeader != "" && c.ProxyHeader != httpapi.HeaderXForwardedFor && c.ProxyHeader != httpapi.HeaderForwarded:
		return fmt.Errorf("--proxy-header: use %s or %s, not %q", httpapi.HeaderXForwardedFor, httpapi.HeaderForwarded, c.ProxyHeader)
	}
	for _, p := range c.TrustedProxies {
		if p.Bits() == 0 {
			return fmt.Errorf("--trusted-proxies: %s is everyone; name the networks of the proxies", p)
		}
	}
	return nil
}
