package httpapi

import (
	"context"
	"testing"
)

func TestSharesOfProcessors(t *testing.T) {
	slots := make(chan struct{}, 1)
	asked := 0
	busy := func() bool { asked++; return true }
	first := share{ctx: t.Context(), slots: slots, busy: busy}
	if !first.begin() {
		t.Fatal("a free place was not given")
	}
	ctx, cancel := context.WithCancel(t.Context())
	second := share{ctx: ctx, slots: slots, busy: busy}
	got := make(chan bool)
	go func() { got <- second.begin() }()
	cancel()
	if <-got {
		t.Fatal("a place was given twice")
	}
	second.end() // has nothing to give back
	first.took = shareTime
	if !first.pause() || asked != 1 || first.took != 0 || len(slots) != 1 {
		t.Errorf("after a pause: busy asked %d times, took %s, %d places taken", asked, first.took, len(slots))
	}
	first.end()
	if second.ctx = t.Context(); !second.begin() {
		t.Error("a place that was given back was not given")
	}
}
