package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/logbridge/logbridge"
)

// Small segments are merged so that their number, and with it the work of opening them for a query, stays in proportion to the
// data. Sizes have three classes: tiny below 1/32 of the target, small below 1/2, and the rest, which is final. Tiny
// neighbours become a small one when they are enough for it together, small and tiny ones a final one when they are.
// So each record is written at most twice more. A run that can never be enough, for its neighbours are final or too far in
// time, is merged as it is: nothing stays small for ever, except what is newest. When no new segment has come for mergeIdle,
// that is merged too if it is fresh, once, for a better compression: a busy log does not stop for that. In a log that rests
// between its segments records are so written three times more, where that is no burden.
const (
	// mergeRows and mergeBytes are the target, whichever is reached first: large enough that segments are few, small enough
	// that writing one takes seconds and losing one to a damaged disk is no disaster.
	mergeRows  = 1_200_000
	mergeBytes = 64 << 20

	smallPart, tinyPart = 2, 32

	// mergeFiles bounds the segments of one merge, and so how many tiny ones there can be.
	mergeFiles = 256

	// mergeSpan bounds the time of receipt that a merged segment covers, and mergeAgeParts its part of the retention age:
	// records go with the last of their segment.
	mergeSpan     = 24 * time.Hour
	mergeAgeParts = 16

	// mergeAudit is mergeSpan for segments that hold audit records alone, which are small and kept for long.
	mergeAudit = 30 * 24 * time.Hour

	// mergeIdle is how long no new segment must have come for the newest to be merged although they are few. A failed merge
	// waits so long, too.
	mergeIdle = 10 * time.Second
)

// mergePolicy says which neighbours are merged.
type mergePolicy struct {
	rows, bytes int64
	span        time.Duration
	audit       time.Duration // in place of span for segments with audit records alone
}

func newMergePolicy(retention, audit time.Duration) mergePolicy {
	p := mergePolicy{rows: mergeRows, bytes: mergeBytes, span: mergeSpan, audit: mergeAudit}
	if retention > 0 {
		p.span = min(p.span, retention/mergeAgeParts)
	}
	if audit >= 0 {
		p.audit = min(p.audit, audit/mergeAgeParts)
	}
	p.audit = max(p.span, p.audit)
	return p
}

// enough reports whether rows and bytes reach one part of the target.
func (p mergePolicy) enough(rows, bytes, part int64) bool {
	return rows >= p.rows/part || bytes >= p.bytes/part
}

// pick gives the first run of neighbours that is to be merged, oldest first, or nil.
func (p mergePolicy) pick(list []*member) []*member {
	for i, m := range list {
		if m.fresh && p.enough(m.rows, m.size, smallPart) { // it is for no other run
			return list[i : i+1]
		}
	}
	for _, step := range []struct{ each, sum int64 }{{tinyPart, tinyPart}, {smallPart, 1}} {
		for at := 0; at < len(list); {
			n, full, closed := p.run(list[at:], step.each, step.sum)
			if n > 1 && (full || closed && step.sum == 1) {
				return list[at : at+n]
			}
			at += max(n, 1)
		}
	}
	return nil
}

// pickFresh gives the first neighbours that are fresh, or nil. Others beside them are left alone: to write them again with
// each new segment would never end.
func (p mergePolicy) pickFresh(list []*member) []*member {
	at := slices.IndexFunc(list, isFreshMember)
	if at < 0 {
		return nil
	}
	end := at + 1
	for end < len(list) && list[end].fresh {
		end++
	}
	n, _, _ := p.run(list[at:end], smallPart, 1)
	return list[at : at+max(n, 1)]
}

func isFreshMember(m *member) bool { return m.fresh }

// run counts how many segments from the first on can be merged: those that are less than one part of the target, until
// their sum is another. It is full when it may take no more, and closed when what comes next can never join it.
func (p mergePolicy) run(list []*member, each, sum int64) (n int, full, closed bool) {
	var rows, bytes int64
	var times span
	audit := true
	for ; n < len(list) && n < mergeFiles; n++ {
		m := list[n]
		// A gap in the sequences is left open: what was set aside there may be put back from a copy.
		gap := n > 0 && list[n-1].last+1 != m.first
		wider := times.with(m)
		longest := p.span
		if audit && (m.rows == 0 || m.auditOnly()) {
			longest = p.audit
		}
		if gap || p.enough(m.rows, m.size, each) || wider.length() > longest || rows+m.rows > maxSegmentRows {
			return n, false, !audit || !times.any || n >= auditMergeRun
		}
		audit = audit && (m.rows == 0 || m.auditOnly())
		rows, bytes, times = rows+m.rows, bytes+m.size, wider
		if p.enough(rows, bytes, sum) {
			return n + 1, true, false
		}
	}
	return n, n == mergeFiles, false
}

