package bridge

import (
	"context"
	"log/slog"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestNotedAtTheEnd: what was noted when the bridge ends is told.
func TestNotedAtTheEnd(t *testing.T) {
	levels := newLevels()
	b, err := New(Config{}, levels, newLog(), products{}, &fakeLedger{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const n = 3*pageSize + 1
	for i := range n {
		b.noted.add(logbridge.Observation{Device: dev1, Event: logbridge.LevelSent, Lines: i})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := b.Run(ended); err != nil {
		t.Fatal(err)
	}
	if len(levels.observed) != n {
		t.Fatalf("%d observations, want %d", len(levels.observed), n)
	}
	for i := range n {
		if o := <-levels.observed; o.Lines != i {
			t.Fatalf("observation %d is the one noted as %d", i, o.Lines)
		}
	}
}
