package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

var received = time.Date(2026, 11, 21, 19, 30, 0, 0, time.UTC)

// lines shows records one a line.
func lines(records []logbridge.Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s %s %s %s %q", r.Stream, r.Time.Format(time.RFC3339Nano), r.TimeQuality, r.Severity, r.Body)
		for _, a := range r.Attributes {
			fmt.Fprintf(&b, " %s=%s", a.Key, a.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("got\n%.4000s\nwant\n%.4000s", got, want)
	}
}

// TestGoExporter reads what OpenTelemetry's own exporter for Go sent (otlploghttp v0.19.0).
func TestGoExporter(t *testing.T) {
	body, err := os.ReadFile("testdata/go-exporter.bin")
	check(t, err)
	got, err := DecodeProto(body, received)
	check(t, err)
	var b strings.Builder
	for _, r := range got.Records {
		if d := received.Sub(r.Time); d < 0 || d > time.Hour || r.TimeQuality != logbridge.TimeDevice || r.Source != logbridge.SourceOTLP || !r.ObservedTime.Equal(received) {
			t.Errorf("time %s, %s, source %s, observed %s", r.Time, r.TimeQuality, r.Source, r.ObservedTime)
		}
		r.Time = received
		b.WriteString(lines([]logbridge.Record{r}))
	}
	const tail = " scope_name=example.com/pay scope_version=1.2.3 host.name=h1\n"
	const head = "otlp/shop/checkout 2026-11-21T19:30:00Z device "
	equal(t, b.String(), head+`info "payment 0 of the exporter" attempt=0 card=visa ok=true raw=AAH/ severity_text=sev`+tail+
		head+`error "payment 1 of the exporter" attempt=1 card=visa ok=false raw=AAH/ severity_number=18 severity_text=sev`+tail+
		head+`warn "{\"what\":\"map\",\"n\":7,\"list\":[true,1.5]}" attempt=2 card=visa ok=true raw=AAH/ severity_text=sev`+tail+
		head+`debug "payment 3 of the exporter" attempt=3 card=visa ok=false raw=AAH/ severity_text=sev event_name=payment.done`+tail+
		head+`error "payment 4 of the exporter" attempt=4 card=visa ok=true raw=AAH/ severity_number=21 severity_text=sev`+tail)
	if got.Untimed || got.Rejected != nil {
		t.Errorf("untimed %v, rejected %v", got.Untimed, got.Rejected)
	}
}

func str(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func kv(key string, v *common.AnyValue) *common.KeyValue { return &common.KeyValue{Key: key, Value: v} }

func array(v ...*common.AnyValue) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: v}}}
}

func object(v ...*common.KeyValue) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: v}}}
}

func number(n int64) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}
}

func double64(f float64) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: f}}
}

var traceID, spanID = []byte("0123456789abcdef"), []byte("\x00\x01\x02\x03\x04\x05\x06\xff")

// everything uses every field that is read.
func everything() *logs.LogsData {
	at := uint64(received.Add(-time.Minute).UnixNano())
	return &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{
		{
			Resource: &resource.Resource{
				Attributes:             []*common.KeyValue{kv("service.name", str("pay/ment")), kv("host", str("a")), kv("service.namespace", str("shop"))},
				DroppedAttributesCount: 3,
			},
			SchemaUrl: "https://example.com/schema",
			ScopeLogs: []*logs.ScopeLogs{
				{
					Scope: &common.InstrumentationScope{Name: "lib", Version: "2", Attributes: []*common.KeyValue{kv("k", str("of the scope"))}, DroppedAttributesCount: 1},
					LogRecords: []*logs.LogRecord{{
						TimeUnixNano: at, ObservedTimeUnixNano: at + 2e9, SeverityNumber: 14, SeverityText: "Warning!", EventName: "e",
						Body: str("text \"as\" it is\n"), Flags: 1, DroppedAttributesCount: 7, TraceId: traceID, SpanId: spanID,
						Attributes: []*common.KeyValue{
							kv("k", str("own")), kv("int", number(math.MinInt64)), kv("double", double64(0.25)), kv("tiny", double64(1e-9)),
							kv("inf", double64(math.Inf(-1))), kv("nan", double64(math.NaN())), kv("none", nil), kv("empty", &common.AnyValue{}),
							kv("yes", &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}),
							kv("bytes", &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte{0xfb, 0xff}}}),
							kv("nested", object(kv("a", array(str("x\t"), number(1), &common.AnyValue{}, array())), kv("b", object()))),
						},
					}},
				},
				{LogRecords: []*logs.LogRecord{{SeverityNumber: 17, SeverityText: "error", Body: array(str("in"), str("array"))}}},
			},
		},
		{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{{TimeUnixNano: at, ObservedTimeUnixNano: at + 1e8, SeverityText: "FATAL", TraceId: make([]byte, 16)}}}}},
	}}
}

