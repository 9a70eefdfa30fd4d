package levels

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// markerBatch bounds how many marker lines share an append, in records: a fifth of the sink's largest commit.
	markerBatch = 512
	// markerWait is how long the records about more devices than that wait, markerWaits times at most, while devices are being told.
	markerWait  = 20 * time.Millisecond
	markerWaits = 25
)

// ruleEvent is what an audit record about a rule for many tells.
type ruleEvent struct {
	action string
	rule   *wide
	by     logbridge.Actor
	reason string
	length time.Duration // 0 is without an end
	before logbridge.RuleReach
	parts  []part // as they were before
}

// recordRule records what became of a rule: one audit record, and a marker line in the stream of each connected device whose
// level it decided or decides now. Their time is that of the change. Devices that are not connected are told of their level when they
// ask. It returns what the rule is about then: not yet what devices did, which is observed after the pushes.
func (l *Levels) recordRule(ctx context.Context, e ruleEvent) logbridge.RuleReach {
	r := l.record(nil, e.action, scope{Product: e.rule.Selector.Product}, e.by)
	if len(e.parts) > markerBatch {
		l.yield(ctx)
	}
	reach := l.reach(e.rule)
	text, now := e.text(), l.clock.now()
	marked := e.parts[:0]
	for _, p := range e.parts {
		if w, _ := l.look(p.id, now); p.decided || w.wide != nil && w.wide.ID == e.rule.ID {
			p.now, p.expires = w.level, w.expires
			marked = append(marked, p)
		}
	}
	r.Body = fmt.Sprintf("%s; %s matched, %d of them connected, %d marked", text, devices(e.before.Matched), e.before.Connected, len(marked))
	r.Attributes = append(r.Attributes, logbridge.Attr{Key: "rule", Value: e.rule.ID},
		logbridge.Attr{Key: "selector", Value: e.rule.Selector.String()}, logbridge.Attr{Key: "priority", Value: strconv.Itoa(e.rule.Priority)},
		logbridge.Attr{Key: "matched", Value: strconv.Itoa(e.before.Matched)}, logbridge.Attr{Key: "connected", Value: strconv.Itoa(e.before.Connected)},
		logbridge.Attr{Key: "marked", Value: strconv.Itoa(len(marked))})
	outcome(&r, spread(e.before.Levels), spread(reach.Levels), e.reason, e.rule.Expires)
	stored := l.appendAudit(ctx, []logbridge.Record{r})
	room := markerRoom{at: r.Time}
	for some := range slices.Chunk(marked, markerBatch) {
		if !stored { // the others would wait as long, one after the other
			l.auditFailures.Add(uint64(len(some)))
			continue
		}
		stored = l.appendAudit(ctx, l.markers(&e, text, some, &room))
	}
	return reach
}

// yield lets devices be told first: to look at a fleet again, and to make and store its marker lines, takes the processors from that.
func (l *Levels) yield(ctx context.Context) {
	tick := time.NewTicker(markerWait)
	defer tick.Stop()
	for n := 0; n < markerWaits && l.telling(); n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// telling reports whether devices have yet to be told of a change. The listeners queue them, so they are asked of first.
func (l *Levels) telling() bool {
	pending := l.notices.pending()
	return l.busy() || pending
}

// devices is a number of them in words.
func devices(n int) string {
	if n == 1 {
		return "1 device"
	}
	return strconv.Itoa(n) + " devices"
}

// markerRoom is where marker lines are made, the next ones when those before are stored. Their time is that of the rule's record.
type markerRoom struct {
	at      time.Time
	records []logbridge.Record
	attrs   []logbridge.Attr
}

// markers are the marker lines of some devices, no more than the room was first used for. They are made together, since a rule may
// mean a whole fleet.
func (l *Levels) markers(e *ruleEvent, text string, of []part, room *markerRoom) []logbridge.Record {
	if room.records == nil {
		room.records, room.attrs = make([]logbridge.Record, len(of)), make([]logbridge.Attr, len(of)*recordAttrs)
	}
	records := room.records[:len(of)]
	for i, p := range of {
		r := l.record(room.attrs[i*recordAttrs:i*recordAttrs:(i+1)*recordAttrs], e.action, p.id, e.by)
		r.Time, r.ObservedTime = room.at, room.at
		r.Stream, r.Body = p.id.Stream(), "log level "+p.now.String()+": "+text
		r.Attributes = append(r.Attributes, logbridge.Attr{Key: "rule", Value: e.rule.ID})
		outcome(&r, p.level.String(), p.now.String(), e.reason, p.expires)
		records[i] = r
	}
	return records
}

// text is the event as a sentence.
func (e ruleEvent) text() string {
	text := fmt.Sprintf("rule %s (%s for %s) ", e.rule.ID, e.rule.Level, e.rule.Selector)
	switch e.action {
	case actionExpire:
		return text + "expired"
	case actionRuleClear:
		return signed(text+"cleared", e.by, e.reason)
	case actionRuleChange:
		text += "changed"
	default:
		text += "set"
	}
	if e.length > 0 {
		return signed(text+" for "+e.length.String(), e.by, e.reason)
	}
	return signed(text+" without an end", e.by, e.reason)
}
