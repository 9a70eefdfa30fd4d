// Package quota keeps devices to the lines and bytes a second that they may log. It stands before the log on both ways on which
// devices send lines, MQTT and HTTP, which know nothing of each other: that is why it is a package of its own.
//
// A line over its quota is dropped and the device told that all is well, since devices repeat what is refused for ever. It is
// in the ledger with the reason "quota", and the device's own stream says how many were dropped, at most once in a noticePeriod. Lines
// that were stored before, and lines that the log could not store, cost nothing. A message that is delivered again while its
// device is over the quota counts as dropped again.
//
// What is kept is in memory: a bucket for each device and product that sent anything in the last minute or so. A process that
// is killed loses the notices of the last noticePeriod; one that ends writes them.
package quota

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/logbridge/logbridge"
)

// The reasons of the ledger: for what is dropped, and for what is not stored together with the rest of its upload, which the
// log refused, so that the device sends all of it again.
const (
	reasonQuota       = "quota"
	reasonUnavailable = "unavailable"
)

// Appender is the log, or whatever stands before it. A batch without records is stored at once.
type Appender interface {
	Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error)
	AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome
}

// Products knows the quotas of products, without I/O.
type Products interface {
	Product(id string) (logbridge.Product, error)
}

// Counter keeps the ledger: lines that were acknowledged and dropped, and lines that were refused for now.
type Counter interface {
	Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int)
	Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int)
}

// Levels lowers the level of a device for a while, unless someone has set one for just this device.
type Levels interface {
	Lower(ctx context.Context, id logbridge.DeviceID, length time.Duration) error
}

// Config is what holds for products that say nothing. The zero value is no quota.
type Config struct {
	Default logbridge.Quota
}

// Gate lets the lines of devices through to the log as long as they are within their quotas.
type Gate struct {
	cfg      Config
	records  Appender
	products Products
	counter  Counter
	levels   Levels
	log      *slog.Logger

	mu        sync.Mutex // guards both
	byDevice  map[logbridge.DeviceID]*meter
	byProduct map[string]*bucket
}

// meter is what is known of one device.
type meter struct {
	bucket
	loss
}

// loss is lines that were dropped and that the device's stream does not tell of yet.
type loss struct {
	lines int
	since time.Time
	// What they were over.
	deviceLines, deviceBytes, productLines, productBytes bool
}

// New makes a gate; nothing is told before Run.
func New(cfg Config, records Appender, products Products, counter Counter, levels Levels, log *slog.Logger) *Gate {
	return &Gate{cfg: cfg, records: records, products: products, counter: counter, levels: levels, log: log,
		byDevice: map[logbridge.DeviceID]*meter{}, byProduct: map[string]*bucket{}}
}

// Append hands a batch on to the log, without the lines that are over their device's or product's quota: the receipt's Dropped.
// Batches of others than devices go through as they are. nil means that what is not dropped is durable; errors are those of
// the log, and then nothing is dropped.
func (g *Gate) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	e := g.admit(&b)
	receipt, err := g.records.Append(ctx, b)
	return g.settle(e, receipt, err), err
}

// AppendAll does for each of several batches what Append does for one.
func (g *Gate) AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome {
	entries := make([]entry, len(batches))
	passed := slices.Clone(batches)
	for i := range passed {
		entries[i] = g.admit(&passed[i])
	}
	outcomes := g.records.AppendAll(ctx, passed)
	for i := range outcomes {
		o := &outcomes[i]
		o.Receipt = g.settle(entries[i], o.Receipt, o.Err)
	}
	return outcomes
}

// entry is what a batch of a device with a quota has spent, and what was taken out of it. Its zero value is one without.
type entry struct {
	device logbridge.DeviceID
	first  *logbridge.Record // of the whole batch; nil without a quota
	passed int
	cost   float64
	lost   loss
}

// admit takes out of a batch what is over a quota. What is left of it may be nothing, which the log stores at once.
func (g *Gate) admit(b *logbridge.Batch) entry {
	id, ok := deviceOf(*b)
	if !ok {
		return entry{}
	}
	quota, ok := g.quotaOf(id)
	if !ok {
		return entry{}
	}
	e := entry{device: id, first: &b.Records[0]}
	b.Records, e.cost, e.lost = g.take(id, quota, b.Records, time.Now())
	e.passed = len(b.Records)
	return e
}

