package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/logbridge/logbridge"
)

// Every change through the operator API, and every one that is refused for the role or the scope of its token, is a record in
// the stream audit, in the form that package levels gives to changes of levels, which it records itself: a sentence as the
// body, and as attributes action (the operation's id), actor, address, target (the path), product and device where there are
// such, outcome, reason, before and after. The last two are JSON of the members that differ; of a secret they only say that it
// is another one. What a request that is wrong in itself asked for changes nothing, and is not recorded.
//
// The record is appended when the change is stored and before it is answered. A crash in that moment, or a disk on which nothing more can
// be stored, leaves a change without its record; the caller has no answer then, or the program's log and the metric
// logbridge_audit_failures_total say so. The other order would leave records of changes that never were.

// The outcomes.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
	// outcomeFailed: how far it went is not known.
	outcomeFailed = "failed"
)

const (
	// auditWait bounds the wait for the log: the change itself is done already, and someone waits for the answer.
	auditWait = 5 * time.Second
	// maxReason bounds a reason, in bytes.
	maxReason = 500
	// maxAudited bounds each of before and after, in bytes: what can be registered at all is smaller, but for lists of it.
	maxAudited = 64 << 10
	// reasonHeader gives the reason of a change whose body has none; the parameter reason does so too.
	reasonHeader = "Logbridge-Reason"
)

// deed is what a call has changed. The handler fills it in once that is stored.
type deed struct {
	stored        bool
	target        string // in place of the path
	before, after any    // as the API shows it; nil is not there
	secrets       []string
}

type deedKey struct{}

// changed notes what a call has changed, once it is stored: how the API showed it before and shows it now, nil for what is
// not there, and which secrets are others. Without a difference there is no record.
func changed(ctx context.Context, before, after any, secrets ...string) {
	if c, ok := ctx.Value(deedKey{}).(*deed); ok {
		c.stored, c.before, c.after, c.secrets = true, before, after, secrets
	}
}

// changedThing is changed for a thing that the path does not name.
func changedThing(ctx context.Context, target string, before, after any) {
	changed(ctx, before, after)
	if c, ok := ctx.Value(deedKey{}).(*deed); ok {
		c.target = target
	}
}

// deleted is changed for what is gone, if err says that it is.
func deleted(ctx context.Context, before any, err error) (*none, error) {
	if err == nil {
		changed(ctx, before, nil)
	}
	return nil, err
}

// shown is how the API shows a thing, for changed; nil if err says that there is none.
func shown[T, V any](t T, err error, view func(T) V) any {
	if err != nil {
		return nil
	}
	return view(t)
}

// renewed names a secret if it is another one than before.
func renewed(name, before, after string) []string {
	if before == after {
		return nil
	}
	return []string{name}
}

// audited records what do changes.
func audited[I, O any](a *api, op *huma.Operation, do func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		var c deed
		out, err := do(context.WithValue(ctx, deedKey{}, &c), in)
		switch status := 0; {
		case err == nil:
			a.record(ctx, op, &c, outcomeDone, "")
		case c.stored:
			a.record(ctx, op, &c, outcomeFailed, err.Error())
		default:
			if p := a.problem(err); p.Status == http.StatusForbidden || errors.Is(err, errOutside) {
				a.record(ctx, op, &c, outcomeRefused, p.Detail)
			} else if status = p.Status; status >= http.StatusInternalServerError {
				a.record(ctx, op, &c, outcomeFailed, p.Detail)
			}
		}
		return out, err
	}
}

// auditRefusal records a change that is refused before its handler is asked.
func (a *api) auditRefusal(ctx huma.Context, c *caller, p *problem) {
	a.record(withCaller(ctx.Context(), c), ctx.Operation(), &deed{}, outcomeRefused, p.Detail)
}

