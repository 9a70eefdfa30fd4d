package bridge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

func report(payload string, dup bool) logbridge.Message {
	return logbridge.Message{Topic: tencent.ReportTopic(dev1), Payload: []byte(payload), QoS: 1, Dup: dup}
}

func TestReportIsAppended(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	began := time.Now()
	payload := []byte("INF|2024-11-21 10:55:44|main.c|started\nDBG|no time\nWRNplain\n")
	m := logbridge.Message{Topic: tencent.ReportTopic(dev1), Payload: payload, QoS: 1}
	if err := p.Handle(context.Background(), s, m); err != nil {
		t.Fatal(err)
	}
	for i := range payload { // the payload belongs to the broker
		payload[i] = '#'
	}
	got := receive(t, "batch", p.log.batches).Records
	received := got[0].ObservedTime
	if received.Before(began) || received.After(time.Now()) {
		t.Errorf("received at %v", received)
	}
	record := func(at time.Time, q logbridge.TimeQuality, level logbridge.Level, body string, attrs ...logbridge.Attr) logbridge.Record {
		return logbridge.Record{Time: at, ObservedTime: received, TimeQuality: q, Source: logbridge.SourceMQTT,
			Stream: dev1.Stream(), Severity: level, Body: body, Attributes: attrs}
	}
	want := []logbridge.Record{
		record(time.Date(2024, 11, 21, 2, 55, 44, 0, time.UTC), logbridge.TimeDevice, logbridge.LevelInfo, "started",
			logbridge.Attr{Key: "tag", Value: "main.c"}),
		record(received, logbridge.TimeReceived, logbridge.LevelDebug, "no time"),
		record(received, logbridge.TimeReceived, logbridge.LevelWarn, "plain"),
	}
	if len(got) != len(want) {
		t.Fatalf("%d records", len(got))
	}
	for i := range want {
		if !got[i].Time.Equal(want[i].Time) {
			t.Errorf("record %d: time %v, want %v", i, got[i].Time, want[i].Time)
		}
		got[i].Time = want[i].Time // the zone differs
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("record %d:\n%+v, want\n%+v", i, got[i], want[i])
		}
	}
	for _, level := range []logbridge.Level{logbridge.LevelWarn, logbridge.LevelInfo, logbridge.LevelDebug} {
		p.levels.expect(t, dev1, logbridge.LineSeen, level)
	}
	if len(p.levels.observed) > 0 {
		t.Error("more than one of each severity for a message")
	}
}

// TestReportTimes: a message is judged by the time of its receipt alone.
func TestReportTimes(t *testing.T) {
	p := newParts(t, Config{})
	shanghai := products{}.Location(dev1.Product)
	future := time.Now().Add(3 * time.Hour).Truncate(time.Second)
	text := future.In(shanghai).Format("2006-01-02 15:04:05")
	number := fmt.Sprintf(`{"time":%d,"message":"later"}`, future.Add(time.Minute).UnixMilli())
	if err := p.Handle(context.Background(), newSession(dev1), report(`["INF|`+text+`|a.c|first",`+number+`]`, false)); err != nil {
		t.Fatal(err)
	}
	got := receive(t, "batch", p.log.batches).Records
	if len(got) != 2 || !got[1].Time.Equal(got[1].ObservedTime) || !got[0].Time.Equal(got[1].Time.Add(-time.Minute)) {
		t.Fatalf("records %+v", got)
	}
	for i, want := range [][]logbridge.Attr{
		{{Key: "tag", Value: "a.c"}, {Key: "time_raw", Value: text}},
		{{Key: "time_raw", Value: future.Add(time.Minute).UTC().Format(time.RFC3339)}},
	} {
		if got[i].TimeQuality != logbridge.TimeShifted || !reflect.DeepEqual(got[i].Attributes, want) {
			t.Errorf("line %d: %+v, want attributes %v", i, got[i], want)
		}
	}
	backlog := time.Now().Add(-1000 * time.Hour).Truncate(time.Second)
	line := "INF|" + backlog.In(shanghai).Format("2006-01-02 15:04:05") + "|a.c|old"
	if err := p.Handle(context.Background(), newSession(dev1), report(line, false)); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, "batch", p.log.batches).Records[0]; r.TimeQuality != logbridge.TimeDevice || !r.Time.Equal(backlog) || len(r.Attributes) != 1 {
		t.Errorf("backlog: %+v", r)
	}
}

func TestReportForms(t *testing.T) {
	p := newParts(t, Config{})
	for payload, bodies := range map[string][]string{
		"":                         nil,
		"\n\f":                     nil,
		"hello":                    {"hello"},
		`["INFa","ERR|b"]`:         {"a", "b"},
		`{"message":"x","k":1}`:    {"x"},
		`[{"message":"x"},"DBGy"]`: {"x", "y"},
		"\xff\xfe":                 {"\ufffd"},
	} {
		if err := p.Handle(context.Background(), newSession(dev1), report(payload, false)); err != nil {
			t.Errorf("%q: %v", payload, err)
			continue
		}
		if bodies == nil {
			continue
		}
		var got []string
		for _, r := range receive(t, "batch", p.log.batches).Records {
			got = append(got, r.Body)
		}
		if !reflect.DeepEqual(got, bodies) {
			t.Errorf("%q: %q, want %q", payload, got, bodies)
		}
	}
	if len(p.log.batches) > 0 {
		t.Error("an empty report was appended")
	}
}

