package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

func TestWebSettings(t *testing.T) {
	file := writeFile(t, "c.yaml", "trusted_proxies: [10.0.0.0/8, \"2001:db8::/32\"]\nweb_fields: 50\nweb_address: hashed\nweb_redact: [email]\n")
	c, err := parseServe(t, "--config", file, "--web-address-events", "20", "--web-opt-out", "event", "--proxy-header", "Forwarded")
	if err != nil {
		t.Fatal(err)
	}
	if l := c.webLimits(); l != (logbridge.WebLimits{AddressEvents: 20, Fields: 50}) {
		t.Errorf("%+v", l)
	}
	if p := c.webPrivacy(); p.Address != logbridge.AddressHashed || p.OptOut != logbridge.OptOutEvent || fmt.Sprint(p.Redact) != "[email]" {
		t.Errorf("%+v", p)
	}
	if got := fmt.Sprint(c.TrustedProxies); got != "[10.0.0.0/8 2001:db8::/32]" {
		t.Errorf("proxies %s", got)
	}
	for _, row := range [][2]string{
		{"--web-fields=-1", "--web-fields: use a number"}, {"--web-request-bytes=99999999", "--web-request-bytes: use a number"},
		{"--web-address=some", "--web-address: use"}, {"--web-opt-out=some", "--web-opt-out: use"}, {"--web-redact=names", "--web-redact: use"},
		{"--proxy-header=Forwarded", "--trusted-proxies"}, {"--trusted-proxies=0.0.0.0/0", "is everyone"},
	} {
		if _, err := parseServe(t, row[0]); err == nil || !strings.Contains(err.Error(), row[1]) {
			t.Errorf("%s: %v", row[0], err)
		}
	}
	if _, err := parseServe(t, "--trusted-proxies=10.0.0.0/8", "--proxy-header=X-Real-IP"); err == nil || !strings.Contains(err.Error(), "--proxy-header: use") {
		t.Errorf("%v", err)
	}
}
