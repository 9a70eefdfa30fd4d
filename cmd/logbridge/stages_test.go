package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// diary collects what happens, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) add(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, s)
}

// waits is a part that ends when it is told to.
func (d *diary) waits(name string) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		d.add(name + " ended")
		return nil
	}}
}

func (d *diary) check(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(d.entries, want) {
		t.Errorf("what happened: %q, want %q", d.entries, want)
	}
}

func TestStagesEndInTheOppositeOrder(t *testing.T) {
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	err := runStages(ctx, []stage{
		{parts: []part{d.waits("sink")}},
		{parts: []part{d.waits("levels")}, then: func(context.Context) error { d.add("provisioned"); return nil }},
		{parts: []part{d.waits("http")}, then: func(context.Context) error { d.add("ready"); cancel(); return nil }},
	})
	if err != nil {
		t.Error(err)
	}
	d.check(t, "provisioned", "ready", "http ended", "levels ended", "sink ended")
}

func TestPartThatFailsEndsAll(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"with an error": func(context.Context) error { return errors.New("broken") },
		"by itself":     func(context.Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var d diary
			err := runStages(t.Context(), []stage{{parts: []part{d.waits("sink")}}, {parts: []part{{"broker", fail}}}})
			if err == nil || !strings.HasPrefix(err.Error(), "broker: ") {
				t.Errorf("error %v", err)
			}
			d.check(t, "sink ended")
		})
	}
}

func TestStepThatFailsStopsTheStart(t *testing.T) {
	var d diary
	err := runStages(t.Context(), []stage{
		{parts: []part{d.waits("sink")}, then: func(context.Context) error { return errors.New("no provision") }},
		{parts: []part{d.waits("http")}},
	})
	if err == nil || err.Error() != "no provision" {
		t.Errorf("error %v", err)
	}
	d.check(t, "sink ended")
}

func TestDataFolderHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	release, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockData(dir); err == nil || !strings.Contains(err.Error(), "another logbridge works on the data folder") {
		t.Errorf("the second owner: %v", err)
	}
	release()
	release, err = lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	release()
}
