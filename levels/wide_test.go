package levels

import (
	"fmt"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
)

func TestRulesAreBounded(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	for i := range maxRules {
		must(t, r.putRule(t.Context(), newWide(logbridge.LevelRule{ID: fmt.Sprint("r", i), Selector: product, Level: logbridge.LevelDebug})))
	}
	_, _, err := r.AddRule(t.Context(), wish(product, logbridge.LevelInfo))
	wantKind(t, "one too many", err, logbridge.ErrInvalid)
	if got := r.audit.next(t); !strings.Contains(got, "refused") {
		t.Errorf("recorded %s", got)
	}
	must(t, r.ClearRule(t.Context(), "r7", alice, ""))
	r.rule(t, wish(product, logbridge.LevelInfo))
}

func FuzzDecodeWide(f *testing.F) {
	f.Add([]byte(`{"product":"ABCDE12345","device_glob":"dev-[0-4]*","tags":{"site":"lab"},"percent":12.5,"priority":3,"level":"debug","expires_at":"2026-11-21T10:55:44.123456789Z","reason":"r","set_by":"alice","address":"192.0.2.7","created":"2026-11-21T10:55:44Z","changed_at":"2026-11-21T10:55:44Z"}`))
	f.Add([]byte(`{"percent":0.01,"level":4,"future":{}}`))
	f.Add([]byte(`{"level":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := decodeWide("x", b)
		if err != nil {
			return
		}
		if !w.Level.Valid() || w.Selector.Validate() != nil || w.slots < 0 || w.slots > logbridge.Slots {
			t.Fatalf("%+v", w)
		}
		again, err := encodeWide("x", w)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeWide("x", again); err != nil || order(&back, &w) != 0 || back.Selector.String() != w.Selector.String() || !back.Expires.Equal(w.Expires) {
			t.Errorf("%+v became %+v, %v", w, back, err)
		}
	})
}
