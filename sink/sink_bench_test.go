package sink

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/logbridge/logbridge"
)

// BenchmarkAppend appends from many goroutines at once, durably, batches of the given size of about 190 bytes a record.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprint("records=", size), func(b *testing.B) {
			e := newEnv(b, Config{})
			b.SetParallelism(32)
			b.ReportAllocs()
			var writers atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				writer := writers.Add(1) // so that no line is like another
				for i := 0; pb.Next(); i++ {
					batch := logbridge.Batch{Records: make([]logbridge.Record, size)}
					for n := range batch.Records {
						batch.Records[n] = line(fmt.Sprint("dev_", i%1000), fmt.Sprintf("tick %d.%d: temperature 21.%d, humidity 40, voltage 3.31, free heap %d, uptime %d, rssi -%d dBm and all is well", writer, i, n, i*7%100000, i, i%90))
						batch.Records[n].TimeQuality = logbridge.TimeDevice
					}
					if _, err := e.log.Append(b.Context(), batch); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkLastOfDevice asks for one device's last 100 lines among 200 000 records of 1 000 devices in segments.
func BenchmarkLastOfDevice(b *testing.B) {
	e := newEnv(b, Config{})
	for i := range 2000 {
		batch := logbridge.Batch{Records: make([]logbridge.Record, 100)}
		for n := range batch.Records {
			batch.Records[n] = line(fmt.Sprint("dev_", (i*100+n)%1000), fmt.Sprintf("message %d of %d with some text around it that is not short", n, i))
		}
		if _, err := e.log.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for i := range b.N {
		n := 0
		for _, err := range e.log.Query(b.Context(), logbridge.Query{Product: "ABCDE12345", Device: fmt.Sprint("dev_", i%1000), Limit: 100}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 100 {
			b.Fatalf("%d lines", n)
		}
	}
}
