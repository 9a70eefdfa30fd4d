package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

type sealCmd struct {
	Show   sealShowCmd   `cmd:"" help:"Say how far a change of the seal key is."`
	Rotate sealRotateCmd `cmd:"" help:"Make a new seal key and seal every secret with it, while the server runs."`
}

type sealRotateCmd struct{ Client }

// rotationPoll is how often the command asks how far the server is.
const rotationPoll = 200 * time.Millisecond

// Run begins the change and waits for its end. The server goes on by itself when this command is stopped, or the server is.
func (c sealRotateCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	var state sealState
	if err := server.call(p.ctx, http.MethodPost, "/seal-key/rotate", nil, &state); err != nil {
		return err
	}
	for state.Keys > 1 {
		if state.Fault != "" {
			return errors.New("the new key is in use, the old one is still needed: " + state.Fault)
		}
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case <-time.After(rotationPoll):
		}
		if err := server.call(p.ctx, http.MethodGet, "/seal-key", nil, &state); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "the seal key is changed, %d secrets are sealed with it; keep a copy of its file\n", state.Resealed)
	return err
}

type sealShowCmd struct {
	Client
	Output
}

func (c sealShowCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, "/seal-key", func(a sealState) error {
		state := "one key, no change is running"
		if a.Keys > 1 {
			state = "a change is running"
		}
		return writeFields(p.stdout, c.Output, field{"seal key", state}, field{"resealed", strconv.Itoa(a.Resealed)}, field{"fault", dash(a.Fault)})
	})
}

// sealState says how far a change of the seal key is.
type sealState struct {
	Keys     int    `json:"keys"`
	Resealed int    `json:"resealed"`
	Fault    string `json:"fault"`
}
