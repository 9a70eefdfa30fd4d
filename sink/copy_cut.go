package sink

import (
	"context"
	"math"
	"os"
	"path/filepath"

	"github.com/logbridge/logbridge"
)

// cut writes what a copied segment has behind sequence end as segments of this node's own, and removes it. The nodes write and
// merge at other sequences, so one that is copied may begin with what is here already.
func (t *taking) cut(ctx context.Context, name string, end uint64) error {
	path := filepath.Join(t.dir, name)
	s, _, err := openIndexed(path)
	if err != nil {
		return err
	}
	defer s.Close()
	c := &cutter{dir: t.dir, most: t.cfg.MemtableBytes, table: newMemtable(0), first: end + 1}
	if err := c.take(ctx, s, end); err != nil {
		return err
	}
	if err := c.write(s.last); err != nil {
		return err
	}
	return os.Remove(path)
}

// cutter puts records into a memtable again, in the order of positions, and writes it whenever it is full.
type cutter struct {
	dir   string
	most  int
	table *memtable
	first uint64 // sequence of what is written next

	seq  uint64 // of the group that is being put together
	raw  []byte
	rows []parsedRow
}

func (c *cutter) take(ctx context.Context, s *segment, end uint64) error {
	if s.rows == 0 {
		return nil
	}
	from := logbridge.Position{Seq: end, Index: math.MaxUint32}
	in, err := s.open(newPlan(ctx, logbridge.Query{Order: logbridge.ByPosition, After: from}))
	for err == nil {
		if _, more := in.head(); !more {
			return c.group()
		}
		var r logbridge.Record
		if r, err = in.take(); err == nil {
			err = c.add(&r)
		}
	}
	return err
}

// add puts a record behind the others of its group, at its index: those between were duplicates.
func (c *cutter) add(r *logbridge.Record) error {
	if r.Position.Seq != c.seq {
		if err := c.group(); err != nil {
			return err
		}
		c.seq = r.Position.Seq
	}
	size, err := recordSize(r)
	if err != nil {
		return err
	}
	for uint32(len(c.rows)) < r.Position.Index {
		c.rows = append(c.rows, parsedRow{})
	}
	c.rows = append(c.rows, parsedRow{offset: uint32(len(c.raw)), kept: true})
	c.raw = appendRecord(c.raw, r, size)
	return nil
}

// group ends a group, and writes the memtable if it is full.
func (c *cutter) group() error {
	if len(c.rows) == 0 {
		return nil
	}
	for i := range c.rows {
		if !c.rows[i].kept {
			continue
		}
		var err error
		if c.rows[i].row, _, err = decodeRow(c.raw[c.rows[i].offset:]); err != nil {
			return err
		}
	}
	c.table.add(&group{seq: c.seq, raw: c.raw}, &parsed{rows: c.rows})
	c.raw, c.rows = nil, c.rows[:0]
	if _, size := c.table.size(); size >= c.most {
		return c.write(c.seq)
	}
	return nil
}

// write writes what the memtable has as the segment up to a sequence.
func (c *cutter) write(last uint64) error {
	if c.first > last {
		return nil
	}
	_, err := writeSegment(c.dir, c.table.snapshot(), c.first, last)
	c.table, c.first = newMemtable(0), last+1
	return err
}
