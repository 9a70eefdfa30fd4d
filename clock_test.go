package logbridge

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

var receipt = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// ago is a time before the receipt.
func ago(d time.Duration) time.Time { return receipt.Add(-d) }

func day(year, month, day int) time.Time {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
}

// upload makes records of times; the zero time stands for a line without one.
func upload(times ...time.Time) []Record {
	records := make([]Record, len(times))
	for i, t := range times {
		records[i] = Record{Time: t, ObservedTime: receipt, Body: fmt.Sprint(i)}
		if t.IsZero() {
			records[i].Time, records[i].TimeQuality = receipt, TimeReceived
		}
	}
	return records
}

// repaired is what is expected of one line.
type repaired struct {
	quality TimeQuality
	at      time.Time
}

func kept(t time.Time) repaired    { return repaired{TimeDevice, t} }
func shifted(t time.Time) repaired { return repaired{TimeShifted, t} }
func atReceipt() repaired          { return repaired{TimeReceived, receipt} }

func TestRepairTimes(t *testing.T) {
	const s, m, h, days = time.Second, time.Minute, time.Hour, 24 * time.Hour
	none := time.Time{}
	boot := day(1970, 1, 1)
	for name, row := range map[string]struct {
		sent  time.Time
		lines []time.Time
		want  []repaired
	}{
		"right": {none, []time.Time{ago(3 * s), ago(s)}, []repaired{kept(ago(3 * s)), kept(ago(s))}},
		"old backlog, right clock": {ago(s), []time.Time{ago(40 * days), ago(39 * days), ago(2 * s)},
			[]repaired{kept(ago(40 * days)), kept(ago(39 * days)), kept(ago(2 * s))}},
		"backlog alone, right clock": {ago(s), []time.Time{ago(40 * days), ago(39 * days)}, []repaired{kept(ago(40 * days)), kept(ago(39 * days))}},
		"without a time":             {none, []time.Time{none, ago(days), none}, []repaired{atReceipt(), kept(ago(days)), atReceipt()}},
		"out of order":               {none, []time.Time{ago(s), ago(5 * h), ago(m)}, []repaired{kept(ago(s)), kept(ago(5 * h)), kept(ago(m))}},
		"ahead within tolerance":     {none, []time.Time{ago(m), ago(-2 * m)}, []repaired{kept(ago(m)), kept(ago(-2 * m))}},

		"ahead": {none, []time.Time{ago(m), ago(-2*m - s)}, []repaired{shifted(ago(3*m + s)), shifted(ago(0))}},
		"ahead, newest first": {none, []time.Time{ago(-days), none, ago(-23 * h)},
			[]repaired{shifted(ago(0)), atReceipt(), shifted(ago(h))}},
		"ahead by a zone, sent is right":  {ago(s), []time.Time{ago(-8*h + 9*s), ago(-8*h + 4*s)}, []repaired{shifted(ago(5 * s)), shifted(ago(0))}},
		"behind by a zone, sent is right": {ago(s), []time.Time{ago(5*h + s)}, []repaired{kept(ago(5*h + s))}},
		"a garbled year between": {none, []time.Time{ago(9 * s), day(2106, 2, 7), ago(5 * s)},
			[]repaired{kept(ago(9 * s)), shifted(ago(5 * s)), kept(ago(5 * s))}},
		"a garbled year at the end": {none, []time.Time{ago(9 * s), day(2106, 2, 7)}, []repaired{kept(ago(9 * s)), shifted(ago(0))}},

		"never set":              {none, []time.Time{boot.Add(5 * s), none, boot.Add(25 * s)}, []repaired{shifted(ago(20 * s)), atReceipt(), shifted(ago(0))}},
		"of the firmware's year": {none, []time.Time{day(2018, 12, 31)}, []repaired{shifted(ago(0))}},
		"the first right year":   {none, []time.Time{day(2019, 1, 1)}, []repaired{kept(day(2019, 1, 1))}},
		"set in between": {none, []time.Time{boot.Add(5 * s), boot.Add(25 * s), ago(2 * h), ago(s)},
			[]repaired{shifted(ago(2*h + 20*s)), shifted(ago(2 * h)), kept(ago(2 * h)), kept(ago(s))}},
		"set in between to a little ahead": {none, []time.Time{boot, ago(-m)}, []repaired{shifted(ago(0)), kept(ago(-m))}},
		"set in between, long ago": {none, []time.Time{day(2018, 12, 31), day(2019, 6, 1)},
			[]repaired{shifted(day(2019, 6, 1)), kept(day(2019, 6, 1))}},
		"set in between to what is ahead": {none, []time.Time{boot.Add(5 * s), boot.Add(25 * s), ago(-h), ago(-2 * h)},
			[]repaired{shifted(ago(h + 20*s)), shifted(ago(h)), shifted(ago(h)), shifted(ago(0))}},
		"right, then started again without": {none, []time.Time{ago(h), boot.Add(5 * s), boot.Add(15 * s)},
			[]repaired{kept(ago(h)), shifted(ago(10 * s)), shifted(ago(0))}},
		"started again, never set": {none, []time.Time{boot.Add(s), boot.Add(h), boot.Add(s), boot.Add(31 * s)},
			[]repaired{shifted(ago(h + 29*s)), shifted(ago(30 * s)), shifted(ago(30 * s)), shifted(ago(0))}},
		"1970, then 2000": {none, []time.Time{boot, boot.Add(s), day(2000, 1, 1), day(2000, 1, 1).Add(9 * s)},
			[]repaired{shifted(ago(10 * s)), shifted(ago(9 * s)), shifted(ago(9 * s)), shifted(ago(0))}},
		"never set and older than 2019 after that": {none, []time.Time{day(1970, 1, 2), day(1970, 12, 30), day(1971, 12, 1), day(1972, 11, 1), day(1973, 10, 1),
			day(1974, 9, 1), day(1975, 8, 1), day(1976, 7, 1), day(1977, 6, 1), day(1978, 5, 1)},
			[]repaired{atReceipt(), atReceipt(), atReceipt(), atReceipt(), atReceipt(), atReceipt(), atReceipt(), atReceipt(), atReceipt(), atReceipt()}},

		"slow clock":                   {ago(3 * days), []time.Time{ago(3*days + 30*s), ago(3*days + 2*s)}, []repaired{shifted(ago(30 * s)), shifted(ago(2 * s))}},
		"slow clock, within tolerance": {ago(2 * m), []time.Time{ago(2*m + 5*s)}, []repaired{kept(ago(2*m + 5*s))}},
		"slow clock, backlog": {ago(3 * days), []time.Time{ago(5 * days), ago(4 * days)},
			[]repaired{kept(ago(5 * days)), kept(ago(4 * days))}},
		"slow clock, backlog with a line of now": {ago(3 * days), []time.Time{ago(5 * days), ago(3*days + s)},
			[]repaired{shifted(ago(2 * days)), shifted(ago(s))}},
		"sent is slow, lines are right":           {ago(days), []time.Time{ago(2 * s)}, []repaired{kept(ago(2 * s))}},
		"sent is local time, lines are right":     {ago(-8 * h), []time.Time{ago(2 * s)}, []repaired{kept(ago(2 * s))}},
		"sent is off by an hour, lines are right": {ago(-h), []time.Time{ago(0)}, []repaired{kept(ago(0))}},
		"fast clock":                      {ago(-3 * h), []time.Time{ago(-3*h + 40*s), ago(-3*h + 30*s)}, []repaired{shifted(ago(40 * s)), shifted(ago(30 * s))}},
		"fast clock, lines of the past":   {ago(-5 * m), []time.Time{ago(4 * m)}, []repaired{shifted(ago(9 * m))}},
		"fast clock, line a little after": {ago(-3 * h), []time.Time{ago(-3*h - s), ago(-3*h + 4*s)}, []repaired{shifted(ago(0)), shifted(ago(5 * s))}},
		"fast clock, sent from elsewhere": {ago(-9 * h), []time.Time{ago(-h)}, []repaired{shifted(ago(0))}},
		"sent never set, lines as well":   {boot.Add(m), []time.Time{boot.Add(30 * s)}, []repaired{shifted(ago(0))}},
		"sent is no time":                 {time.Unix(math.MaxInt64, 0), []time.Time{ago(s)}, []repaired{kept(ago(s))}},

		"no year of a clock": {none, []time.Time{day(9999, 12, 31), day(0, 1, 1), day(2262, 5, 1), day(1600, 1, 1), ago(s)},
			[]repaired{atReceipt(), atReceipt(), atReceipt(), atReceipt(), kept(ago(s))}},
		"before 1970":   {none, []time.Time{day(1678, 1, 1), day(1900, 1, 1)}, []repaired{atReceipt(), shifted(ago(0))}},
		"the last year": {none, []time.Time{day(2262, 4, 1)}, []repaired{shifted(ago(0))}},
	} {
		t.Run(name, func(t *testing.T) {
			records := upload(row.lines...)
			RepairTimes(records, row.sent, nil)
			for i, want := range row.want {
				checkRepaired(t, i, records[i], row.lines[i], want)
			}
		})
	}
}

