package sink

import (
	"encoding/binary"
	"slices"

	"github.com/logbridge/logbridge"
)

// duplicates decides which uploads and lines are stored already. The indexer asks it in stream order, and it looks at
// nothing but the groups, so that every run over them decides alike.
type duplicates struct {
	signed    *window // keys of signed uploads
	delivered *window // keys of MQTT messages
	lines     *window // lines with their device's own time
	again     map[hash]uint32
	scratch   []byte
	hashes    []hash // of the lines of an upload

	// saved is the end of what the files of the windows hold (window_file.go).
	saved      uint64
	savedEnds  [windowKinds]uint64
	savedFiles []windowFile
}

// windowKinds is the number of windows, in the order of all.
const windowKinds = 3

func newDuplicates(bound int) *duplicates {
	return &duplicates{
		signed: newWindow(0, bound), delivered: newWindow(windowAge, bound), lines: newWindow(windowAge, bound),
		again: map[hash]uint32{},
	}
}

// all is the order in which the windows stand in their files.
func (d *duplicates) all() [windowKinds]*window {
	return [windowKinds]*window{d.signed, d.delivered, d.lines}
}

func (d *duplicates) forgotten() (n uint64) {
	for _, w := range d.all() {
		n += w.overflow.Load()
	}
	return n
}

// judge says of each row of a group whether it is kept.
func (d *duplicates) judge(p *parsed) {
	rest := p.rows
	for i := range p.uploads {
		u := &p.uploads[i]
		rows := rest[:u.records]
		rest = rest[u.records:]
		if len(u.key) > 0 && d.repeats(u) {
			for i := range rows {
				rows[i].kept = false
			}
			continue
		}
		u.stored = len(rows) - d.judgeLines(u, rows)
	}
}

// repeats reports whether this upload repeats one that is remembered, and remembers it if not. A signed upload repeats any
// with its key, a redelivery one of the last windowAge; a first delivery repeats none, and its key is remembered anew.
func (d *duplicates) repeats(u *uploadHead) bool {
	w, h, now := d.delivered, hashOf(u.key), seconds(u.received)
	if u.delivery == logbridge.SignedUpload {
		w = d.signed
	}
	if _, known := w.find(h, now); known && u.delivery != logbridge.FirstDelivery {
		return true
	}
	w.put(h, now)
	return false
}

// judgeLines keeps of each line of an upload the n-th occurrence unless an n-th occurrence was kept within windowAge: a
// device that sends a part of its lines again, newly signed and in other company, has them stored once, and one that says
// the same thing twice within a second has it stored twice. Only lines with a time of the device's own can be told apart
// like this. It gives the number of those that are not kept.
func (d *duplicates) judgeLines(u *uploadHead, rows []parsedRow) (repeated int) {
	now, begin := seconds(u.received), d.lines.next
	clear(d.again)
	d.hashes = d.hashes[:0]
	for i := range rows {
		h := hash{}
		if rows[i].ownTime() {
			h = d.lineHash(u, &rows[i].row)
		}
		d.hashes = append(d.hashes, h)
	}
	d.lines.touch(d.hashes)
	for i := range rows {
		r, h := &rows[i], d.hashes[i]
		if !r.ownTime() {
			continue
		}
		number, known := d.lines.find(h, now)
		if known {
			// The first occurrence in this upload was either stored by it, or is a duplicate and noted in again.
			n, noted := d.again[h]
			if !noted && number >= begin {
				n = 1
			}
			n++
			d.again[h] = n
			if n == 1 {
				r.kept, repeated = false, repeated+1
				continue
			}
			h = occurrence(h, n)
			if _, known = d.lines.find(h, now); known {
				r.kept, repeated = false, repeated+1
				continue
			}
		}
		d.lines.put(h, now)
	}
	return repeated
}

var ownTimeSources = [...]logbridge.Source{logbridge.SourceMQTT, logbridge.SourceReportLog}

// ownTime reports whether a line carries a time that its device gave it.
func (r *row) ownTime() bool {
	return r.quality != logbridge.TimeReceived && slices.Contains(ownTimeSources[:], logbridge.Sources[r.source])
}

// lineHash names a line: stream, severity, body, attributes and the device's own time. A time that was repaired depends on
// when the line came, so then the attributes tell it: they hold the raw time. The part of a batch that needed several
// groups is in it too: each part counts its occurrences for itself, and must not take the part before it for a repetition.
func (d *duplicates) lineHash(u *uploadHead, r *row) hash {
	b := append(d.scratch[:0], byte(r.severity), byte(r.quality))
	b = binary.LittleEndian.AppendUint32(b, u.part)
	if r.quality == logbridge.TimeDevice {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.time))
	}
	d.scratch = append(b, r.texts...)
	return hashOf(d.scratch)
}

// occurrence names the n-th occurrence of a line in an upload, from the second on.
func occurrence(h hash, n uint32) hash {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], h.high)
	binary.LittleEndian.PutUint32(b[8:], h.low)
	binary.LittleEndian.PutUint32(b[12:], n)
	return hashOf(b[:])
}
