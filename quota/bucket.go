package quota

import (
	"time"

	"github.com/logbridge/logbridge"
)

// burst is for how long the rate may be spent at once. The Java SDK sends what it has gathered in 30 s in one upload
// (tencent-iot.md 4.6), so anything below would drop lines of a device that keeps to its quota.
const burst = time.Minute

// limit is a quota of one device or one product, a second. 0 or less is none.
type limit struct{ lines, bytes int64 }

// limitsOf takes a quota apart. none says that there is nothing to keep to.
func limitsOf(q logbridge.Quota) (device, product limit, none bool) {
	device, product = limit{q.DeviceLines, q.DeviceBytes}, limit{q.ProductLines, q.ProductBytes}
	return device, product, max(device.lines, device.bytes, product.lines, product.bytes) <= 0
}

// bucket is what may be spent now. The zero value is full.
type bucket struct {
	of           limit // that it was filled by
	at           time.Time
	lines, bytes float64
}

// fill adds what has come since the last time. A bucket whose limit is another now begins full.
func (b *bucket) fill(l limit, now time.Time) {
	if b.of != l {
		b.of, b.lines, b.bytes = l, most(l.lines), most(l.bytes)
	}
	passed := now.Sub(b.at).Seconds()
	b.at = now
	b.put(float64(l.lines)*passed, float64(l.bytes)*passed)
}

// put adds, up to full.
func (b *bucket) put(lines, bytes float64) {
	b.lines = min(b.lines+lines, most(b.of.lines))
	b.bytes = min(b.bytes+bytes, most(b.of.bytes))
}

// most is what a full bucket holds.
func most(rate int64) float64 { return float64(max(rate, 0)) * burst.Seconds() }

// over says whether a line of this size is more than may be spent. A line that is larger than a full bucket passes when it is
// full, and leaves a debt: no line is too large for ever.
func (b *bucket) over(size float64) (lines, bytes bool) {
	return b.of.lines > 0 && b.lines < 1, b.of.bytes > 0 && b.bytes < min(size, most(b.of.bytes))
}

func (b *bucket) spend(size float64) {
	if b.of.lines > 0 {
		b.lines--
	}
	if b.of.bytes > 0 {
		b.bytes -= size
	}
}

// isFull tells that a new bucket would be the same.
func (b bucket) isFull(now time.Time) bool {
	b.fill(b.of, now)
	return b.lines >= most(b.of.lines) && b.bytes >= most(b.of.bytes)
}
