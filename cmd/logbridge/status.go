package main

import (
	"context"
	"time"

	"github.com/logbridge/logbridge/httpapi"
)

// status gathers what the operator API says of this process.
func (s *server) status(ctx context.Context) (httpapi.Status, error) {
	commit, err := s.sink.CommitState(ctx)
	if err != nil {
		return httpapi.Status{}, err
	}
	st := s.sink.Stats()
	here := int(s.broker.Stats().Sessions)
	nodes, elsewhere := s.levels.Others()
	out := httpapi.Status{
		Started: s.started, Registered: s.registry.DeviceCount(), Connected: here + elsewhere, Here: here, Nodes: nodes, Sources: s.sink.LedgerSources(),
		Store: httpapi.StoreStatus{
			Segments: st.Segments, SegmentBytes: st.SegmentBytes, MemoryRecords: st.MemtableRows, MemoryBytes: st.MemtableBytes,
			CommitGroups: commit.Groups, CommitBytes: commit.Bytes, CommitLast: commit.Last,
			SetAside: st.SetAside, Queries: st.Queries, Tails: st.Tails, TailDropped: st.TailDropped,
		},
	}
	if !st.OldestReceived.IsZero() {
		at := st.OldestReceived.UTC().Truncate(time.Millisecond)
		out.Store.OldestReceived = &at
	}
	return out, nil
}
