package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

type levelCmd struct {
	Set     levelSetCmd     `cmd:"" help:"Set the level of a device, or of all devices that a selector means, for a while; or the base level of a product or of everyone."`
	Ls      levelLsCmd      `cmd:"" help:"List the devices whose level is set, and the rules for many devices."`
	Show    levelShowCmd    `cmd:"" help:"Show a rule for many devices, and how far they follow it."`
	Extend  levelExtendCmd  `cmd:"" help:"Give a rule for many devices another end, or another percentage."`
	Base    levelBaseCmd    `cmd:"" help:"Show the base level of a product, or of everyone."`
	Clear   levelClearCmd   `cmd:"" help:"End the level of a device, or a rule for many devices, now."`
	History levelHistoryCmd `cmd:"" help:"Show how the level of a device was changed, and what was refused."`
}

type levelSetCmd struct {
	Client
	Output
	selectorArgs
	Target string `arg:"" placeholder:"TARGET" help:"PRODUCT/DEVICE, PRODUCT for its base level, or all for everyone's; left out with --product, --glob, --tag or --percent."`
	Level  string `arg:"" optional:"" placeholder:"LEVEL" help:"off, error, warn, info, debug or 0 to 4."`
	For    string `placeholder:"DURATION" help:"How long, such as 30m, or permanent; not for a base level. If left out 30m for a level above the base, without end for any other."`
	Reason string `placeholder:"TEXT" help:"Why; needed unless it is a base level; it goes into the audit stream."`
	DryRun bool   `help:"With a selector: only say which devices it would be."`
}

// everyone is the target that means the global base level.
const everyone = "all"