// settle completes the receipt of what was admitted, and gives back what it did not use.
func (g *Gate) settle(e entry, receipt logbridge.Receipt, err error) logbridge.Receipt {
	if e.first == nil {
		return receipt
	}
	if err != nil {
		g.giveBack(e.device, e.passed, e.cost)
		// Who called counts what can never be stored, and the log what it could not store now.
		if e.lost.lines > 0 && !errors.Is(err, logbridge.ErrInvalid) && !errors.Is(err, logbridge.ErrTooLarge) {
			g.counter.Refuse(e.first.Source, e.first.Stream, reasonUnavailable, e.lost.lines)
		}
		return receipt
	}
	if n := receipt.Duplicate; n > 0 {
		g.giveBack(e.device, n, e.cost*float64(n)/float64(e.passed))
	}
	if e.lost.lines > 0 {
		g.counter.Drop(e.first.Source, e.first.Stream, reasonQuota, e.lost.lines)
		g.note(e.device, e.lost)
	}
	receipt.Dropped = e.lost.lines
	return receipt
}

// deviceOf says whose batch it is. false for one that is of no device: no quota is for that.
func deviceOf(b logbridge.Batch) (logbridge.DeviceID, bool) {
	if len(b.Records) == 0 {
		return logbridge.DeviceID{}, false
	}
	switch b.Records[0].Source { // an upload of a device is of one device
	case logbridge.SourceMQTT, logbridge.SourceReportLog:
		return b.Records[0].Stream.Device()
	}
	return logbridge.DeviceID{}, false
}

// quotaOf is what a device has to keep to. false when that is nothing.
func (g *Gate) quotaOf(id logbridge.DeviceID) (logbridge.Quota, bool) {
	product, err := g.products.Product(id.Product)
	if err != nil { // deleted a moment ago
		product = logbridge.Product{}
	}
	q := product.Quota.Or(g.cfg.Default)
	_, _, none := limitsOf(q)
	return q, !none
}

// take spends what the records cost, line by line, and gives those that pass, with the bytes that they cost, and what is lost.
func (g *Gate) take(id logbridge.DeviceID, q logbridge.Quota, records []logbridge.Record, now time.Time) (passed []logbridge.Record, cost float64, lost loss) {
	ofDevice, ofProduct, _ := limitsOf(q)
	g.mu.Lock()
	defer g.mu.Unlock()
	device, product := &g.device(id).bucket, g.byProduct[id.Product]
	if product == nil {
		product = &bucket{}
		g.byProduct[id.Product] = product
	}
	device.fill(ofDevice, now)
	product.fill(ofProduct, now)
	passed = records
	for i := range records {
		size := sizeOf(&records[i])
		one := loss{lines: 1, since: now}
		one.deviceLines, one.deviceBytes = device.over(size)
		one.productLines, one.productBytes = product.over(size)
		if one.deviceLines || one.deviceBytes || one.productLines || one.productBytes {
			if lost.lines == 0 { // others may still look at the records of the batch, so they are left as they are
				passed = append(make([]logbridge.Record, 0, len(records)), records[:i]...)
			}
			lost.add(one)
			continue
		}
		device.spend(size)
		product.spend(size)
		cost += size
		if lost.lines > 0 {
			passed = append(passed, records[i])
		}
	}
	return passed, cost, lost
}

// device finds or makes a meter. It needs the lock.
func (g *Gate) device(id logbridge.DeviceID) *meter {
	m := g.byDevice[id]
	if m == nil {
		m = &meter{}
		g.byDevice[id] = m
	}
	return m
}

// giveBack returns what was spent in vain.
func (g *Gate) giveBack(id logbridge.DeviceID, lines int, bytes float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.byDevice[id]; m != nil {
		m.put(float64(lines), bytes)
	}
	if p := g.byProduct[id.Product]; p != nil {
		p.put(float64(lines), bytes)
	}
}

// note keeps in mind what the device's stream has to tell.
func (g *Gate) note(id logbridge.DeviceID, lost loss) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.device(id).add(lost)
}

func (l *loss) add(o loss) {
	if l.lines == 0 || o.since.Before(l.since) {
		l.since = o.since
	}
	l.lines += o.lines
	l.deviceLines = l.deviceLines || o.deviceLines
	l.deviceBytes = l.deviceBytes || o.deviceBytes
	l.productLines = l.productLines || o.productLines
	l.productBytes = l.productBytes || o.productBytes
}

// sizeOf is what a record counts in bytes: what the device said.
func sizeOf(r *logbridge.Record) float64 {
	n := len(r.Body)
	for _, a := range r.Attributes {
		n += len(a.Key) + len(a.Value)
	}
	return float64(n)
}

// Stats are the numbers of a gate.
type Stats struct {
	Devices int // that it keeps in mind now
}

// Stats reads the numbers.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{Devices: len(g.byDevice)}
}