const everythingRead = `
otlp/shop/pay_ment 2026-11-21T19:29:00Z device warn "text \"as\" it is\n" k=own int=-9223372036854775808 double=0.25 tiny=1e-09 inf=-Infinity nan=NaN none= empty= yes=true bytes=+/8= nested={"a":["x\u0009",1,null,[]],"b":{}} severity_number=14 severity_text=Warning! observed_timestamp=1795289342000000000 event_name=e trace_id=30313233343536373839616263646566 span_id=00010203040506ff flags=1 dropped_attributes_count=7 scope_name=lib scope_version=2 k=of the scope scope_dropped_attributes_count=1 service.name=pay/ment host=a resource_dropped_attributes_count=3
otlp/shop/pay_ment 2026-11-21T19:30:00Z received error "[\"in\",\"array\"]" service.name=pay/ment host=a resource_dropped_attributes_count=3
otlp/-/unknown_service 2026-11-21T19:29:00Z device error "" severity_text=FATAL
`

// TestBothForms encodes with the generated types, and reads what comes out.
func TestBothForms(t *testing.T) {
	data := everything()
	body, err := proto.Marshal(data)
	check(t, err)
	got, err := DecodeProto(body, received)
	check(t, err)
	want := strings.ReplaceAll(everythingRead, "1795289342000000000", fmt.Sprint(received.Add(-58*time.Second).UnixNano()))
	equal(t, lines(got.Records), want)
	if !got.Untimed {
		t.Error("a record without a time was overlooked")
	}
	ids := strings.NewReplacer(base64.StdEncoding.EncodeToString(traceID), strings.ToUpper(hex.EncodeToString(traceID)),
		base64.StdEncoding.EncodeToString(spanID), hex.EncodeToString(spanID),
		base64.StdEncoding.EncodeToString(make([]byte, 16)), strings.Repeat("0", 32))
	for _, form := range []protojson.MarshalOptions{{UseEnumNumbers: true}, {UseEnumNumbers: true, Multiline: true, EmitUnpopulated: true}} {
		body, err = form.Marshal(data)
		check(t, err)
		got, err = DecodeJSON([]byte(ids.Replace(string(body))), received)
		check(t, err)
		equal(t, lines(got.Records), want)
	}
}

// TestJSONAsPeopleWriteIt: members in any order, numbers for strings and strings for numbers, unknown members.
func TestJSONAsPeopleWriteIt(t *testing.T) {
	for in, want := range map[string]string{
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"},"new":{"x":[1]},"severityNumber":"13","timeUnixNano":1795289340000000000}],
		  "scope":{"name":"lib"}}],"resource":{"attributes":[{"value":{"stringValue":"s"},"key":"service.name"}]},"schemaUrl":"u"}],"more":1}`: `
otlp/-/s 2026-11-21T19:29:00Z device warn "a" scope_name=lib`,
		`{"resourceLogs":[{"resource":null,"scopeLogs":[{"scope":null,"logRecords":[{"body":null,"attributes":[{"key":"n","value":{"intValue":5}},{"key":"m","value":{"doubleValue":"NaN","x":1}}],"severityNumber":"SEVERITY_NUMBER_DEBUG3"}]}]}]}`: `
