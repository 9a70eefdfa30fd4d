package bridge

import (
	"context"
	"crypto/sha256"
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
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	batch := logbridge.Batch{Records: records(id, lines, received)}
	if m.QoS > 0 {
		batch.ReplayKey, batch.AlwaysNew = replayKey(id, m.Payload), !m.Dup
	}
	receipt, err := b.records.Append(ctx, batch)
	if err != nil {
		b.drop(id, err, len(lines))
		return err
	}
	if receipt.Stored == 0 {
		b.counters.duplicates.Add(1)
		return nil
	}
	b.counters.reports.Add(1)
	b.counters.lines.Add(uint64(len(lines)))
	b.observe(id, logbridge.LineSeen, mostVerbose(lines))
	return nil
}

// replayKey names a message of a device for the sink's window of duplicates. A device that did not get the PUBACK sends its
// message again, with the DUP flag and the same payload. The flag is needed: without it the same text is a new message,
// which a device may well have ("heartbeat"). With it, a message may still be taken for an earlier one with the same text
// when its own first delivery was lost, which MQTT over TCP makes rare and which costs a line that is there in the same
// words.
func replayKey(id logbridge.DeviceID, payload []byte) string {
	sum := sha256.Sum256(payload)
	return "mqtt " + id.String() + " " + string(sum[:])
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
