package levels

import (
	"context"
	"fmt"
	"time"

	"github.com/logbridge/logbridge"
)

// What happened, as the attribute action of an audit record says it.
const (
	actionSet       = "level.set"
	actionClear     = "level.clear"
	actionExpire    = "level.expire"
	actionBaseSet   = "base.set"
	actionBaseClear = "base.clear"
)

// expiryActor is who ends a rule whose time has come.
var expiryActor = logbridge.Actor{Name: "expiry"}

// auditWait bounds the wait for the log: the change itself is done already, and someone waits for the answer.
const auditWait = 5 * time.Second

// event is what an audit record tells.
type event struct {
	action        string
	scope         scope
	before, after logbridge.Level
	by            logbridge.Actor
	reason        string
	expires       time.Time
	text          string // a sentence for people
}

// records makes the audit record of an event and, for a device, the marker line in its own stream.
func (l *Levels) records(e event) []logbridge.Record {
	now := l.now()
	attrs := []logbridge.Attr{{Key: "action", Value: e.action}, {Key: "actor", Value: e.by.Name}}
	for _, a := range []logbridge.Attr{{Key: "address", Value: e.by.Address}, {Key: "product", Value: e.scope.Product},
		{Key: "device", Value: e.scope.Device}} {
		if a.Value != "" {
			attrs = append(attrs, a)
		}
	}
	attrs = append(attrs, logbridge.Attr{Key: "before", Value: e.before.String()}, logbridge.Attr{Key: "after", Value: e.after.String()})
	if e.reason != "" {
		attrs = append(attrs, logbridge.Attr{Key: "reason", Value: e.reason})
	}
	if !e.expires.IsZero() {
		attrs = append(attrs, logbridge.Attr{Key: "expires", Value: e.expires.UTC().Format(time.RFC3339)})
	}
	// TimeReceived: the time is ours.
	r := logbridge.Record{Time: now, ObservedTime: now, TimeQuality: logbridge.TimeReceived, Source: logbridge.SourceAudit,
		Stream: logbridge.AuditStream, Severity: logbridge.LevelInfo, Body: e.text, Attributes: attrs}
	if e.scope.Device == "" {
		return []logbridge.Record{r}
	}
	marker := r
	marker.Stream = e.scope.Stream()
	r.Body = e.scope.String() + ": " + e.text
	return []logbridge.Record{r, marker}
}

func (l *Levels) setRecords(id logbridge.DeviceID, before logbridge.Level, r rule, length time.Duration) []logbridge.Record {
	text := "log level set to " + r.Level.String()
	if length > 0 {
		text += " for " + length.String()
	} else if r.Level > l.Base(id.Product) {
		text += " permanently"
	}
	return l.records(event{actionSet, id, before, r.Level, r.By, r.Reason, r.Expires, signed(text, r.By, r.Reason)})
}

func (l *Levels) clearRecords(id logbridge.DeviceID, before logbridge.Level, by logbridge.Actor, reason string) []logbridge.Record {
	after := l.Effective(id)
	return l.records(event{actionClear, id, before, after, by, reason, time.Time{},
		signed("log level back to "+after.String(), by, reason)})
}

func (l *Levels) expiryRecords(id logbridge.DeviceID, r *rule) []logbridge.Record {
	after := l.Effective(id)
	return l.records(event{actionExpire, id, r.Level, after, expiryActor, "expired", r.Expires,
		"log level back to " + after.String() + ": expired"})
}

func (l *Levels) baseRecords(action, product string, before, after logbridge.Level, by logbridge.Actor, reason string) []logbridge.Record {
	text := "base level of everyone"
	if product != "" {
		text = "base level of product " + product
	}
	if action == actionBaseClear {
		text += " back to " + after.String()
	} else {
		text += " set to " + after.String()
	}
	return l.records(event{action, scope{Product: product}, before, after, by, reason, time.Time{}, signed(text, by, reason)})
}

// signed ends a sentence with who and why.
func signed(text string, by logbridge.Actor, reason string) string {
	text = fmt.Sprintf("%s by %s", text, by.Name)
	if reason != "" {
		text += ": " + reason
	}
	return text
}

// appendAudit stores records about what is done already. A failure is logged and counted, and undoes nothing. It does
// not end with ctx: whoever hangs up must not escape the record.
func (l *Levels) appendAudit(ctx context.Context, records []logbridge.Record) {
	if len(records) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	if _, err := l.audit.Append(ctx, logbridge.Batch{Records: records}); err != nil {
		l.auditFailures.Add(uint64(len(records)))
		l.log.Error("audit records not stored", "records", len(records), "first", records[0].Body, "error", err)
	}
}