otlp/-/unknown_service 2026-11-21T19:30:00Z received debug "" n=5 m=NaN severity_text=SEVERITY_NUMBER_DEBUG3`,
		`{"resourceLogs":[]}`: ``, `{}`: ``, `{"resourceLogs":null}`: ``,
	} {
		want = strings.ReplaceAll(want, "2026-11-21T19:29:00Z", time.Unix(0, 1795289340000000000).UTC().Format(time.RFC3339))
		got, err := DecodeJSON([]byte(in), time.Unix(1795289400, 0))
		check(t, err)
		equal(t, lines(got.Records), strings.ReplaceAll(want, "2026-11-21T19:30:00Z", time.Unix(1795289400, 0).UTC().Format(time.RFC3339)))
	}
	for _, bad := range []string{``, `[]`, `{"resourceLogs":{}}`, `{"resourceLogs":[`, `{} x`, record(`"timeUnixNano":"soon"`), record(`"timeUnixNano":-1`),
		record(`"flags":1.5`), record(`"body":"text"`), record(`"body":{"intValue":"x"}`), record(`"body":{"doubleValue":"x"}`), record(`"body":{"intValue":"9223372036854775808"}`)} {
		if _, err := DecodeJSON([]byte(bad), received); !errors.Is(err, logbridge.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// record is a request in JSON of one log record.
func record(members string) string {
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{` + members + `}]}]}]}`
}

func TestSeverityBothWays(t *testing.T) {
	for n := int64(-1); n <= 26; n++ {
		level, ok := LevelOf(n)
		if ok != (n >= 1 && n <= 24) {
			t.Errorf("%d: %v", n, ok)
		}
		if want := map[int64]logbridge.Level{0: 4, 1: 4, 2: 3, 3: 2, 4: 1, 5: 1}[(n-1)/4]; ok && level != want {
			t.Errorf("%d is %s, want %s", n, level, want)
		}
	}
	for l := logbridge.LevelError; l <= logbridge.LevelDebug; l++ {
		if back, ok := LevelOf(int64(l.SeverityNumber())); !ok || back != l {
			t.Errorf("%s went out as %d and came back as %s", l, l.SeverityNumber(), back)
		}
	}
	for in, want := range map[string]string{
		`"severityNumber":9`:                         "info",
		`"severityNumber":13,"severityText":"WARN"`:  "warn",
		`"severityNumber":99,"severityText":"ERROR"`: "error severity_number=99",
		`"severityText":"critical"`:                  "error severity_text=critical",
		`"severityText":"off"`:                       "info severity_text=off",
		`"severityNumber":-3`:                        "info severity_number=-3",
	} {
		got, err := DecodeJSON([]byte(record(in)), received)
		check(t, err)
		text := got.Records[0].Severity.String()
		for _, a := range got.Records[0].Attributes {
			text += " " + a.Key + "=" + a.Value
		}
		equal(t, text, want)
	}
}

// TestTimes: what cannot be right is repaired, for each resource apart, since each has a clock of its own.
func TestTimes(t *testing.T) {
	ahead := received.Add(3 * time.Hour).UnixNano()
	body := fmt.Sprintf(`{"resourceLogs":[
	{"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d"},{"timeUnixNano":"18446744073709551615"}]}]},
	{"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d"},{"timeUnixNano":"%d"},{"observedTimeUnixNano":"%d"}]}]}]}`,
		received.Add(-time.Hour).UnixNano(), ahead-int64(time.Minute), ahead, ahead-int64(time.Second))
	got, err := DecodeJSON([]byte(body), received)
	check(t, err)
	equal(t, lines(got.Records), `
otlp/-/unknown_service 2026-11-21T18:30:00Z device info ""
otlp/-/unknown_service 2026-11-21T19:30:00Z received info "" time_raw=18446744073709551615
otlp/-/unknown_service 2026-11-21T19:29:00Z shifted info "" time_raw=2026-11-21T22:29:00Z
otlp/-/unknown_service 2026-11-21T19:30:00Z shifted info "" time_raw=2026-11-21T22:30:00Z
otlp/-/unknown_service 2026-11-21T19:29:59Z shifted info "" time_raw=2026-11-21T22:29:59Z`)
}

func TestBounds(t *testing.T) {
	nest := func(n int) string {
		return record(`"body":` + strings.Repeat(`{"arrayValue":{"values":[`, n) + `{"intValue":1}` + strings.Repeat(`]}}`, n))
	}
	if got, err := DecodeJSON([]byte(nest(maxDepth)), received); err != nil || got.Records[0].Body != strings.Repeat("[", maxDepth)+"1"+strings.Repeat("]", maxDepth) {
		t.Errorf("%v %v", got, err)
	}
	deep := str("x")
	for range maxDepth + 1 {
		deep = object(kv("k", deep))
	}
	// wrap is what stands around the log records, or whatever is in them; each has its form in JSON beside it.
	wrap := func(records string) string {
		return string(appendBytes(nil, first, string(appendBytes(nil, second, records))))
	}
	const empty, emptyJSON = "\x12\x00", "{},"
	list := func(n int, object string) string { return strings.TrimSuffix(strings.Repeat(object, n), ",") }
	requestJSON := func(resource, records string) string {
		return `{"resource":` + resource + `,"scopeLogs":[{"logRecords":[` + records + `]}]},`
	}
	many := string(appendBytes(nil, second, strings.Repeat("\x32\x00", 100)))
	wide := strings.Repeat("x", loose.MaxRecordsSize/1000)
	wideProto := appendBytes(nil, first, string(appendBytes(nil, first, string(appendBytes(nil, first, string(appendBytes([]byte("\x0a\x01k"), second, string(appendBytes(nil, first, wide)))))))))
	wideProto = append(wideProto, appendBytes(nil, second, strings.Repeat(empty, 1000))...)
	deepBytes, err := proto.Marshal(&logs.LogRecord{Body: deep})
	check(t, err)
	for name, row := range map[string]struct {
		proto, json string
		want        error
	}{
		"records at the bound": {wrap(strings.Repeat(empty, loose.MaxRecords)), "", nil},
		"records":              {wrap(strings.Repeat(empty, loose.MaxRecords+1)), "", logbridge.ErrTooLarge},
		"records of all":       {wrap(strings.Repeat(empty, loose.MaxRecords)) + wrap(empty), "", logbridge.ErrTooLarge},
		"attributes":           {wrap(strings.Repeat(many, loose.MaxAttributes/100+1)), "", logbridge.ErrTooLarge},
		"depth":                {wrap(string(appendBytes(nil, second, string(deepBytes)))), strings.TrimSuffix(strings.TrimPrefix(nest(maxDepth+1), `{"resourceLogs":[`), "]}"), logbridge.ErrInvalid},
		"attributes of resources": {string(appendBytes(nil, first, string(wideProto))),
			requestJSON(`{"attributes":[{"key":"k","value":{"stringValue":"`+wide+`"}}]}`, list(1000, emptyJSON)), logbridge.ErrTooLarge},
	} {
		if _, err := DecodeProto([]byte(row.proto), received); !errors.Is(err, row.want) || err != nil && row.want == nil {
			t.Errorf("%s in protobuf: %v, want %v", name, err, row.want)
		}
		if row.json == "" { // both forms have these bounds in common
			continue
		}
		if _, err := DecodeJSON([]byte(`{"resourceLogs":[`+strings.TrimSuffix(row.json, ",")+`]}`), received); !errors.Is(err, row.want) || err != nil && row.want == nil {
			t.Errorf("%s in JSON: %v, want %v", name, err, row.want)
		}
	}
	for _, decode := range []func([]byte, time.Time) (Request, error){DecodeProto, DecodeJSON} {
		if _, err := decode(make([]byte, MaxBody+1), received); !errors.Is(err, logbridge.ErrTooLarge) {
			t.Error(err)
		}
		if _, err := decode([]byte("\x0a\x05abc"), received); !errors.Is(err, logbridge.ErrInvalid) {
			t.Error(err)
		}
	}
}

// TestLongRecordsAreRejected alone, whether it is the body, an attribute, a composite value, the scope or the resource.
func TestLongRecordsAreRejected(t *testing.T) {
	long := str(strings.Repeat("x", loose.MaxRecord+1))
	wide := array(long, long, long)
	small := []*logs.LogRecord{{Body: str("short")}, {Body: str("also")}}
	data := &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{
		{ScopeLogs: []*logs.ScopeLogs{
			{LogRecords: []*logs.LogRecord{{Body: long}, {Attributes: []*common.KeyValue{kv("k", long)}}, {Body: wide}, {Attributes: []*common.KeyValue{kv("k", object(kv("k", wide)))}}, small[0]}},
			{Scope: &common.InstrumentationScope{Name: long.GetStringValue()}, LogRecords: small},
		}},
		{Resource: &resource.Resource{Attributes: []*common.KeyValue{kv("service.name", str("s")), kv("k", wide)}}, ScopeLogs: []*logs.ScopeLogs{{LogRecords: small}}},
	}}
	body, err := proto.Marshal(data)
	check(t, err)
	fromJSON, err := protojson.Marshal(data)
	check(t, err)
	got, err := DecodeProto(body, received)
	check(t, err)
	other, err := DecodeJSON(fromJSON, received)
	check(t, err)
	for _, r := range []Request{got, other} {
		equal(t, lines(r.Records), `otlp/-/unknown_service 2026-11-21T19:30:00Z received info "short"`)
		if want := []loose.Rejected{{Stream: "otlp/-/unknown_service", Records: 6}, {Stream: "otlp/-/s", Records: 2}}; !slices.Equal(r.Rejected, want) {
			t.Errorf("rejected %v, want %v", r.Rejected, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for got, want := range map[string]string{
		string(Answer(true, 0, "")):        `{}`,
		string(Answer(false, 0, "")):       "",
		string(Answer(true, 3, `"long"`)):  `{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"\"long\""}}`,
		string(Answer(false, 300, "long")): "\x0a\x09\x08\xac\x02\x12\x04long",
		string(Status(true, 8, "busy")):    `{"code":8,"message":"busy"}`,
		string(Status(false, 8, "busy")):   "\x08\x08\x12\x04busy",
	} {
		equal(t, got, want)
	}
}

func FuzzDecodeProto(f *testing.F) {
	body, err := os.ReadFile("testdata/go-exporter.bin")
	check(f, err)
	f.Add(body)
	body, err = proto.Marshal(everything())
	check(f, err)
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := DecodeProto(body, received)
		checkRequest(t, got, err)
		var witness logs.LogsData
		if proto.Unmarshal(body, &witness) != nil {
			return
		}
		if errors.Is(err, loose.ErrFields) { // a group, perhaps, which can only be a field that nobody knows
			check(t, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, &witness))
			known, err := proto.Marshal(&witness)
			check(t, err)
			if _, err := DecodeProto(known, received); errors.Is(err, loose.ErrFields) {
				t.Fatal("protobuf reads it, and here it is none without what is unknown, either")
			}
			return
		}
		if err != nil && !errors.Is(err, logbridge.ErrTooLarge) && err.Error() != errDepth().Error() {
			t.Fatalf("protobuf reads it, and here it is %v", err)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	body, err := protojson.Marshal(everything())
	check(f, err)
	f.Add(body)
	f.Add([]byte(record(`"body":{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"_-8"}}]}}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := DecodeJSON(body, received)
		checkRequest(t, got, err)
	})
}

func checkRequest(t *testing.T, got Request, err error) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, logbridge.ErrInvalid) && !errors.Is(err, logbridge.ErrTooLarge) {
			t.Fatal(err)
		}
		return
	}
	if len(got.Records) > loose.MaxRecords || got.Size > loose.MaxRecordsSize {
		t.Fatalf("%d records of %d bytes", len(got.Records), got.Size)
	}
	for _, r := range got.Records {
		size := len(r.Body)
		texts := []string{string(r.Stream), r.Body}
		for _, a := range r.Attributes {
			size += len(a.Key) + len(a.Value)
			texts = append(texts, a.Key, a.Value)
		}
		if size > loose.MaxRecord || r.Severity < logbridge.LevelError || r.Severity > logbridge.LevelDebug {
			t.Fatalf("a record of %d bytes, level %s", size, r.Severity)
		}
		if _, _, ok := r.Stream.Service(); !ok || !utf8.ValidString(strings.Join(texts, "")) {
			t.Fatalf("%q", texts)
		}
	}
}