func checkRepaired(t *testing.T, i int, r Record, sent time.Time, want repaired) {
	t.Helper()
	if r.TimeQuality != want.quality || !r.Time.Equal(want.at) || r.Body != fmt.Sprint(i) {
		t.Errorf("line %d: %v %s; want %v %s", i, r.TimeQuality, r.Time, want.quality, want.at)
	}
	var attrs []Attr
	if !sent.IsZero() && !r.Time.Equal(sent) {
		attrs = []Attr{{TimeRawKey, sent.Format(time.RFC3339Nano)}}
	}
	if !reflect.DeepEqual(r.Attributes, attrs) {
		t.Errorf("line %d: attributes %v, want %v", i, r.Attributes, attrs)
	}
}

// TestRepairedTimesKeepTheSendersText: it is the same whenever the line comes, and attributes that share an array stay.
func TestRepairedTimesKeepTheSendersText(t *testing.T) {
	shared := []Attr{{"a", "0"}, {"b", "1"}, {"c", "2"}}
	send := func(received time.Time) []Record {
		records := upload(day(1970, 1, 1), day(2000, 1, 1), ago(24*time.Hour))
		for i := range records {
			records[i].ObservedTime, records[i].Attributes = received, shared[i:i+1]
		}
		RepairTimes(records, time.Time{}, func(i int) string { return []string{"1970-01-01 08:00:00", "", "yesterday"}[i] })
		return records
	}
	records := send(receipt)
	want := [][]Attr{
		{{"a", "0"}, {TimeRawKey, "1970-01-01 08:00:00"}},
		{{"b", "1"}, {TimeRawKey, "2000-01-01T00:00:00Z"}},
		{{"c", "2"}},
	}
	again := send(receipt.Add(3 * time.Minute))
	for i := range want {
		if !reflect.DeepEqual(records[i].Attributes, want[i]) || !reflect.DeepEqual(again[i].Attributes, want[i]) {
			t.Errorf("line %d: %v, then %v; want %v", i, records[i].Attributes, again[i].Attributes, want[i])
		}
	}
}

