package bridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The reasons of the ledger.
const (
	reasonTooLarge = "too large"
	reasonInvalid  = "invalid"
)

// attrTag is the attribute that holds the file or tag of a line.
const attrTag = "tag"

// report appends the lines of $log/report and returns when they are durable.
func (b *Bridge) report(ctx context.Context, id logbridge.DeviceID, m logbridge.Message, received time.Time) error {
	lines, err := tencent.ParseReport(m.Payload, b.location(id.Product))
	if err != nil {
		b.drop(id, err, 1) // an undecodable message counts as one line
		return err
	}
	if len(lines) == 0 {
		return nil
	}
	key := recentKey(id, m.Payload)
	if m.Dup && b.recent.has(key, received) {
		b.counters.duplicates.Add(1)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	if _, err = b.records.Append(ctx, logbridge.Batch{Records: records(id, lines, received)}); err != nil {
		b.drop(id, err, len(lines))
		return err
	}
	if m.QoS > 0 {
		b.recent.add(key, received)
	}
	b.counters.reports.Add(1)
	b.counters.lines.Add(uint64(len(lines)))
	b.observe(id, logbridge.LineSeen, mostVerbose(lines))
	return nil
}

// drop counts lines that will never be stored. Of those whose outcome is unknown the device keeps the message.
func (b *Bridge) drop(id logbridge.DeviceID, err error, lines int) {
	switch {
	case errors.Is(err, logbridge.ErrTooLarge):
		b.counter.Drop(logbridge.SourceMQTT, id.Stream(), reasonTooLarge, lines)
	case errors.Is(err, logbridge.ErrInvalid):
		b.counter.Drop(logbridge.SourceMQTT, id.Stream(), reasonInvalid, lines)
	}
}

func records(id logbridge.DeviceID, lines []tencent.Line, received time.Time) []logbridge.Record {
	stream := id.Stream()
	records := make([]logbridge.Record, len(lines))
	for i, line := range lines {
		r := logbridge.Record{
			Time: line.Time, TimeQuality: logbridge.TimeDevice, ObservedTime: received,
			Source: logbridge.SourceMQTT, Stream: stream, Severity: line.Level, Body: line.Text, Attributes: line.Attrs,
		}
		if line.Time.IsZero() {
			r.Time, r.TimeQuality = received, logbridge.TimeReceived
		}
		if line.Tag != "" {
			r.Attributes = append([]logbridge.Attr{{Key: attrTag, Value: line.Tag}}, line.Attrs...)
		}
		records[i] = r
	}
	return records
}

func mostVerbose(lines []tencent.Line) (level logbridge.Level) {
	for _, line := range lines {
		level = max(level, line.Level)
	}
	return level
}

// location is the time zone of a product's devices; UTC for a product that says none.
func (b *Bridge) location(product string) *time.Location {
	p, err := b.registry.Product(product)
	if err != nil || p.TimeZone == "" {
		return time.UTC
	}
	return b.zones.load(p.TimeZone)
}

// zones keeps the time zones that were asked for. Their names come from the configuration, which bounds them.
type zones struct {
	log    *slog.Logger
	loaded sync.Map // string to *time.Location
}

// load gives a zone by its IANA name. One that does not exist is UTC, which is logged once.
func (z *zones) load(name string) *time.Location {
	if loc, ok := z.loaded.Load(name); ok {
		return loc.(*time.Location)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		z.log.Warn("time zone of a product is not known, using UTC", "zone", name, "error", err)
		loc = time.UTC
	}
	z.loaded.Store(name, loc)
	return loc
}
