package main

import (
	"time"
)

type levelHistoryCmd struct {
	Client
	Output
	Device deviceArg `arg:"" placeholder:"PRODUCT/DEVICE" help:"PRODUCT/DEVICE."`
	Since  string    `default:"168h" placeholder:"TIME" help:"From then on: a duration before now, or a time as 2026-11-21T10:00:00Z (${default})."`
	Until  string    `placeholder:"TIME" help:"Up to then."`
	Limit  int       `short:"n" default:"100" placeholder:"N" help:"The newest N (${default})."`
}

// Run shows the marker lines in the device's own stream.
func (c levelHistoryCmd) Run(p program) error {
	as := logsCmd{Stream: string(c.Device.Stream()), Since: c.Since, Until: c.Until, Limit: &c.Limit}
	query, err := as.query(time.Now())
	if err != nil {
		return usageError{err}
	}
	query.Set("source", "audit")
	server, err := c.open()
	if err != nil {
		return err
	}
	return listAudit(p, server, query, c.Output, historyColumns())
}

// historyColumns put the outcome first: a refusal has no levels, and is no change.
func historyColumns() []column[auditRecord] {
	attr := func(name string) func(auditRecord) string {
		return func(r auditRecord) string { return r.attr(name) }
	}
	level := func(title, name string) column[auditRecord] {
		return column[auditRecord]{name: title, value: attr(name), colour: func(r auditRecord) string { return levelColours[r.Attributes[name]] }}
	}
	return []column[auditRecord]{
		{name: "TIME", value: func(r auditRecord) string { return r.Time.Local().Format(time.DateTime) }},
		{name: "OUTCOME", value: auditRecord.outcome, colour: func(r auditRecord) string { return levelColours[r.Level] }},
		level("FROM", "before"), level("TO", "after"),
		{name: "BY", value: attr("actor")},
		{name: "ADDRESS", value: attr("address"), wide: true},
		{name: "RULE", value: attr("rule"), wide: true},
		{name: "ENDS", value: attr("expires"), wide: true},
		{name: "REASON", value: attr("reason"), wide: true},
		{name: "WHAT", value: func(r auditRecord) string { return r.Body }},
	}
}