// span is a range of times of receipt.
type span struct {
	any       bool
	low, high int64
}

func (s span) with(m *member) span {
	switch {
	case m.rows == 0: // only duplicates came
		return s
	case !s.any:
		return span{true, m.minObserved, m.maxObserved}
	}
	return span{true, min(s.low, m.minObserved), max(s.high, m.maxObserved)}
}

func (s span) length() time.Duration {
	if n := s.high - s.low; n >= 0 {
		return time.Duration(n)
	}
	return math.MaxInt64 // more than can be said
}

// merger merges what the policy picks, one run at a time. Queries and the writing of new segments go on meanwhile.
type merger struct {
	*Log
	policy mergePolicy
	failed uint64 // the last sequence of a run that could not be merged: the others have their turn before it is tried again
}

// run merges until ctx ends.
func (l *merger) run(ctx context.Context) {
	for {
		for l.next(ctx, l.policy.pick) {
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wakeMerge:
		case <-time.After(mergeIdle):
			l.next(ctx, l.policy.pickFresh)
		}
	}
}

// next does one merge of what pick gives, and reports whether there may be another to do now.
func (l *merger) next(ctx context.Context, pick func([]*member) []*member) bool {
	defer l.tend()()
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	if len(l.erasing()) > 0 { // a sum without erased rows would have fewer than its parts
		return false
	}
	held := l.held()
	defer l.letGo(held)
	run := pick(slices.DeleteFunc(slices.Clone(held), func(m *member) bool { return m.first <= l.failed }))
	if run == nil || ctx.Err() != nil {
		l.failed = 0
		return false
	}
	began := time.Now()
	out, err := l.merge(ctx, run)
	if ctx.Err() != nil {
		return false
	}
	if errors.Is(err, errDamaged) && l.setDamagedAside(ctx, run) {
		return true
	}
	if err != nil {
		l.log.Error("segments not merged, trying again later", "err", err)
		l.failed = run[len(run)-1].last
		return true
	}
	if !l.swap(run, out) { // one of them was set aside or has expired
		l.discard(out)
		return true
	}
	l.merges.Add(1)
	l.log.Debug("segments merged", "segments", len(run), "records", out.rows, "bytes", out.size, "took", time.Since(began))
	return true
}

// merge writes a run as one segment, whose name covers all their sequences.
func (l *merger) merge(ctx context.Context, run []*member) (*member, error) {
	var in []*segment
	rows, size := int64(0), int64(0)
	for _, m := range run {
		open, done, err := l.segments.opened(m)
		if err != nil {
			return nil, err
		}
		defer done()
		in = append(in, open)
		rows, size = rows+m.rows, size+m.size
	}
	if err := l.room.check(uint64(size)); err != nil { // a merge is never what fills the disk
		return nil, err
	}
	path, err := mergeSegments(ctx, l.cfg.Dir, in)
	if err != nil {
		return nil, err
	}
	s, err := openSegment(path)
	if err == nil && s.rows != rows {
		err = fmt.Errorf("%d records of %d", s.rows, rows)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("merged segment: %w", err), os.Remove(path))
	}
	return newMember(s), nil
}

// setDamagedAside reads the inputs of a merge that found one damaged, and reports whether any was set aside.
func (l *merger) setDamagedAside(ctx context.Context, run []*member) (found bool) {
	for _, m := range run {
		err := l.readWhole(ctx, m)
		if errors.Is(err, errDamaged) {
			err = l.readWhole(ctx, m)
		}
		if errors.Is(err, errDamaged) {
			l.setAside(m, err)
			found = true
		}
	}
	return found
}

func (l *merger) readWhole(ctx context.Context, m *member) error {
	open, done, err := l.segments.opened(m)
	if err != nil {
		return err
	}
	defer done()
	return eachRecord(ctx, open, func(*logbridge.Record) error { return nil })
}

// eachRecord reads a segment whole, in the order of positions.
func eachRecord(ctx context.Context, s *segment, fn func(*logbridge.Record) error) error {
	c, err := s.open(newPlan(ctx, logbridge.Query{Order: logbridge.ByPosition}))
	for err == nil {
		if _, more := c.head(); !more {
			return nil
		}
		var r logbridge.Record
		if r, err = c.take(); err == nil {
			err = fn(&r)
		}
	}
	return fmt.Errorf("segment %016x: %w", s.first, err)
}
