package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestStatus(t *testing.T) {
	trouble := error(nil)
	w := start(t, func(_ *Config, d *Deps) { d.Ready = func() error { return trouble } })
	w.storeOwn()
	w.storeForeign()
	w.deps.Observer.Observe(logbridge.Observation{Device: device01, Event: logbridge.DeviceConnected, Time: time.Now()})
	status, all := w.call(http.MethodGet, "/status", "")
	ledger := all["ledger"].(map[string]any)
	total := ledger["total"].(map[string]any)
	refused, dropped := 0.0, 0.0
	for _, n := range total["refused"].(map[string]any) {
		refused += n.(float64)
	}
	for _, n := range total["dropped"].(map[string]any) {
		dropped += n.(float64)
	}
	if status != http.StatusOK || refused != 3 || total["received"] != total["stored"].(float64)+total["duplicate"].(float64)+refused+dropped ||
		len(ledger["sources"].(map[string]any)) < 4 || all["store"].(map[string]any)["segments"] != 7.0 || all["devices"].(map[string]any)["registered"] != 2.0 {
		t.Errorf("%d %v", status, all)
	}

	trouble = errors.New("the disk is full")
	limited, _ := w.issue(logbridge.RoleViewer, ownScope...)
	a := w.send(http.MethodGet, apiPath+"/status", "", "Authorization", "Bearer "+limited)
	want := `"trouble":"the disk is full","devices":{"registered":1,"connected":1},"ledger":{"total":{"received":4,"stored":4,"duplicate":0,"refused":{},"dropped":{}},"sources":{}}}`
	if a.StatusCode != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(a.body), want) {
		t.Errorf("a limited token gets %d %s", a.StatusCode, a.body)
	}
	if a := w.send(http.MethodGet, apiPath+"/status", ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody gets %d", a.StatusCode)
	}
}
