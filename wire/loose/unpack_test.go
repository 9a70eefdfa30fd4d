package loose

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/logbridge/logbridge"
)

// packing is one compression, and an encoder of it that is not ours.
type packing struct {
	unpack func(dst, packed []byte, most int) ([]byte, error)
	pack   func(t testing.TB, plain string) []byte
}

func packings() map[string]packing {
	return map[string]packing{
		"lz4": {UnpackLZ4, func(t testing.TB, plain string) []byte {
			out := make([]byte, lz4.CompressBlockBound(len(plain)))
			n, err := lz4.CompressBlock([]byte(plain), out, nil)
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			return out[:n]
		}},
		"deflate": {UnpackDeflate, func(t testing.TB, plain string) []byte {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, flate.DefaultCompression)
			return written(t, &b, w, err, plain)
		}},
		"zstd": {UnpackZstd, func(t testing.TB, plain string) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll([]byte(plain), nil)
		}},
		"zstd stream": {UnpackZstd, func(t testing.TB, plain string) []byte {
			var b bytes.Buffer
			w, err := zstd.NewWriter(&b, zstd.WithWindowSize(zstdWindow))
			return written(t, &b, w, err, plain)
		}},
	}
}

func written(t testing.TB, b *bytes.Buffer, w io.WriteCloser, err error, plain string) []byte {
	t.Helper()
	if err == nil {
		_, err = io.WriteString(w, plain)
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	const most = 6 << 20
	plain := strings.Repeat("one line of a log, ", 5000)
	for name, p := range packings() {
		packed := p.pack(t, plain)
		for _, dst := range [][]byte{nil, make([]byte, 3, 10), make([]byte, 0, len(plain)+10)} {
			if got, err := p.unpack(dst, packed, most); err != nil || string(got) != plain {
				t.Errorf("%s into %d: %d bytes, %v", name, cap(dst), len(got), err)
			}
		}
		if got, err := p.unpack(nil, packed, len(plain)); err != nil || string(got) != plain {
			t.Errorf("%s of just the length: %d bytes, %v", name, len(got), err)
		}
		if _, err := p.unpack(nil, packed, len(plain)-1); !errors.Is(err, logbridge.ErrTooLarge) {
			t.Errorf("%s over the bound: %v", name, err)
		}
		for _, bad := range [][]byte{{}, packed[:len(packed)/2], []byte("\xff\xff\xff\xff not packed")} {
			if got, err := p.unpack(nil, bad, most); !errors.Is(err, ErrPacked) && !(len(bad) == 0 && len(got) == 0) {
				t.Errorf("%s of %.10q: %d bytes, %v", name, bad, len(got), err)
			}
		}
	}
	// A window beyond the bound costs its memory before there is content.
	wide, err := zstd.NewWriter(nil, zstd.WithWindowSize(2*zstdWindow))
	if err != nil {
		t.Fatal(err)
	}
	frame := wide.EncodeAll([]byte(strings.Repeat("x", 3*zstdWindow)), nil)
	if _, err := UnpackZstd(nil, frame, most); !errors.Is(err, logbridge.ErrTooLarge) {
		t.Errorf("wide window: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, p := range packings() {
		f.Add(p.pack(f, strings.Repeat("one line of a log, ", 50)))
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		const most = 1 << 16
		for name, p := range packings() {
			out, err := p.unpack(nil, packed, most)
			if len(out) > most || cap(out) > MaxUnpacked+1<<20 || err != nil && !errors.Is(err, ErrPacked) && !errors.Is(err, logbridge.ErrTooLarge) {
				t.Fatalf("%s: %d bytes of %d, %v", name, len(out), cap(out), err)
			}
		}
	})
}
