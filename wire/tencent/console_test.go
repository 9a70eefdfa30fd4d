package tencent

import (
	"testing"

	"github.com/logbridge/logbridge"
)

func TestConsoleLines(t *testing.T) {
	raw := func(when string) []logbridge.Attr { return []logbridge.Attr{{Key: logbridge.TimeRawKey, Value: when}} }
	for in, want := range map[string]Line{
		"[00:00:01.234,000] <inf> main: started":                      {Level: logbridge.LevelInfo, Tag: "main", Text: "started", Attrs: raw("00:00:01.234,000")},
		"[00:00:01.234,000] \x1b[1;31m<err> net_if: no: route\x1b[0m": {Level: logbridge.LevelError, Tag: "net_if", Text: "no: route", Attrs: raw("00:00:01.234,000")},
		"<wrn> main: low":                           {Level: logbridge.LevelWarn, Tag: "main", Text: "low"},
		"<dbg> main.work_handler: tick":             {Level: logbridge.LevelDebug, Tag: "main.work_handler", Text: "tick"},
		"I (1234) wifi: connected":                  {Level: logbridge.LevelInfo, Tag: "wifi", Text: "connected", Attrs: raw("1234")},
		"\x1b[0;31mE (99) app: failed: 5\x1b[0m":    {Level: logbridge.LevelError, Tag: "app", Text: "failed: 5", Attrs: raw("99")},
		"W (10:55:44.000) app: no tag here follows": {Level: logbridge.LevelWarn, Tag: "app", Text: "no tag here follows", Attrs: raw("10:55:44.000")},
		"V (1) two words: x":                        {Level: logbridge.LevelDebug, Text: "two words: x", Attrs: raw("1")},
		// None of these.
		"WRN low":            {Level: logbridge.LevelWarn, Text: "low"},
		"WRN| low":           {Level: logbridge.LevelWarn, Text: " low"},
		"ERROR low":          {Level: logbridge.LevelError, Text: "ERROR low"},
		"WRN|low":            {Level: logbridge.LevelWarn, Text: "low"},
		"I (think) so: yes":  {Level: logbridge.LevelInfo, Text: "I (think) so: yes"},
		"[main] started":     {Level: logbridge.LevelInfo, Text: "[main] started"},
		"[main] <inf> x: y":  {Level: logbridge.LevelInfo, Text: "[main] <inf> x: y"},
		"<abc> x: y":         {Level: logbridge.LevelInfo, Text: "<abc> x: y"},
		"<inf>":              {Level: logbridge.LevelInfo, Text: "<inf>"},
		"I (1":               {Level: logbridge.LevelInfo, Text: "I (1"},
		"\x1b[31mred\x1b[0m": {Level: logbridge.LevelInfo, Text: "\x1b[31mred\x1b[0m"},
		"\x1b[":              {Level: logbridge.LevelInfo, Text: "\x1b["},
	} {
		lines, err := ParseReport([]byte(in), ReportForm{}, nil)
		if err != nil || len(lines) != 1 || !sameLine(lines[0], want) {
			t.Errorf("%q: %+v, %v; want %+v", in, lines, err, want)
		}
	}
}
