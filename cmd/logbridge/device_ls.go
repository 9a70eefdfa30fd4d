package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// deviceFilter says which devices a command is about.
type deviceFilter struct {
	Product string            `short:"p" placeholder:"PRODUCT" help:"Of this product only."`
	Query   string            `short:"q" placeholder:"TEXT" help:"Whose name contains this."`
	Tag     map[string]string `placeholder:"KEY=VALUE" mapsep:"none" help:"With this tag; may be given again."`
	Online  string            `enum:"yes,no,any" default:"any" placeholder:"WHICH" help:"yes, connected ones; no, the others; any (${default})."`
	Level   string            `placeholder:"LEVEL" help:"Of which this level is wanted."`
	State   string            `placeholder:"STATE" help:"Seen to follow it so far: offline, sent, acknowledged, asked, seen, contradicted, unsupported."`
}

func (f deviceFilter) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("product", f.Product)
	set("q", f.Query)
	set("level", f.Level)
	set("state", f.State)
	set("online", map[string]string{"yes": "true", "no": "false"}[f.Online])
	for _, key := range slices.Sorted(maps.Keys(f.Tag)) {
		v.Add("tag", key+":"+f.Tag[key])
	}
	return v
}

type deviceLsCmd struct {
	Client
	Output
	deviceFilter
	Sort   string `enum:"name,lines,dropped,skew" default:"name" placeholder:"BY" help:"name; or the first --limit by lines a minute, by lines that were dropped or refused, or by how far the clock is off (${default})."`
	Limit  int    `placeholder:"N" help:"So many at most, 1000 at a time; all if it is left out, 100 if they are sorted."`
	Cursor string `placeholder:"CURSOR" help:"Go on where a list with --limit ended, as it printed."`
}

// devicePage is what the operator API lists.
type devicePage struct {
	Devices []json.RawMessage `json:"devices"`
	Next    string            `json:"next_cursor,omitempty"`
	Total   *int              `json:"total,omitempty"`
}

func (c deviceLsCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	all, err := c.fetch(p.ctx, server)
	if err != nil {
		return err
	}
	if c.Output.Output == outputJSON {
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return tell(p, "%s", text)
	}
	rows := make([]deviceState, len(all.Devices))
	for i, text := range all.Devices {
		if err := json.Unmarshal(text, &rows[i]); err != nil {
			return fmt.Errorf("answer of /devices: %w", err)
		}
	}
	if err := writeTable(p.stdout, c.Output, rows, deviceColumns(time.Now())); err != nil {
		return err
	}
	return all.foot(p)
}

// foot says on standard error how many devices there are, and how to see more of them.
func (l devicePage) foot(p program) (err error) {
	shown := len(l.Devices)
	switch {
	case l.Total == nil: // of a page with a cursor
	case shown < *l.Total:
		_, err = fmt.Fprintf(p.stderr, "%d of %s\n", shown, many(*l.Total, "device"))
	default:
		_, err = fmt.Fprintln(p.stderr, many(shown, "device"))
	}
	if err == nil && l.Next != "" {
		_, err = fmt.Fprintf(p.stderr, "There are more: --cursor %s\n", l.Next)
	}
	return err
}

// fetch gets the pages that are asked for as one.
func (c deviceLsCmd) fetch(ctx context.Context, server *api) (devicePage, error) {
	const most = 1000 // of a page
	query := c.values()
	query.Set("sort", c.Sort)
	all := devicePage{Devices: []json.RawMessage{}, Next: c.Cursor}
	for {
		if rest := c.Limit - len(all.Devices); c.Limit > 0 || c.Sort == "name" {
			if c.Limit == 0 {
				rest = most
			}
			query.Set("limit", strconv.Itoa(min(rest, most)))
		}
		if all.Next != "" {
			query.Set("cursor", all.Next)
		}
		var page devicePage
		if err := server.call(ctx, http.MethodGet, "/devices?"+query.Encode(), nil, &page); err != nil {
			return all, err
		}
		all.Devices, all.Next = append(all.Devices, page.Devices...), page.Next
		if page.Total != nil { // only the first page has it
			all.Total = page.Total
		}
		if all.Next == "" || c.Limit > 0 && len(all.Devices) >= c.Limit {
			return all, nil
		}
	}
}

