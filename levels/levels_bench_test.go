package levels

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/logbridge/logbridge"
)

// BenchmarkEffective asks for levels among 1000 rules of one product and 20 000 devices: of a device that has its own, of one
// that was seen, whom the last rule means, of one that none means, and of one that was never seen, for whom all are tried.
func BenchmarkEffective(b *testing.B) {
	const fleet = 20_000
	n := start(b, b.TempDir())
	devices := newDevices()
	for i := range fleet {
		devices.of[dev(i)] = nil
	}
	devices.of[dev(1)] = map[string]string{"site": "lab"}
	l, err := New(b.Context(), n, devices, newLog(), Config{}, slog.New(slog.DiscardHandler))
	must(b, err)
	for i := range maxRules - 1 {
		s := logbridge.LevelSelector{Product: id.Product}
		switch i % 4 {
		case 0:
			s.DeviceGlob = fmt.Sprintf("line-%d-*", i)
		case 1:
			s.Tags = map[string]string{"site": fmt.Sprint("hall", i)}
		case 2:
			s.Percent, s.DeviceGlob = 0.01, "dev_*x"
		case 3:
			s.DeviceGlob = fmt.Sprintf("dev_[x-z]%d*", i)
		}
		w := newWide(logbridge.LevelRule{ID: fmt.Sprint("r", i), Selector: s, Level: logbridge.LevelWarn, Priority: 1})
		l.wideChanged(w.ID, nil, &w, 1) // as if it was stored, which takes its time
	}
	last := newWide(logbridge.LevelRule{ID: "last", Selector: logbridge.LevelSelector{Product: id.Product, Tags: map[string]string{"site": "lab"}}, Level: logbridge.LevelInfo})
	l.wideChanged(last.ID, nil, &last, 1)
	for i := range fleet {
		if i != 3 {
			l.Observe(logbridge.Observation{Device: dev(i), Event: logbridge.DeviceConnected, Time: begin})
		}
	}
	if _, err := l.Set(b.Context(), dev(0), Change{Level: logbridge.LevelDebug, Reason: "r", By: alice}); err != nil {
		b.Fatal(err)
	}
	for i, row := range []struct {
		name string
		want logbridge.Level
	}{{"own", logbridge.LevelDebug}, {"last rule", logbridge.LevelInfo}, {"no rule", logbridge.LevelError}, {"never seen", logbridge.LevelError}} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if l.Effective(asked[i]) != row.want {
						b.Error("another level")
					}
				}
			})
		})
	}
	b.Run("observe", func(b *testing.B) {
		b.ReportAllocs()
		o := logbridge.Observation{Device: dev(1), Event: logbridge.LevelAsked, Level: logbridge.LevelInfo, Time: begin}
		for b.Loop() {
			l.Observe(o)
		}
	})
	b.Run("rule for all comes and goes", func(b *testing.B) {
		w := newWide(logbridge.LevelRule{ID: "all", Selector: logbridge.LevelSelector{Product: id.Product, Percent: 100}, Level: logbridge.LevelDebug, Priority: 2})
		for b.Loop() {
			l.wideChanged(w.ID, nil, &w, 1)
			l.wideChanged(w.ID, &w, nil, 2)
		}
		b.ReportMetric(fleet, "devices")
	})
	b.Run("survey", func(b *testing.B) {
		b.ReportAllocs()
		w := newWide(logbridge.LevelRule{Selector: logbridge.LevelSelector{Product: id.Product, Percent: 100}, Level: logbridge.LevelDebug, Priority: 2})
		for b.Loop() {
			if _, reach := l.survey(&w, nil, l.clock.now()); reach.Matched != fleet {
				b.Error(reach)
			}
		}
		b.ReportMetric(fleet, "devices")
	})
}

// asked are the devices of BenchmarkEffective, by row.
var asked = [...]logbridge.DeviceID{dev(0), dev(1), dev(2), dev(3)}
