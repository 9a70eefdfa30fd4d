package bridge

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

// The reasons of the ledger.
const (
	reasonTooLarge = "too_large"
	reasonInvalid  = "malformed"
	reasonRefused  = "forbidden"
)

// report appends the lines of $log/report and returns when they are durable.
func (b *Bridge) report(ctx context.Context, id logbridge.DeviceID, m logbridge.Message, received time.Time) error {
	lines, err := tencent.ParseReport(m.Payload, b.registry.Location(id.Product))
	if err != nil {
		b.drop(id, err, 1) // an undecodable message counts as one line
		return err
	}
	if len(lines) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
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
	if receipt.Stored == 0 {
		b.counters.duplicates.Add(1)
		return nil
	}
	b.counters.reports.Add(1)
	b.counters.lines.Add(uint64(len(lines)))
	tencent.Observe(id, batch.Records, received, b.levels.Observe)
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
