package otlp

import (
	"fmt"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// batch is what a collector sends: six attributes of the resource and four of each record.
func batch(records int) *logs.LogsData {
	var list []*logs.LogRecord
	for i := range records {
		list = append(list, &logs.LogRecord{
			TimeUnixNano: uint64(received.UnixNano()) + uint64(i), ObservedTimeUnixNano: uint64(received.UnixNano()) + uint64(i), SeverityNumber: 9, SeverityText: "INFO",
			Body: str(fmt.Sprintf("GET /products/%d answered 200 in %d ms for a user of the shop", i, i%97)),
			Attributes: []*common.KeyValue{kv("http.request.method", str("GET")), kv("url.path", str(fmt.Sprintf("/products/%d", i))),
				kv("http.response.status_code", number(200)), kv("log.file.name", str("access.log"))},
		})
	}
	var of []*common.KeyValue
	for _, key := range []string{"service.name", "service.namespace", "host.name", "k8s.pod.name", "k8s.namespace.name", "k8s.container.name"} {
		of = append(of, kv(key, str("some-"+key)))
	}
	return &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{Resource: &resource.Resource{Attributes: of}, ScopeLogs: []*logs.ScopeLogs{{LogRecords: list}}}}}
}

func BenchmarkDecode(b *testing.B) {
	const records = 1000
	data := batch(records)
	asProto, err := proto.Marshal(data)
	check(b, err)
	asJSON, err := protojson.Marshal(data)
	check(b, err)
	run := func(name string, body []byte, decode func() int) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if decode() != records {
					b.Fatal("records are missing")
				}
			}
		})
	}
	run("protobuf", asProto, func() int { r, _ := DecodeProto(asProto, received); return len(r.Records) })
	run("json", asJSON, func() int { r, _ := DecodeJSON(asJSON, received); return len(r.Records) })
	// The generated types alone, for comparison: no record is made of them.
	run("generated", asProto, func() int {
		var data logs.LogsData
		if proto.Unmarshal(asProto, &data) != nil {
			return 0
		}
		return len(data.ResourceLogs[0].ScopeLogs[0].LogRecords)
	})
}
