package levels

import (
	"context"
	"fmt"
	"strings"
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
	actionRuleSet   = "rule.set"
	// A rule was made to last longer or shorter, or to mean another percentage.
	actionRuleChange = "rule.change"
	actionRuleClear  = "rule.clear"
	actionRefuse     = "level.refuse"
)

// expiryActor is who ends a rule whose time has come.
var expiryActor = logbridge.Actor{Name: "expiry"}

// auditWait bounds the wait for the log: the change itself is done already, and someone waits for the answer. A cluster that has lost a
// server elects a leader meanwhile, which takes it 9 s at most.
const auditWait = 15 * time.Second

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

// recordAttrs is room for the attributes of a record about a device.
const recordAttrs = 11

// record begins an audit record: when, what, who, and about whom. Its attributes lie in room, as far as they fit.
func (l *Levels) record(room []logbridge.Attr, action string, of scope, by logbridge.Actor) logbridge.Record {
	now := l.now()
	attrs := append(room, logbridge.Attr{Key: "action", Value: action}, logbridge.Attr{Key: "actor", Value: by.Name})
	for _, a := range []logbridge.Attr{{Key: "address", Value: by.Address}, {Key: "product", Value: of.Product}, {Key: "device", Value: of.Device}} {
		if a.Value != "" {
			attrs = append(attrs, a)
		}
	}
	// TimeReceived: the time is ours.
	return logbridge.Record{Time: now, ObservedTime: now, TimeQuality: logbridge.TimeReceived, Source: logbridge.SourceAudit,
		Stream: logbridge.AuditStream, Severity: logbridge.LevelInfo, Attributes: attrs}
}

// withMarker adds to an audit record the marker line in a device's own stream.
func (l *Levels) withMarker(r logbridge.Record, of scope) []logbridge.Record {
	marker := r
	marker.Stream = of.Stream()
	r.Body = of.String() + ": " + r.Body
	return []logbridge.Record{r, marker}
}

// outcome adds what a change did, and until when.
func outcome(r *logbridge.Record, before, after, reason string, expires time.Time) {
	r.Attributes = append(r.Attributes, logbridge.Attr{Key: "outcome", Value: "done"}, logbridge.Attr{Key: "before", Value: before}, logbridge.Attr{Key: "after", Value: after})
	if reason != "" {
		r.Attributes = append(r.Attributes, logbridge.Attr{Key: "reason", Value: reason})
	}
	if !expires.IsZero() {
		r.Attributes = append(r.Attributes, logbridge.Attr{Key: "expires", Value: expires.UTC().Format(time.RFC3339)})
	}
}

// records makes the audit record of an event and, for a device, the marker line in its own stream.
func (l *Levels) records(e event) []logbridge.Record {
	r := l.record(nil, e.action, e.scope, e.by)
	outcome(&r, e.before.String(), e.after.String(), e.reason, e.expires)
	r.Body = e.text
	if e.scope.Device == "" {
		return []logbridge.Record{r}
	}
	return l.withMarker(r, e.scope)
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

// Refused records that a change was refused: what was wanted of a device, a product or everyone, by whom, and why not. It is
// for those who refuse before they ask here.
func (l *Levels) Refused(ctx context.Context, of logbridge.DeviceID, what string, by logbridge.Actor, why error) {
	const most = maxReason + 200 // a reason may be quoted in it
	text := what + " refused: " + strings.TrimPrefix(why.Error(), logbridge.ErrInvalid.Error()+": ")
	text = strings.ToValidUTF8(text[:min(len(text), most)], "")
	r := l.record(nil, actionRefuse, of, by)
	r.Body, r.Severity = text, logbridge.LevelWarn
	r.Attributes = append(r.Attributes, logbridge.Attr{Key: "outcome", Value: "refused"})
	records := []logbridge.Record{r}
	if of.Device != "" {
		records = l.withMarker(r, of)
	}
	l.appendAudit(ctx, records)
}

// appendAudit stores records about what is done already, and says whether it could. A failure is logged and counted, and
// undoes nothing. It does not end with ctx: whoever hangs up must not escape the record.
func (l *Levels) appendAudit(ctx context.Context, records []logbridge.Record) bool {
	if len(records) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	if _, err := l.audit.Append(ctx, logbridge.Batch{Records: records}); err != nil {
		l.auditFailures.Add(uint64(len(records)))
		l.log.Error("audit records not stored", "records", len(records), "first", records[0].Body, "error", err)
		return false
	}
	return true
}