func (c levelSetCmd) Run(p program) error {
	level, err := c.level()
	if err != nil {
		return usageError{err}
	}
	if c.given() {
		return c.setRule(p, level)
	}
	path, err := c.path()
	if err != nil {
		return usageError{err}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	change := map[string]any{"level": level, "reason": c.Reason}
	if c.For != "" {
		change["for"] = c.For
	}
	return fetchAs(p, server, c.Output, http.MethodPut, path, change, func(state deviceState) error {
		if !strings.Contains(c.Target, "/") {
			return tell(p, "base level of %s: %s", c.Target, level)
		}
		return tell(p, "%s: %s%s", c.Target, level, state.until(time.Now()))
	})
}

// level reads the level: the one word with a selector, else the second.
func (c levelSetCmd) level() (logbridge.Level, error) {
	switch {
	case c.given() && c.Level != "":
		return 0, fmt.Errorf("%s: name a device or product, or say which devices with --product, --glob, --tag and --percent, not both", c.Target)
	case c.given():
		return logbridge.ParseLevel(c.Target)
	case c.Level == "":
		return 0, fmt.Errorf("say whose level and which: level set PRODUCT/DEVICE debug")
	case c.DryRun || c.Priority != 0:
		return 0, fmt.Errorf("--dry-run and --priority are for --product, --glob, --tag and --percent")
	}
	return logbridge.ParseLevel(c.Level)
}

// path checks the target and gives the call that sets it.
func (c levelSetCmd) path() (string, error) {
	if strings.Contains(c.Target, "/") {
		id, err := logbridge.ParseDeviceID(c.Target)
		if product, glob, _ := strings.Cut(c.Target, "/"); err != nil && strings.ContainsAny(glob, "*?[") {
			err = fmt.Errorf("%s is a pattern: level set --product %s --glob '%s' %s", c.Target, product, glob, c.Level)
		}
		return devicePath(id) + "/level", err
	}
	if c.For != "" {
		return "", fmt.Errorf("--for: a base level has no end; name a device as PRODUCT/DEVICE, or leave it out")
	}
	if c.Target == everyone {
		return "/level", nil
	}
	return escape("products", c.Target, "level"), logbridge.ValidateProductID(c.Target)
}

type levelClearCmd struct {
	Client
	Target string `arg:"" placeholder:"TARGET" help:"PRODUCT/DEVICE, or the ID of a rule as level ls shows it."`
	Reason string `placeholder:"TEXT" help:"Why; it goes into the audit stream."`
}

func (c levelClearCmd) Run(p program) error {
	if !strings.Contains(c.Target, "/") {
		return c.clearRule(p)
	}
	id, err := logbridge.ParseDeviceID(c.Target)
	if err != nil {
		return usageError{err}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	var state deviceState
	if err := server.call(p.ctx, http.MethodDelete, withReason(devicePath(id)+"/level", c.Reason), nil, &state); err != nil {
		return err
	}
	if state.Rule != "" {
		return tell(p, "%s: no level of its own; %s by rule %s, which level clear %s ends", id, state.Desired, state.Rule, state.Rule)
	}
	return tell(p, "%s: back to %s", id, state.Desired)
}

type levelLsCmd struct {
	Client
	Output
	Product string `short:"p" placeholder:"PRODUCT" help:"Of this product only."`
}

// liveLevels are the devices whose level is set, and the rules for many.
type liveLevels struct {
	Levels []deviceState `json:"levels"`
	Rules  []ruleState   `json:"rules"`
}

func (c levelLsCmd) Run(p program) error {
	return fetch(p, c.Client, c.Output, "/levels", func(live liveLevels) error {
		of := func(product string) bool { return c.Product == "" || product == c.Product }
		levels := slices.DeleteFunc(live.Levels, func(s deviceState) bool { return !of(s.Product) })
		if err := writeTable(p.stdout, c.Output, levels, levelColumns(time.Now())); err != nil || len(live.Rules) == 0 {
			return err
		}
		if err := tell(p, ""); err != nil {
			return err
		}
		rules := slices.DeleteFunc(live.Rules, func(r ruleState) bool { return r.Selector.Product != "" && !of(r.Selector.Product) })
		return writeTable(p.stdout, c.Output, rules, ruleColumns(time.Now()))
	})
}

func levelColumns(now time.Time) []column[deviceState] {
	return []column[deviceState]{
		{name: "DEVICE", value: func(s deviceState) string { return s.Product + "/" + s.Device }},
		{name: "LEVEL", value: func(s deviceState) string { return s.Desired }, colour: func(s deviceState) string { return levelColours[s.Desired] }},
		{name: "BASE", value: func(s deviceState) string { return s.Base }},
		{name: "ENDS IN", value: func(s deviceState) string { return s.left(now) }},
		{name: "STATE", value: func(s deviceState) string { return s.State }},
		{name: "SINCE", value: func(s deviceState) string { return seen(s.StateTime) }, wide: true},
		{name: "ONLINE", value: func(s deviceState) string { return yes(s.Online) }, wide: true},
		{name: "SET BY", value: func(s deviceState) string { return s.SetBy }},
		{name: "REASON", value: func(s deviceState) string { return s.Reason }},
	}
}

// deviceState is a device, or its level, as the operator API shows it.
type deviceState struct {
	Product   string            `json:"product"`
	Device    string            `json:"device"`
	Tags      map[string]string `json:"tags"`
	Desired   string            `json:"desired"`
	Base      string            `json:"base"`
	Rule      string            `json:"rule"`
	Expires   *time.Time        `json:"expires_at"`
	SetBy     string            `json:"set_by"`
	Reason    string            `json:"reason"`
	State     string            `json:"state"`
	StateTime *time.Time        `json:"state_time"`
	Online    bool              `json:"online"`
	LastSeen  *time.Time        `json:"last_seen"`
	LastLine  *time.Time        `json:"last_line"`
	PerMinute float64           `json:"lines_per_minute"`
	SkewMS    *int64            `json:"clock_skew_ms"`
	Stored    uint64            `json:"stored"`
	Dropped   uint64            `json:"dropped"`
	Refused   uint64            `json:"refused"`
}

// until tells the end of a level for a sentence.
func (s deviceState) until(now time.Time) string {
	if s.Expires == nil {
		return ", without an end"
	}
	return fmt.Sprintf(", for %s, until %s", s.left(now), s.Expires.Local().Format(time.DateTime))
}

// left is the time to the end of a level, for a column.
func (s deviceState) left(now time.Time) string {
	if s.Expires == nil {
		return "-"
	}
	return max(s.Expires.Sub(now), 0).Round(time.Second).String()
}

func devicePath(id logbridge.DeviceID) string {
	return escape("products", id.Product, "devices", id.Device)
}

// levelBaseCmd reads what "level set PRODUCT" and "level set all" set.
type levelBaseCmd struct {
	Client
	Output
	Target string `arg:"" optional:"" default:"all" placeholder:"TARGET" help:"PRODUCT, or all (${default})."`
}

func (c levelBaseCmd) Run(p program) error {
	path := "/level"
	if c.Target != everyone {
		path = escape("products", c.Target, "level")
	}
	return fetch(p, c.Client, c.Output, path, func(a struct{ Level string }) error { return tell(p, "%s", a.Level) })
}
