package sls

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// pageBody is a batch as the browser SDK sends it: ten events, about 2.4 KB.
func pageBody(events int) []byte {
	var b strings.Builder
	b.WriteString(`{"__logs__":[`)
	for i := range events {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"event":"view_product","page":"https://shop.example.com/p/%d?ref=home","user":"u-%06d","price":"500",`+
			`"status":"200","ms":"%d","ua":"Mozilla/5.0 (X11; Linux x86_64) Chrome/156","detail":"{\"cart\":3}","city":"深圳"}`, i, i*7919, i*13)
	}
	b.WriteString(`],"__tags__":{"site":"shop"},"__topic__":"mytopic","__source__":"mysource"}`)
	return []byte(b.String())
}

func BenchmarkDecodeJSON(b *testing.B) {
	for _, events := range []int{1, 10, 100} {
		body := pageBody(events)
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				g, err := DecodeJSON(body)
				if err != nil || len(g.Logs) != events {
					b.Fatal(err)
				}
				g.Release()
			}
		})
	}
}

func BenchmarkDecodeAndRecords(b *testing.B) {
	body, received := pageBody(10), time.Now()
	stream := logbridge.SLSStream("myproj", "mystore")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		g, err := DecodeJSON(body)
		if err != nil {
			b.Fatal(err)
		}
		if len(Records(g, stream, received, "192.0.2.1")) != 10 {
			b.Fatal("records")
		}
		g.Release()
	}
}
