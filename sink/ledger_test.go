package sink

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/logbridge/logbridge"
)

func encoded(s ledgerState) []byte {
	b, _ := s.encode(nil)
	return b
}

// TestCheckpointKeepsItsOrder: a checkpoint is the same with the order of the one before, whatever streams have come.
func TestCheckpointKeepsItsOrder(t *testing.T) {
	l := newLedger(maxLedgerStreams)
	var order []uint32
	for _, stream := range []string{"device/P/m", "device/P/z", "device/P/a", "device/P/mm", "cls/t"} {
		l.entry(0, []byte(stream)).stored = 7
		l.entry(1, []byte(stream)).duplicate = 8
		for range 2 {
			var file []byte
			if file, order = l.state().encode(order); !bytes.Equal(file, encoded(l.state())) {
				t.Fatalf("after %s the checkpoint differs", stream)
			}
			back := newLedger(maxLedgerStreams)
			s, err := decodeLedger(file)
			if back.restore(s); err != nil || !reflect.DeepEqual(back.answer().Streams, l.answer().Streams) {
				t.Fatalf("%v: %+v became %+v", err, l.answer(), back.answer())
			}
		}
	}
}

// TestLedgerOf: the sums of a stream are those of the whole ledger, wherever its counts are at the moment.
func TestLedgerOf(t *testing.T) {
	l := newLedger(maxLedgerStreams)
	l.lose(true, logbridge.SourceMQTT, "device/P/a", "quota", 3)
	l.lose(false, logbridge.SourceReportLog, "device/P/a", "bad_signature", 5)
	w := l.report(maxGroup)
	l.lose(true, logbridge.SourceMQTT, "device/P/a", "quota", 7) // while the report is on its way
	for i, stream := range []string{"device/P/a", "device/P/b"} {
		l.entry(0, []byte(stream)).stored = 10 + uint64(i)
		l.entry(1, []byte(stream)).stored = 100
		l.entry(1, []byte(stream)).duplicate = 2
	}
	asked := []logbridge.Stream{"device/P/none", "device/P/b", "device/P/a"}
	for range 2 {
		want := []logbridge.Sums{{}, {Stored: 111, Duplicate: 2}, {Stored: 110, Duplicate: 2, Refused: 5, Dropped: 10}}
		if got := l.of(asked); !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := l.losses(); len(got) != 1 || got["device/P/a"].Refused != 5 || got["device/P/a"].Dropped != 10 {
			t.Errorf("losses: %+v", got)
		}
		var p parsed
		if err := p.parse(joinGroup([]*waiting{w})); err != nil {
			t.Fatal(err)
		}
		l.take(&p)
		w = l.report(maxGroup)
	}
}

// TestReportOfARefusedGroup: what rode in a group that the commit log refused rides again.
func TestReportOfARefusedGroup(t *testing.T) {
	l := newLedger(maxLedgerStreams)
	l.lose(true, logbridge.SourceMQTT, "", "malformed", 2)
	uploads, err := encodeBatch(sent(epoch, "1 a", "2 b"))
	if err != nil {
		t.Fatal(err)
	}
	w := l.report(maxGroup)
	if l.owes() || l.answer().Total.Dropped["malformed"] != 2 {
		t.Errorf("on its way: %+v", l.answer().Total)
	}
	l.refuseGroup([]*waiting{{upload: uploads[0]}, w})
	if got := l.answer(); got.Total.Received != 4 || got.Total.Refused[reasonUnavailable] != 2 || got.Total.Dropped["malformed"] != 2 {
		t.Errorf("refused: %+v", got.Total)
	}
	var p parsed
	if err := p.parse(joinGroup([]*waiting{l.report(maxGroup)})); err != nil {
		t.Fatal(err)
	}
	l.take(&p)
	wantSum(t, l.answer())
	if got := l.answer(); got.Total.Received != 4 || l.owes() || len(l.unreported()) > 0 {
		t.Errorf("reported: %+v", got.Total)
	}
}

// TestReportsFitTheirGroups: many counts go out in several reports, none of which is too large.
func TestReportsFitTheirGroups(t *testing.T) {
	l := newLedger(maxLedgerStreams)
	for i := range 30_000 {
		l.lose(false, logbridge.SourceMQTT, logbridge.Stream(fmt.Sprintf("device/ABCDE12345/a-rather-long-name-of-a-device-%d", i)), "malformed", 1)
	}
	reports := 0
	for w := l.report(maxGroup - 1); w != nil; w = l.report(maxGroup - 1) {
		raw := joinGroup([]*waiting{w})
		var p parsed
		if err := p.parse(raw); err != nil || len(raw) > maxGroup {
			t.Fatalf("%d bytes: %v", len(raw), err)
		}
		l.take(&p)
		reports++
	}
	if got := l.answer().Total; got.Received != 30_000 || reports < 2 || reports > lastReports {
		t.Errorf("%+v in %d reports", got, reports)
	}
	if l.report(reportHead) != nil {
		t.Error("a report without anything in it")
	}
}

// TestLedgerKeepsItsBound: streams beyond the bound count together.
func TestLedgerKeepsItsBound(t *testing.T) {
	l := newLedger(3)
	for i := range 10 {
		l.lose(false, logbridge.SourceMQTT, logbridge.Stream(fmt.Sprint("device/P/", i)), "malformed", 1)
	}
	var p parsed
	if err := p.parse(joinGroup([]*waiting{l.report(maxGroup)})); err != nil {
		t.Fatal(err)
	}
	l.take(&p)
	got := l.answer()
	wantSum(t, got)
	if got.Total.Received != 10 || len(got.Streams) > 4 || len(l.entries) > 4 {
		t.Errorf("%+v", got)
	}
	for _, s := range got.Streams {
		if s.Stream == logbridge.OtherStreams && s.Received < 7 {
			t.Errorf("%+v", s)
		}
	}
}

// BenchmarkCheckpoint measures what a flush pays for the ledger: the copy, which the indexer makes, and the encoding.
func BenchmarkCheckpoint(b *testing.B) {
	for _, streams := range []int{10_000, 100_000} {
		l := newLedger(maxLedgerStreams)
		for i := range streams {
			l.entry(0, fmt.Appendf(nil, "device/ABCDE12345/dev_%06d", i*7919%streams)).stored = uint64(i) * 1000
		}
		size := 0
		b.Run(fmt.Sprint("streams=", streams, "/encode"), func(b *testing.B) {
			var order []uint32
			for range b.N {
				var file []byte
				file, order = l.state().encode(order)
				size = len(file)
			}
			b.ReportMetric(float64(size)/float64(streams), "bytes/stream")
		})
		b.Run(fmt.Sprint("streams=", streams, "/copy"), func(b *testing.B) {
			for range b.N {
				l.state()
			}
		})
		b.Run(fmt.Sprint("streams=", streams, "/answer"), func(b *testing.B) {
			for range b.N {
				l.answer()
			}
		})
	}
}
