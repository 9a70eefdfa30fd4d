package sls

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

// Decompress undoes x-log-compresstype (4.2, 4.7): none, lz4 (a raw block), zstd (frames), deflate (zlib, or raw), and gzip,
// which an old page shows. The result is at most most bytes and uses dst's memory if that is large enough; without compression it is body
// itself. bodyRawSize is x-log-bodyrawsize: of an uncompressed body it is ignored, because three SDKs fill it wrongly (1), of
// a compressed one it can only refuse, early, what says itself that it is too large; an lz4 block must have it, being without a
// size of its own, whatever it says. Nothing is allocated before it is known
// to be within most: an lz4 block is measured first, the head of a zstd frame is asked, the streams grow as they go. *Error InvalidCompressType,
// MissingBodyRawSize, InvalidBodyRawSize, PostBodyUncompressError, PostBodyTooLarge.
func Decompress(dst []byte, compressType, bodyRawSize string, body []byte, most int) ([]byte, error) {
	kind := strings.ToLower(compressType)
	if kind == "" {
		if len(body) > most {
			return nil, tooLarge("Body size", len(body), most)
		}
		return body, nil
	}
	if n, err := strconv.Atoi(bodyRawSize); err == nil && n > most {
		return nil, tooLarge("Body size", n, most)
	}
	switch kind {
	case "lz4":
		if err := checkRawSize(bodyRawSize); err != nil {
			return nil, err
		}
		return unlz4(dst, body, most)
	case "zstd":
		return unzstd(dst, body, most)
	case "deflate":
		out, err := inflate(dst, zlibReader, body, most)
		if err == errUncompress {
			out, err = inflate(dst, flateReader, body, most)
		}
		return finish(out, err)
	case "gzip":
		return finish(inflate(dst, gzipReader, body, most))
	}
	return nil, InvalidCompressType(compressType)
}

// checkRawSize wants a size, but not the right one.
func checkRawSize(text string) error {
	if text == "" {
		return MissingBodyRawSize()
	}
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return InvalidBodyRawSize(text)
	}
	return nil
}

var errUncompress = errors.New("not compressed as it says")

func finish(out []byte, err error) ([]byte, error) {
	if err == errUncompress {
		return nil, PostBodyUncompressError()
	}
	return out, err
}

func zlibReader(r io.Reader) (io.Reader, error)  { return zlib.NewReader(r) }
func flateReader(r io.Reader) (io.Reader, error) { return flate.NewReader(r), nil }
func gzipReader(r io.Reader) (io.Reader, error)  { return gzip.NewReader(r) }

// inflate reads a compressed stream to its end, or to one byte over the bound.
func inflate(dst []byte, open func(io.Reader) (io.Reader, error), body []byte, most int) ([]byte, error) {
	r, err := open(bytes.NewReader(body))
	if err != nil {
		return nil, errUncompress
	}
	out := bytes.NewBuffer(dst[:0])
	n, err := out.ReadFrom(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, errUncompress
	}
	if n > int64(most) {
		return nil, tooLarge("Body size", int(n), most)
	}
	return out.Bytes(), nil
}

// zstdDecoder decodes for everyone: one costs several hundred kilobytes of tables, and DecodeAll may be called concurrently.
// No window is kept beside the output, and that is bounded.
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBody))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// unzstd decodes frames; a first one that says more than most is refused unread.
func unzstd(dst, body []byte, most int) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(body); err != nil {
		return nil, PostBodyUncompressError()
	}
	if head.HasFCS && head.FrameContentSize > uint64(most) {
		return nil, tooLarge("Body size", int(min(head.FrameContentSize, 1<<31-1)), most)
	}
	out, err := zstdDecoder().DecodeAll(body, dst[:0])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, tooLarge("Body size", MaxBody+1, most)
	case err != nil:
		return nil, PostBodyUncompressError()
	case len(out) > most:
		return nil, tooLarge("Body size", len(out), most)
	}
	return out, nil
}

func unlz4(dst, body []byte, most int) ([]byte, error) {
	out, err := loose.UnpackLZ4(dst, body, most)
	switch {
	case errors.Is(err, logbridge.ErrTooLarge):
		return nil, tooLarge("Body size", most+1, most)
	case err != nil:
		return nil, PostBodyUncompressError()
	}
	return out, nil
}
