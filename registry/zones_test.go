package registry

import (
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestLocation(t *testing.T) {
	r := open(t, start(t, t.TempDir()))
	ctx := t.Context()
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product, TimeZone: "Asia/Shanghai"}))
	must(t, r.PutProduct(ctx, logbridge.Product{ID: "NOZONE0001"}))
	for name, want := range map[string]string{product: "Asia/Shanghai", "NOZONE0001": "UTC", "UNKNOWN000": "UTC"} {
		for range 2 {
			if got := r.Location(name).String(); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
	must(t, r.PutProduct(ctx, logbridge.Product{ID: product, TimeZone: "Europe/Berlin"}))
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, r.Location(product))
	if _, offset := at.Zone(); offset != 2*60*60 {
		t.Errorf("summer in Berlin is %d s off", offset)
	}
}
