package quota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

const productID = "ABCDE12345"

func device(name string) logbridge.DeviceID {
	return logbridge.DeviceID{Product: productID, Device: name}
}

// rig is a gate with a log, a registry of one product and a ledger that tests look into.
type rig struct {
	*Gate
	t testing.TB

	mu      sync.Mutex
	product logbridge.Product
	fail    error              // what Append returns
	known   int                // how many records of each batch were stored before
	stored  []logbridge.Record // of devices
	notices []logbridge.Record
	ledger  map[string]int
	lowered []string
}

func (r *rig) Lower(_ context.Context, id logbridge.DeviceID, length time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lowered = append(r.lowered, id.Device+" for "+length.String())
	return nil
}

func newRig(t testing.TB, q logbridge.Quota, cfg Config) *rig {
	r := &rig{t: t, product: logbridge.Product{ID: productID, Quota: q}, ledger: map[string]int{}}
	r.Gate = New(cfg, appender{r}, r, r, r, slog.New(slog.DiscardHandler))
	return r
}

type appender struct{ r *rig }

func (a appender) Append(_ context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	r := a.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(b.Records) == 0 {
		return logbridge.Receipt{}, nil
	}
	if r.fail != nil {
		return logbridge.Receipt{}, r.fail
	}
	if len(b.Records) > 0 && b.Records[0].Source == logbridge.SourceAudit {
		r.notices = append(r.notices, b.Records...)
		return logbridge.Receipt{Stored: len(b.Records)}, nil
	}
	n := min(r.known, len(b.Records))
	r.stored = append(r.stored, b.Records[n:]...)
	return logbridge.Receipt{Stored: len(b.Records) - n, Duplicate: n}, nil
}

func (a appender) AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome {
	outcomes := make([]logbridge.Outcome, len(batches))
	for i, b := range batches {
		outcomes[i].Receipt, outcomes[i].Err = a.Append(ctx, b)
	}
	return outcomes
}

func (r *rig) Product(id string) (logbridge.Product, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id != r.product.ID {
		return logbridge.Product{}, logbridge.ErrNotFound
	}
	return r.product, nil
}

func (r *rig) count(kind string, source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger[fmt.Sprint(kind, " ", source, " ", stream, " ", reason)] += lines
}

func (r *rig) Drop(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	r.count("dropped", source, stream, reason, lines)
}

func (r *rig) Refuse(source logbridge.Source, stream logbridge.Stream, reason string, lines int) {
	r.count("refused", source, stream, reason, lines)
}

// lines makes a batch of a device.
func lines(id logbridge.DeviceID, texts ...string) logbridge.Batch {
	b := logbridge.Batch{}
	for _, text := range texts {
		b.Records = append(b.Records, logbridge.Record{Source: logbridge.SourceMQTT, Stream: id.Stream(), Body: text})
	}
	return b
}

func many(id logbridge.DeviceID, n int) logbridge.Batch {
	return lines(id, strings.Split(strings.Repeat("x,", n), ",")[:n]...)
}

// send appends and wants so many to be stored and dropped.
func (r *rig) send(b logbridge.Batch, stored, dropped int) {
	r.t.Helper()
	receipt, err := r.Append(context.Background(), b)
	if want := (logbridge.Receipt{Stored: stored, Dropped: dropped}); err != nil || receipt != want {
		r.t.Errorf("%+v, %v, want %+v", receipt, err, want)
	}
}

func TestADeviceKeepsToItsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceLines: 2}, Config{})
		one, two := device("one"), device("two")
		r.send(many(one, 119), 119, 0) // a minute's worth may come at once
		batch := lines(one, "last", "over", "over too")
		r.send(batch, 1, 2)
		if got := r.stored[119].Body; got != "last" || len(batch.Records) != 3 || batch.Records[1].Body != "over" {
			t.Errorf("stored %q; the batch became %+v", got, batch)
		}
		r.send(many(one, 5), 0, 5)
		r.send(many(two, 120), 120, 0)
		time.Sleep(time.Second)
		r.send(many(one, 5), 2, 3)
		time.Sleep(time.Hour)
		r.send(many(one, 125), 120, 5)
		if want := map[string]int{"dropped mqtt device/ABCDE12345/one quota": 15}; !reflect.DeepEqual(r.ledger, want) {
			t.Errorf("ledger %v, want %v", r.ledger, want)
		}
	})
}

func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceBytes: 1}, Config{})
		one := device("one")
		b := lines(one, strings.Repeat("x", 40), strings.Repeat("x", 21), "small")
		b.Records[0].Attributes = []logbridge.Attr{{Key: "k", Value: "12345678"}}
		r.send(b, 2, 1) // 49 of 60 are spent: 21 do not fit, 5 do
		time.Sleep(time.Hour)
		r.send(lines(one, strings.Repeat("x", 90), "y"), 1, 1) // larger than a full bucket
		time.Sleep(29 * time.Second)
		r.send(lines(one, "y"), 0, 1) // it left a debt of 30
		time.Sleep(2 * time.Second)
		r.send(lines(one, "y"), 1, 0)
	})
}

func TestAProductKeepsToItsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{ProductLines: 1, DeviceLines: 100}, Config{})
		r.send(many(device("one"), 50), 50, 0)
		r.send(many(device("two"), 50), 10, 40)
		r.send(logbridge.Batch{Records: []logbridge.Record{{Source: logbridge.SourceReportLog, Stream: device("three").Stream()}}}, 0, 1)
	})
}

