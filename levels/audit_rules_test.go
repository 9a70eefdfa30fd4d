package levels

import (
	"sync"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestMarkersYield: the records about a rule for a fleet come when the devices were told, or after a while; their time is that of the
// change. Those about a few devices wait for nobody.
func TestMarkersYield(t *testing.T) {
	const most = markerWaits + 1 // looks, of which the last may say no
	for _, row := range []struct{ devices, busy, atLeast, atMost int }{
		{markerBatch, 3, 0, 0}, {markerBatch + 1, 0, 1, markerWaits}, {markerBatch + 1, 3, 4, markerWaits}, {markerBatch + 1, most, markerWaits, markerWaits},
	} {
		c := newClock()
		r := open(t, start(t, t.TempDir()), c, Config{})
		looks := 0
		r.YieldTo(func() bool {
			if looks++; len(r.audit.batches) != 0 {
				t.Errorf("%d devices: %d appends before look %d", row.devices, len(r.audit.batches), looks)
			}
			c.advance(time.Second)
			return looks <= row.busy
		})
		r.run(t)
		r.fleetOf(row.devices)
		r.drain()
		r.rule(t, wish(product, logbridge.LevelDebug))
		if looks < row.atLeast || looks > row.atMost {
			t.Errorf("%d devices, busy for %d looks: it looked %d times, want %d to %d", row.devices, row.busy, looks, row.atLeast, row.atMost)
		}
		record := recv(t, r.audit.batches)[0]
		if !record.Time.Equal(begin) {
			t.Errorf("recorded at %v, changed at %v", record.Time, begin)
		}
		marked := 0
		for len(r.audit.batches) > 0 {
			for _, m := range recv(t, r.audit.batches) {
				if marked++; !m.Time.Equal(record.Time) || !m.ObservedTime.Equal(record.Time) {
					t.Fatalf("marked at %v, recorded at %v", m.Time, record.Time)
				}
			}
		}
		if marked != row.devices {
			t.Errorf("%d of %d devices are marked", marked, row.devices)
		}
	}
}

// TestMarkersYieldToNotices: no device is queued to be told before the listeners were told, and the records wait for that as well.
func TestMarkersYieldToNotices(t *testing.T) {
	r := open(t, start(t, t.TempDir()), newClock(), Config{})
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	r.OnChange(func(...logbridge.LevelChange) { <-told })
	looks := 0
	r.YieldTo(func() bool {
		if looks++; len(r.audit.batches) != 0 {
			t.Errorf("recorded before look %d, and the listeners are still being told", looks)
		}
		if looks == 3 {
			tell()
		}
		return false
	})
	r.run(t)
	t.Cleanup(tell)
	r.fleetOf(markerBatch + 1)
	r.drain()
	r.rule(t, wish(product, logbridge.LevelDebug))
	if looks < 3 {
		t.Errorf("recorded after %d looks, while the listeners were being told", looks)
	}
}
