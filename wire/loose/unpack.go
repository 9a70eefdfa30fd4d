package loose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/logbridge/logbridge"
)

// ErrPacked: the input is not compressed as it says. It carries nothing of the input.
var ErrPacked = errors.New("not compressed as it says")

const (
	// MaxUnpacked is the largest bound that UnpackZstd keeps: the most that a surface takes (web-tracking.md 4.3).
	MaxUnpacked = 10 << 20
	// zstdWindow is the largest window of a zstd stream that does not say how long its content is: what level 19 of the
	// reference encoder and the usual level of the Go encoder have.
	zstdWindow = 8 << 20
	// firstUnpacked is the first size of memory for a stream that does not say how long its content is.
	firstUnpacked = 16 << 10
)

// zstdDecoders keeps decoders, whose tables are large.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxUnpacked), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}}

func tooLong(most int) error {
	return fmt.Errorf("%w: more than %d bytes when unpacked", logbridge.ErrTooLarge, most)
}

// UnpackLZ4 undoes one raw block of LZ4, which says nothing of its length: it is measured first, and what is over most bytes
// allocates nothing. dst's memory is used if it is large enough. Errors: ErrPacked, logbridge.ErrTooLarge.
func UnpackLZ4(dst, block []byte, most int) ([]byte, error) {
	size, ok := lz4Size(block)
	switch {
	case !ok:
		return nil, ErrPacked
	case size > most:
		return nil, tooLong(most)
	case cap(dst) < size:
		dst = make([]byte, size)
	}
	dst = dst[:size]
	if n, err := lz4.UncompressBlock(block, dst); err != nil || n != size {
		return nil, ErrPacked
	}
	return dst, nil
}

// UnpackZstd undoes zstd frames to at most most bytes, which is at most MaxUnpacked; it may take the memory of MaxUnpacked to
// find that it is more. dst's memory is used if it is large enough. Errors: ErrPacked, logbridge.ErrTooLarge.
func UnpackZstd(dst, frames []byte, most int) ([]byte, error) {
	d := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(d)
	out, err := d.DecodeAll(frames, dst[:0])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(out) > most:
		return nil, tooLong(most)
	case err != nil:
		return nil, ErrPacked
	}
	return out, nil
}

// UnpackDeflate undoes a raw stream of RFC 1951, without zlib's header. dst's memory is used if it is large enough. Errors:
// ErrPacked, logbridge.ErrTooLarge.
func UnpackDeflate(dst, stream []byte, most int) ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(stream))
	for out := dst[:0]; ; {
		if len(out) == cap(out) {
			out = append(make([]byte, 0, min(max(2*cap(out), firstUnpacked), most+1)), out...)
		}
		n, err := r.Read(out[len(out):min(cap(out), most+1)])
		out = out[:len(out)+n]
		switch {
		case len(out) > most:
			return nil, tooLong(most)
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, ErrPacked
		}
	}
}

// lz4Size walks the sequences of a raw block, literals and matches, and adds up what they make: a guess that grows cannot
// tell a short buffer from a broken block. false if the block is cut off.
func lz4Size(block []byte) (size int, ok bool) {
	const minMatch, offsetLen, most = 4, 2, 1<<31 - 1
	for len(block) > 0 {
		token := int(block[0])
		literals, rest, ok := lz4Length(token>>4, block[1:])
		if !ok || literals > len(rest) {
			return 0, false
		}
		block = rest[literals:]
		size += literals
		if len(block) == 0 { // the last sequence has literals only
			return size, true
		}
		if len(block) < offsetLen {
			return 0, false
		}
		match, rest, ok := lz4Length(token&15, block[offsetLen:])
		if !ok {
			return 0, false
		}
		block = rest
		if size += minMatch + match; size > most {
			return most, true
		}
	}
	return 0, false
}

// lz4Length reads a length of which the token had n: 15 continues in further bytes, up to one that is not 255.
func lz4Length(n int, rest []byte) (length int, after []byte, ok bool) {
	if n < 15 {
		return n, rest, true
	}
	for i, b := range rest {
		n += int(b)
		if b != 255 {
			return n, rest[i+1:], true
		}
	}
	return 0, nil, false
}
