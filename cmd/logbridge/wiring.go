package main

import (
	"context"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/httpapi"
	"github.com/logbridge/logbridge/levels"
	"github.com/logbridge/logbridge/registry"
)

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

func (o observer) Observe(seen logbridge.Observation) {
	if seen.Event == logbridge.DeviceConnected || seen.Event == logbridge.LineSeen {
		o.registry.NoteConnected(seen.Device)
	}
	o.Levels.Observe(seen)
}
