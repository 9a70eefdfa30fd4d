package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// What the windows took in between two segments lies in one file beside them, which is written before the newer one:
//
//	window-<first>-<last>   magic(8), then for each of the three windows
//	                        uint32 remembered at last  uint32 entries  entry…, then a CRC-32C of all that
//	entry                   uint64 uint32 hash  uint32 seconds since 1970 (all little endian)
//
// first and last are sequences of the commit log. A restart reads the files backwards from the end of the segments, and
// keeps of their entries the newest as many as were remembered: exactly what the windows held. A file is removed when all
// in it is forgotten, or when a later one was written whole instead.

const (
	windowMagic    = "lbrw0002"
	windowFormat   = "window-%016x-%016x"
	windowRowSize  = 16
	windowHeadSize = 8

	// mostWindowFiles is how many there may be before one is written that holds everything: with little traffic a file is
	// small and stays for long.
	mostWindowFiles = 16

	// maxWindowFile bounds a file that is read.
	maxWindowFile = int64(len(windowMagic) + windowKinds*(windowHeadSize+windowEntries*windowRowSize) + 4)
)

// windowFile is a file of the windows.
type windowFile struct {
	first, last uint64
	ends        [windowKinds]uint64 // the numbers behind its last entries
}

func (f windowFile) name() string { return fmt.Sprintf(windowFormat, f.first, f.last) }

func parseWindowName(s string) (f windowFile, ok bool) {
	_, err := fmt.Sscanf(s, windowFormat, &f.first, &f.last)
	return f, err == nil && f.first <= f.last && s == f.name()
}

// frozenWindow is what the windows took in up to a sequence, ready to be written.
type frozenWindow struct {
	windowFile
	body  []byte
	tails [windowKinds]uint64 // the oldest that was remembered then
}

// freeze encodes what came since the last file up to sequence last, or everything when there are many files.
func (d *duplicates) freeze(last uint64) frozenWindow {
	f := frozenWindow{windowFile: windowFile{first: d.saved + 1, last: last}}
	from := d.savedEnds
	if len(d.savedFiles) >= mostWindowFiles {
		f.first, from = d.savedFiles[0].first, [windowKinds]uint64{}
	}
	b := []byte(windowMagic)
	for i, w := range d.all() {
		older, newer := w.entries(max(from[i], w.tail))
		b = binary.LittleEndian.AppendUint32(b, uint32(w.next-w.tail))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(older)+len(newer)))
		b = appendEntries(appendEntries(slices.Grow(b, (len(older)+len(newer))*windowRowSize), older), newer)
		f.tails[i], f.ends[i] = w.tail, w.next
	}
	f.body = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return f
}

func appendEntries(b []byte, entries []windowEntry) []byte {
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint64(b, e.high)
		b = binary.LittleEndian.AppendUint32(b, e.low)
		b = binary.LittleEndian.AppendUint32(b, e.at)
	}
	return b
}

// wrote notes that a frozen window is on disk. It and removeOld are called by whoever writes segments; freeze comes only
// when that has ended.
func (d *duplicates) wrote(f *frozenWindow) {
	d.saved, d.savedEnds = f.last, f.ends
	d.savedFiles = append(d.savedFiles, f.windowFile)
	f.body = nil
}

// removeOld removes the files of which nothing is remembered, or that the newest one holds too.
func (d *duplicates) removeOld(dir string, f *frozenWindow) error {
	var err error
	d.savedFiles = slices.DeleteFunc(d.savedFiles, func(old windowFile) bool {
		if old == f.windowFile {
			return false
		}
		for i, end := range old.ends {
			if end > f.tails[i] && old.first < f.first {
				return false
			}
		}
		err = errors.Join(err, os.Remove(filepath.Join(dir, old.name())))
		return true
	})
	return err
}

func saveWindow(dir string, f *frozenWindow) error {
	_, err := replaceFile(dir, "window", func(out *os.File) (string, error) {
		_, err := out.Write(f.body)
		return f.name(), err
	})
	return err
}

// windowContent is a decoded file.
type windowContent struct {
	remembered [windowKinds]int
	entries    [windowKinds][]windowEntry
}

