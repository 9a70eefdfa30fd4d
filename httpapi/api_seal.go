package httpapi

import (
	"context"
	"net/http"

	"github.com/logbridge/logbridge"
)

// SealRotation says how far a change of the key is that seals secrets at rest.
type SealRotation struct {
	Keys     int    `json:"keys" doc:"1 when no change is running"`
	Resealed int    `json:"resealed" doc:"secrets sealed anew by the change that runs, or ran last"`
	Fault    string `json:"fault,omitempty" doc:"why it does not go on; it tries again by itself"`
}

func (a *api) seal() {
	call(a, logbridge.RoleAdmin, http.MethodGet, "/seal-key", "get-seal-key", "Say how far a change of the seal key is", a.sealRotation)
	call(a, logbridge.RoleAdmin, http.MethodPost, "/seal-key/rotate", "rotate-seal-key", "Change the key that seals secrets at rest", a.rotateSeal)
}

func (a *api) sealRotation(context.Context, *none) (*answer[SealRotation], error) {
	return &answer[SealRotation]{a.deps.SealRotation()}, nil
}

// rotateSeal answers when the new key is durable; sealing everything with it goes on afterwards.
func (a *api) rotateSeal(ctx context.Context, _ *none) (*answer[SealRotation], error) {
	if err := a.deps.RotateSeal(); err != nil {
		return nil, err
	}
	return &answer[SealRotation]{a.deps.SealRotation()}, nil
}
