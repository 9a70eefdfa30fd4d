package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// part is one long-lived part: Run blocks until its context ends and it has cleaned up.
type part struct {
	name string
	run  func(context.Context) error
}

// stage is parts that may stop together; those of later stages stand on them.
type stage struct {
	parts []part
	// then, if set, runs once the parts are started and before the next stage starts.
	then func(context.Context) error
}

// runStages starts the stages in order, waits for ctx to end or a part to fail, and stops them in the opposite order,
// each stage only when the one above has ended. A part that returns before it is told to is a failure.
func runStages(parent context.Context, stages []stage) error {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	var started []running
	var faults []error
	for _, s := range stages {
		started = append(started, start(ctx, stop, s.parts))
		if s.then == nil {
			continue
		}
		if err := s.then(ctx); err != nil {
			stop()
			if parent.Err() == nil {
				faults = append(faults, err)
			}
			break
		}
	}
	<-ctx.Done()
	for _, r := range slices.Backward(started) {
		r.cancel()
		faults = append(faults, r.group.Wait())
	}
	return errors.Join(faults...)
}

type running struct {
	group  *errgroup.Group
	cancel context.CancelFunc
}

// start runs parts under a context of their own, so that they end only when their turn comes. One that ends early
// stops everything.
func start(ctx context.Context, stop context.CancelFunc, parts []part) running {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	group := &errgroup.Group{}
	for _, p := range parts {
		group.Go(func() error {
			err := p.run(own)
			if err == nil && own.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", p.name, err)
				stop()
			}
			return err
		})
	}
	return running{group, cancel}
}
