package bridge

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/tencent"
)

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packed(contentType string, payload []byte) logbridge.Message {
	return logbridge.Message{Topic: tencent.ReportTopic(dev1), Payload: payload, ContentType: contentType, QoS: 1}
}

func TestPackedReport(t *testing.T) {
	p := newParts(t, Config{})
	s, bomb := newSession(dev1), gzipped(t, strings.Repeat("x", tencent.MaxReport+1))
	stream := "mqtt " + string(dev1.Stream())
	for _, row := range []struct {
		m       logbridge.Message
		bodies  []string
		kind    error
		dropped map[string]int
	}{
		{packed("application/json; encoding=gzip", gzipped(t, `[{"msg":"a"},"INFb"]`)), []string{"a", "b"}, nil, nil},
		{packed("text/plain", []byte(`{"msg":"a"}`)), []string{`{"msg":"a"}`}, nil, nil},
		{packed("gzip", []byte("INFa")), nil, logbridge.ErrInvalid, map[string]int{stream + " malformed": 1}},
		{packed("text/plain; encoding=br", []byte("INFa")), nil, logbridge.ErrInvalid, map[string]int{stream + " malformed": 1}},
		{packed("gzip", bomb), nil, logbridge.ErrTooLarge, map[string]int{stream + " too_large": 1}},
	} {
		p.ledger.dropped = nil
		if err := p.Handle(context.Background(), s, row.m); !errors.Is(err, row.kind) {
			t.Errorf("%s: %v, want %v", row.m.ContentType, err, row.kind)
		}
		if !reflect.DeepEqual(p.ledger.dropped, row.dropped) {
			t.Errorf("%s: dropped %v, want %v", row.m.ContentType, p.ledger.dropped, row.dropped)
		}
		var got []string
		if row.kind == nil {
			for _, r := range receive(t, "batch", p.log.batches).Records {
				got = append(got, r.Body)
			}
		}
		if !reflect.DeepEqual(got, row.bodies) {
			t.Errorf("%s: %q, want %q", row.m.ContentType, got, row.bodies)
		}
	}
	if !p.unpacked.TryAcquire(maxUnpacked) {
		t.Error("memory was not given back")
	}
}

// TestPackedReportWaitsForMemory: as long as others have all of it, a packed report is refused for now, and others are not.
func TestPackedReportWaitsForMemory(t *testing.T) {
	p := newParts(t, Config{})
	s := newSession(dev1)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if !p.unpacked.TryAcquire(maxUnpacked - 1) {
		t.Fatal("there is no memory")
	}
	m := packed("gzip", gzipped(t, "INFa"))
	if err := p.Handle(over, s, m); !errors.Is(err, logbridge.ErrUnavailable) {
		t.Errorf("without memory: %v", err)
	}
	if want := map[string]int{"mqtt " + string(dev1.Stream()) + " overload": 1}; !reflect.DeepEqual(p.ledger.refused, want) {
		t.Errorf("refused %v, want %v", p.ledger.refused, want)
	}
	if err := p.Handle(context.Background(), s, packed("", []byte("INFa"))); err != nil {
		t.Errorf("not packed: %v", err)
	}
	p.unpacked.Release(maxUnpacked - 1)
	m.Dup = true
	if err := p.Handle(context.Background(), s, m); err != nil || p.Stats().Reports != 2 {
		t.Errorf("again: %v, %+v", err, p.Stats())
	}
}
