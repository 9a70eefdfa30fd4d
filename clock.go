package logbridge

import (
	"math"
	"slices"
	"time"
)

// TimeRawKey is the attribute of a record that holds the time as the sender said it, when Record.Time is another: as
// written in the line, or RFC 3339 in UTC where a number was sent.
const TimeRawKey = "time_raw"

const (
	// clockTolerance is how far a clock may be off and still count as right. A request is under way for less than a
	// minute, a device that keeps time by NTP or from our $sys answer is within seconds, and a drift of two minutes is
	// what readers of two devices' logs can live with.
	clockTolerance = 2 * time.Minute

	// sameClock is how long before a request was sent its newest line may have been written if both times are to be of
	// one clock. SDKs send within 30 seconds (tencent-iot.md 4.6). It is below the smallest error that a wrong time zone
	// makes, a quarter of an hour: lines are in local time and the request's timestamp is not, and a difference of whole
	// hours between them says nothing about the clock.
	sameClock = 10 * time.Minute

	// clockStep between two neighbouring lines of an upload is no pause but another clock: one line with a garbled year
	// must not drag the others along.
	clockStep = 365 * 24 * time.Hour

	// clocksAreSet is 2019-01-01T00:00:00Z in Unix seconds. Nothing that speaks these protocols logged before; devices
	// whose clock was never set say 1970, 2000 or the year of their firmware.
	clocksAreSet = 1546300800
)

// RepairTimes judges the times of one upload by the time of its receipt, which is the ObservedTime of all its records,
// and repairs those that cannot be right. It looks only at records of quality TimeDevice. sent is the time that the
// request itself carries, by the sender's clock, zero if it has none. raw gives the text of the time of record i as the
// sender wrote it; where it is empty, or raw is nil, the attribute TimeRawKey says it in RFC 3339.
//
// Lines are taken as one clock's as long as they follow each other, whatever their order. A new clock begins where the
// time passes from before 2019 to after or back (it was set in between), where it jumps by more than clockStep, and, before
// 2019, where it goes back: such a clock counts from the start of the device, which started again. Lines without a time
// belong to no clock. All lines of a clock are shifted by the same, or none is, so that the distances between them stay:
//
//   - By received - sent, when that is more than clockTolerance and the clock's newest line is of just before sent: the
//     clock that wrote the lines is the one that sent them, and so is its error. This alone can tell a slow clock. It is
//     never done to a backlog: the lines may be older than the error. Nor if lines and sent disagree, as they do where the
//     SDK took sent from the server and the lines from the device.
//   - Else, when the clock was never set or its newest line is later than received + clockTolerance: so that its newest
//     line is where the next clock of the upload begins, or at the time of receipt if none does.
//   - Else not at all. An old backlog keeps its times, since nothing tells it from lines of a slow clock; and so do lines in
//     the future by less than clockTolerance.
//
// A shifted line has quality TimeShifted and its former time in TimeRawKey, which is the same whenever the line is sent
// again. A time that cannot be counted in nanoseconds of an int64 (until 1677 and from April 2262 on), or that would come out
// before 2019, tells nothing: the line gets the time of receipt, TimeReceived, and TimeRawKey.
//
// After that, no line that says TimeDevice is in the future or from before 2019. Calling it again changes nothing. Records
// stay in their order and none is refused. Whether a line is shifted depends on its upload and on when it came: one that is
// sent again may be judged otherwise the second time if its clock is off by little more than clockTolerance, or if it comes
// among other lines. When the receiver's own clock was never set, nothing is repaired: there is nothing to go by.
func RepairTimes(records []Record, sent time.Time, raw func(i int) string) {
	if len(records) == 0 || neverSet(records[0].ObservedTime) {
		return
	}
	b := clockRepair{records: records, received: records[0].ObservedTime.Round(0), raw: raw}
	if !neverSet(sent) {
		b.skew, b.sent = b.received.Sub(sent), sent
	}
	next := b.received // where the clock after the one at hand begins
	for end := len(records); end > 0; {
		c := b.clockBefore(end)
		if c.lines > 0 {
			next = b.repair(c, next)
		}
		end = c.begin
	}
}

