package otlp

import (
	"encoding/binary"
	"strconv"

	"github.com/logbridge/logbridge/wire/loose"
)

// Answer is an ExportLogsServiceResponse. With rejected records it says how many and why in partialSuccess, which tells the
// client not to send them again; without, it is empty.
func Answer(asJSON bool, rejected int, why string) []byte {
	if rejected == 0 {
		if asJSON {
			return []byte("{}")
		}
		return nil
	}
	if asJSON {
		b := append([]byte(`{"partialSuccess":{"rejectedLogRecords":"`), strconv.Itoa(rejected)...)
		b = loose.AppendString(append(b, `","errorMessage":`...), why)
		return append(b, "}}"...)
	}
	partial := binary.AppendUvarint([]byte{1<<3 | loose.Varint}, uint64(rejected))
	return appendBytes(nil, first, string(appendBytes(partial, second, why)))
}

// Status is a google.rpc.Status, the body of every answer that is no success (specification.md, "Failures"). code is one of
// google.rpc.Code; clients go by the HTTP status.
func Status(asJSON bool, code int, why string) []byte {
	if asJSON {
		b := append([]byte(`{"code":`), strconv.Itoa(code)...)
		return append(loose.AppendString(append(b, `,"message":`...), why), '}')
	}
	b := binary.AppendUvarint([]byte{1<<3 | loose.Varint}, uint64(code))
	return appendBytes(b, second, why)
}

func appendBytes(b []byte, tag byte, s string) []byte {
	b = binary.AppendUvarint(append(b, tag), uint64(len(s)))
	return append(b, s...)
}
