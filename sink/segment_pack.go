package sink

import (
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// packer compresses pages. A new segment gets Snappy, which costs little, for it is soon merged; what a merge writes stays,
// and gets zstd.
type packer interface {
	pack(dst, page []byte) []byte
	codec() format.CompressionCodec
}

type snappyPacker struct{}

func (snappyPacker) pack(dst, page []byte) []byte   { return s2.EncodeSnappy(dst[:cap(dst)], page) }
func (snappyPacker) codec() format.CompressionCodec { return format.Snappy }

type zstdPacker struct{ *zstd.Encoder }

func (z *zstdPacker) pack(dst, page []byte) []byte   { return z.EncodeAll(page, dst[:0]) }
func (z *zstdPacker) codec() format.CompressionCodec { return format.Zstd }

// zstdPackers keeps encoders, whose tables are large.
var zstdPackers = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return &zstdPacker{e}
}}
