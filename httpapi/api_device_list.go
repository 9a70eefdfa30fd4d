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
	Total      *int         `json:"total,omitempty" doc:"how many devices the filter matches; on the first page alone, which is the one without a cursor: the others would count the same again"`
}

// lookBatch is how many devices are looked at together: what was seen of them is then asked for with one lock.
const lookBatch = 256

// listDevices gives a page. It costs a look at each device from the cursor to the end of the page, and the first one, of a list that
// is filtered, at the others too, for the total; the rest is made for the page alone.
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
	list, total := deviceList{}, 0
	all := match.all() && a.seesAll(ctx)
	for d := range a.matching(ctx, match, after) {
		if total++; total <= in.Limit {
			page = append(page, foundDevice{d.Device, a.deps.Levels.State(d.ID)})
			continue
		}
		list.NextCursor = cursor(page[in.Limit-1].ID)
		if in.Cursor != "" || all {
			break
		}
	}
	if all {
		total = a.deps.DeviceCount()
	}
	if in.Cursor == "" {
		list.Total = &total
	}
	list.Devices = a.viewDevices(page)
	return &answer[deviceList]{list}, ctx.Err()
}

// briefDevice is a device and what it is filtered and sorted by.
type briefDevice struct {
	logbridge.Device
	logbridge.LevelBrief // empty unless the filter or the order is about it
}

// matching goes through the devices behind one that a filter asks for and the caller may see, until the caller hangs up. This is
// the one place where it is judged which devices a list has.
func (a *api) matching(ctx context.Context, match deviceMatch, after logbridge.DeviceID) iter.Seq[briefDevice] {
	return func(yield func(briefDevice) bool) {
		limited := !a.seesAll(ctx)
		var batch lookedAt
		looked := 0
		for d := range a.deps.Devices.DevicesAfter(match.in.Product, after) {
			if looked++; looked%lookBatch == 0 && ctx.Err() != nil {
				return
			}
			if !match.device(&d) || limited && !sees(ctx, d.ID.Stream()) {
				continue
			}
			if !match.brief() {
				if !yield(briefDevice{Device: d}) {
					return
				}
				continue
			}
			if batch.add(d); len(batch.ids) == lookBatch && !batch.give(a.deps.Levels, match, yield) {
				return
			}
		}
		batch.give(a.deps.Levels, match, yield)
	}
}

// seesAll reports whether the caller's token is good for everything.
func (a *api) seesAll(ctx context.Context) bool {
	c := callerOf(ctx)
	return c != nil && !c.Limited()
}

// lookedAt are devices whose states are asked for together.
type lookedAt struct {
	devices []logbridge.Device
	ids     []logbridge.DeviceID
	briefs  [lookBatch]logbridge.LevelBrief
}

func (b *lookedAt) add(d logbridge.Device) {
	b.devices, b.ids = append(b.devices, d), append(b.ids, d.ID)
}

// give yields those that match, and begins again.
func (b *lookedAt) give(levels Levels, match deviceMatch, yield func(briefDevice) bool) bool {
	levels.Briefs(b.ids, b.briefs[:])
	for i, d := range b.devices {
		if match.state(&b.briefs[i]) && !yield(briefDevice{d, b.briefs[i]}) {
			return false
		}
	}
	b.devices, b.ids = b.devices[:0], b.ids[:0]
	return true
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
	losses := map[logbridge.Stream]logbridge.Sums{}
	if match.in.Sort == sortDropped {
		losses = a.deps.Counter.LedgerLosses()
	}
	total := 0
	for d := range a.matching(ctx, match, logbridge.DeviceID{}) {
		total++
		switch match.in.Sort {
		case sortLines:
			top.add(ranked{d.ID, d.LinesPerMinute})
		case sortSkew:
			top.add(ranked{d.ID, d.Skew.Abs().Seconds()})
		case sortDropped:
			if s := losses[d.ID.Stream()]; len(losses) > 0 {
				top.add(ranked{d.ID, float64(s.Dropped + s.Refused)})
			}
		}
	}
	var page []foundDevice
	for _, r := range top.cut() {
		if d, err := a.deps.Devices.Device(r.id); err == nil { // else deleted a moment ago
			page = append(page, foundDevice{d, a.deps.Levels.State(r.id)})
		}
	}
	return &answer[deviceList]{deviceList{Devices: a.viewDevices(page), Total: &total}}, ctx.Err()
}

// topDevices keeps those that have the most, and no more than twice as many as are wanted.
type topDevices struct {
	most int
	kept []ranked
}

func (t *topDevices) add(r ranked) {
	if r.much == 0 {
		return
	}
	if t.kept = append(t.kept, r); len(t.kept) == 2*t.most {
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

// all reports whether the filter matches every device.
func (m deviceMatch) all() bool {
	return m.in.Product == "" && m.in.Q == "" && len(m.tags) == 0 && !m.brief()
}

func (m deviceMatch) device(d *logbridge.Device) bool {
	if !strings.Contains(d.ID.Device, m.in.Q) {
		return false
	}
	for _, t := range m.tags {
		if v, ok := d.Tags[t[0]]; !ok || v != t[1] {
			return false
		}
	}
	return true
}

// brief reports whether the filter or the order is about what was seen.
func (m deviceMatch) brief() bool {
	return m.wants != nil || m.in.Online != "" || m.in.State != "" || m.in.Sort == sortLines || m.in.Sort == sortSkew
}

func (m deviceMatch) state(s *logbridge.LevelBrief) bool {
	return (m.wants == nil || s.Desired == *m.wants) &&
		(m.in.Online == "" || s.Connected == (m.in.Online == "true")) &&
		(m.in.State == "" || s.State == m.in.State)
}