// record appends the record of a change. why is what stood in its way.
func (a *api) record(ctx context.Context, op *huma.Operation, c *deed, outcome, why string) {
	by := callerOf(ctx)
	before, after := differences(c)
	if c.stored && outcome == outcomeDone && c.before != nil && c.after != nil && before == after {
		return // a PUT that was repeated
	}
	target := c.target
	if target == "" {
		target = by.path
	}
	attrs := []logbridge.Attr{{Key: "action", Value: op.OperationID}, {Key: "actor", Value: by.Name}}
	for _, attr := range []logbridge.Attr{
		{Key: "address", Value: by.address}, {Key: "product", Value: by.product}, {Key: "device", Value: by.device}, {Key: "target", Value: target},
		{Key: "outcome", Value: outcome}, {Key: "before", Value: before}, {Key: "after", Value: after}, {Key: "reason", Value: by.reason},
	} {
		if attr.Value != "" {
			attrs = append(attrs, attr)
		}
	}
	now := time.Now()
	r := logbridge.Record{Time: now, ObservedTime: now, TimeQuality: logbridge.TimeReceived, Source: logbridge.SourceAudit, Stream: logbridge.AuditStream,
		Severity: logbridge.LevelInfo, Body: c.sentence(op, target, outcome, why, by), Attributes: attrs}
	if outcome != outcomeDone {
		r.Severity = logbridge.LevelWarn
	}
	a.appendAudit(ctx, r)
}

// sentence says what happened, for people.
func (c *deed) sentence(op *huma.Operation, target, outcome, why string, by *caller) string {
	text := target + ": " + strings.ToLower(op.Summary[:1]) + op.Summary[1:]
	switch {
	case outcome != outcomeDone:
		text += " " + outcome + " for " + by.Name + ": " + strings.ToValidUTF8(why[:min(len(why), maxReason)], "")
	case op.Method == http.MethodDelete && c.stored:
		text = target + " deleted by " + by.Name
	case op.Method == http.MethodPut && c.stored && c.before == nil:
		text = target + " created by " + by.Name
	case op.Method == http.MethodPut && c.stored:
		text = target + " changed by " + by.Name
	default:
		text += ", by " + by.Name
	}
	if by.reason != "" && outcome == outcomeDone {
		text += ": " + by.reason
	}
	return text
}

// differences gives both sides of a change as JSON, of the members that differ if there are two.
func differences(c *deed) (before, after string) {
	b, a := members(c.before), members(c.after)
	if b != nil && a != nil {
		for name, value := range b {
			if bytes.Equal(value, a[name]) {
				delete(a, name)
				delete(b, name)
			}
		}
	}
	for _, secret := range c.secrets {
		if a != nil {
			a[secret] = json.RawMessage(`"new"`)
		}
	}
	return jsonText(b), jsonText(a)
}

// members are those of a JSON object; nil for nothing.
func members(v any) (m map[string]json.RawMessage) {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil || json.Unmarshal(b, &m) != nil {
		return map[string]json.RawMessage{}
	}
	return m
}

func jsonText(m map[string]json.RawMessage) string {
	if m == nil {
		return ""
	}
	var b bytes.Buffer
	_ = marshalInto(&b, m) // of what was JSON before
	return strings.ToValidUTF8(b.String()[:min(b.Len(), maxAudited)], "")
}

// appendAudit stores a record about what is done already. A failure is logged and counted, and undoes nothing. It does not end
// with ctx: whoever hangs up must not escape the record.
func (s *Server) appendAudit(ctx context.Context, r logbridge.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	if _, err := s.deps.Audit.Append(ctx, logbridge.Batch{Records: []logbridge.Record{r}}); err != nil {
		s.auditFailures.Add(1)
		s.log.Error("audit record not stored", "record", r.Body, "error", err)
	}
}

// AuditFailures counts records about changes that could not be stored.
func (s *Server) AuditFailures() uint64 { return s.auditFailures.Load() }

// about notes what a call is about, for its record.
func (c *caller) about(ctx huma.Context) {
	r := humaecho.Unwrap(ctx).Request()
	c.product, c.device = ctx.Param("product"), ctx.Param("device")
	c.path = clipTo(strings.TrimPrefix(r.URL.Path, apiPath+"/"), maxReason)
	c.reason = r.URL.Query().Get("reason")
	if c.reason == "" {
		c.reason = r.Header.Get(reasonHeader)
	}
	c.reason = clipTo(strings.TrimSpace(c.reason), maxReason)
}

// clipTo is text of at most so many bytes that a record can hold.
func clipTo(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }

// reasonParameters tell of the reason in the description of a call whose body has none.
func reasonParameters() []*huma.Param {
	words := &huma.Schema{Type: huma.TypeString}
	return []*huma.Param{
		{Name: "reason", In: "query", Description: fmt.Sprintf("why, for the audit stream, at most %d bytes", maxReason), Schema: words},
		{Name: reasonHeader, In: "header", Description: "likewise", Schema: words},
	}
}
