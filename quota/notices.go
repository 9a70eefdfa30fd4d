package quota

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

const (
	// noticePeriod is how often a device's stream says at most what was dropped: soon enough for who looks at it, and so seldom
	// that the notices of a device are nothing beside what it sends. It is also how often what is idle is forgotten.
	noticePeriod = 10 * time.Second
	// noticesAtOnce is how many notices are appended together.
	noticesAtOnce = 500
	// noticeWait bounds the wait for the log, also for the last notices at the end.
	noticeWait = 5 * time.Second
	// loweredAtOnce is how many levels are lowered in a period at most: each waits for the disk. Devices that stay too loud have
	// their turn in the next.
	loweredAtOnce = 200
)

// Run tells of what was dropped and forgets who is idle, until ctx ends; then it tells the rest. Whatever appends must have
// ended before.
func (g *Gate) Run(ctx context.Context) error {
	tick := time.NewTicker(noticePeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.lower(ctx, g.tell(ctx))
			g.forget(time.Now())
		case <-ctx.Done():
			g.tell(ctx)
			return nil
		}
	}
}

// notice is what one device's stream is to tell.
type notice struct {
	id logbridge.DeviceID
	loss
}

// tell appends what was dropped since the last time, and gives it back. What cannot be appended is told the next time.
func (g *Gate) tell(ctx context.Context) (told []notice) {
	all := g.losses()
	for len(all) > 0 {
		some := all[:min(len(all), noticesAtOnce)]
		if err := g.append(ctx, some); err != nil {
			g.log.Warn("notices of dropped lines are not stored", "devices", len(all), "error", err)
			for _, n := range all {
				g.note(n.id, n.loss)
			}
			return told
		}
		told, all = append(told, some...), all[len(some):]
	}
	return told
}

// lower makes those quieter that are over their own quota, where their product wants it so.
func (g *Gate) lower(ctx context.Context, told []notice) {
	n := 0
	for _, t := range told {
		q, _ := g.quotaOf(t.id)
		if q.LowerSeconds <= 0 || !t.deviceLines && !t.deviceBytes {
			continue
		}
		if n++; n > loweredAtOnce || ctx.Err() != nil {
			return
		}
		if err := g.levels.Lower(ctx, t.id, time.Duration(q.LowerSeconds)*time.Second); err != nil {
			g.log.Warn("the level of a device over its quota is not lowered", "device", t.id, "error", err)
		}
	}
}

// losses takes what is to be told.
func (g *Gate) losses() (all []notice) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, m := range g.byDevice {
		if m.loss.lines > 0 {
			all = append(all, notice{id, m.loss})
			m.loss = loss{}
		}
	}
	return all
}

// append stores notices. It does not end with ctx: lines that were dropped must not go without a word.
func (g *Gate) append(ctx context.Context, some []notice) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeWait)
	defer cancel()
	now := time.Now()
	records := make([]logbridge.Record, len(some))
	for i, n := range some {
		records[i] = n.record(now)
	}
	_, err := g.records.Append(ctx, logbridge.Batch{Records: records})
	return err
}

func (n *notice) record(now time.Time) logbridge.Record {
	what := " lines"
	if n.lines == 1 {
		what = " line"
	}
	// TimeReceived: the time is ours.
	return logbridge.Record{Time: now, ObservedTime: now, TimeQuality: logbridge.TimeReceived, Source: logbridge.SourceAudit,
		Stream: n.id.Stream(), Severity: logbridge.LevelWarn, Body: fmt.Sprint(n.lines, what, " dropped: quota"),
		Attributes: []logbridge.Attr{{Key: "action", Value: "quota.drop"}, {Key: "lines", Value: strconv.Itoa(n.lines)},
			{Key: "over", Value: n.over()}, {Key: "since", Value: n.since.UTC().Format(time.RFC3339)}}}
}

// over names what the lines were over, as the settings are called.
func (l *loss) over() string {
	var names []string
	for _, limit := range []struct {
		over bool
		name string
	}{{l.deviceLines, "device_lines"}, {l.deviceBytes, "device_bytes"}, {l.productLines, "product_lines"}, {l.productBytes, "product_bytes"}} {
		if limit.over {
			names = append(names, limit.name)
		}
	}
	return strings.Join(names, ",")
}

// forget drops what a new start would make anew.
func (g *Gate) forget(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, m := range g.byDevice {
		if m.loss.lines == 0 && m.isFull(now) {
			delete(g.byDevice, id)
		}
	}
	for id, b := range g.byProduct {
		if b.isFull(now) {
			delete(g.byProduct, id)
		}
	}
}
