package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/logbridge/logbridge"
)

func TestForwardedAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, row := range []struct{ name, peer, header, value, want string }{
		{"no header", "10.0.0.1:80", HeaderXForwardedFor, "", "10.0.0.1"},
		{"one hop", "10.0.0.1:80", HeaderXForwardedFor, "192.0.2.7", "192.0.2.7"},
		{"the right-most that is no proxy", "10.0.0.1:80", HeaderXForwardedFor, "1.1.1.1, 192.0.2.7, 10.9.9.9", "192.0.2.7"},
		{"a peer that is no proxy", "192.0.2.9:80", HeaderXForwardedFor, "1.1.1.1", "192.0.2.9"},
		{"loopback is no proxy by itself", "127.0.0.1:80", HeaderXForwardedFor, "1.1.1.1", "127.0.0.1"},
		{"only proxies", "10.0.0.1:80", HeaderXForwardedFor, "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"with a port", "10.0.0.1:80", HeaderXForwardedFor, "192.0.2.7:4711", "192.0.2.7"},
		{"IPv6", "[2001:db8:1::5]:80", HeaderXForwardedFor, "2001:db8:2::1", "2001:db8:2::1"},
		{"IPv6 with a port", "[2001:db8:1::5]:80", HeaderXForwardedFor, "[2001:db8:2::1]:99", "2001:db8:2::1"},
		{"no address at the right end", "10.0.0.1:80", HeaderXForwardedFor, "192.0.2.7, unknown", "10.0.0.1"},
		{"nonsense on the left", "10.0.0.1:80", HeaderXForwardedFor, "nonsense;;, 192.0.2.7", "192.0.2.7"},
		{"a long chain", "10.0.0.1:80", HeaderXForwardedFor, strings.Repeat("1.1.1.1,", 5000) + "192.0.2.7", "192.0.2.7"},
		{"Forwarded", "10.0.0.1:80", HeaderForwarded, `for=1.1.1.1;proto=http, proto=https; For="192.0.2.7:99";by=10.0.0.1`, "192.0.2.7"},
		{"Forwarded of IPv6", "10.0.0.1:80", HeaderForwarded, `for="[2001:db8:2::1]:4711"`, "2001:db8:2::1"},
		{"Forwarded without for", "10.0.0.1:80", HeaderForwarded, `for=1.1.1.1, proto=https`, "10.0.0.1"},
		{"Forwarded that hides", "10.0.0.1:80", HeaderForwarded, `for=_hidden`, "10.0.0.1"},
	} {
		f, err := newForwarding(proxies, row.header)
		check(t, err)
		r := &http.Request{RemoteAddr: row.peer, Header: http.Header{}}
		other := HeaderForwarded
		if row.header == HeaderForwarded {
			other = HeaderXForwardedFor
		}
		r.Header.Set(other, "for=6.6.6.6") // what a client says in the header that the proxies do not write
		if row.value != "" {
			r.Header.Set(row.header, row.value)
		}
		f.apply(r)
		if got := clientIP(r); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if _, err := newForwarding(proxies, "X-Real-IP"); err == nil {
		t.Error("another header is taken")
	}
	none, err := newForwarding(nil, "")
	check(t, err)
	r := &http.Request{RemoteAddr: "127.0.0.1:80", Header: http.Header{HeaderXForwardedFor: {"1.1.1.1"}}}
	if none.apply(r); clientIP(r) != "127.0.0.1" {
		t.Errorf("without proxies: %s", clientIP(r))
	}
}

// TestProxiedAddressEverywhere: the address that a trusted proxy gives is in records, in the audit and with the broker.
func TestProxiedAddressEverywhere(t *testing.T) {
	g := newGate()
	w := start(t, func(c *Config, d *Deps) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Privacy.Address = logbridge.AddressFull
		d.Broker = g
	})
	defer close(g.done)
	checkEmptySuccess(t, "upload", w.send("POST", trackPath, oneLog, HeaderXForwardedFor, "6.6.6.6, 192.0.2.7"))
	if got := w.records(logbridge.Query{Stream: "sls/myproj/mystore"}); len(got) != 1 || attr(got[0], "__source__") != "192.0.2.7" {
		t.Errorf("%+v", got)
	}
	a := w.send("PUT", apiPath+deviceCall+"/level", `{"level":"debug","for":"5m","reason":"test"}`, "Authorization", "Bearer "+adminToken,
		"Content-Type", "application/json", HeaderXForwardedFor, "192.0.2.8")
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if got := w.records(logbridge.Query{Stream: logbridge.AuditStream}); len(got) == 0 || attr(got[len(got)-1], "address") != "192.0.2.8" {
		t.Errorf("audit %+v", got)
	}
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(w.url, "http")+mqttPath, &websocket.DialOptions{
		Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{HeaderXForwardedFor: {"192.0.2.9"}}})
	check(t, err)
	defer ws.CloseNow()
	if remote := (<-g.conns).RemoteAddr().String(); remote != "192.0.2.9:0" {
		t.Errorf("the broker sees %s", remote)
	}
}
