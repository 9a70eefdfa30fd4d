package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTLSFront: what is served over HTTP is served over TLS as well, from the same store.
func TestTLSFront(t *testing.T) {
	lender := httptest.NewTLSServer(nil) // for its certificate and a client that trusts it
	defer lender.Close()
	w := start(t, func(cfg *Config, _ *Deps) { cfg.TLSAddr, cfg.TLS = "127.0.0.1:0", lender.TLS })
	if w.TLSAddr().String() == w.Addr().String() || w.AdminAddr().String() != w.Addr().String() {
		t.Errorf("addresses: http %s, https %s, admin %s", w.Addr(), w.TLSAddr(), w.AdminAddr())
	}
	url := "https://" + w.TLSAddr().String() + "/sls/myproj/logstores/mystore/track?APIVersion=0.6.0"
	answer, err := lender.Client().Post(url, "text/plain", strings.NewReader(`{"__logs__":[{"a":"over TLS"}]}`))
	check(t, err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d", answer.StatusCode)
	}
	if got := w.sink.Ledger().Total.Stored; got != 1 {
		t.Errorf("%d records stored", got)
	}
	if _, err := New(Config{Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0"}, w.deps, w.log); err == nil {
		t.Error("TLS without a certificate was accepted")
	}
}
