package sink

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/logbridge/logbridge"
)

// Columns of a segment. Any Parquet reader can read one as it is; rows are sorted by stream, then time, then position.
//
//	time          TIMESTAMP(ns, UTC)    event time after repair
//	observed_time TIMESTAMP(ns, UTC)    time of receipt
//	time_quality  STRING                device, shifted, received
//	source        STRING                mqtt, reportlog, sls, cls, otlp, loki, audit
//	stream        STRING                device/<product>/<device>, sls/<project>/<logstore>, cls/<topic>, …
//	severity      INT32                 1 error, 2 warn, 3 info, 4 debug
//	body          STRING
//	attributes    MAP<STRING, STRING>   in the order they came, a key may occur twice
//	seq, seq_index INT64, INT32         position: commit sequence and index in it
const (
	colTime     = "time"
	colObserved = "observed_time"
	colQuality  = "time_quality"
	colSource   = "source"
	colStream   = "stream"
	colSeverity = "severity"
	colBody     = "body"
	colAttrs    = "attributes"
	colSeq      = "seq"
	colIndex    = "seq_index"
)

// Keys of the file metadata.
const (
	metaFormat   = "logbridge.format"
	metaFirstSeq = "logbridge.first_seq"
	metaLastSeq  = "logbridge.last_seq"
	metaMinTime  = "logbridge.min_time"
	metaMaxTime  = "logbridge.max_time"

	metaMinObserved = "logbridge.min_observed_time"
	metaMaxObserved = "logbridge.max_observed_time"

	metaBlocks = "logbridge.block_crc32c"

	segmentFormat = "1"
)

// segmentSchema is the schema of every segment. Parquet orders the columns by name.
func segmentSchema() *parquet.Schema {
	delta := func(n parquet.Node) parquet.Node { return parquet.Encoded(n, &parquet.DeltaBinaryPacked) }
	dict := func(n parquet.Node) parquet.Node { return parquet.Encoded(n, &parquet.RLEDictionary) }
	return parquet.NewSchema("logbridge", parquet.Group{
		colTime:     delta(parquet.Timestamp(parquet.Nanosecond)),
		colObserved: delta(parquet.Timestamp(parquet.Nanosecond)),
		colQuality:  dict(parquet.String()),
		colSource:   dict(parquet.String()),
		colStream:   dict(parquet.String()),
		colSeverity: dict(parquet.Int(32)),
		colBody:     parquet.Encoded(parquet.String(), &parquet.DeltaLengthByteArray),
		colAttrs:    parquet.Map(dict(parquet.String()), parquet.Encoded(parquet.String(), &parquet.DeltaLengthByteArray)),
		colSeq:      delta(parquet.Int(64)),
		colIndex:    delta(parquet.Int(32)),
	})
}

// columnPaths are the paths of the leaves by name.
func columnPaths() map[string][]string {
	paths := map[string][]string{}
	for _, name := range []string{colTime, colObserved, colQuality, colSource, colStream, colSeverity, colBody, colSeq, colIndex} {
		paths[name] = []string{name}
	}
	paths[colAttrs+".key"] = []string{colAttrs, "key_value", "key"}
	paths[colAttrs+".value"] = []string{colAttrs, "key_value", "value"}
	return paths
}

// leafIndex finds the number of each leaf column by its name.
func leafIndex(s *parquet.Schema) (map[string]int, bool) {
	index := map[string]int{}
	for name, path := range columnPaths() {
		leaf, ok := s.Lookup(path...)
		if !ok {
			return nil, false
		}
		index[name] = leaf.ColumnIndex
	}
	return index, true
}

const (
	// pageSize is the size of a page before compression, in bytes: what a query must decode to read one row.
	pageSize = 64 << 10

	// streamBound is how much of a stream's name the page index keeps: more than any prefix that streams share.
	streamBound = 160
)

func writerConfig(meta map[string]string) []parquet.WriterOption {
	options := []parquet.WriterOption{
		segmentSchema(),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.PageBufferSize(pageSize),
		parquet.WriteBufferSize(0), // writeSegment buffers, and must know where the pages end
		parquet.DataPageStatistics(true),
		parquet.ColumnIndexSizeLimit(func([]string) int { return streamBound }),
		parquet.CreatedBy("logbridge", segmentFormat, ""),
	}
	for k, v := range meta {
		options = append(options, parquet.KeyValueMetadata(k, v))
	}
	return options
}

var sourceValues = func() (v []parquet.Value) {
	for _, s := range logbridge.Sources {
		v = append(v, parquet.ByteArrayValue([]byte(s)))
	}
	return v
}()
