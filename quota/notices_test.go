package quota

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logbridge/logbridge"
)

// run runs the gate until stop, which waits for its end.
func (r *rig) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func (r *rig) fails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *rig) told() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		id, _ := n.Stream.Device()
		all = append(all, id.Device+": "+n.Body)
	}
	r.notices = nil
	return all
}

func wantTold(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: told %q, want %q", when, got, want)
	}
}

func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceLines: 1, ProductLines: 2}, Config{})
		stop := r.run(t)
		defer func() { stop() }()
		synctest.Wait() // the ticker runs
		first := time.Now()
		r.send(many(device("one"), 61), 60, 1)
		time.Sleep(noticePeriod + time.Millisecond)
		synctest.Wait()
		if len(r.notices) != 1 {
			t.Fatalf("%d notices", len(r.notices))
		}
		got, want := r.notices[0], logbridge.Record{Source: logbridge.SourceAudit, Stream: device("one").Stream(), Severity: logbridge.LevelWarn,
			TimeQuality: logbridge.TimeReceived, Body: "1 line dropped: quota", Attributes: []logbridge.Attr{{Key: "action", Value: "quota.drop"},
				{Key: "lines", Value: "1"}, {Key: "over", Value: "device_lines"}, {Key: "since", Value: first.UTC().Format(time.RFC3339)}}}
		want.Time = first.Add(noticePeriod)
		want.ObservedTime = want.Time
		got.Time, got.ObservedTime = got.Time.Round(0), got.ObservedTime.Round(0)
		want.Time, want.ObservedTime = want.Time.Round(0), want.ObservedTime.Round(0)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("notice\n%+v, want\n%+v", got, want)
		}
		wantTold(t, "first", r.told(), "one: 1 line dropped: quota")

		r.send(many(device("one"), 30), 10, 20) // what came in meanwhile
		r.send(many(device("one"), 30), 0, 30)
		time.Sleep(noticePeriod)
		synctest.Wait()
		wantTold(t, "second", r.told(), "one: 50 lines dropped: quota")
		time.Sleep(noticePeriod)
		synctest.Wait()
		wantTold(t, "nothing was dropped", r.told())

		// What the log does not take is told later, together with what comes.
		r.send(many(device("one"), 30), 20, 10)
		r.fails(logbridge.ErrUnavailable)
		time.Sleep(noticePeriod)
		synctest.Wait()
		wantTold(t, "the log fails", r.told())
		r.fails(nil)
		r.send(many(device("one"), 12), 10, 2)
		time.Sleep(noticePeriod)
		synctest.Wait()
		wantTold(t, "the log works again", r.told(), "one: 12 lines dropped: quota")

		r.send(many(device("one"), 12), 10, 2)
		stop()
		wantTold(t, "the end", r.told(), "one: 2 lines dropped: quota")
		stop = func() {}
	})
}

func TestOverNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceBytes: 1, ProductLines: 1, ProductBytes: 1}, Config{})
		r.send(many(device("one"), 70), 60, 10)
		r.send(many(device("two"), 1), 0, 1)
		for _, n := range r.losses() {
			want := map[string]string{"one": "device_bytes,product_lines,product_bytes", "two": "product_lines,product_bytes"}[n.id.Device]
			if got := n.over(); got != want {
				t.Errorf("%s: over %s, want %s", n.id, got, want)
			}
		}
	})
}

// TestLoudDevicesAreLowered: those that are over their own quota, where the product says so.
func TestLoudDevicesAreLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, logbridge.Quota{DeviceLines: 1, ProductLines: 2, LowerSeconds: 600}, Config{})
		stop := r.run(t)
		defer stop()
		r.send(many(device("loud"), 61), 60, 1)
		r.send(many(device("late"), 60), 60, 0)
		r.send(many(device("late too"), 1), 0, 1)
		r.send(logbridge.Batch{Records: []logbridge.Record{{Source: logbridge.SourceMQTT, Stream: "device/OTHER12345/none"}}}, 1, 0)
		time.Sleep(noticePeriod + time.Second)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if want := []string{"loud for 10m0s"}; !reflect.DeepEqual(r.lowered, want) {
			t.Errorf("lowered %q, want %q", r.lowered, want)
		}
		r.product.Quota.LowerSeconds = 0
	})
}

// TestIdleDevicesAreForgotten: a fleet of 20 000 is in memory as long as it sends, and not for longer than its buckets need.
func TestIdleDevicesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fleet = 20_000
		r := newRig(t, logbridge.Quota{DeviceBytes: 1, ProductLines: 1 << 20}, Config{})
		stop := r.run(t)
		full := strings.Repeat("x", 60)
		for i := range fleet {
			r.send(lines(device(fmt.Sprint("dev_", i)), full, "over"), 1, 1)
		}
		if n := r.Gate.Stats().Devices; n != fleet {
			t.Errorf("%d devices", n)
		}
		time.Sleep(burst - time.Second)
		r.send(lines(device("busy"), full), 1, 0)
		time.Sleep(noticePeriod + time.Second)
		synctest.Wait()
		if n := len(r.told()); n != fleet {
			t.Errorf("%d devices were told", n)
		}
		if n := r.Gate.Stats().Devices; n != 1 {
			t.Errorf("%d devices are left", n)
		}
		time.Sleep(burst + noticePeriod)
		stop()
		if n := r.Gate.Stats().Devices + len(r.byProduct); n != 0 {
			t.Errorf("%d devices and products are left", n)
		}
	})
}

// BenchmarkGate is what the quotas cost each message.
func BenchmarkGate(b *testing.B) {
	for name, q := range map[string]logbridge.Quota{"none": {}, "set": {DeviceLines: 1 << 30, ProductBytes: 1 << 30}} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, q, Config{})
			r.fail = logbridge.ErrInvalid // which keeps nothing
			batch := many(device("one"), 4)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.Append(context.Background(), batch)
			}
		})
	}
}