func TestReportThatCannotBeStored(t *testing.T) {
	p := newParts(t, Config{AppendTimeout: time.Minute})
	s := newSession(dev1)
	var result error
	p.log.append = func(ctx context.Context, _ logbridge.Batch) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Minute {
			t.Errorf("deadline %v %v", deadline, ok)
		}
		return result
	}
	stream := "mqtt " + string(dev1.Stream())
	for _, row := range []struct {
		payload string
		result  error
		kind    error
		dropped map[string]int
	}{
		{"a\nb", fmt.Errorf("%w: disk", logbridge.ErrUnavailable), logbridge.ErrUnavailable, nil},
		{"a\nb", fmt.Errorf("%w: record", logbridge.ErrTooLarge), logbridge.ErrTooLarge, map[string]int{stream + " too_large": 2}},
		{"a\nb\nc", fmt.Errorf("%w: record", logbridge.ErrInvalid), logbridge.ErrInvalid, map[string]int{stream + " malformed": 3}},
		{strings.Repeat("x\n", tencent.MaxLines+1), nil, logbridge.ErrTooLarge, map[string]int{stream + " too_large": 1}},
	} {
		result, p.ledger.dropped = row.result, nil
		err := p.Handle(context.Background(), s, report(row.payload, false))
		if !errors.Is(err, row.kind) {
			t.Errorf("error %v, want %v", err, row.kind)
		}
		if !reflect.DeepEqual(p.ledger.dropped, row.dropped) {
			t.Errorf("%v: dropped %v, want %v", row.kind, p.ledger.dropped, row.dropped)
		}
	}
	if len(p.levels.observed) > 0 {
		t.Error("a line was seen that is not stored")
	}
	// What failed may be stored when it comes again.
	result = nil
	if err := p.Handle(context.Background(), s, report("a\nb", true)); err != nil || len(p.log.batches) != 1 {
		t.Errorf("%v, %d batches", err, len(p.log.batches))
	}
}

func TestRedeliveredReport(t *testing.T) {
	p := newParts(t, Config{})
	first, second := newSession(dev1), newSession(dev1)
	for i, row := range []struct {
		session *fakeSession
		payload string
		dup     bool
		stored  bool
	}{
		{first, "heartbeat", false, true},
		{first, "heartbeat", false, true}, // a new message with the same text
		{second, "heartbeat", true, false},
		{second, "other", true, true}, // its first delivery never came
		{second, "other", true, false},
		{newSession(dev2), "heartbeat", true, true},
	} {
		m := report(row.payload, row.dup)
		m.Topic = tencent.ReportTopic(row.session.device)
		if err := p.Handle(context.Background(), row.session, m); err != nil {
			t.Fatal(err)
		}
		if stored := len(p.log.batches) == 1; stored != row.stored {
			t.Errorf("message %d: stored %v", i, stored)
		}
		for len(p.log.batches) > 0 {
			<-p.log.batches
		}
	}
	if got := p.Stats(); got.Duplicates != 2 || got.Reports != 4 || got.Lines != 4 {
		t.Errorf("stats %+v", got)
	}
}

// A report that the broker refused is in the ledger as a line of no stream; other topics bring no lines.
func TestRefusedReportIsCounted(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	p.Refused(s, tencent.ReportTopic(dev2), logbridge.ErrForbidden)
	p.Refused(s, tencent.OperationTopic(dev2), logbridge.ErrForbidden)
	if want := map[string]int{"mqtt  forbidden": 1}; !reflect.DeepEqual(p.ledger.dropped, want) {
		t.Errorf("dropped %v, want %v", p.ledger.dropped, want)
	}
}

// TestReportsTogether: reports that came together are appended together, in their order and with an outcome each; a question among
// them is answered in its turn.
func TestReportsTogether(t *testing.T) {
	p := newParts(t, Config{})
	p.log.append = func(_ context.Context, b logbridge.Batch) error {
		if strings.HasPrefix(b.Records[0].Body, "fails") {
			return logbridge.ErrUnavailable
		}
		return nil
	}
	s := newSession(dev1)
	question := logbridge.Message{Topic: tencent.OperationTopic(dev1), Payload: []byte(`{"type":"get_log_level"}`)}
	empty := report("", false)
	packed := report("not gzip", false)
	packed.ContentType = "gzip"
	errs := p.Bridge.Handle(context.Background(), s, []logbridge.Message{report("one", false), report("fails", false), empty,
		report("two", false), question, report("three", false), packed, report("four", false)})
	for i, want := range []error{nil, logbridge.ErrUnavailable, nil, nil, nil, nil, logbridge.ErrInvalid, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("message %d: %v, want %v", i, errs[i], want)
		}
	}
	for _, want := range []string{"one", "two", "three", "four"} {
		if got := receive(t, "batch", p.log.batches).Records[0].Body; got != want {
			t.Errorf("stored %q, want %q", got, want)
		}
	}
	receive(t, "answer", s.out)
	if n := p.log.calls.Load(); n != 3 { // what is before the question, before what is packed, and behind it
		t.Errorf("%d appends, want 3", n)
	}
	if got := p.ledger.dropped["mqtt device/ABCDE12345/dev_01 malformed"]; got != 1 {
		t.Errorf("dropped %v", p.ledger.dropped)
	}
	if errs := p.Bridge.Handle(context.Background(), s, []logbridge.Message{report("five", false), question}); errs != nil {
		t.Errorf("all is well, and yet %v", errs)
	}
}
