package sink

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/logbridge/logbridge/natsd"
)

// copyCommitLog makes one account of the cluster hold what another does, under the same sequences: the copy of a commit log that
// lies in no folder of ours. It does nothing for embedded servers.
func copyCommitLog(t testing.TB, from, to natsd.Config) {
	t.Helper()
	if from.URL == "" {
		return
	}
	source, target := connected(t, from), connected(t, to)
	s, err := source.JetStream().Stream(t.Context(), streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo()
	cfg := info.Config
	cfg.FirstSeq = info.State.FirstSeq
	if _, err := target.Stream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Del(jetstream.ExpectedLastSubjSeqHeader)
		ack, err := target.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil || ack.Sequence != seq {
			t.Fatalf("sequence %d: %+v, %v", seq, ack, err)
		}
	}
}

// connected is a connection that ends with the test.
func connected(t testing.TB, cfg natsd.Config) *natsd.Node {
	t.Helper()
	node, err := natsd.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Conn().Close() })
	return node
}
