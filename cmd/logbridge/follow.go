package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// follower follows a query over lost connections: it goes on behind the last record that it has shown, so that none is
// missing and none comes twice.
type follower struct {
	server *api
	query  url.Values
	show   func(line []byte) error
	stderr io.Writer
	// raw shows a notice of lines that were dropped as the server writes it; else stderr says so.
	raw bool

	once  bool // a connection has been there
	lost  bool // and is not there now
	shown int
	pause time.Duration
}

// The pauses between attempts to come back.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// run follows until ctx ends, the limit of the query is reached, or the server refuses the query.
func (f *follower) run(ctx context.Context) error {
	limit, _ := strconv.Atoi(f.query.Get("limit")) // absent is no limit
	f.pause = firstPause
	for {
		err := f.connect(ctx)
		if ctx.Err() != nil || limit > 0 && f.shown >= limit {
			return nil
		}
		if err != nil && f.isFinal(err) {
			return err
		}
		if limit > 0 {
			f.query.Set("limit", strconv.Itoa(limit-f.shown))
		}
		if !f.lost {
			f.lost = true
			f.remark("connection lost, coming back")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.pause):
		}
		f.pause = min(f.pause*2, longestPause)
	}
}

// connect follows over one connection.
func (f *follower) connect(ctx context.Context) error {
	res, err := f.server.send(ctx, http.MethodGet, "/logs?"+f.query.Encode(), nil)
	if err != nil {
		return err
	}
	if f.lost {
		f.lost = false
		f.remark("connected again")
	}
	f.once = true
	return readLines(res.Body, func(line []byte) error {
		f.pause = firstPause
		var r struct {
			Seq     string
			Dropped uint64
		}
		if err := json.Unmarshal(line, &r); err != nil || r.Seq == "" {
			return f.show(line)
		}
		f.query.Set("after", r.Seq)
		switch {
		case r.Dropped == 0:
			f.shown++
		case !f.raw:
			f.remark(fmt.Sprintf("%d lines dropped: this reader was too slow", r.Dropped))
			return nil
		}
		return f.show(line)
	})
}

// isFinal reports whether coming back is of no use: there never was a server, it refuses, or nobody reads us any more.
func (f *follower) isFinal(err error) bool {
	var refused *problem
	return !f.once || errors.Is(err, errUse) || errors.As(err, &refused) && refused.Status < http.StatusInternalServerError
}

func (f *follower) remark(text string) {
	_, _ = fmt.Fprintln(f.stderr, "logbridge:", text) // a lost remark is no failure
}
