package levels

import (
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// TestMarkersYield: the records about a rule for a fleet come when the devices were told, or after a while; their time is that of the
// change. Those about a few devices wait for nobody.
func TestMarkersYield(t *testing.T) {
	const most = markerWaits + 1 // looks, of which the last may say no
	for _, row := range []struct{ devices, busy, looks int }{{markerBatch, 3, 0}, {markerBatch + 1, 0, 1}, {markerBatch + 1, 3, 4}, {markerBatch + 1, most, markerWaits}} {
		c := newClock()
		r := open(t, start(t, t.TempDir()), c, Config{})
		r.fleetOf(row.devices)
		r.drain()
		looks := 0
		r.YieldTo(func() bool {
			if looks++; len(r.audit.batches) != 0 {
				t.Errorf("%d devices: %d appends before look %d", row.devices, len(r.audit.batches), looks)
			}
			c.advance(time.Second)
			return looks <= row.busy
		})
		r.rule(t, wish(product, logbridge.LevelDebug))
		if looks != row.looks {
			t.Errorf("%d devices, busy for %d looks: it looked %d times, want %d", row.devices, row.busy, looks, row.looks)
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
