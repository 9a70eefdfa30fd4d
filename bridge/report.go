package bridge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The reasons of the ledger.
const (
	reasonTooLarge = "too_large"
	reasonInvalid  = "malformed"
	reasonRefused  = "forbidden"
	reasonOverload = "overload"
)

// maxUnpacked bounds the memory that packed reports take, from unpacking until their lines are stored: a few of the largest
// at once, thousands of the usual ones. Without it each connection could hold tencent.MaxReport for the few bytes that it sent.
const maxUnpacked = 64 << 20

// report appends the lines of $log/report and returns when they are durable.
func (b *Bridge) report(ctx context.Context, id logbridge.DeviceID, m logbridge.Message, received time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	lines, release, err := b.readReport(ctx, id, m)
	defer release()
	if err != nil {
		b.drop(id, err, 1) // an undecodable message counts as one line
		return err
	}
	if len(lines) == 0 {
		return nil
	}
	batch := logbridge.Batch{ // a message does not say when it was sent
		Records: tencent.Records(lines, logbridge.SourceMQTT, id.Stream(), received, time.Time{}),
	}
	if m.QoS > 0 {
		batch.ReplayKey, batch.Delivery = replayKey(id, m.Payload), logbridge.FirstDelivery
		if m.Dup {
			batch.Delivery = logbridge.Redelivery
		}
	}
	receipt, err := b.records.Append(ctx, batch)
	if err != nil {
		b.drop(id, err, len(lines))
		return err
	}
	switch {
	case receipt.Stored > 0:
		b.counters.reports.Add(1)
		b.counters.lines.Add(uint64(len(lines) - receipt.Dropped))
	case receipt.Dropped == 0:
		b.counters.duplicates.Add(1)
		return nil
	}
	// What was dropped tells of the device's level all the same.
	tencent.Observe(id, lines, batch.Records, received, b.levels.Observe)
	return nil
}

// readReport unpacks and parses a report. release gives the memory back that the lines lie in. A report for which there is no
// memory is ErrUnavailable: it may be read later.
func (b *Bridge) readReport(ctx context.Context, id logbridge.DeviceID, m logbridge.Message) (lines []tencent.Line, release func(), err error) {
	release = func() {}
	form, err := tencent.ParseReportForm(m.ContentType)
	if err != nil {
		return nil, release, err
	}
	payload := m.Payload
	if share := int64(form.Memory(m.Payload)); share > 0 {
		if b.unpacked.Acquire(ctx, share) != nil {
			b.counter.Refuse(logbridge.SourceMQTT, id.Stream(), reasonOverload, 1)
			return nil, release, fmt.Errorf("%w: too many packed reports at once", logbridge.ErrUnavailable)
		}
		if payload, err = form.Unpack(m.Payload); err == nil { // the lines lie in a copy of what came out
			kept := min(2*int64(len(payload)), share)
			b.unpacked.Release(share - kept)
			share = kept
		}
		release = func() { b.unpacked.Release(share) }
		if err != nil {
			return nil, release, err
		}
	}
	lines, err = tencent.ParseReport(payload, form, b.registry.Location(id.Product))
	return lines, release, err
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

// Refused takes note of a message that the broker did not hand over. One that was meant as a report counts as a line, of no
// stream, since the topic need not be the device's own; one that is too large to be read counts as a line of its device.
func (b *Bridge) Refused(s logbridge.Session, topic string, why error) {
	if errors.Is(why, logbridge.ErrTooLarge) {
		b.drop(s.Device(), why, 1)
		return
	}
	if kind, _ := tencent.ParseTopic(topic); kind == tencent.TopicReport {
		b.counter.Drop(logbridge.SourceMQTT, "", reasonRefused, 1)
	}
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
