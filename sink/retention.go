package sink

import (
	"context"
	"math"
	"path/filepath"
	"slices"
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
		now, age, keep := time.Now(), l.cfg.RetentionAge, l.cfg.AuditAge
		if step := clockStep(last, now, now.Sub(last)); step.Abs() > stepTolerance && (age > 0 || keep > 0) {
			l.log.Error("the clock was set: nothing expires by age for a while", "step", step, "for", stepHold)
			held = now.Add(stepHold)
		}
		last = now
		if now.Before(held) {
			age, keep = 0, -1
		}
		l.expireBut(ctx, age, l.cfg.RetentionBytes, keep)
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

// expireBut removes the segments that are beyond the bounds, of which 0 is none, whole ones, oldest first by sequence.
//
// Age counts from the time of receipt, by the clock of this server. The event time would not do: a device with a wrong
// clock would have its lines removed at once or kept for ever, and an old backlog would go the moment it came. So a
// record is found for at least that age, and for up to the span of its segment more (mergeSpan).
//
// The memtables and the commit log are never touched, and neither is the newest segment for the sake of bytes. When its
// age is over, an empty one takes its place: the end of the segments says where the commit log begins.
//
// Records of the audit stream that were received within the last of keep stay, and are carried into a smaller segment
// (carry.go), unless they alone are more than bytes: then the oldest of them go too.
func (l *Log) expireBut(ctx context.Context, age time.Duration, bytes int64, keep time.Duration) {
	defer l.tend()()
	held := l.held()
	defer l.letGo(held)
	k := l.keep(keep)
	var kept []*member
	total, stays := int64(0), false
	before := int64(math.MinInt64)
	if age > 0 {
		before = l.cfg.Now().Add(-age).UnixNano()
	}
	for i, m := range held {
		old := m.rows > 0 && m.maxObserved < before && !k.all(m)
		empty := m.rows == 0 && len(kept) == 0 && i < len(held)-1 // nothing is before it that it could be merged with
		if old || empty {
			if left, ok := l.remove(ctx, m, "age", &l.expiredByAge, k, stays); ok {
				total, stays = total+left, stays || left > 0
				continue
			}
		}
		kept, total, stays = append(kept, m), total+m.size, true
	}
	if bytes > 0 && total > bytes {
		l.expireBytes(ctx, kept, total-bytes, k)
	}
}

// expireBytes removes segments, oldest first, until so much has gone, but never the newest.
func (l *Log) expireBytes(ctx context.Context, list []*member, over int64, k keeping) {
	if len(list) == 0 {
		return
	}
	list = list[:len(list)-1]
	stays := func(m *member) bool { return m.rows == 0 || k.all(m) }
	if !slices.ContainsFunc(list, func(m *member) bool { return !stays(m) }) { // audit records alone are too many
		stays, k = func(*member) bool { return false }, l.keep(0)
	}
	older := false
	for _, m := range list {
		if over <= 0 {
			return
		}
		if stays(m) {
			older = true
			continue
		}
		left, ok := l.remove(ctx, m, "bytes", &l.expiredByBytes, k, older)
		if !ok && l.has(m) { // what is newer does not go in its place
			return
		}
		over, older = over-(m.size-left), older || left > 0
	}
}

// remove takes a segment out of the set, unless something else did or what has to stand in for it cannot be written. It gives
// the bytes of that: its audit records, an empty segment for the newest, and one, if that can be, where older ones stay.
func (l *Log) remove(ctx context.Context, m *member, why string, records *atomic.Uint64, k keeping, older bool) (left int64, ok bool) {
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	newest := l.newest() == m
	instead, err := l.stand(ctx, m, k, newest || older)
	if err != nil && (newest || k.part(m)) {
		l.log.Error("a segment is not removed yet", "why", why, "file", filepath.Base(m.path), "err", err)
		return 0, false
	}
	var out []*member
	gone := m.rows
	if instead != nil {
		out, left = append(out, instead), instead.size
		gone -= instead.rows
	}
	if !l.swap([]*member{m}, out...) {
		l.discard(out...)
		return 0, false
	}
	if instead != nil {
		l.unlink(m)
	}
	records.Add(uint64(gone))
	l.log.Info("segment removed", "why", why, "file", filepath.Base(m.path), "records", gone, "audit_records_kept", m.rows-gone, "bytes", m.size-left,
		"received_from", stamp(m.minObserved), "received_to", stamp(m.maxObserved))
	return left, true
}

func (l *Log) newest() *member {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n := len(l.segments.list); n > 0 {
		return l.segments.list[n-1]
	}
	return nil
}
