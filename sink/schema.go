package sink

import (
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/logbridge/logbridge"
)

// The columns of a segment, in the order of the file. Any Parquet reader can read one as it is (docs/segments.md); rows
// are sorted by stream, then time, then position.
//
//	time           TIMESTAMP(ns, UTC)   event time after repair
//	observed_time  TIMESTAMP(us, UTC)   time of receipt
//	time_quality   STRING               device, shifted, received
//	source         STRING               mqtt, reportlog, sls, cls, otlp, loki, audit
//	stream         STRING               device/<product>/<device>, sls/<project>/<logstore>, cls/<topic>, …
//	severity       INT32                0 off … 4 debug
//	body           STRING
//	attributes     MAP<STRING, STRING>  in the order they came, a key may occur twice
//	seq, seq_index INT64, INT32         position: commit sequence and index in it
//	field_<key>    STRING, optional     the value of an attribute again, for the frequent keys that have few values
const (
	colTime = iota
	colObserved
	colQuality
	colSource
	colStream
	colSeverity
	colBody
	colAttrKey
	colAttrValue
	colSeq
	colIndex
	colFields // the first of the columns for frequent attributes
)

// columnKind is how the values of a column are encoded.
type columnKind uint8

const (
	kindInts   columnKind = iota // DELTA_BINARY_PACKED
	kindCodes                    // RLE_DICTIONARY, the dictionary first in the chunk
	kindTexts                    // DELTA_LENGTH_BYTE_ARRAY
	kindAttrs                    // texts of a repeated field
	kindFields                   // codes of an optional field
)

// column describes a leaf of the schema.
type column struct {
	path []string
	kind columnKind
	typ  format.Type
	unit format.TimeUnitValue // of a time
}

const fieldColumnPrefix = "field_"

// columns gives the leaves of a file whose frequent attributes have these keys.
func columns(fields []string) []column {
	list := []column{
		colTime:      {path: []string{"time"}, kind: kindInts, typ: format.Int64, unit: new(format.NanoSeconds)},
		colObserved:  {path: []string{"observed_time"}, kind: kindInts, typ: format.Int64, unit: new(format.MicroSeconds)},
		colQuality:   {path: []string{"time_quality"}, kind: kindCodes, typ: format.ByteArray},
		colSource:    {path: []string{"source"}, kind: kindCodes, typ: format.ByteArray},
		colStream:    {path: []string{"stream"}, kind: kindCodes, typ: format.ByteArray},
		colSeverity:  {path: []string{"severity"}, kind: kindCodes, typ: format.Int32},
		colBody:      {path: []string{"body"}, kind: kindTexts, typ: format.ByteArray},
		colAttrKey:   {path: []string{"attributes", "key_value", "key"}, kind: kindAttrs, typ: format.ByteArray},
		colAttrValue: {path: []string{"attributes", "key_value", "value"}, kind: kindAttrs, typ: format.ByteArray},
		colSeq:       {path: []string{"seq"}, kind: kindInts, typ: format.Int64},
		colIndex:     {path: []string{"seq_index"}, kind: kindInts, typ: format.Int32},
	}
	for _, key := range fields {
		list = append(list, column{path: []string{fieldColumnPrefix + key}, kind: kindFields, typ: format.ByteArray})
	}
	return list
}

// schemaElements is the schema as the footer has it: depth first, groups with the number of their children.
func schemaElements(cols []column) []format.SchemaElement {
	children := len(cols) - 1 // key and value share one
	out := []format.SchemaElement{{Name: "logbridge", NumChildren: thrift.New(int32(children))}}
	for i, c := range cols {
		if i == colAttrKey {
			out = append(out, mapElements()...)
		}
		e := format.SchemaElement{
			Name: c.path[len(c.path)-1], Type: thrift.New(c.typ), RepetitionType: thrift.New(format.Required),
		}
		switch {
		case c.kind == kindFields:
			e.RepetitionType = thrift.New(format.Optional)
		case c.unit != nil:
			e.LogicalType = format.LogicalType{Value: &format.TimestampType{IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: c.unit}}}
		}
		if c.typ == format.ByteArray {
			e.ConvertedType = thrift.New(deprecated.UTF8)
			e.LogicalType = format.LogicalType{Value: new(format.StringType)}
		}
		out = append(out, e)
	}
	return out
}

func mapElements() []format.SchemaElement {
	return []format.SchemaElement{{
		Name: "attributes", RepetitionType: thrift.New(format.Required), NumChildren: thrift.New(int32(1)),
		ConvertedType: thrift.New(deprecated.Map), LogicalType: format.LogicalType{Value: new(format.MapType)},
	}, {
		Name: "key_value", RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New(int32(2)),
	}}
}

// The fixed dictionaries: a code is the number that the rest of the package uses.
func qualityNames() (names []string) {
	for q := logbridge.TimeDevice; q <= logbridge.TimeReceived; q++ {
		names = append(names, q.String())
	}
	return names
}

func sourceNames() (names []string) {
	for _, s := range logbridge.Sources {
		names = append(names, string(s))
	}
	return names
}

// levels is how many severities there are.
const levels = int(logbridge.LevelDebug) + 1

// Bounds of the columns for frequent attributes.
const (
	// maxFields bounds how many there are: each costs a page in 16 Ki rows, used or not.
	maxFields = 24
	// maxFieldValues bounds the values of one: a column for what is different in each row would only repeat the map.
	maxFieldValues = 1024
	// maxFieldText bounds the length of a value in bytes.
	maxFieldText = 128
	// maxFieldKey bounds the length of a key in bytes; longer ones, and those that would need quotes in SQL, get none.
	maxFieldKey = 64
	// minFieldRows is how many rows must have the key.
	minFieldRows = 256
)

// fieldName reports whether a key may name a column.
func fieldName(key []byte) bool {
	return len(key) > 0 && len(key) <= maxFieldKey && !slices.ContainsFunc(key, func(c byte) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}
