package tencent

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/pierrec/lz4/v4"

	"github.com/logbridge/logbridge"
)

const (
	// MaxReport bounds a report in bytes, once it is unpacked: as much as a device's upload by HTTP may be.
	MaxReport = 4 << 20
	// gzipState is what a reader of gzip holds beside what it reads: a window of 32 KB and the code tables.
	gzipState = 64 << 10
	// The most that one byte makes: 258 bytes by two bits of deflate, 255 by one byte of lz4.
	gzipRatio, lz4Ratio = 1032, 255
)

// packing is how a report is compressed.
type packing uint8

const (
	unpacked packing = iota
	packedGzip
	packedLZ4
)

// ReportForm is what the content type of a report says of it. The zero value is that of a report without one, which MQTT 3.1.1
// does not have: not compressed, and either text or JSON.
type ReportForm struct {
	packing packing
	// Lines says that the report is lines of text, even if it looks like JSON: text/plain.
	Lines bool
}

// ParseReportForm reads a content type: any media type with the parameter encoding=gzip or encoding=lz4, such as
// "application/json; encoding=gzip", or just gzip or lz4, also in the forms application/gzip and application/x-gzip; lz4 is its
// frame format. text/plain means lines; any other type, or what is no media type at all, is the same as none. Another encoding
// is ErrInvalid, since what it packs would be stored as garbage.
func ParseReportForm(contentType string) (ReportForm, error) {
	if contentType == "" {
		return ReportForm{}, nil
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil { // MQTT 5 leaves to the application what it writes there
		return ReportForm{}, nil
	}
	form := ReportForm{Lines: media == "text/plain"}
	encoding := parameters["encoding"]
	if encoding == "" {
		switch name := strings.TrimPrefix(strings.TrimPrefix(media, "application/"), "x-"); name {
		case "gzip", "lz4":
			encoding = name
		}
	}
	switch strings.ToLower(encoding) {
	case "", "identity":
	case "gzip":
		form.packing = packedGzip
	case "lz4":
		form.packing = packedLZ4
	default:
		return ReportForm{}, fmt.Errorf("%w: reports are packed by gzip or lz4, not by %.40q", logbridge.ErrInvalid, encoding)
	}
	return form, nil
}

// Memory is how many bytes Unpack takes for a payload at most; 0 when there is nothing to unpack.
func (f ReportForm) Memory(payload []byte) int {
	switch f.packing {
	case packedGzip:
		return gzipState + min(MaxReport, gzipRatio*len(payload))
	case packedLZ4:
		block, _ := lz4Frame(payload)
		return 2*block + min(MaxReport, lz4Ratio*len(payload))
	}
	return 0
}

// Unpack undoes the compression. ErrInvalid for what is not packed so, or is damaged or cut off; ErrTooLarge for what would
// be more than MaxReport. Memory grows with what comes out, up to that.
func (f ReportForm) Unpack(payload []byte) ([]byte, error) {
	var r io.Reader
	switch f.packing {
	case unpacked:
		return payload, nil
	case packedGzip:
		z, err := gzip.NewReader(bytes.NewReader(payload))
		if err != nil {
			return nil, fmt.Errorf("%w: report is not gzip", logbridge.ErrInvalid)
		}
		r = z
	case packedLZ4:
		if _, ok := lz4Frame(payload); !ok {
			return nil, fmt.Errorf("%w: report is not one frame of lz4", logbridge.ErrInvalid)
		}
		z := lz4.NewReader(bytes.NewReader(payload))
		_ = z.Apply(lz4.ConcurrencyOption(1)) // which is a good option: no goroutines for a small message
		r = z
	}
	out := make([]byte, 0, min(4*len(payload)+bytes.MinRead, MaxReport+1)) // logs shrink to a quarter or less
	for {
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > MaxReport:
			return nil, fmt.Errorf("%w: report of more than %d bytes", logbridge.ErrTooLarge, MaxReport)
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%w: report is damaged: %w", logbridge.ErrInvalid, err)
		case len(out) == cap(out):
			out = append(make([]byte, 0, min(2*cap(out), MaxReport+1)), out...)
		}
	}
}

// The frame format of lz4 (lz4_Frame_format.md 1.6): magic, flags, block descriptor, [content size], [dictionary], checksum of
// the header; blocks, each behind its size; a size of 0; [checksum].
const (
	lz4Magic           = 0x184D2204
	lz4HasDictionary   = 1 << 0
	lz4ContentChecksum = 1 << 2
	lz4HasSize         = 1 << 3
	lz4BlockChecksum   = 1 << 4
	lz4Stored          = 1 << 31 // in a block's size: it is not compressed
)

// lz4Frame walks over the blocks of a payload, without unpacking anything, and gives the size of the buffers that the frame
// asks for. false for all that is not exactly one frame: a second one, or one of the old format, would ask for buffers of
// its own.
func lz4Frame(b []byte) (block int, ok bool) {
	const head = 4 + 2 + 1
	if len(b) < head || binary.LittleEndian.Uint32(b) != lz4Magic {
		return 0, false
	}
	flags, code := b[4], b[5]>>4&7
	if code < 4 || flags&lz4HasDictionary != 0 {
		return 0, false
	}
	block = 64 << 10 << (2 * (code - 4)) // 64 KB, 256 KB, 1 MB, 4 MB
	at, check := head, 0
	if flags&lz4HasSize != 0 {
		at += 8
	}
	if flags&lz4BlockChecksum != 0 {
		check = 4
	}
	for len(b)-at >= 4 {
		size := int(binary.LittleEndian.Uint32(b[at:]) &^ lz4Stored)
		at += 4
		if size == 0 {
			if flags&lz4ContentChecksum != 0 {
				at += 4
			}
			return block, at == len(b)
		}
		if size > block || size+check > len(b)-at {
			return 0, false
		}
		at += size + check
	}
	return 0, false
}
