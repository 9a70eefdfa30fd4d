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

// reporting is reports of one device that came together and are appended together.
type reporting struct {
	bridge   *Bridge
	device   logbridge.DeviceID
	received time.Time
	errs     []error // of all messages

	which   []int // the messages of the batches
	batches []logbridge.Batch
	lines   [][]tencent.Line
}

// add takes in the report that is message i. What fails is in errs; what does not is stored by store. A packed report is stored at
// once, so that nobody waits for memory who holds some.
func (r *reporting) add(ctx context.Context, i int, m *logbridge.Message) {
	form, err := tencent.ParseReportForm(m.ContentType)
	if share := int64(form.Memory(m.Payload)); err == nil && share > 0 {
		r.store(ctx)
		r.errs[i] = r.packed(ctx, i, m, form, share)
		return
	}
	if err == nil {
		err = r.parse(i, m, form, m.Payload)
	}
	if r.errs[i] = err; err != nil {
		r.bridge.drop(r.device, err, 1) // an undecodable message counts as one line
	}
}

// parse makes a batch of a report.
func (r *reporting) parse(i int, m *logbridge.Message, form tencent.ReportForm, payload []byte) error {
	lines, err := tencent.ParseReport(payload, form, r.bridge.registry.Location(r.device.Product))
	if err != nil || len(lines) == 0 {
		return err
	}
	batch := logbridge.Batch{ // a message does not say when it was sent
		Records: tencent.Records(lines, logbridge.SourceMQTT, r.device.Stream(), r.received, time.Time{}),
	}
	if m.QoS > 0 {
		batch.ReplayKey, batch.Delivery = replayKey(r.device, m.Payload), logbridge.FirstDelivery
		if m.Dup {
			batch.Delivery = logbridge.Redelivery
		}
	}
	r.which, r.batches, r.lines = append(r.which, i), append(r.batches, batch), append(r.lines, lines)
	return nil
}

// packed unpacks, parses and stores a report. One for which there is no memory is ErrUnavailable: it may be read later.
func (r *reporting) packed(ctx context.Context, i int, m *logbridge.Message, form tencent.ReportForm, share int64) error {
	b := r.bridge
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	if b.unpacked.Acquire(ctx, share) != nil {
		b.counter.Refuse(logbridge.SourceMQTT, r.device.Stream(), reasonOverload, 1)
		return fmt.Errorf("%w: too many packed reports at once", logbridge.ErrUnavailable)
	}
	defer func() { b.unpacked.Release(share) }()
	payload, err := form.Unpack(m.Payload)
	if err == nil { // the lines lie in a copy of what came out
		kept := min(2*int64(len(payload)), share)
		b.unpacked.Release(share - kept)
		share = kept
		err = r.parse(i, m, form, payload)
	}
	if err != nil {
		b.drop(r.device, err, 1)
		return err
	}
	r.store(ctx)
	return r.errs[i]
}

// store appends what was taken in, and returns when it is durable.
func (r *reporting) store(ctx context.Context) {
	if len(r.batches) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.bridge.cfg.AppendTimeout)
	defer cancel()
	for k, o := range r.bridge.records.AppendAll(ctx, r.batches) {
		r.errs[r.which[k]] = o.Err
		r.stored(r.batches[k].Records, r.lines[k], o)
	}
	clear(r.batches)
	clear(r.lines)
	r.which, r.batches, r.lines = r.which[:0], r.batches[:0], r.lines[:0]
}

// stored counts what became of a report, and what it tells of the device's level.
func (r *reporting) stored(records []logbridge.Record, lines []tencent.Line, o logbridge.Outcome) {
	b := r.bridge
	if o.Err != nil {
		b.drop(r.device, o.Err, len(lines))
		return
	}
	switch {
	case o.Stored > 0:
		b.counters.reports.Add(1)
		b.counters.lines.Add(uint64(len(lines) - o.Dropped))
	case o.Dropped == 0:
		b.counters.duplicates.Add(1)
		return
	}
	// What was dropped tells of the device's level all the same.
	tencent.Observe(r.device, lines, records, r.received, b.levels.Observe)
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
