package sink

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/logbridge/logbridge"
)

// A checkpoint of the ledger lies beside each segment and holds what was counted up to its end, a sequence of the commit
// log. It is written before the segment, whole each time: names are sorted and say only where they differ from the one
// before, which makes it a few bytes a stream.
//
//	ledger-<last>  magic(8)  int64 since
//	               uvarint reasons  (text)…
//	               uvarint entries  entry…  CRC-32C of all that
//	entry          byte source  uvarint bytes of the name shared with the entry before  text rest of the name
//	               uvarint stored  uvarint duplicate
//	               uvarint lost  (uvarint reason*2 + dropped  uvarint lines)…

const (
	ledgerMagic  = "lbrl0001"
	ledgerFormat = "ledger-%016x"

	// maxLedgerFile bounds a checkpoint that is read: every stream with a long name and many reasons.
	maxLedgerFile = 256 << 20
)

func ledgerName(last uint64) string { return fmt.Sprintf(ledgerFormat, last) }

func parseLedgerName(s string) (last uint64, ok bool) {
	_, err := fmt.Sscanf(s, ledgerFormat, &last)
	return last, err == nil && s == ledgerName(last)
}

// encode makes a checkpoint. sorted is what it returned for an earlier state of the ledger, or nil: streams only come, so
// their order need not be found each time.
func (s ledgerState) encode(sorted []uint32) (b []byte, order []uint32) {
	order = s.order(sorted)
	b = append(make([]byte, 0, 1<<10+16*len(s.entries)), ledgerMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.since))
	reasons, number := s.reasons(order)
	b = binary.AppendUvarint(b, uint64(len(reasons)))
	for _, r := range reasons {
		b = appendText(b, r)
	}
	b = binary.AppendUvarint(b, uint64(len(s.entries)))
	before := ""
	for _, i := range order {
		e := &s.entries[i]
		shared := 0
		for shared < min(len(before), len(e.stream)) && before[shared] == e.stream[shared] {
			shared++
		}
		b = binary.AppendUvarint(append(b, e.source), uint64(shared))
		b = appendText(b, e.stream[shared:])
		b = binary.AppendUvarint(b, e.stored)
		b = binary.AppendUvarint(b, e.duplicate)
		b = binary.AppendUvarint(b, uint64(len(e.lost)))
		for _, l := range e.lost {
			code := number[l.reason] * 2
			if l.dropped {
				code++
			}
			b = binary.AppendUvarint(binary.AppendUvarint(b, code), l.lines)
		}
		before = e.stream
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), order
}

// order gives the places of the entries by stream and source.
func (s ledgerState) order(sorted []uint32) []uint32 {
	if len(sorted) == len(s.entries) {
		return sorted
	}
	for i := len(sorted); i < len(s.entries); i++ {
		sorted = append(sorted, uint32(i))
	}
	slices.SortFunc(sorted, func(a, b uint32) int {
		x, y := &s.entries[a], &s.entries[b]
		return cmp.Or(cmp.Compare(x.stream, y.stream), cmp.Compare(x.source, y.source))
	})
	return sorted
}

// reasons lists all reasons, and gives each its number: in the order of the entries in the file, so that all nodes write alike.
func (s ledgerState) reasons(order []uint32) (list []string, number map[string]uint64) {
	number = map[string]uint64{}
	for _, i := range order {
		for _, l := range s.entries[i].lost {
			if _, known := number[l.reason]; !known {
				number[l.reason] = uint64(len(list))
				list = append(list, l.reason)
			}
		}
	}
	return list, number
}

// decodeLedger reads a checkpoint.
func decodeLedger(b []byte) (s ledgerState, err error) {
	const head = len(ledgerMagic) + 8
	if len(b) < head+4 || !bytes.HasPrefix(b, []byte(ledgerMagic)) {
		return s, errCorrupt
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return s, errCorrupt
	}
	s.since = int64(binary.LittleEndian.Uint64(b[len(ledgerMagic):]))
	in := reader{b: b[head:end]}
	reasons := make([]string, 0)
	for range in.count() {
		reasons = append(reasons, in.text())
	}
	name := ""
	for range in.count() {
		e := ledgerEntry{source: in.byte()}
		shared, rest := in.number(), in.text()
		if in.bad || shared > uint64(len(name)) || int(e.source) >= len(logbridge.Sources) {
			return s, errCorrupt
		}
		name = name[:shared] + rest
		e.stream, e.stored, e.duplicate = name, in.number(), in.number()
		for range in.count() {
			code, lines := in.number(), in.number()
			if code/2 >= uint64(len(reasons)) {
				return s, errCorrupt
			}
			e.lost = append(e.lost, lostLines{reasons[code/2], code%2 == 1, lines})
		}
		s.entries = append(s.entries, e)
	}
	if in.bad || len(in.b) > 0 {
		return s, errCorrupt
	}
	return s, nil
}

// reader takes numbers and texts from bytes; bad tells that they ended before.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a number of things, of which each takes a byte at least.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) text() string {
	text, rest, ok := cutText(r.b)
	if !ok {
		r.b, r.bad = nil, true
		return ""
	}
	r.b = rest
	return string(text)
}

// restore fills an empty ledger from a checkpoint.
func (l *ledger) restore(s ledgerState) {
	l.since = s.since
	for _, e := range s.entries {
		to := l.entry(e.source, []byte(e.stream))
		for _, t := range []*tally{&to.tally, &l.sources[e.source]} {
			t.stored += e.stored
			t.duplicate += e.duplicate
			for _, c := range e.lost {
				t.lose(lostKey{reason: c.reason, dropped: c.dropped}, c.lines)
			}
		}
	}
}

// saveLedger writes a checkpoint as encode made it.
func saveLedger(dir string, last uint64, encoded []byte) error {
	_, err := replaceFile(dir, "ledger", func(f *os.File) (string, error) {
		_, err := f.Write(encoded)
		return ledgerName(last), err
	})
	return err
}

// loadLedger reads the ledger as it was after sequence last. When that checkpoint is missing or damaged, an older one is
// taken, or an empty one, and what is missing is logged.
func loadLedger(dir string, last uint64, bound int, log *slog.Logger) (*ledger, error) {
	l := newLedger(bound)
	all, err := checkpoints(dir)
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	for _, at := range all {
		if at > last {
			continue // of a segment that was not finished
		}
		b, err := readBounded(filepath.Join(dir, ledgerName(at)), maxLedgerFile)
		var s ledgerState
		if err == nil {
			if s, err = decodeLedger(b); err != nil {
				err = setAside(filepath.Join(dir, ledgerName(at)), err)
			}
		}
		if errors.Is(err, errCorrupt) {
			log.Error("a checkpoint of the ledger is set aside", "err", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		l.restore(s)
		if at < last {
			log.Error("the ledger misses what was counted between", "from", at+1, "to", last)
		}
		return l, nil
	}
	if last > 0 {
		log.Error("the ledger is missing and counts from now on", "from", last+1)
	}
	return l, nil
}

// checkpoints lists the sequences of the checkpoints, ascending.
func checkpoints(dir string) (all []uint64, err error) {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if last, ok := parseLedgerName(f.Name()); ok {
			all = append(all, last)
		}
	}
	return all, err
}

// removeOldLedgers removes all checkpoints but the one after sequence last.
func removeOldLedgers(dir string, last uint64) error {
	all, err := checkpoints(dir)
	for _, at := range all {
		if at != last {
			if e := os.Remove(filepath.Join(dir, ledgerName(at))); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}