// devices lists devices page by page.
func (a *api) devices(ctx context.Context, query url.Values) iter.Seq2[deviceState, error] {
	return func(yield func(deviceState, error) bool) {
		for {
			var page struct {
				Devices []deviceState `json:"devices"`
				Next    string        `json:"next_cursor"`
			}
			if err := a.call(ctx, http.MethodGet, "/devices?"+query.Encode(), nil, &page); err != nil {
				yield(deviceState{}, err)
				return
			}
			for _, d := range page.Devices {
				if !yield(d, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.Set("cursor", page.Next)
		}
	}
}

func deviceColumns(now time.Time) []column[deviceState] {
	text := func(name string, value func(deviceState) string) column[deviceState] {
		return column[deviceState]{name: name, value: value}
	}
	wide := func(name string, value func(deviceState) string) column[deviceState] {
		return column[deviceState]{name: name, value: value, wide: true}
	}
	return []column[deviceState]{
		text("DEVICE", func(s deviceState) string { return s.Product + "/" + s.Device }),
		text("ONLINE", func(s deviceState) string { return yes(s.Online) }),
		{name: "LEVEL", value: func(s deviceState) string { return s.Desired }, colour: func(s deviceState) string { return levelColours[s.Desired] }},
		wide("BASE", func(s deviceState) string { return s.Base }),
		text("ENDS IN", func(s deviceState) string { return s.left(now) }),
		text("STATE", func(s deviceState) string { return s.State }),
		wide("SINCE", func(s deviceState) string { return seen(s.StateTime) }),
		text("LAST LINE", func(s deviceState) string { return seen(s.LastLine) }),
		text("LINES/MIN", func(s deviceState) string { return s.perMinute() }),
		text("DROPPED", func(s deviceState) string { return strconv.FormatUint(s.Dropped, 10) }),
		wide("REFUSED", func(s deviceState) string { return strconv.FormatUint(s.Refused, 10) }),
		wide("STORED", func(s deviceState) string { return strconv.FormatUint(s.Stored, 10) }),
		text("CLOCK", func(s deviceState) string { return s.skew() }),
		wide("LAST SEEN", func(s deviceState) string { return seen(s.LastSeen) }),
		wide("RULE", func(s deviceState) string { return cmp.Or(s.Rule, "-") }),
		wide("SET BY", func(s deviceState) string { return cmp.Or(s.SetBy, "-") }),
		wide("REASON", func(s deviceState) string { return cmp.Or(s.Reason, "-") }),
		text("TAGS", func(s deviceState) string { return tags(s.Tags) }),
	}
}

func (s deviceState) perMinute() string { return strconv.FormatFloat(s.PerMinute, 'f', -1, 64) }

// skew tells how far the device's clock is off, which a line's way here is part of: less than this is right.
func (s deviceState) skew() string {
	const right = 60 * time.Second
	if s.SkewMS == nil {
		return "-"
	}
	switch skew := time.Duration(*s.SkewMS) * time.Millisecond; {
	case skew.Abs() < right:
		return "right"
	case skew < 0:
		return skew.Abs().Round(time.Second).String() + " fast"
	default:
		return skew.Round(time.Second).String() + " slow"
	}
}

type deviceExportCmd struct {
	Client
	deviceFilter
	Secrets bool `help:"With the device secrets, which only an administrator gets."`
}

func (c deviceExportCmd) Run(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	query := c.values()
	if c.Secrets {
		query.Set("secrets", "true")
	}
	res, err := server.send(p.ctx, http.MethodGet, "/devices/export?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	return readLines(res.Body, func(line []byte) error {
		_, err := p.stdout.Write(append(line[:len(line):len(line)], '\n'))
		return err
	})
}
