package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

func TestLoginIsTheDevices(t *testing.T) {
	w := start(t)
	status, _ := w.call("PUT", "/products/ABCDE12345/devices/keyed", "")
	stored, err := w.reg.Device(logbridge.DeviceID{Product: "ABCDE12345", Device: "keyed"})
	if status != http.StatusOK || err != nil {
		t.Fatal(status, err)
	}
	for body, good := range map[string]time.Duration{"": defaultLogin, `{"for":"90s"}`: 90 * time.Second} {
		now := time.Now()
		status, l := w.call("POST", "/products/ABCDE12345/devices/keyed/login", body)
		user := text(l, "user_name")
		if status != http.StatusCreated || text(l, "client_id") != "ABCDE12345keyed" {
			t.Fatalf("%d %v", status, l)
		}
		if err := tencent.VerifyPassword(stored.PSK, user, text(l, "password"), now.Add(good-2*time.Second)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if err := tencent.VerifyPassword(stored.PSK, user, text(l, "password"), now.Add(good+2*time.Second)); err == nil {
			t.Errorf("%s: the login is good for longer than it says", body)
		}
		client, expiry, err := tencent.ParseUserName(user)
		at, perr := time.Parse(time.RFC3339, text(l, "expires_at"))
		if err != nil || perr != nil || client != text(l, "client_id") || expiry != at.Unix() {
			t.Errorf("user name %q, expires_at %q", user, text(l, "expires_at"))
		}
	}
	for path, want := range map[string]int{"none": http.StatusNotFound, "keyed": http.StatusBadRequest} {
		if status, _ := w.call("POST", "/products/ABCDE12345/devices/"+path+"/login", `{"for":"never"}`); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}
