package sink

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// windowAge is how old a delivery may be that a redelivered message repeats: devices redeliver when they reconnect,
	// within minutes, and later the same text is rather a message whose first delivery was lost.
	windowAge = 10 * time.Minute

	// windowEntries bounds the keys that are remembered, about 130 MB; the oldest go first and are counted.
	windowEntries = 1 << 20

	windowPrefix  = "window-"
	windowMagic   = "lbrw0001"
	windowRowSize = 16 + 8 + 8
)

// window remembers the replay keys of recent uploads in stream order, so that every run over the same groups decides
// alike. The clock is the time of receipt that the uploads carry, never the wall clock of whoever indexes.
//
// On disk, as window-<last sequence> beside the segment that ends there, and written before it: magic, then for each
// key its hash(16), sequence(8) and time in ns(8), little endian, then a CRC-32 of all that.
type window struct {
	seen     map[[16]byte]windowEntry
	order    []windowKey // oldest first, from next on
	next     int
	overflow atomic.Uint64 // keys forgotten before their time
}

type windowEntry struct {
	seq  uint64
	time int64
}

type windowKey struct {
	hash [16]byte
	windowEntry
}

func newWindow() *window { return &window{seen: map[[16]byte]windowEntry{}} }

// repeats reports whether this upload, in group seq at time now, repeats one that is remembered, and remembers it if not.
// A signed upload repeats any with its key, a redelivery one of the last windowAge; a first delivery repeats none, and
// its key is remembered anew.
func (w *window) repeats(key []byte, seq uint64, now int64, d logbridge.Delivery) bool {
	sum := sha256.Sum256(key)
	hash := [16]byte(sum[:])
	old, known := w.seen[hash]
	switch d {
	case logbridge.FirstDelivery:
		known = false
	case logbridge.Redelivery:
		known = known && now-old.time < int64(windowAge)
	}
	if !known {
		w.add(windowKey{hash, windowEntry{seq, now}})
	}
	return known
}

func (w *window) add(k windowKey) {
	w.seen[k.hash] = k.windowEntry
	w.order = append(w.order, k)
	if len(w.order)-w.next > windowEntries {
		w.overflow.Add(1)
		w.drop()
	}
}

// drop forgets the oldest key. The slice is copied when half of it is behind, so its memory is bounded too.
func (w *window) drop() {
	k := w.order[w.next]
	if w.seen[k.hash] == k.windowEntry { // else the key came again
		delete(w.seen, k.hash)
	}
	w.next++
	if w.next > len(w.order)/2 {
		w.order = append(w.order[:0:0], w.order[w.next:]...)
		w.next = 0
	}
}

func (w *window) encode() []byte {
	live := w.order[w.next:]
	b := make([]byte, 0, len(windowMagic)+len(live)*windowRowSize+4)
	b = append(b, windowMagic...)
	for _, k := range live {
		b = append(b, k.hash[:]...)
		b = binary.LittleEndian.AppendUint64(b, k.seq)
		b = binary.LittleEndian.AppendUint64(b, uint64(k.time))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func decodeWindow(b []byte) (*window, error) {
	body, ok := bytes.CutPrefix(b, []byte(windowMagic))
	if !ok || len(body) < 4 || (len(body)-4)%windowRowSize != 0 || (len(body)-4)/windowRowSize > windowEntries {
		return nil, errCorrupt
	}
	end := len(b) - 4
	if crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, errCorrupt
	}
	w := newWindow()
	for body = body[:len(body)-4]; len(body) > 0; body = body[windowRowSize:] {
		k := windowKey{hash: [16]byte(body[:16])}
		k.seq = binary.LittleEndian.Uint64(body[16:])
		k.time = int64(binary.LittleEndian.Uint64(body[24:]))
		w.add(k)
	}
	return w, nil
}

func windowName(last uint64) string { return fmt.Sprintf("%s%016x", windowPrefix, last) }

// loadWindow reads the window as it was after group last. Without a file it is empty.
func loadWindow(dir string, last uint64) (*window, error) {
	b, err := os.ReadFile(filepath.Join(dir, windowName(last)))
	if errors.Is(err, fs.ErrNotExist) {
		return newWindow(), nil
	}
	if err != nil {
		return nil, err
	}
	w, err := decodeWindow(b)
	if err != nil {
		return nil, fmt.Errorf("replay window after sequence %d: %w", last, err)
	}
	return w, nil
}

// saveWindow writes the window as it was after group last.
func saveWindow(dir string, last uint64, encoded []byte) error {
	_, err := replaceFile(dir, "window", func(f *os.File) (string, error) {
		_, err := f.Write(encoded)
		return windowName(last), err
	})
	return err
}

// removeOldWindows removes all windows but the one after group last.
func removeOldWindows(dir string, last uint64) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if name := f.Name(); strings.HasPrefix(name, windowPrefix) && name != windowName(last) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}
