package sink

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	// retentionEvery is how often retention looks when no new segment makes it look.
	retentionEvery = time.Minute

	// When the wall clock is set by more than stepTolerance, nothing expires by age for stepHold: long enough for an
	// operator, or NTP, to set it right before it has cost any records.
	stepTolerance = 10 * time.Minute
	stepHold      = time.Hour
)

// retaining removes what is beyond the bounds, after each new segment and from time to time, until ctx ends. It depends on
// nothing but the set of segments, so that it goes on when the disk is full.
func (l *Log) retaining(ctx context.Context) {
	if l.cfg.RetentionAge <= 0 && l.cfg.RetentionBytes <= 0 {
		return
	}
	ticker := time.NewTicker(retentionEvery)
	defer ticker.Stop()
	last, held := time.Now(), time.Time{}
	for {
		now, age := time.Now(), l.cfg.RetentionAge
		if step := clockStep(last, now, now.Sub(last)); step.Abs() > stepTolerance && age > 0 {
			l.log.Error("the clock was set: nothing expires by age for a while", "step", step, "for", stepHold)
			held = now.Add(stepHold)
		}
		last = now
		if now.Before(held) {
			age = 0
		}
		l.expire(age, l.cfg.RetentionBytes)
		select {
		case <-ctx.Done():
			return
		case <-l.wakeRetention:
		case <-ticker.C:
		}
	}
}

// clockStep is how far the wall clock was set between two readings, when so much time has passed by the monotonic clock.
func clockStep(before, now time.Time, passed time.Duration) time.Duration {
	return now.Round(0).Sub(before.Round(0)) - passed
}

// expire removes the segments that are beyond the bounds, of which 0 is none, whole ones, oldest first by sequence.
//
// Age counts from the time of receipt, by the clock of this server. The event time would not do: a device with a wrong
// clock would have its lines removed at once or kept for ever, and an old backlog would go the moment it came. So a
// record is found for at least that age, and for up to the span of its segment more (mergeSpan).
//
// The memtables and the commit log are never touched, and neither is the newest segment for the sake of bytes. When its
// age is over, an empty one takes its place: the end of the segments says where the commit log begins.
func (l *Log) expire(age time.Duration, bytes int64) {
	defer l.tend()()
	held := l.held()
	defer l.letGo(held)
	var kept []*member
	total := int64(0)
	before := int64(math.MinInt64)
	if age > 0 {
		before = l.cfg.Now().Add(-age).UnixNano()
	}
	for i, m := range held {
		old := m.rows > 0 && m.maxObserved < before
		empty := m.rows == 0 && len(kept) == 0 && i < len(held)-1 // nothing is before it that it could be merged with
		if (old || empty) && l.remove(m, "age", &l.expiredByAge) {
			continue
		}
		kept, total = append(kept, m), total+m.size
	}
	for ; bytes > 0 && len(kept) > 1 && total > bytes; kept = kept[1:] {
		if l.remove(kept[0], "bytes", &l.expiredByBytes) {
			total -= kept[0].size
		}
	}
}

// remove takes a segment out of the set, unless something else did or it is the newest and cannot be replaced.
func (l *Log) remove(m *member, why string, records *atomic.Uint64) bool {
	var instead []*member
	if l.newest() == m {
		path, err := writeSegment(l.cfg.Dir, memSnapshot{}, m.first, m.last)
		var empty *segment
		if err == nil {
			empty, err = openSegment(path)
		}
		if err != nil {
			l.log.Error("the newest segment is not removed yet", "why", why, "err", err)
			return false
		}
		instead = append(instead, newMember(empty))
	}
	if !l.swap([]*member{m}, instead...) {
		l.discard(instead...)
		return false
	}
	if instead != nil {
		// Its readers take a new look. A file that stayed for them until a crash would have more records than what the empty one
		// is merged to by then, and a start would keep the wrong one (withoutOverlap).
		if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("segment not removed, the next start will do it", "file", filepath.Base(m.path), "err", err)
		}
	}
	records.Add(uint64(m.rows))
	l.log.Info("segment removed", "why", why, "file", filepath.Base(m.path), "records", m.rows, "bytes", m.size,
		"received_from", stamp(m.minObserved), "received_to", stamp(m.maxObserved))
	return true
}

func (l *Log) newest() *member {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n := len(l.segments.list); n > 0 {
		return l.segments.list[n-1]
	}
	return nil
}