func decodeWindow(b []byte) (c windowContent, err error) {
	body, ok := bytes.CutPrefix(b, []byte(windowMagic))
	end := len(b) - 4
	if !ok || len(body) < 4 || crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return c, errCorrupt
	}
	body = body[:len(body)-4]
	for i := range windowKinds {
		if len(body) < windowHeadSize {
			return c, errCorrupt
		}
		remembered, count := binary.LittleEndian.Uint32(body), int(binary.LittleEndian.Uint32(body[4:]))
		body = body[windowHeadSize:]
		if remembered > windowEntries || count > len(body)/windowRowSize {
			return c, errCorrupt
		}
		c.remembered[i] = int(remembered)
		c.entries[i] = make([]windowEntry, count)
		for k := range c.entries[i] {
			c.entries[i][k] = windowEntry{
				binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint32(body[8:]), binary.LittleEndian.Uint32(body[12:]),
			}
			body = body[windowRowSize:]
		}
	}
	if len(body) > 0 {
		return c, errCorrupt
	}
	return c, nil
}

// loadDuplicates reads the windows as they were after sequence last. What is missing in them is logged: the repetitions of
// what it named will be stored again. Files of a segment that was not finished, and such as other files hold too, are removed.
func loadDuplicates(dir string, last uint64, bound int, log *slog.Logger) (*duplicates, error) {
	d := newDuplicates(bound)
	d.saved = last
	if last == 0 {
		return d, removeWindows(dir, nil)
	}
	chain, contents, err := readWindows(dir, last, log)
	if err != nil {
		return nil, err
	}
	for i, w := range d.all() {
		total, remembered := 0, 0
		for _, c := range contents {
			total += len(c.entries[i])
			remembered = c.remembered[i] // the newest says
		}
		if total < remembered {
			log.Error("a part of what tells repetitions is missing; they will be stored again", "entries", remembered-total)
		}
		skip := max(total-min(remembered, bound), 0)
		for k, c := range contents {
			kept := c.entries[i][min(skip, len(c.entries[i])):]
			skip -= len(c.entries[i]) - len(kept)
			for _, e := range kept {
				w.push(e)
			}
			chain[k].ends[i] = w.next
		}
		d.savedEnds[i] = w.next
	}
	d.savedFiles = chain
	return d, removeWindows(dir, chain)
}

// readWindows reads the files that lead up to sequence last, oldest first, as far back as there is no gap.
func readWindows(dir string, last uint64, log *slog.Logger) (chain []windowFile, contents []windowContent, err error) {
	files, err := windowFiles(dir)
	if err != nil {
		return nil, nil, err
	}
	newest := uint64(0)
	for _, f := range files {
		if f.last <= last {
			newest = max(newest, f.last)
		}
	}
	if newest < last {
		log.Error("what tells repetitions is missing; they will be stored again", "from", newest+1, "to", last)
	}
	for at := newest; ; at = chain[len(chain)-1].first - 1 {
		// Of several that end here the first name reaches farthest back.
		i := slices.IndexFunc(files, func(f windowFile) bool { return f.last == at })
		if i < 0 {
			break
		}
		c, err := readWindow(filepath.Join(dir, files[i].name()))
		if errors.Is(err, errCorrupt) {
			log.Error("a file of what tells repetitions is set aside; they will be stored again", "err", err)
			break
		}
		if err != nil {
			return nil, nil, err
		}
		chain, contents = append(chain, files[i]), append(contents, c)
	}
	slices.Reverse(chain)
	slices.Reverse(contents)
	return chain, contents, nil
}

// windowFiles lists the files of the windows in the order of their names.
func windowFiles(dir string) (files []windowFile, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if f, ok := parseWindowName(e.Name()); ok {
			files = append(files, f)
		}
	}
	return files, err
}

func readWindow(path string) (windowContent, error) {
	b, err := readBounded(path, maxWindowFile)
	if err != nil {
		return windowContent{}, err
	}
	c, err := decodeWindow(b)
	if err != nil {
		return c, setAside(path, err)
	}
	return c, nil
}

// removeWindows removes all files of the windows but these.
func removeWindows(dir string, keep []windowFile) error {
	files, err := windowFiles(dir)
	for _, f := range files {
		if !slices.ContainsFunc(keep, func(k windowFile) bool { return k.name() == f.name() }) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.name())))
		}
	}
	return err
}
