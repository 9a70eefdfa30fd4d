package sink

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/logbridge/logbridge"
)

// plan is a query made ready for many rows.
type plan struct {
	logbridge.Query
	since, until int64 // ns
	content      bool  // body or attributes must be looked at
	needle       needle
	ctx          context.Context
	turn         *turn // of the goroutine that has this plan; nil: neither bounded nor in turn with others

	newest uint64 // no group behind it
	after  *hit   // no hit up to it; nil is no bound
}

func newPlan(ctx context.Context, q logbridge.Query) *plan {
	p := &plan{Query: q, since: math.MinInt64, until: math.MaxInt64, ctx: ctx, newest: math.MaxUint64}
	if !q.Since.IsZero() && q.Since.After(minTime) {
		p.since = math.MaxInt64
		if q.Since.Before(maxTime) {
			p.since = q.Since.UnixNano()
		}
	}
	if !q.Until.IsZero() && q.Until.Before(maxTime) {
		p.until = math.MinInt64
		if q.Until.After(minTime) {
			p.until = q.Until.UnixNano()
		}
	}
	p.needle = newNeedle(q.Contains)
	p.content = len(p.needle.text) > 0 || len(q.Fields) > 0
	return p
}

// matchHead looks at the fixed part of a record.
func (p *plan) matchHead(at int64, l logbridge.Level, source uint8) bool {
	return p.MatchLevel(l) && p.matchTime(at) && (p.Sources == 0 || p.Sources&(1<<source) != 0)
}

// matchTime: until is exclusive, except that the last nanosecond that can be said stands for no end.
func (p *plan) matchTime(at int64) bool {
	return at >= p.since && (at < p.until || p.until == math.MaxInt64)
}

// everyStream reports that the query does not ask for streams.
func (p *plan) everyStream() bool {
	return p.Streams == nil && p.Stream == "" && p.Product == "" && p.Device == "" && p.Project == "" && p.Logstore == "" && p.Topic == ""
}

// predicateFailed makes an error of a panic in Query.Streams: it is called on goroutines whose panics nobody else recovers.
func predicateFailed(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("the query's predicate of streams panicked: %v", cause)
	}
}

// streamPrefix reports that the range of names that streamBounds gives holds exactly the streams that the query asks for. A
// name with a slash, which no product or project has, is none of theirs.
func (p *plan) streamPrefix() bool {
	kinds := 0
	for _, asked := range []bool{p.Stream != "", p.Product != "" || p.Device != "", p.Project != "" || p.Logstore != "", p.Topic != ""} {
		if asked {
			kinds++
		}
	}
	return p.Streams == nil && kinds == 1 && !strings.Contains(p.Product, "/") && !strings.Contains(p.Project, "/") && (p.Device == "" || p.Product != "" && !logbridge.IsGlob(p.Device)) && (p.Logstore == "" || p.Project != "")
}

// exactStream is the one stream that the query can match; empty when there may be several.
func (p *plan) exactStream() string {
	if low, high := streamBounds(&p.Query); p.streamPrefix() && high == low+"\x00" {
		return low
	}
	return ""
}

// narrow reports that a table has few hits to give, whatever it holds.
func (p *plan) narrow() bool {
	return p.Limit > 0 && p.Limit <= takeAtOnce && p.Order != logbridge.ByPosition
}

// matchRow is Query.MatchContent on bytes.
func (p *plan) matchRow(r *row) bool {
	for _, want := range p.Fields {
		found := false
		r.eachAttr(func(k, v []byte) bool {
			found = string(k) == want.Key && string(v) == want.Value
			return !found
		})
		if !found {
			return false
		}
	}
	if len(p.needle.text) == 0 || p.needle.in(r.body) {
		return true
	}
	if p.Where == logbridge.InLine && len(r.body) > 0 {
		return false
	}
	found := false
	r.eachAttr(func(k, v []byte) bool {
		found = p.needle.in(v) || p.Where == logbridge.InLine && p.needle.in(k)
		return !found
	})
	return found
}