// clockRepair is one call of RepairTimes.
type clockRepair struct {
	records  []Record
	received time.Time
	sent     time.Time     // by the sender's clock
	skew     time.Duration // of that clock; 0 if there is no credible sent
	raw      func(i int) string
}

// clockRun is a part of a batch whose times are of one clock.
type clockRun struct {
	begin, end     int // of the records
	lines          int // of them, those with a time
	newest, oldest time.Time
	first          time.Time // of the first line
}

// clockBefore finds the last clock of the records before end.
func (b *clockRepair) clockBefore(end int) clockRun {
	c := clockRun{begin: end, end: end}
	for ; c.begin > 0; c.begin-- {
		i := c.begin - 1
		r := &b.records[i]
		switch {
		case r.TimeQuality != TimeDevice:
			continue
		case !countable(r.Time):
			b.unknown(i)
			continue
		case c.lines == 0:
			c.newest, c.oldest = r.Time, r.Time
		case anotherClock(r.Time, c.first):
			return c
		case r.Time.After(c.newest):
			c.newest = r.Time
		case r.Time.Before(c.oldest):
			c.oldest = r.Time
		}
		c.first = r.Time
		c.lines++
	}
	return c
}

// anotherClock reports whether two neighbouring lines are of different clocks.
func anotherClock(t, next time.Time) bool {
	step := next.Sub(t)
	return neverSet(t) != neverSet(next) || step.Abs() > clockStep || neverSet(t) && step < -clockTolerance
}

// repair shifts the lines of c if its clock was wrong; next is where the following clock begins. It returns where c begins
// after that, or the time of receipt if that is earlier.
func (b *clockRepair) repair(c clockRun, next time.Time) time.Time {
	by := b.shift(&c, next)
	if by == 0 {
		return earlier(c.first, b.received)
	}
	known := !neverSet(c.oldest.Add(by))
	for i := c.begin; i < c.end; i++ {
		switch r := &b.records[i]; {
		case r.TimeQuality != TimeDevice:
		case !known:
			b.unknown(i)
		default:
			b.keepRaw(i)
			r.Time, r.TimeQuality = r.Time.Add(by).UTC(), TimeShifted
		}
	}
	if !known {
		return b.received
	}
	return earlier(c.first.Add(by), b.received)
}

// shift is what the times of c are to be shifted by; 0 if they are to stay.
func (b *clockRepair) shift(c *clockRun, next time.Time) time.Duration {
	wait := b.sent.Sub(c.newest) // of the newest line, to be sent
	switch {
	case b.skew.Abs() > clockTolerance && wait >= -clockTolerance && wait <= sameClock:
		return min(b.skew, b.received.Sub(c.newest)) // not beyond the time of receipt
	case neverSet(c.newest), c.newest.Sub(b.received) > clockTolerance:
		return next.Sub(c.newest)
	}
	return 0
}

// unknown gives record i the time of receipt.
func (b *clockRepair) unknown(i int) {
	b.keepRaw(i)
	b.records[i].Time, b.records[i].TimeQuality = b.received, TimeReceived
}

// keepRaw adds the time of record i to its attributes, which may share an array with others.
func (b *clockRepair) keepRaw(i int) {
	r, text := &b.records[i], ""
	if b.raw != nil {
		text = b.raw(i)
	}
	if text == "" {
		text = r.Time.UTC().Format(time.RFC3339Nano)
	}
	r.Attributes = append(slices.Clip(r.Attributes), Attr{Key: TimeRawKey, Value: text})
}

func neverSet(t time.Time) bool { return t.Unix() < clocksAreSet }

// countable reports whether nanoseconds of an int64 can say t, which is how times are kept.
func countable(t time.Time) bool {
	const most = math.MaxInt64/int64(time.Second) - 1
	return t.Unix() >= -most && t.Unix() <= most
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
