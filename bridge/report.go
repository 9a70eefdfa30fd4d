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

// reports are read and wait to be appended together.
type reports struct {
	which   []int // of the messages
	lines   [][]tencent.Line
	batches []logbridge.Batch
}

// report takes in the report that is message i. A packed one may have to wait for memory: those before it are
// stored first, and it is stored at once, so that nobody waits for more who holds some.
func (h *handling) report(ctx context.Context, i int) {
	m := &h.messages[i]
	form, err := tencent.ParseReportForm(m.ContentType)
	share := int64(form.Memory(m.Payload))
	switch {
	case err != nil:
		h.refuse(i, err)
	case share > 0:
		h.store(ctx)
		h.packed(ctx, i, form, share)
	default:
		h.parse(i, form, m.Payload)
	}
}

// refuse is the end of a report that cannot be read: it counts as one line.
func (h *handling) refuse(i int, err error) {
	h.bridge.drop(h.session.Device(), err, 1)
	h.fail(i, err)
}

// parse makes a batch of a report.
func (h *handling) parse(i int, form tencent.ReportForm, payload []byte) {
	m, id := &h.messages[i], h.session.Device()
	lines, err := tencent.ParseReport(payload, form, h.bridge.registry.Location(id.Product))
	if err != nil {
		h.refuse(i, err)
		return
	}
	if len(lines) == 0 {
		return
	}
	batch := logbridge.Batch{ // a message does not say when it was sent
		Records: tencent.Records(lines, logbridge.SourceMQTT, id.Stream(), h.received, time.Time{}),
	}
	if m.QoS > 0 {
		batch.ReplayKey, batch.Delivery = replayKey(id, m.Payload), logbridge.FirstDelivery
		if m.Dup {
			batch.Delivery = logbridge.Redelivery
		}
	}
	r := &h.reports
	r.which, r.lines, r.batches = append(r.which, i), append(r.lines, lines), append(r.batches, batch)
}

// packed unpacks, parses and stores a report. One for which there is no memory is ErrUnavailable: it may be read later.
func (h *handling) packed(ctx context.Context, i int, form tencent.ReportForm, share int64) {
	b := h.bridge
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	if b.unpacked.Acquire(ctx, share) != nil {
		b.counter.Refuse(logbridge.SourceMQTT, h.session.Device().Stream(), reasonOverload, 1)
		h.fail(i, fmt.Errorf("%w: too many packed reports at once", logbridge.ErrUnavailable))
		return
	}
	defer func() { b.unpacked.Release(share) }()
	payload, err := form.Unpack(h.messages[i].Payload)
	if err != nil {
		h.refuse(i, err)
		return
	}
	kept := min(2*int64(len(payload)), share) // the lines lie in a copy of what came out
	b.unpacked.Release(share - kept)
	share = kept
	h.parse(i, form, payload)
	h.store(ctx)
}

// store appends the reports that were taken in, and returns when they are durable.
func (h *handling) store(ctx context.Context) {
	r := h.reports
	if len(r.batches) == 0 {
		return
	}
	h.reports = reports{}
	ctx, cancel := context.WithTimeout(ctx, h.bridge.cfg.AppendTimeout)
	defer cancel()
	for k, o := range h.bridge.records.AppendAll(ctx, r.batches) {
		h.fail(r.which[k], o.Err)
		h.stored(r.batches[k].Records, r.lines[k], o)
	}
}

// stored counts what became of a report, and what it tells of the device's level.
func (h *handling) stored(records []logbridge.Record, lines []tencent.Line, o logbridge.Outcome) {
	b, id := h.bridge, h.session.Device()
	switch {
	case o.Err != nil:
		b.drop(id, o.Err, len(lines))
		return
	case o.Stored > 0:
		b.counters.reports.Add(1)
		b.counters.lines.Add(uint64(len(lines) - o.Dropped))
	case o.Dropped == 0:
		b.counters.duplicates.Add(1)
		return
	}
	// What was dropped tells of the device's level all the same.
	tencent.Observe(id, lines, records, h.received, func(o logbridge.Observation) { b.levels.Observe(o) })
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