func TestWhatIsOverNoQuotaGoesThrough(t *testing.T) {
	r := newRig(t, logbridge.Quota{DeviceLines: -1}, Config{Default: logbridge.Quota{DeviceLines: 1, ProductBytes: 0}})
	r.send(many(device("one"), 1000), 1000, 0)
	if n := r.Stats().Devices; n != 0 {
		t.Errorf("%d devices are kept in mind for nothing", n)
	}
	r.send(many(logbridge.DeviceID{Product: "OTHER12345", Device: "one"}, 1000), 60, 940) // the default
	for _, other := range []logbridge.Record{
		{Source: logbridge.SourceSLS, Stream: logbridge.SLSStream("p", "l")},
		{Source: logbridge.SourceAudit, Stream: "device/OTHER12345/one"},
		{Source: logbridge.SourceMQTT, Stream: "nosuch"},
	} {
		if receipt, err := r.Append(context.Background(), logbridge.Batch{Records: []logbridge.Record{other}}); err != nil || receipt.Stored != 1 {
			t.Errorf("%+v: %+v, %v", other, receipt, err)
		}
	}
	r.send(logbridge.Batch{}, 0, 0)
}

// TestAChangedQuotaHoldsAtOnce: the buckets of a quota that was changed begin full.
func TestAChangedQuotaHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceLines: 1}, Config{})
		r.send(many(device("one"), 100), 60, 40)
		r.product.Quota = logbridge.Quota{DeviceBytes: 1}
		r.send(many(device("one"), 100), 60, 40)
		r.product.Quota = logbridge.Quota{DeviceLines: 2}
		r.send(many(device("one"), 200), 120, 80)
	})
}

// TestWhatIsNotStoredCostsNothing: neither what the log could not take, of which nothing counts as dropped, nor what it had.
func TestWhatIsNotStoredCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceLines: 1, ProductBytes: 10}, Config{})
		one := device("one")
		for _, row := range []struct {
			kind   error
			ledger map[string]int
		}{
			{logbridge.ErrUnavailable, map[string]int{"refused mqtt device/ABCDE12345/one unavailable": 40}},
			{logbridge.ErrTooLarge, map[string]int{}}, // who called counts all of it
			{logbridge.ErrInvalid, map[string]int{}},
		} {
			r.fail, r.ledger = fmt.Errorf("%w: disk", row.kind), map[string]int{}
			if receipt, err := r.Append(context.Background(), many(one, 100)); !errors.Is(err, row.kind) || receipt.Dropped != 0 {
				t.Errorf("%+v, %v", receipt, err)
			}
			if !reflect.DeepEqual(r.ledger, row.ledger) {
				t.Errorf("%v: ledger %v", row.kind, r.ledger)
			}
		}
		r.fail = nil
		r.known = 50
		if receipt, err := r.Append(context.Background(), many(one, 60)); err != nil || receipt != (logbridge.Receipt{Stored: 10, Duplicate: 50}) {
			t.Errorf("%+v, %v", receipt, err)
		}
		r.known = 0
		r.send(many(one, 60), 50, 10)
	})
}

func FuzzBucket(f *testing.F) {
	f.Add(int64(1), int64(10), uint16(100), uint16(30), uint16(1000))
	f.Fuzz(func(t *testing.T, lineRate, byteRate int64, size, count, seconds uint16) {
		l := limit{lineRate % (logbridge.MaxRate + 1), byteRate % (logbridge.MaxRate + 1)}
		var b bucket
		now := time.Unix(1_800_000_000, 0)
		passed := 0
		for i := range 3 {
			b.fill(l, now.Add(time.Duration(i)*time.Duration(seconds)*time.Second))
			for range count {
				if lines, bytes := b.over(float64(size)); !lines && !bytes {
					b.spend(float64(size))
					passed++
				}
			}
		}
		// A full bucket, what came in, and one line of debt for each of the three times.
		whole := 60 + 2*float64(seconds)
		if l.lines > 0 && float64(passed) > float64(l.lines)*whole {
			t.Fatalf("%d lines at %d a second", passed, l.lines)
		}
		if l.bytes > 0 && float64(passed)*float64(size) > float64(l.bytes)*whole+3*float64(size) {
			t.Fatalf("%d lines of %d bytes at %d a second", passed, size, l.bytes)
		}
	})
}

// TestAppendAll: several batches spend one after the other, and each has its own receipt.
func TestAppendAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceLines: 1}, Config{}) // sixty at once
		page := logbridge.Batch{Records: []logbridge.Record{{Source: logbridge.SourceSLS, Stream: "sls/p/s"}}}
		one, two := device("one"), device("two")
		got := r.AppendAll(t.Context(), []logbridge.Batch{many(one, 40), many(one, 40), many(one, 5), page})
		for i, want := range []logbridge.Receipt{{Stored: 40}, {Stored: 20, Dropped: 20}, {Dropped: 5}, {Stored: 1}} {
			if got[i].Err != nil || got[i].Receipt != want {
				t.Errorf("batch %d: %+v, want %+v", i, got[i], want)
			}
		}
		if len(r.stored) != 61 {
			t.Errorf("%d stored", len(r.stored))
		}
		r.fails(logbridge.ErrUnavailable)
		for i, o := range r.AppendAll(t.Context(), []logbridge.Batch{many(two, 40), many(two, 40)}) {
			if !errors.Is(o.Err, logbridge.ErrUnavailable) {
				t.Errorf("batch %d: %v", i, o.Err)
			}
		}
		r.fails(nil)
		if o := r.AppendAll(t.Context(), []logbridge.Batch{many(two, 60)})[0]; o.Stored != 60 {
			t.Errorf("what failed was paid for: %+v", o)
		}
	})
}
