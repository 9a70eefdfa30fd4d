package sink

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestWhatTheCommitLogDrops(t *testing.T) {
	now := epoch
	cfg := Config{CommitLogAge: 24 * time.Hour, CommitLogBytes: 1000}
	at := func(last uint64, ago time.Duration) nodeState { return nodeState{nodeReport{last}, now.Add(-ago)} }
	for _, c := range []struct {
		name        string
		own, old    uint64
		others      map[string]nodeState
		first, last uint64
		bytes       uint64
		want        uint64
	}{
		{"nothing is old", 90, 0, nil, 1, 100, 500, 0},
		{"what is old and in segments", 90, 50, nil, 1, 100, 500, 50},
		{"never what is in no segment of this node", 40, 50, nil, 1, 100, 500, 40},
		{"nor what another that is there lacks", 90, 50, map[string]nodeState{"b": at(30, time.Minute)}, 1, 100, 500, 30},
		{"nor one that was there a while ago", 90, 50, map[string]nodeState{"b": at(30, 23*time.Hour)}, 1, 100, 500, 30},
		{"a node that is ahead", 90, 50, map[string]nodeState{"b": at(99, time.Minute)}, 1, 100, 500, 50},
		{"too many bytes: the oldest go early", 90, 0, nil, 1, 100, 1000, 25},
		{"but never what is in no segment", 10, 0, nil, 1, 100, 1000, 10},
		{"nor what one that is there lacks", 90, 0, map[string]nodeState{"b": at(5, time.Minute)}, 1, 100, 1000, 5},
		{"one that is away copies then", 90, 0, map[string]nodeState{"b": at(5, time.Hour)}, 1, 100, 1000, 25},
		{"behind an earlier purge", 190, 0, nil, 101, 200, 1000, 125},
		{"an empty commit log", 90, 100, nil, 101, 100, 0, 90},
	} {
		state := jetstream.StreamState{FirstSeq: c.first, LastSeq: c.last, Msgs: c.last + 1 - c.first, Bytes: c.bytes}
		if got := dropUpTo(c.own, c.others, now, c.old, state, cfg); got != c.want {
			t.Errorf("%s: up to %d, want %d", c.name, got, c.want)
		}
	}
}
