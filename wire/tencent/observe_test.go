package tencent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

func TestObserve(t *testing.T) {
	received := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	id := logbridge.DeviceID{Product: "ABCDE12345", Device: "dev_01"}
	var lines []Line
	for _, text := range []string{
		"DBG|2026-11-21 11:00:01|a.c|one", "DBG|2026-11-21 11:00:03|a.c|two", "DBG|2026-11-21 11:00:02|a.c|three", "no level, no time",
		"WRN|2026-11-21 11:00:04|log_mqtt.c|qcloud_log_topic_sub(41): Upload log level change to: 4",
		"WRN|2026-11-21 11:00:05|log_mqtt.c|Upload log level change to: 9", "INF|2026-11-21 11:00:06|a.c|Upload log level change to: 2",
	} {
		lines = append(lines, ParseLine(text, time.UTC))
	}
	var got []string
	Observe(id, lines, Records(lines, logbridge.SourceMQTT, id.Stream(), received, time.Time{}), received, func(o logbridge.Observation) {
		if o.Device != id || !o.Time.Equal(received) {
			t.Errorf("%+v", o)
		}
		if o.Event == logbridge.LineSeen && (!o.SkewKnown || o.Skew != 59*time.Minute+54*time.Second) {
			t.Errorf("of the last line's clock: %v %v", o.SkewKnown, o.Skew)
		}
		got = append(got, fmt.Sprint(o.Event == logbridge.LevelAnnounced, o.Level, " ", o.Lines, " ", o.Dated.UTC().Format("15:04:05")))
	})
	want := []string{"true debug 0 00:00:00", "false warn 2 11:00:05", "false info 2 12:00:00", "false debug 3 11:00:03"}
	if !slices.Equal(got, want) {
		t.Errorf("observed %q, want %q", got, want)
	}
	lines = lines[3:4]
	Observe(id, lines, Records(lines, logbridge.SourceMQTT, id.Stream(), received, time.Time{}), received, func(o logbridge.Observation) {
		if o.SkewKnown {
			t.Errorf("of a line without a time: %+v", o)
		}
	})
	Observe(id, nil, nil, received, func(o logbridge.Observation) { t.Errorf("of no lines: %+v", o) })
}