func TestNothingIsRepairedByAClockThatWasNeverSet(t *testing.T) {
	records := upload(ago(time.Hour), day(1970, 1, 1))
	for i := range records {
		records[i].ObservedTime = day(1970, 1, 1)
	}
	RepairTimes(records, ago(time.Second), nil)
	for i, r := range records {
		if r.TimeQuality != TimeDevice || len(r.Attributes) > 0 {
			t.Errorf("line %d: %+v", i, r)
		}
	}
	RepairTimes(nil, receipt, nil)
}

// TestRightTimesCostNothing: an upload's usual case is on the path of every record.
func TestRightTimesCostNothing(t *testing.T) {
	records := upload(ago(time.Minute), ago(time.Second), time.Time{}, ago(0))
	raw := func(int) string { return "" }
	if n := testing.AllocsPerRun(100, func() { RepairTimes(records, ago(time.Second), raw) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRepairTimes: each 8 bytes are a line, an offset in nanoseconds from a time that the lowest bits choose.
func FuzzRepairTimes(f *testing.F) {
	f.Add(int64(0), []byte(strings.Repeat("0123456789abcdef", 3)))
	f.Add(int64(3*time.Hour), []byte{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		lines := make([]byte, 8*random.IntN(12))
		for i := range lines {
			lines[i] = byte(random.Uint32() >> 24)
		}
		f.Add(random.Int64N(int64(48*time.Hour))-int64(24*time.Hour), lines)
	}
	f.Fuzz(func(t *testing.T, skew int64, lines []byte) {
		sent := receipt.Add(-time.Duration(skew))
		if skew%7 == 0 {
			sent = time.Time{}
		}
		var times []time.Time
		for ; len(lines) >= 8; lines = lines[8:] {
			times = append(times, fuzzedTime(sent, int64(binary.LittleEndian.Uint64(lines))))
		}
		records := upload(times...)
		RepairTimes(records, sent, nil)
		for i, r := range records {
			checkInvariants(t, i, r, times[i])
		}
		again := make([]Record, len(records))
		copy(again, records)
		RepairTimes(again, sent, nil)
		if !reflect.DeepEqual(again, records) {
			t.Fatalf("repaired again: %+v, was %+v", again, records)
		}
	})
}

func fuzzedTime(sent time.Time, n int64) time.Time {
	offset := time.Duration(n >> 3)
	switch n & 7 {
	case 0:
		return time.Time{}
	case 1:
		return receipt.Add(offset)
	case 2:
		return receipt.Add(offset >> 20) // hours
	case 3:
		return sent.Add(offset >> 24) // minutes
	case 4:
		return day(1970, 1, 1).Add(offset >> 16)
	case 5:
		return day(2019, 1, 1).Add(offset >> 20)
	case 6:
		return time.Unix(n, 0)
	}
	return time.Unix(0, n)
}

func checkInvariants(t *testing.T, i int, r Record, sent time.Time) {
	t.Helper()
	if r.Body != fmt.Sprint(i) || r.Time.After(receipt.Add(clockTolerance)) || neverSet(r.Time) {
		t.Fatalf("line %d, %s: %+v", i, sent, r)
	}
	switch r.TimeQuality {
	case TimeDevice:
		if !r.Time.Equal(sent) || len(r.Attributes) > 0 {
			t.Fatalf("line %d, %s: %+v", i, sent, r)
		}
	case TimeShifted:
		if r.Time.After(receipt) || len(r.Attributes) != 1 || sent.IsZero() {
			t.Fatalf("line %d, %s: %+v", i, sent, r)
		}
	case TimeReceived:
		if !r.Time.Equal(receipt) || len(r.Attributes) != 1 && !sent.IsZero() {
			t.Fatalf("line %d, %s: %+v", i, sent, r)
		}
	}
}
