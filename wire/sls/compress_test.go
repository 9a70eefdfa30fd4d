package sls

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/hex"
	"errors"
	"github.com/klauspost/compress/zstd"
	"io"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"

	"github.com/logbridge/logbridge"
)

// The vectors of web-tracking.md 4.2.
const (
	compressBody = `{"__topic__":"topic","__source__":"source","__logs__":[{"key1":"value1","key2":"value2"},{"key1":"value1","key2":"value2"}],"__tags__":{"tag1":"value1","tag2":"value2"}}`
	lz4Vector    = "e17b225f5f746f7069635f5f223a220a00b1222c225f5f736f757263651500020b00011600406c6f67731400f0035b7b226b657931223a2276616c756531222c" +
		"1000143210004f32227d2c22000e105d67002274615100597b227461675000f00174616732223a2276616c756532227d7d"
	zlibVector = "789cab568a8f2fc92fc84c8e8f57b25202b3947494e2e38bf34b8b9253c18210265834273fbd1824165dad949d5a69a864a5549698539a6aa8a403e21bc1f8" +
		"464ab53a0455c4820c2c49841858ad5492988ea2ba24311d59752d0054c03629"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pack(t testing.TB, open func(io.Writer) io.WriteCloser, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := open(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zlibWriter(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
func gzipWriter(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

// zstdWriter writes a frame that does not say how much it holds.
func zstdWriter(w io.Writer) io.WriteCloser {
	z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	_, _ = z.Write(nil)
	return z
}

// packZstd makes a frame that does, as the Go SDK does.
func packZstd(t testing.TB, body []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(body, nil)
}

func flateWriter(w io.Writer) io.WriteCloser {
	f, _ := flate.NewWriter(w, flate.BestCompression)
	return f
}

func packLZ4(t testing.TB, body []byte) []byte {
	t.Helper()
	block := make([]byte, lz4.CompressBlockBound(len(body)))
	n, err := lz4.CompressBlock(body, block, nil)
	if err != nil {
		t.Fatal(err)
	}
	return block[:n]
}

func TestDecompress(t *testing.T) {
	plain, large := []byte(compressBody), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	literal := append([]byte{0xf0, byte(len(plain) - 15)}, plain...) // incompressible data: one run
	for _, row := range []struct {
		name, kind, rawSize string
		body, want          []byte
	}{
		{"none", "", "7", plain, plain},
		{"lz4", "lz4", "169", unhex(t, lz4Vector), plain},
		{"lz4 in capitals", "LZ4", "0", unhex(t, lz4Vector), plain},
		{"lz4, size too small", "lz4", "5", unhex(t, lz4Vector), plain},
		{"lz4, size too large", "lz4", "1000000", unhex(t, lz4Vector), plain},
		{"lz4, one literal run", "lz4", "169", literal, plain},
		{"lz4, large", "lz4", "1048576", packLZ4(t, large), large},
		{"zlib", "deflate", "169", unhex(t, zlibVector), plain},
		{"raw deflate", "deflate", "", pack(t, flateWriter, plain), plain},
		{"gzip", "gzip", "", pack(t, gzipWriter, plain), plain},
		{"zstd", "zstd", "169", pack(t, zstdWriter, plain), plain},
		{"zstd, size in the head", "ZSTD", "", packZstd(t, plain), plain},
		{"zstd, two frames", "zstd", "", append(packZstd(t, plain[:9]), packZstd(t, plain[9:])...), plain},
		{"zstd, large", "zstd", "", pack(t, zstdWriter, large), large},
		{"zlib, large", "deflate", "", pack(t, zlibWriter, large), large},
	} {
		for _, dst := range [][]byte{nil, make([]byte, 10), make([]byte, 0, 2<<20)} {
			got, err := Decompress(dst, row.kind, row.rawSize, row.body, 1<<20)
			if err != nil || !bytes.Equal(got, row.want) {
				t.Errorf("%s: %d bytes, %v", row.name, len(got), err)
			}
			if cap(dst) > len(row.want)+bytes.MinRead && row.kind != "" && err == nil && &got[0] != &dst[:1][0] {
				t.Errorf("%s: dst is not used", row.name)
			}
		}
	}
}

func TestDecompressRefuses(t *testing.T) {
	bomb := bytes.Repeat([]byte{0}, 1<<20+1)
	full := unhex(t, lz4Vector)
	for _, row := range []struct {
		name, kind, rawSize string
		body                []byte
		code                string
		is                  error
	}{
		{"unknown", "snappy", "", full, "InvalidCompressType", logbridge.ErrInvalid},
		{"lz4 without size", "lz4", "", full, "MissingBodyRawSize", logbridge.ErrInvalid},
		{"lz4, size no number", "lz4", "x", full, "InvalidBodyRawSize", logbridge.ErrInvalid},
		{"lz4, size below zero", "lz4", "-1", full, "InvalidBodyRawSize", logbridge.ErrInvalid},
		{"plain too large", "", "", bomb, "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"says too large", "lz4", "1048577", full, "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"lz4 bomb", "lz4", "5", packLZ4(t, bomb), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"lz4 bomb over 31 bits", "lz4", "5", append(append([]byte{0x1f, 'x', 1, 0}, bytes.Repeat([]byte{255}, 9<<20)...), 0), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zlib bomb", "deflate", "", pack(t, zlibWriter, bomb), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"deflate bomb", "deflate", "", pack(t, flateWriter, bomb), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zstd bomb", "zstd", "", pack(t, zstdWriter, bomb), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zstd bomb over the decoder's bound", "zstd", "", pack(t, zstdWriter, make([]byte, MaxBody+1)), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zstd bomb that says so", "zstd", "", packZstd(t, bomb), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zstd bomb in a second frame", "zstd", "", append(packZstd(t, []byte("x")), packZstd(t, bomb)...), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zstd cut off", "zstd", "", packZstd(t, full)[:20], "PostBodyUncompressError", logbridge.ErrInvalid},
		{"zstd head only", "zstd", "", []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x10}, "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"zstd of text", "zstd", "", []byte(compressBody), "PostBodyUncompressError", logbridge.ErrInvalid},
		{"zstd empty", "zstd", "", nil, "PostBodyUncompressError", logbridge.ErrInvalid},
		{"gzip bomb", "gzip", "", pack(t, gzipWriter, bomb), "PostBodyTooLarge", logbridge.ErrTooLarge},
		{"lz4 cut off", "lz4", "169", full[:len(full)-5], "PostBodyUncompressError", logbridge.ErrInvalid},
		{"lz4 empty", "lz4", "0", nil, "PostBodyUncompressError", logbridge.ErrInvalid},
		{"lz4 match before the start", "lz4", "2", []byte{0x10, 'x', 9, 0, 0x10, 'y'}, "PostBodyUncompressError", logbridge.ErrInvalid},
		{"zlib cut off", "deflate", "", unhex(t, zlibVector)[:50], "PostBodyUncompressError", logbridge.ErrInvalid},
		{"deflate of text", "deflate", "", []byte(compressBody), "PostBodyUncompressError", logbridge.ErrInvalid},
		{"gzip of text", "gzip", "", []byte(compressBody), "PostBodyUncompressError", logbridge.ErrInvalid},
	} {
		got, err := Decompress(nil, row.kind, row.rawSize, row.body, 1<<20)
		own := (*Error)(nil)
		if !errors.As(err, &own) || own.Code != row.code || !errors.Is(err, row.is) || got != nil {
			t.Errorf("%s: %d bytes, %v", row.name, len(got), err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add("lz4", "169", unhex(f, lz4Vector))
	f.Add("deflate", "", unhex(f, zlibVector))
	f.Add("deflate", "", pack(f, flateWriter, []byte(compressBody)))
	f.Add("zstd", "", packZstd(f, []byte(compressBody)))
	f.Add("zstd", "", pack(f, zstdWriter, []byte(compressBody)))
	f.Add("gzip", "", pack(f, gzipWriter, []byte(compressBody)))
	f.Add("lz4", "1", []byte{0x1f, 'x', 1, 0, 255, 255, 0, 0x50, 'a', 'b', 'c', 'd', 'e'})
	f.Fuzz(func(t *testing.T, kind, rawSize string, body []byte) {
		const most = 1 << 16
		out, err := Decompress(nil, kind, rawSize, body, most)
		if err != nil {
			if own := (*Error)(nil); !errors.As(err, &own) {
				t.Fatal(err)
			}
			return
		}
		if len(out) > most {
			t.Fatalf("%d bytes", len(out))
		}
		if strings.EqualFold(kind, "lz4") && len(out) > 0 {
			block := packLZ4(t, out)
			if len(block) == 0 { // the library does not write what does not shrink
				return
			}
			if again, err := Decompress(nil, "lz4", "0", block, most); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("%v", err)
			}
		}
	})
}
