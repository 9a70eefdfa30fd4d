package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/logbridge/logbridge/natsd"
)

// clusterWait bounds the wait for an outside cluster: serve is more patient, but somebody waits here.
const clusterWait = 5 * time.Second

// cluster checks the outside NATS servers, when there are some. How they sync no client can see: that is what
// --nats-sync-always states, and what the configuration was found to lack.
func (e *examination) cluster(ctx context.Context) {
	const check = "cluster"
	switch {
	case e.cfg.NATS == "":
		e.skip(check, "--nats is not set: the server inside syncs each write by itself")
		return
	case !e.cfg.NATSSyncAlways || natsd.CheckURL(e.cfg.NATS) != nil: // the configuration's fault already
		e.skip(check, "not asked: its settings are wrong")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clusterWait)
	defer cancel()
	node, err := natsd.Connect(ctx, e.cfg.natsConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		e.fail(check, err.Error(), "see whether its servers run with JetStream, whether --nats names them, and whether the login is theirs")
		return
	}
	known := slices.Compact(slices.Sorted(slices.Values(append(node.Conn().Servers(), node.Conn().DiscoveredServers()...))))
	over, end := context.WithCancel(ctx)
	end()
	if err := node.Run(over); err != nil { // only closes
		e.warn(check, err.Error(), "")
	}
	detail := fmt.Sprintf("%d servers answer or are known, %d copies are kept", len(known), node.Replicas())
	if len(known) < node.Replicas() {
		e.warn(check, detail, fmt.Sprintf("name all servers in --nats, have at least %d of them, or set --nats-replicas", node.Replicas()))
		return
	}
	e.ok(check, "%s; that each has sync_interval: always is as --nats-sync-always says", detail)
}
