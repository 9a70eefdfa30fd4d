package sink

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// keepEvery is how often a node says how far its segments reach and looks what the commit log may drop; more often where
	// it keeps things for less than a day.
	keepEvery = 10 * time.Minute
	keepParts = 10

	// keepPause is the least time between two such looks.
	keepPause = 5 * time.Second

	// nodeAway is after how many of these a node that says nothing has no part any more in what is kept when space is short.
	nodeAway = 3

	// keepShare is the part of the commit log's bound, in percent, above which groups are dropped before their time: so that it is
	// not at the bound, where appends are refused, when a segment takes long to be written.
	keepShare = 75
)

// nodeReport is what a node says of itself in the bucket of the nodes, under the name of its folder.
type nodeReport struct {
	Last uint64 `json:"last"` // the end of its segments
}

// nodeState is such a report as it is read, and when it was made, by the clock of the servers.
type nodeState struct {
	nodeReport
	at time.Time
}

// keeping says how far this node's segments reach, and shortens the commit log, until ctx ends.
func (l *Log) keeping(ctx context.Context) {
	ticker := time.NewTicker(min(keepEvery, l.cfg.CommitLogAge/keepParts))
	defer ticker.Stop()
	for {
		if err := l.shorten(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("commit log not shortened", "err", err)
		}
		select { // one after each segment would be many
		case <-ctx.Done():
			return
		case <-time.After(min(keepPause, l.cfg.CommitLogAge/keepParts/keepParts)):
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.cluster.flushed:
		}
	}
}

// shorten lets the commit log drop what no node needs any more. Any node may do it, for itself: whatever is dropped is in its own
// segments. What others lack of it they copy from here.
func (l *Log) shorten(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	newest := l.newest()
	if newest == nil || l.cluster.behind.Load() {
		return nil
	}
	if err := l.cluster.report(ctx, newest.last); err != nil {
		return err
	}
	others, now, err := l.cluster.others(ctx)
	if err != nil {
		return err
	}
	info, err := l.stream.Info(ctx)
	if err != nil {
		return err
	}
	old, err := l.cluster.fetch.firstSince(ctx, now.Add(-l.cfg.CommitLogAge))
	if err != nil {
		return err
	}
	if old == 0 { // all of it is older
		old = info.State.LastSeq + 1
	}
	upTo := dropUpTo(newest.last, others, now, old-1, info.State, l.cfg)
	if upTo < info.State.FirstSeq || info.State.Msgs == 0 {
		return nil
	}
	l.log.Debug("the commit log is shortened", "up_to", upTo)
	return l.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1))
}

// dropUpTo is the rule, as a sequence: own is the end of this node's segments, old the newest that is older than
// Config.CommitLogAge.
//
// What is old goes when all nodes that were there within CommitLogAge have it in segments. Above keepShare of the bound also younger
// groups go, the oldest first; then a node counts only as long as it is not away for more than nodeAway reports.
func dropUpTo(own uint64, others map[string]nodeState, now time.Time, old uint64, state jetstream.StreamState, cfg Config) uint64 {
	all, there := own, own
	away := nodeAway * min(keepEvery, cfg.CommitLogAge/keepParts)
	for _, n := range others {
		if all = min(all, n.Last); now.Sub(n.at) <= away {
			there = min(there, n.Last)
		}
	}
	upTo := min(all, old)
	bound := uint64(cfg.CommitLogBytes) / 100 * keepShare
	if state.Bytes > bound && state.Msgs > 0 {
		share := float64(state.Bytes-bound) / float64(state.Bytes)
		drop := uint64(math.Ceil(share * float64(state.Msgs)))
		upTo = max(upTo, min(there, state.FirstSeq+drop-1))
	}
	return upTo
}

// report says how far this node's segments reach.
func (c *cluster) report(ctx context.Context, last uint64) error {
	b, err := json.Marshal(nodeReport{Last: last})
	if err == nil {
		_, err = c.nodes.Put(ctx, c.name, b)
	}
	return err
}

// others are the other nodes that were there within the time for which the commit log is kept. now is the servers' time, as far as
// it is known from the newest report: this node's clock may be wrong.
func (c *cluster) others(ctx context.Context) (out map[string]nodeState, now time.Time, err error) {
	keys, err := c.nodes.ListKeys(ctx)
	if err != nil {
		return nil, now, err
	}
	out = map[string]nodeState{}
	for name := range keys.Keys() {
		e, err := c.nodes.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, now, err
		}
		n := nodeState{at: e.Created()}
		if n.at.After(now) {
			now = n.at
		}
		if err := json.Unmarshal(e.Value(), &n.nodeReport); err != nil {
			c.log.Warn("what a node says of itself cannot be read", "node", name, "err", err)
			continue
		}
		if name != c.name {
			out[name] = n
		}
	}
	for name, n := range out {
		if now.Sub(n.at) > c.keep {
			delete(out, name)
		}
	}
	return out, now, nil
}
