package httpapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
)

type listDevices struct {
	Product string   `query:"product"`
	Q       string   `query:"q" doc:"substring of the device name"`
	Tag     []string `query:"tag,explode" doc:"key:value, may be repeated"`
	Online  string   `query:"online" enum:"true,false" doc:"connected or not"`
	Level   string   `query:"level" doc:"desired level"`
	State   string   `query:"state" enum:"offline,sent,acknowledged,asked,seen,contradicted,unsupported" doc:"observed state"`
	Sort    string   `query:"sort" enum:"name,lines,dropped,skew" default:"name" doc:"name: by product and name, in pages. lines (a minute), dropped (and refused) or skew (of the clock, either way): only those with the most of it, the greatest first, without a next page"`
	Limit   int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor  string   `query:"cursor" doc:"next_cursor of the page before"`
}

type deviceList struct {
	Devices    []deviceView `json:"devices"`
	NextCursor string       `json:"next_cursor,omitempty" doc:"absent on the last page"`
}

// rankBatch is how many devices the ledger is asked about at a time: its lock is held for so many look-ups.
const rankBatch = 256

// listDevices gives a page. It costs a look at each device from the cursor to the end of the page, and a look at what is
// wanted and seen of those whose name and tags are asked for; the rest is made for the page alone.
func (a *api) listDevices(ctx context.Context, in *listDevices) (*answer[deviceList], error) {
	after, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	match, err := deviceFilter(in)
	if err != nil {
		return nil, err
	}
	if in.Sort != "" && in.Sort != sortName {
		return a.rankDevices(ctx, match)
	}
	var page []foundDevice
	list := deviceList{}
	for d := range a.matching(ctx, match, after) {
		if len(page) == in.Limit {
			list.NextCursor = cursor(page[in.Limit-1].ID)
			break
		}
		page = append(page, d)
	}
	list.Devices = a.viewDevices(page)
	return &answer[deviceList]{list}, ctx.Err()
}

// matching goes through the devices behind one that a filter asks for, until the caller hangs up.
func (a *api) matching(ctx context.Context, match deviceMatch, after logbridge.DeviceID) iter.Seq[foundDevice] {
	return func(yield func(foundDevice) bool) {
		looked := 0
		for d := range a.deps.Devices.DevicesAfter(match.in.Product, after) {
			if looked++; looked%rankBatch == 0 && ctx.Err() != nil {
				return
			}
			if !sees(ctx, d.ID.Stream()) || !match.device(d) {
				continue
			}
			if found := (foundDevice{d, a.deps.Levels.State(d.ID)}); match.state(&found.state) && !yield(found) {
				return
			}
		}
	}
}

// The orders of a list.
const (
	sortName    = "name"
	sortLines   = "lines"
	sortDropped = "dropped"
	sortSkew    = "skew"
)

// ranked is a device and how much it has of what is sorted by.
type ranked struct {
	id   logbridge.DeviceID
	much float64
}

// rankDevices gives those with the most of something.
func (a *api) rankDevices(ctx context.Context, match deviceMatch) (*answer[deviceList], error) {
	top := topDevices{most: match.in.Limit}
	var batch []ranked
	add := func() {
		if match.in.Sort == sortDropped {
			a.rankDropped(batch)
		}
		top.add(batch)
		batch = batch[:0]
	}
	for d := range a.matching(ctx, match, logbridge.DeviceID{}) {
		r := ranked{id: d.ID}
		switch match.in.Sort {
		case sortLines:
			r.much = d.state.LinesPerMinute
		case sortSkew:
			r.much = d.state.Skew.Abs().Seconds()
		}
		if batch = append(batch, r); len(batch) == rankBatch {
			add()
		}
	}
	add()
	var page []foundDevice
	for _, r := range top.cut() {
		if d, err := a.deps.Devices.Device(r.id); err == nil { // else deleted a moment ago
			page = append(page, foundDevice{d, a.deps.Levels.State(r.id)})
		}
	}
	return &answer[deviceList]{deviceList{Devices: a.viewDevices(page)}}, ctx.Err()
}

func (a *api) rankDropped(batch []ranked) {
	streams := make([]logbridge.Stream, len(batch))
	for i := range batch {
		streams[i] = batch[i].id.Stream()
	}
	for i, s := range a.deps.Counter.LedgerOf(streams) {
		batch[i].much = float64(s.Dropped + s.Refused)
	}
}

// topDevices keeps those that have the most, and no more than twice as many as are wanted and a batch.
type topDevices struct {
	most int
	kept []ranked
}

func (t *topDevices) add(batch []ranked) {
	for _, r := range batch {
		if r.much > 0 {
			t.kept = append(t.kept, r)
		}
	}
	if len(t.kept) > 2*t.most {
		t.cut()
	}
}

// cut gives those with the most, of equal ones the first by name.
func (t *topDevices) cut() []ranked {
	slices.SortFunc(t.kept, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.much, a.much), strings.Compare(a.id.Product, b.id.Product), strings.Compare(a.id.Device, b.id.Device))
	})
	t.kept = t.kept[:min(len(t.kept), t.most)]
	return t.kept
}

// cursor names the last device of a page; it stays good when devices come and go.
func cursor(last logbridge.DeviceID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last.String()))
}

func parseCursor(s string) (logbridge.DeviceID, error) {
	if s == "" {
		return logbridge.DeviceID{}, nil
	}
	key, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		id, err := logbridge.ParseDeviceID(string(key))
		if err == nil {
			return id, nil
		}
	}
	return logbridge.DeviceID{}, fmt.Errorf("%w: cursor is not one that an earlier answer gave", logbridge.ErrInvalid)
}

// deviceMatch is the filter of a list of devices. What the registry knows is checked first, since it is cheap.
type deviceMatch struct {
	in    *listDevices
	tags  [][2]string
	wants *logbridge.Level
}

func deviceFilter(in *listDevices) (deviceMatch, error) {
	m := deviceMatch{in: in}
	for _, tag := range in.Tag {
		key, value, ok := strings.Cut(tag, ":")
		if !ok {
			return m, fmt.Errorf("%w: tag %q is not of the form key:value", logbridge.ErrInvalid, clip(tag))
		}
		m.tags = append(m.tags, [2]string{key, value})
	}
	if in.Level != "" {
		l, err := logbridge.ParseLevel(in.Level)
		if err != nil {
			return m, err
		}
		m.wants = &l
	}
	return m, nil
}

func (m deviceMatch) device(d logbridge.Device) bool {
	for _, t := range m.tags {
		if v, ok := d.Tags[t[0]]; !ok || v != t[1] {
			return false
		}
	}
	return strings.Contains(d.ID.Device, m.in.Q)
}

func (m deviceMatch) state(s *logbridge.LevelState) bool {
	return (m.wants == nil || s.Desired == *m.wants) &&
		(m.in.Online == "" || s.Connected == (m.in.Online == "true")) &&
		(m.in.State == "" || s.State == m.in.State)
}
