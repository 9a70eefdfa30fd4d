package main

import (
	"fmt"
	"net/http"
	"net/url"
)

type eraseCmd struct {
	Client
	Stream string `arg:"" help:"What to erase, as records name it: device/PRODUCT/DEVICE, sls/PROJECT/LOGSTORE, cls/TOPIC, otlp/NAMESPACE/SERVICE."`
	Reason string `required:"" help:"Why, for the audit."`
}

// Run erases all records that a stream has now. There is no way back.
func (c eraseCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	var done struct {
		Stream  string `json:"stream"`
		Records uint64 `json:"records"`
	}
	query := url.Values{"stream": {c.Stream}, "reason": {c.Reason}}
	if err := server.call(p.ctx, http.MethodDelete, "/logs?"+query.Encode(), nil, &done); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %d records erased\n", done.Stream, done.Records)
	return err
}
