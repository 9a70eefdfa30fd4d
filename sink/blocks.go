package sink

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// A segment's pages are covered by a CRC-32C for each block of blockSize bytes; the sums stand in the footer, whose own
// sum stands in the file's name. So every byte is checked before the Parquet library believes it: its page checksums
// leave the page headers out, and a damaged header can make it allocate or loop without end.

// blockSize is about the size of what is read at a time.
const blockSize = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockSums adds up the sums of what is written through it, until the tail begins; then it takes length and sum of that.
type blockSums struct {
	w io.Writer

	sums   []byte // of full blocks
	filled int    // bytes of the current block
	sum    uint32 // of the current block, or of the tail

	tail   bool
	length uint32
}

func (b *blockSums) Write(p []byte) (int, error) {
	n, err := b.w.Write(p)
	for p = p[:n]; len(p) > 0; {
		if b.tail {
			b.length += uint32(len(p))
			b.sum = crc32.Update(b.sum, castagnoli, p)
			break
		}
		part := p[:min(len(p), blockSize-b.filled)]
		b.sum = crc32.Update(b.sum, castagnoli, part)
		if b.filled += len(part); b.filled == blockSize {
			b.cut()
		}
		p = p[len(part):]
	}
	return n, err
}

func (b *blockSums) cut() {
	if b.filled > 0 {
		b.sums = binary.LittleEndian.AppendUint32(b.sums, b.sum)
	}
	b.filled, b.sum = 0, 0
}

// startTail ends the blocks and gives their sums as text.
func (b *blockSums) startTail() string {
	b.cut()
	b.tail = true
	return base64.StdEncoding.EncodeToString(b.sums)
}

// blockReader checks every block before it hands out a byte of it.
type blockReader struct {
	r    io.ReaderAt
	end  int64 // of the blocks; behind it is the tail, checked when the file was opened
	sums []byte
}

// setSums takes what startTail gave.
func (b *blockReader) setSums(text string) error {
	sums, err := base64.StdEncoding.DecodeString(text)
	if blocks := (b.end + blockSize - 1) / blockSize; err != nil || int64(len(sums)) != 4*blocks {
		return fmt.Errorf("block sums of %d bytes", len(sums))
	}
	b.sums = sums
	return nil
}

var blockBuffers = sync.Pool{New: func() any { return new([blockSize]byte) }}

func (b *blockReader) ReadAt(p []byte, offset int64) (n int, err error) {
	buffer := blockBuffers.Get().(*[blockSize]byte)
	defer blockBuffers.Put(buffer)
	for n < len(p) && offset < b.end {
		start := offset - offset%blockSize
		block := buffer[:min(blockSize, b.end-start)]
		if err := b.readBlock(block, start); err != nil {
			return n, err
		}
		k := copy(p[n:], block[offset-start:])
		n, offset = n+k, offset+int64(k)
	}
	if n == len(p) {
		return n, nil
	}
	k, err := b.r.ReadAt(p[n:], offset)
	return n + k, err
}

func (b *blockReader) readBlock(block []byte, start int64) error {
	if _, err := b.r.ReadAt(block, start); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file ends before byte %d", errDamaged, start+int64(len(block)))
	} else if err != nil {
		return err
	}
	at := start / blockSize * 4
	if at+4 > int64(len(b.sums)) || crc32.Checksum(block, castagnoli) != binary.LittleEndian.Uint32(b.sums[at:]) {
		return fmt.Errorf("%w: checksum of the block at byte %d is wrong", errDamaged, start)
	}
	return nil
}
