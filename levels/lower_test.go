package levels

import (
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestLower: only who has no level of its own, and would log more, is lowered, and only for a while.
func TestLower(t *testing.T) {
	c := newClock()
	r := open(t, start(t, t.TempDir()), c, Config{GlobalBase: logbridge.LevelInfo})
	r.run(t)
	quiet := Change{Level: logbridge.LevelError, For: time.Minute, Reason: "too much", By: logbridge.Actor{Name: "quota"}}
	lower := func(want bool) {
		t.Helper()
		if done, err := r.Lower(t.Context(), id, quiet); err != nil || done != want {
			t.Fatalf("lowered: %v, %v", done, err)
		}
	}
	r.set(t, id, debugFor(10*time.Minute))
	r.audit.next(t)
	lower(false)
	r.want(t, id, logbridge.LevelDebug)
	c.advance(11 * time.Minute)
	r.audit.next(t) // the end of it
	lower(true)
	r.want(t, id, logbridge.LevelError)
	if got := r.audit.next(t); !strings.Contains(got, "log level set to error for 1m0s by quota: too much|") || !strings.Contains(got, "actor=quota") {
		t.Errorf("recorded %s", got)
	}
	lower(false) // it is already
	c.advance(time.Minute)
	r.want(t, id, logbridge.LevelInfo)
	r.audit.next(t)
	if err := r.SetBase(t.Context(), "", logbridge.LevelError, logbridge.Actor{Name: "admin"}, "calm"); err != nil {
		t.Fatal(err)
	}
	lower(false)
}