// hit is a row that answers a query, with what orders it.
type hit struct {
	time  int64
	seq   uint64
	index uint32
	row   uint32
}

// compare orders hits as the query wants its answer.
func (p *plan) compare(a, b hit) int {
	position := cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.index, b.index))
	switch p.Order {
	case logbridge.ByPosition:
		return position
	case logbridge.OldestFirst:
		return cmp.Or(cmp.Compare(a.time, b.time), position)
	default:
		return -cmp.Or(cmp.Compare(a.time, b.time), position)
	}
}

// behind is the plan for what is left when sent hits were given and last is the last of them.
func (p *plan) behind(last hit, sent int) *plan {
	rest := *p
	rest.after = &last
	if rest.Limit > 0 {
		rest.Limit -= sent
	}
	switch p.Order {
	case logbridge.ByPosition:
		rest.After = logbridge.Position{Seq: last.seq, Index: last.index}
	case logbridge.OldestFirst:
		rest.since = max(rest.since, last.time)
	default:
		if last.time < math.MaxInt64 {
			rest.until = min(rest.until, last.time+1)
		}
	}
	return &rest
}

// bounded reports that best drops some hits for their position.
func (p *plan) bounded() bool { return p.after != nil || p.newest != math.MaxUint64 }

// best sorts the hits and keeps as many as can be wanted. What newest and after exclude must be gone before the limit
// counts.
func (p *plan) best(hits []hit) []hit {
	if p.bounded() {
		hits = slices.DeleteFunc(hits, func(h hit) bool {
			return h.seq > p.newest || p.after != nil && p.compare(h, *p.after) <= 0
		})
	}
	slices.SortFunc(hits, p.compare)
	if p.Limit > 0 && len(hits) > p.Limit {
		hits = hits[:p.Limit:p.Limit]
	}
	return hits
}

// cursor gives the matching records of one table, best first. A take that fails changes nothing: it may be tried again.
// Errors that are errDamaged say that the table's bytes are wrong.
type cursor interface {
	head() (hit, bool)
	take() (logbridge.Record, error)
	left() []hit
	cut(n int)
}

// hitList is what a cursor has left to give, best first.
type hitList struct{ hits []hit }

func (l *hitList) head() (hit, bool) {
	if len(l.hits) == 0 {
		return hit{}, false
	}
	return l.hits[0], true
}

func (l *hitList) left() []hit { return l.hits }

// cut keeps the first n, and gives the memory of the others back.
func (l *hitList) cut(n int) {
	if n < len(l.hits) {
		l.hits = slices.Clone(l.hits[:n])
	}
}

// streamBounds gives the range [low, high) of stream names that a query can match; empty when it is not one range.
func streamBounds(q *logbridge.Query) (low, high string) {
	prefix := ""
	switch {
	case q.Stream != "":
		return string(q.Stream), string(q.Stream) + "\x00"
	case q.Product != "" && q.Device != "" && !logbridge.IsGlob(q.Device):
		exact := string(logbridge.DeviceID{Product: q.Product, Device: q.Device}.Stream())
		return exact, exact + "\x00"
	case q.Product != "":
		prefix = "device/" + q.Product + "/"
	case q.Device != "":
		prefix = "device/"
	case q.Project != "" && q.Logstore != "":
		exact := string(logbridge.SLSStream(q.Project, q.Logstore))
		return exact, exact + "\x00"
	case q.Project != "":
		prefix = "sls/" + q.Project + "/"
	case q.Logstore != "":
		prefix = "sls/"
	case q.Topic != "":
		exact := string(logbridge.CLSStream(q.Topic))
		return exact, exact + "\x00"
	default:
		return "", ""
	}
	return prefix, prefix[:len(prefix)-1] + "0" // "0" is the character after "/"
}
