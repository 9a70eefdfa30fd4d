package sink

import (
	"log/slog"
	"testing"

	"github.com/logbridge/logbridge"
)

// TestReportsUnderLoad: what was refused because too much waits is reported while too much waits.
func TestReportsUnderLoad(t *testing.T) {
	l := newLedger(maxLedgerStreams)
	c := newCommitter(nil, boundless(), make(chan *group, 1), l, slog.New(slog.DiscardHandler))
	full := upload{body: make([]byte, maxGroup/8-8), records: 1} // eight fill a group
	for range 400 {
		if _, err := c.enqueue([]upload{full}); err != nil {
			t.Fatal(err)
		}
	}
	l.lose(false, logbridge.SourceMQTT, "device/ABCDE12345/dev_01", reasonUnavailable, 7)
	reported := false
	for range 10 {
		members := c.take(false)
		reported = reported || members[len(members)-1].report != nil
		if raw := joinGroup(members); len(raw) > maxGroup {
			t.Fatalf("a group of %d bytes", len(raw))
		}
	}
	if !reported {
		t.Error("no report in ten groups")
	}
}
