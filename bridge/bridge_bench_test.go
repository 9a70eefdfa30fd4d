package bridge

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/broker"
	"github.com/logbridge/logbridge/wire/tencent"
)

// fleet logs in n devices that listen at a QoS.
func fleet(b *testing.B, br *broker.Broker, n int, qos byte) []*wire {
	b.Helper()
	devices := make([]*wire, n)
	for i := range devices {
		id := fleetDevice(i)
		w := dial(b, br, 4)
		if err := w.SetDeadline(time.Time{}); err != nil {
			b.Fatal(err)
		}
		w.login(id)
		w.subscribe(tencent.OperationResultTopic(id), qos)
		devices[i] = w
	}
	return devices
}

func fleetDevice(i int) logbridge.DeviceID {
	return logbridge.DeviceID{Product: dev1.Product, Device: fmt.Sprintf("dev_%05d", i)}
}

// BenchmarkLevelRoundTrip is a question and its answer over TCP, asked by so many devices at a time.
func BenchmarkLevelRoundTrip(b *testing.B) {
	for _, n := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			p := newParts(b, Config{})
			devices := fleet(b, startBroker(b, p), n, 0)
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for i, w := range devices {
				topic := tencent.OperationTopic(fleetDevice(i))
				all.Go(func() {
					for left.Add(-1) >= 0 {
						w.publish(topic, `{"type":"get_log_level","clientToken":"ABCDE12345-1"}`, 0, 0)
						if m, err := w.next(); err != nil || m.kind != publish {
							b.Errorf("answer: packet type %d, %v", m.kind, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "roundtrips/s")
		})
	}
}

// BenchmarkFanOut is one change of a whole product until the last device has it.
func BenchmarkFanOut(b *testing.B) {
	const n = 1000
	for qos := range byte(2) {
		b.Run(fmt.Sprintf("devices=%d/qos=%d", n, qos), func(b *testing.B) {
			p := newParts(b, Config{})
			devices := fleet(b, startBroker(b, p), n, qos)
			var heard sync.WaitGroup
			for _, w := range devices {
				go func() {
					for {
						m, err := w.next()
						if err != nil {
							return
						}
						if qos > 0 {
							w.puback(m.id)
						}
						heard.Done()
					}
				}()
			}
			b.ResetTimer()
			for i := range b.N {
				heard.Add(n)
				for d := range n {
					p.levels.put(fleetDevice(d), logbridge.Level(i%2+3))
				}
				p.LevelChanged(logbridge.LevelChange{Product: dev1.Product})
				heard.Wait()
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "pushes/s")
		})
	}
}
