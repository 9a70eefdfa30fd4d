package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
)

type auditCmd struct {
	Client
	Follow  bool   `short:"f" help:"Go on with what arrives, over restarts of the server too."`
	Actor   string `placeholder:"NAME" help:"Of this token, or of admin, config, expiry or quota."`
	Action  string `placeholder:"ACTION" help:"Of this kind, as level.set or put-logstore."`
	Outcome string `placeholder:"OUTCOME" help:"That ended so: done, refused or failed."`
	Grep    string `placeholder:"TEXT" help:"With this text in the sentence or a field: a device, a store, a ticket."`
	Since   string `default:"24h" placeholder:"TIME" help:"From then on: a duration before now, or a time as 2026-11-21T10:00:00Z (${default})."`
	Until   string `placeholder:"TIME" help:"Up to then."`
	Limit   int    `short:"n" default:"100" placeholder:"N" help:"The newest N (${default}); with -f all."`
	Output
}

// auditStream has the audit records; the source audit also has the marker lines in the streams of devices.
const auditStream = string(logbridge.AuditStream)

// auditRecord is what an audit record tells.
type auditRecord struct {
	Time       time.Time         `json:"time"`
	Level      string            `json:"level"`
	Body       string            `json:"body"`
	Attributes map[string]string `json:"attributes"`
}

func (r auditRecord) attr(name string) string { return dash(r.Attributes[name]) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// target is what a record is about. Changes of levels name product and device.
func (r auditRecord) target() string {
	product, device := r.Attributes["product"], r.Attributes["device"]
	switch {
	case r.Attributes["target"] != "":
		return r.Attributes["target"]
	case device != "":
		return product + "/" + device
	}
	return dash(product)
}

// outcome of a record that has none: changes of levels say it by their action.
func (r auditRecord) outcome() string {
	switch {
	case r.Attributes["outcome"] != "":
		return r.Attributes["outcome"]
	case strings.HasSuffix(r.Attributes["action"], ".refuse"):
		return "refused"
	}
	return "done"
}

func auditColumns() []column[auditRecord] {
	attr := func(name string) func(auditRecord) string {
		return func(r auditRecord) string { return r.attr(name) }
	}
	return []column[auditRecord]{
		{name: "TIME", value: func(r auditRecord) string { return r.Time.Local().Format(time.DateTime) }},
		{name: "ACTOR", value: attr("actor")},
		{name: "FROM", value: attr("address"), wide: true},
		{name: "ACTION", value: attr("action")},
		{name: "TARGET", value: auditRecord.target},
		{name: "OUTCOME", value: auditRecord.outcome, colour: func(r auditRecord) string { return levelColours[r.Level] }},
		{name: "BEFORE", value: attr("before"), wide: true},
		{name: "AFTER", value: attr("after"), wide: true},
		{name: "REASON", value: attr("reason"), wide: true},
		{name: "WHAT", value: func(r auditRecord) string { return r.Body }},
	}
}

func (c auditCmd) Run(p program) error {
	// What the flags of logs mean, these mean too.
	as := logsCmd{Stream: auditStream, Grep: c.Grep, Since: c.Since, Until: c.Until, Follow: c.Follow}
	if !c.Follow {
		as.Limit = &c.Limit
	}
	query, err := as.query(time.Now())
	if err != nil {
		return usageError{err}
	}
	for name, value := range map[string]string{"actor": c.Actor, "action": c.Action, "outcome": c.Outcome} {
		if value != "" {
			query.Set("field."+name, value)
		}
	}
	server, err := c.open()
	if err != nil {
		return err
	}
	if c.Follow {
		f := follower{server: server, query: query, show: c.line(p), stderr: p.stderr, raw: c.Output.Output == outputJSON}
		return f.run(p.ctx)
	}
	return listAudit(p, server, query, c.Output, auditColumns())
}

// listAudit shows the newest records in the order in which they happened; with -o json one a line.
func listAudit(p program, server *api, query url.Values, o Output, columns []column[auditRecord]) error {
	var records []auditRecord
	var lines []string
	err := server.logs(p.ctx, query, func(line []byte) error {
		lines = append(lines, string(line))
		var r auditRecord
		err := json.Unmarshal(line, &r)
		records = append(records, r)
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(records)
	if o.Output != outputJSON {
		return writeTable(p.stdout, o, records, columns)
	}
	for _, line := range slices.Backward(lines) {
		if err := tell(p, "%s", line); err != nil {
			return err
		}
	}
	return nil
}

// line gives what writes one record as it arrives, without columns: nobody knows yet how wide they must be.
func (c auditCmd) line(p program) func([]byte) error {
	colours := coloured(c.Color, p.stdout)
	return func(line []byte) error {
		if c.Output.Output == outputJSON {
			return tell(p, "%s", line)
		}
		var r auditRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		var texts []string
		for _, column := range auditColumns() {
			if column.wide && c.Output.Output != outputWide {
				continue
			}
			text := printable(column.value(r))
			if colours && column.colour != nil {
				text = paint(column.colour(r), text)
			}
			texts = append(texts, text)
		}
		return tell(p, "%s", strings.Join(texts, columnGap))
	}
}
