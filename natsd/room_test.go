package natsd

import (
	"errors"
	"math"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestValuesOnAFullDisk: they are refused, reads go on, and they are written again once there is room.
func TestValuesOnAFullDisk(t *testing.T) {
	n := embedded(t, t.TempDir())
	if n.Room(math.MaxUint64) == nil {
		t.Skip("SKIPPED: this system does not say how much room there is")
	}
	w := open(t, n)
	if err := w.Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	measured := w.store.room
	w.store.room = func(uint64) error { return n.Room(math.MaxUint64) } // more than any disk has
	if err := w.Put(t.Context(), "a", "2"); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("put on a full disk: %v", err)
	}
	if _, err := w.Delete(t.Context(), "a"); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("delete on a full disk: %v", err)
	}
	if v, _ := w.Get("a"); v == nil || *v != "1" {
		t.Errorf("the value on a full disk: %v", v)
	}
	w.store.room = measured
	if err := w.Put(t.Context(), "a", "3"); err != nil {
		t.Error(err)
	}
	if err := n.Room(1); err != nil {
		t.Error(err)
	}
}
