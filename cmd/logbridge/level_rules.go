package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

// selectorArgs say which devices a rule is about.
type selectorArgs struct {
	Product  string            `short:"p" placeholder:"PRODUCT" help:"Devices of this product."`
	Glob     string            `short:"g" placeholder:"PATTERN" help:"Devices whose name matches, such as 'dev-0*'."`
	Tag      map[string]string `placeholder:"KEY=VALUE" mapsep:"none" help:"Devices with this tag; may be given again."`
	Percent  float64           `placeholder:"N" help:"This part of the devices; those of 1 are among those of 10."`
	Priority int               `placeholder:"N" help:"Of several rules the higher one decides, of equal ones the newer (0)."`
}

// given reports whether a selector is on the command line.
func (s selectorArgs) given() bool {
	return s.Product != "" || s.Glob != "" || len(s.Tag) > 0 || s.Percent != 0
}

func (s selectorArgs) selector() logbridge.LevelSelector {
	return logbridge.LevelSelector{Product: s.Product, DeviceGlob: s.Glob, Tags: s.Tag, Percent: s.Percent}
}

// selectorJSON is a selector as the operator API has it.
type selectorJSON struct {
	Product    string            `json:"product,omitempty"`
	DeviceGlob string            `json:"device_glob,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Percent    float64           `json:"percent,omitempty"`
}

// ruleState is a rule as the operator API shows it.
type ruleState struct {
	ID       string       `json:"id"`
	Selector selectorJSON `json:"selector"`
	Priority int          `json:"priority"`
	Level    string       `json:"level"`
	Expires  *time.Time   `json:"expires_at"`
	SetBy    string       `json:"set_by"`
	Reason   string       `json:"reason"`
}

func (r ruleState) end() deviceState { return deviceState{Expires: r.Expires} }

// ruleReach is a rule and what it is about.
type ruleReach struct {
	Rule      *ruleState     `json:"rule"`
	Matched   int            `json:"matched"`
	Connected int            `json:"connected"`
	Decides   int            `json:"decides"`
	Sample    []string       `json:"sample"`
	Levels    map[string]int `json:"levels"`
	States    map[string]int `json:"states"`
}

// setRule is level set for all devices that a selector means.
func (c levelSetCmd) setRule(p program, level logbridge.Level) error {
	selector := c.selector()
	if err := selector.Validate(); err != nil {
		return usageError{err}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	wish := map[string]any{"selector": selectorJSON(selector), "priority": c.Priority, "level": level, "reason": c.Reason, "dry_run": c.DryRun}
	if c.For != "" {
		wish["for"] = c.For
	}
	return fetchAs(p, server, c.Output, http.MethodPost, "/levels", wish, func(reach ruleReach) error {
		if c.DryRun || reach.Rule == nil {
			return reach.writeDry(p, c.Output)
		}
		return tell(p, "rule %s: %s%s; matched %s%s", reach.Rule.ID, reach.Rule.Level, reach.Rule.end().until(time.Now()), reach.who(), reach.names())
	})
}

// writeDry shows what a rule would be about.
func (r ruleReach) writeDry(p program, o Output) error {
	fields := []field{{"would match", r.who() + r.names()}, {"would change", "the level of " + many(r.Decides, "device")}}
	if o.Output == outputWide {
		fields = append(fields, field{"levels now", dash(counts(r.Levels))}, field{"states now", dash(counts(r.States))})
	}
	return writeFields(p.stdout, o, fields...)
}

// who is how many devices a rule means.
func (r ruleReach) who() string {
	return fmt.Sprintf("%s, %d of them connected", many(r.Matched, "device"), r.Connected)
}

// names shows the sample.
func (r ruleReach) names() string {
	if len(r.Sample) == 0 {
		return ""
	}
	text := ": " + strings.Join(r.Sample, " ")
	if r.Matched > len(r.Sample) {
		text += " …"
	}
	return text
}

type levelExtendCmd struct {
	Client
	ID      string  `arg:"" placeholder:"ID" help:"Of the rule, as level ls shows it."`
	For     string  `placeholder:"DURATION" help:"How long from now on, such as 30m, or permanent."`
	Percent float64 `placeholder:"N" help:"For this part of the devices from now on."`
	Reason  string  `placeholder:"TEXT" help:"In place of the former one; it goes into the audit stream."`
}

func (c levelExtendCmd) Run(p program) error {
	if c.For == "" && c.Percent == 0 {
		return usageError{errors.New("say --for how long, or for which --percent")}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	change := map[string]any{}
	if c.For != "" {
		change["for"] = c.For
	}
	if c.Percent != 0 {
		change["percent"] = c.Percent
	}
	if c.Reason != "" {
		change["reason"] = c.Reason
	}
	var reach ruleReach
	if err := server.call(p.ctx, http.MethodPatch, escape("levels", c.ID), change, &reach); err != nil {
		return err
	}
	if reach.Rule == nil {
		return errors.New("the server's answer has no rule")
	}
	return tell(p, "rule %s: %s%s; matches %s", reach.Rule.ID, reach.Rule.Level, reach.Rule.end().until(time.Now()), reach.who())
}

type levelShowCmd struct {
	Client
	Output
	ID string `arg:"" placeholder:"ID" help:"Of the rule, as level ls shows it."`
}

func (c levelShowCmd) Run(p program) error {
	if strings.Contains(c.ID, "/") {
		return usageError{fmt.Errorf("%s is a device, and not a rule: device show %s", c.ID, c.ID)}
	}
	return fetch(p, c.Client, c.Output, escape("levels", c.ID), func(reach ruleReach) error {
		if reach.Rule == nil {
			return errors.New("the server's answer has no rule")
		}
		return writeFields(p.stdout, c.Output,
			field{"rule", reach.Rule.ID},
			field{"devices", logbridge.LevelSelector(reach.Rule.Selector).String()},
			field{"priority", strconv.Itoa(reach.Rule.Priority)},
			field{"level", reach.Rule.Level + reach.Rule.end().until(time.Now())},
			field{"set by", reach.Rule.SetBy},
			field{"reason", reach.Rule.Reason},
			field{"matched", reach.who() + reach.names()},
			field{"decides", "the level of " + many(reach.Decides, "device")},
			field{"levels", counts(reach.Levels)},
			field{"states", counts(reach.States)})
	})
}

// counts writes numbers in the order of their names.
func counts(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprint(name, " ", m[name]))
	}
	return strings.Join(parts, ", ")
}

// clearRule is level clear for a rule.
func (c levelClearCmd) clearRule(p program) error {
	server, err := c.open()
	if err != nil {
		return err
	}
	if err := server.call(p.ctx, http.MethodDelete, withReason(escape("levels", c.Target), c.Reason), nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "rule %s: ended\n", c.Target)
	return err
}

func withReason(path, reason string) string {
	if reason == "" {
		return path
	}
	return path + "?" + url.Values{"reason": {reason}}.Encode()
}

func ruleColumns(now time.Time) []column[ruleState] {
	return []column[ruleState]{
		{name: "RULE", value: func(r ruleState) string { return r.ID }},
		{name: "LEVEL", value: func(r ruleState) string { return r.Level }, colour: func(r ruleState) string { return levelColours[r.Level] }},
		{name: "DEVICES", value: func(r ruleState) string { return logbridge.LevelSelector(r.Selector).String() }},
		{name: "PRIORITY", value: func(r ruleState) string { return strconv.Itoa(r.Priority) }},
		{name: "ENDS IN", value: func(r ruleState) string { return r.end().left(now) }},
		{name: "SET BY", value: func(r ruleState) string { return r.SetBy }},
		{name: "REASON", value: func(r ruleState) string { return r.Reason }},
	}
}
