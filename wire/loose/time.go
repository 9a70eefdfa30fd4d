package loose

import (
	"math"
	"strconv"
	"time"
)

// UnixTime reads a Unix time whose unit shows in its magnitude: below 1e11 seconds, below 1e14 milliseconds, below 1e17
// microseconds, else nanoseconds (web-tracking.md 5.3). number is decimal, with a fraction if it must. false for what is no
// number, not positive, or beyond the nanoseconds of an int64 (the year 2262).
func UnixTime(number string) (time.Time, bool) {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return integerTime(n)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f > 0) || f >= math.MaxInt64 {
		return time.Time{}, false
	}
	if f < 1e11 { // the one unit in which a fraction is usual
		whole, part := math.Modf(f)
		return time.Unix(int64(whole), int64(math.Round(part*1e6))*1000).UTC(), true
	}
	return integerTime(int64(f))
}

func integerTime(n int64) (time.Time, bool) {
	switch {
	case n <= 0:
		return time.Time{}, false
	case n < 1e11:
		return withinNanoseconds(time.Unix(n, 0))
	case n < 1e14:
		return withinNanoseconds(time.UnixMilli(n))
	case n < 1e17:
		return withinNanoseconds(time.UnixMicro(n))
	}
	return time.Unix(0, n).UTC(), true
}

// withinNanoseconds refuses what a count of nanoseconds cannot hold: the sink keeps times so.
func withinNanoseconds(t time.Time) (time.Time, bool) {
	if t.Unix() > math.MaxInt64/int64(time.Second)-1 {
		return time.Time{}, false
	}
	return t.UTC(), true
}
