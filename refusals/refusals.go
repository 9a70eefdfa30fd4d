// Package refusals bounds what refused changes leave in the audit stream. Whoever has a token that may do little can try what it may
// not as fast as he likes; each try is a record that is kept for a year. So of each actor only so many a minute are recorded one by
// one, and then one record says how many more there were.
//
// It stands before the log on both ways on which audit records come, from the operator API and from the levels, which know nothing
// of each other: that is why it is a package of its own. What was changed goes through as it is, always.
//
// The counts are in the memory of one node. A process that is killed loses how many were left out in its last minute or so; one that
// ends writes it.
package refusals

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// The bounds.
const (
	// perPeriod is how many refusals of one actor are recorded in a period: more than someone makes who looks for the right call, and
	// some 5 MB a day of one who never stops.
	perPeriod = 10
	period    = time.Minute
	// sweepEvery is how much later than its end a period is told of, at most.
	sweepEvery = 10 * time.Second
	// maxActors is how many are counted apart, more than there are tokens; all others are one.
	maxActors = 1 << 14
	others    = "others"
	// appendWait bounds the wait for the log.
	appendWait = 5 * time.Second
)

// The words of audit records that count here.
const (
	outcome = "outcome"
	refused = "refused"
	actor   = "actor"
	// action of the record that says how many were left out.
	action  = "refusals.left-out"
	leftOut = "left_out"
)

// Appender is the log: *sink.Log.
type Appender interface {
	// Append stores a batch; when it returns nil the records survive a power cut.
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
}

// Log takes audit records and hands them on.
type Log struct {
	records Appender
	log     *slog.Logger

	mu      sync.Mutex // guards both
	tried   map[string]tries
	skipped uint64
}

// tries are the refusals of an actor in a period that began with the first of them.
type tries struct {
	from    time.Time
	kept    int
	skipped uint64
}

// New makes a Log before another.
func New(records Appender, log *slog.Logger) *Log {
	return &Log{records: records, log: log, tried: map[string]tries{}}
}

// LeftOut is how many refusals were not recorded one by one since the start.
func (l *Log) LeftOut() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.skipped
}

// Append hands a batch on, unless it is about a refusal and its actor has had his share of those: then it is counted, and nothing
// is stored. A batch is about one event.
func (l *Log) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	by, ok := refusalOf(b)
	if !ok {
		return l.records.Append(ctx, b)
	}
	keep, former := l.take(&by, time.Now())
	if former.skipped > 0 {
		l.tell(ctx, by, former)
	}
	if !keep {
		return logbridge.Receipt{}, nil
	}
	return l.records.Append(ctx, b)
}

// refusalOf says of whom a batch records a refusal.
func refusalOf(b logbridge.Batch) (by string, ok bool) {
	if len(b.Records) == 0 || b.Records[0].Source != logbridge.SourceAudit {
		return "", false
	}
	for _, a := range b.Records[0].Attributes {
		switch a.Key {
		case actor:
			by = a.Value
		case outcome:
			ok = a.Value == refused
		}
	}
	return by, ok
}

// take counts a refusal and says whether to record it. former is a period that has ended before it and was not told of.
func (l *Log) take(by *string, now time.Time) (keep bool, former tries) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, known := l.tried[*by]
	if !known && len(l.tried) >= maxActors {
		*by = others
		t, known = l.tried[others]
	}
	if known && t.over(now) {
		former, known = t, false
	}
	if !known {
		t = tries{from: now}
	}
	if keep = t.kept < perPeriod; keep {
		t.kept++
	} else {
		t.skipped++
		l.skipped++
	}
	l.tried[*by] = t
	return keep, former
}

// over reports whether the period has ended. A clock that was set back ends it, too.
func (t tries) over(now time.Time) bool { return now.Sub(t.from) >= period || now.Before(t.from) }

// Run says how many were left out, when a period is over, until ctx ends, and then of all.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.sweep(context.WithoutCancel(ctx), func(tries) bool { return true })
			return nil
		case now := <-tick.C:
			l.sweep(ctx, func(t tries) bool { return t.over(now) })
		}
	}
}

// sweep ends periods, and tells of those in which something was left out.
func (l *Log) sweep(ctx context.Context, over func(tries) bool) {
	ended := map[string]tries{}
	l.mu.Lock()
	for by, t := range l.tried {
		if !over(t) {
			continue
		}
		delete(l.tried, by)
		if t.skipped > 0 {
			ended[by] = t
		}
	}
	l.mu.Unlock()
	for by, t := range ended {
		l.tell(ctx, by, t)
	}
}

// tell records how many refusals of an actor were left out. What the log does not take now is told with the next period.
func (l *Log) tell(ctx context.Context, by string, t tries) {
	now := time.Now()
	text := "1 more refused change"
	if t.skipped > 1 {
		text = fmt.Sprintf("%d more refused changes", t.skipped)
	}
	r := logbridge.Record{Time: now, ObservedTime: now, TimeQuality: logbridge.TimeReceived, Source: logbridge.SourceAudit, Stream: logbridge.AuditStream,
		Severity: logbridge.LevelWarn, Body: fmt.Sprintf("%s of %s from %s on, recorded by number alone: %d in %s are recorded one by one", text, by, t.from.UTC().Format(time.RFC3339), perPeriod, period),
		Attributes: []logbridge.Attr{{Key: "action", Value: action}, {Key: actor, Value: by}, {Key: outcome, Value: refused}, {Key: leftOut, Value: strconv.FormatUint(t.skipped, 10)}}}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendWait)
	defer cancel()
	_, err := l.records.Append(ctx, logbridge.Batch{Records: []logbridge.Record{r}})
	if err == nil {
		return
	}
	l.log.Error("number of refused changes not stored", "actor", by, "changes", t.skipped, "error", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	again, known := l.tried[by]
	if !known {
		again.from = t.from
	}
	again.skipped += t.skipped
	l.tried[by] = again
}
