package main

import (
	"context"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/httpapi"
	"github.com/logbridge/logbridge/levels"
	"github.com/logbridge/logbridge/quota"
	"github.com/logbridge/logbridge/registry"
	"github.com/logbridge/logbridge/sink"
)

// gatedLog is the sink with the quotas of devices before it.
type gatedLog struct {
	*sink.Log
	gate *quota.Gate
}

// Append goes through the gate.
func (l gatedLog) Append(ctx context.Context, b logbridge.Batch) (logbridge.Receipt, error) {
	return l.gate.Append(ctx, b)
}

// AppendAll goes through the gate.
func (l gatedLog) AppendAll(ctx context.Context, batches []logbridge.Batch) []logbridge.Outcome {
	return l.gate.AppendAll(ctx, batches)
}

// lowerer makes devices quieter that are over their quota.
type lowerer struct{ levels *levels.Levels }

// Lower lowers to error.
func (l lowerer) Lower(ctx context.Context, id logbridge.DeviceID, length time.Duration) error {
	_, err := l.levels.Lower(ctx, id, levels.Change{Level: logbridge.LevelError, For: length, Reason: "over its quota", By: logbridge.Actor{Name: "quota"}})
	return err
}

// setLevel and overrides translate between two packages that do not know each other.

func (s *server) setLevel(ctx context.Context, id logbridge.DeviceID, w httpapi.LevelWish) (logbridge.LevelState, error) {
	return s.levels.Set(ctx, id, levels.Change(w))
}

func (s *server) overrides() []httpapi.LevelOverride {
	list := s.levels.Overrides()
	out := make([]httpapi.LevelOverride, len(list))
	for i, o := range list {
		out[i] = httpapi.LevelOverride(o)
	}
	return out
}

// observer tells the levels what devices do, and the registry which of them have ever connected.
type observer struct {
	*levels.Levels
	registry *registry.Registry
}

func (o observer) Observe(list ...logbridge.Observation) {
	for _, seen := range list {
		if seen.Event == logbridge.DeviceConnected || seen.Event == logbridge.LineSeen {
			o.registry.NoteConnected(seen.Device)
		}
	}
	o.Levels.Observe(list...)
}
