package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/logbridge/logbridge"
)

// Status is how the program is, as its parts count it.
type Status struct {
	Started time.Time
	// Registered is how many devices there are, Connected how many are logged in to this node or another that it hears, Here how many
	// to this one. Nodes counts those, this one included.
	Registered, Connected, Here, Nodes int
	Sources                            map[logbridge.Source]logbridge.Counts
	Store                              StoreStatus
}

// StoreStatus is what the store and its commit log hold.
type StoreStatus struct {
	Segments       int        `json:"segments" doc:"files of records"`
	SegmentBytes   int64      `json:"segment_bytes"`
	MemoryRecords  int        `json:"memory_records" doc:"in no segment yet; the commit log has them"`
	MemoryBytes    int        `json:"memory_bytes"`
	CommitGroups   uint64     `json:"commit_groups" doc:"messages in the commit log, each of many records"`
	CommitBytes    uint64     `json:"commit_bytes"`
	CommitLast     uint64     `json:"commit_last" doc:"sequence number of the newest"`
	OldestReceived *time.Time `json:"oldest_received,omitempty" doc:"earliest receipt of a record in a segment"`
	SetAside       uint64     `json:"set_aside" doc:"segments found damaged since the start"`
	Queries        int        `json:"queries" doc:"being answered now"`
	Tails          int        `json:"tails" doc:"readers that follow now"`
	TailDropped    uint64     `json:"tail_dropped" doc:"records that readers were too slow for since the start"`
}

// statusView is the answer of GET /status.
type statusView struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Trouble string    `json:"trouble,omitempty" doc:"why nothing can be stored now"`
	Devices struct {
		Registered int  `json:"registered"`
		Connected  int  `json:"connected" doc:"to any node of the fleet"`
		Here       *int `json:"connected_here,omitempty" doc:"to this node; absent for a limited token"`
	} `json:"devices"`
	Nodes  int `json:"nodes,omitempty" doc:"of the fleet that this one hears, itself included; absent for a limited token"`
	Ledger struct {
		Total   logbridge.Counts                      `json:"total"`
		Sources map[logbridge.Source]logbridge.Counts `json:"sources" doc:"empty for a limited token"`
	} `json:"ledger"`
	Store *StoreStatus `json:"store,omitempty" doc:"absent for a limited token: it is about everyone's records"`
}

// status registers GET /status, the numbers of a page that is looked at all day: it costs the same however many streams there
// are, but for limited tokens, whose devices and streams are counted each time.
func (a *api) status() {
	if a.deps.Status == nil {
		return
	}
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, "/status", "get-status", "How the server is: lines, devices, store",
		func(ctx context.Context, _ *none) (*answer[statusView], error) {
			s, err := a.deps.Status(ctx)
			if err != nil {
				return nil, err
			}
			v := statusView{Version: a.version(), Started: s.Started.UTC()}
			if err := a.deps.Ready(); err != nil {
				v.Trouble = err.Error()
			}
			if c := callerOf(ctx); c.Limited() {
				v.Ledger.Total = ledgerOf(c, a.deps.Counter.Ledger()).Total
				v.Ledger.Sources = map[logbridge.Source]logbridge.Counts{}
				v.Devices.Registered, v.Devices.Connected = a.countDevices(c)
				return &answer[statusView]{v}, nil
			}
			v.Ledger.Total, v.Ledger.Sources = total(s.Sources), s.Sources
			v.Devices.Registered, v.Devices.Connected, v.Devices.Here, v.Nodes = s.Registered, s.Connected, &s.Here, s.Nodes
			v.Store = &s.Store
			return &answer[statusView]{v}, nil
		})
}

// countDevices counts those in the caller's scope, and of them those that are connected.
func (a *api) countDevices(c *caller) (registered, connected int) {
	for _, p := range a.deps.Products.Products() {
		if !c.SeesIn(productStreams(p.ID)) {
			continue
		}
		for d := range a.deps.Devices.DevicesAfter(p.ID, logbridge.DeviceID{}) {
			if !c.Sees(d.ID.Stream()) {
				continue
			}
			registered++
			if a.deps.Levels.State(d.ID).Connected {
				connected++
			}
		}
	}
	return registered, connected
}

// total is the sum of all sources.
func total(sources map[logbridge.Source]logbridge.Counts) logbridge.Counts {
	sum := logbridge.Counts{Refused: map[string]uint64{}, Dropped: map[string]uint64{}}
	for _, c := range sources {
		sum.Received += c.Received
		sum.Stored += c.Stored
		sum.Duplicate += c.Duplicate
		for reason, n := range c.Refused {
			sum.Refused[reason] += n
		}
		for reason, n := range c.Dropped {
			sum.Dropped[reason] += n
		}
	}
	return sum
}
