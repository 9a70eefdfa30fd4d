package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/logbridge/logbridge"
)

type statusCmd struct {
	Client
	Output
}

// statusState is how a server is, as the operator API shows it.
type statusState struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Trouble string    `json:"trouble"`
	Nodes   int       `json:"nodes"`
	Devices struct {
		Registered int `json:"registered"`
		Connected  int `json:"connected"`
		Here       int `json:"connected_here"`
	} `json:"devices"`
	Ledger struct {
		Total logbridge.Counts `json:"total"`
	} `json:"ledger"`
	Store *struct {
		Segments      int    `json:"segments"`
		SegmentBytes  uint64 `json:"segment_bytes"`
		MemoryRecords int    `json:"memory_records"`
		CommitBytes   uint64 `json:"commit_bytes"`
		SetAside      uint64 `json:"set_aside"`
	} `json:"store"`
}

func (c statusCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, "/status", func(a statusState) error {
		t := a.Ledger.Total
		fields := []field{
			{"version", a.Version},
			{"started", fmt.Sprintf("%s, %s ago", a.Started.Local().Format(time.DateTime), time.Since(a.Started).Round(time.Second))},
			{"trouble", dash(a.Trouble)},
			{"devices", a.devices()},
			{"lines", fmt.Sprintf("%d received, %d stored, %d duplicate, %d refused, %d dropped", t.Received, t.Stored, t.Duplicate, sum(t.Refused), sum(t.Dropped))},
		}
		if s := a.Store; s != nil {
			fields = append(fields, field{"store", fmt.Sprintf("%d segments of %s, %d records in memory, %s in the commit log", s.Segments, bytesText(s.SegmentBytes), s.MemoryRecords, bytesText(s.CommitBytes))},
				field{"set aside", strconv.FormatUint(s.SetAside, 10)})
		}
		return writeFields(p.stdout, c.Output, fields...)
	})
}

// devices are those of the whole fleet, and of several nodes those of this one.
func (a statusState) devices() string {
	text := fmt.Sprintf("%d registered, %d connected", a.Devices.Registered, a.Devices.Connected)
	if a.Nodes > 1 {
		text += fmt.Sprintf(", %d of them to this one of %d nodes", a.Devices.Here, a.Nodes)
	}
	return text
}
