package httpapi

import (
	"context"
	"fmt"
	"iter"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/logbridge/logbridge"
)

// A token may be limited to some streams (logbridge.Token.Scope). What is about records goes through scopedLog, whoever reads
// them; what is about things goes by the path of the call. Both refuse what nobody has thought of: a context without a caller reads
// nothing, and a call whose path names neither a product nor a store is closed to limited tokens unless it says that it looks
// itself.

// reach is how a call keeps to the scope of a limited token.
type reach uint8

const (
	// asNamed: all that the path names must be in scope.
	asNamed reach = iota
	// partly: something below what the path names is enough; the call shows the rest to nobody.
	partly
	// anywhere: the call looks itself.
	anywhere
)

// errOutside is the answer about all that is not in scope, there or not.
var errOutside = newProblem(http.StatusNotFound, "there is no such thing in the scope of this token")

// permit says whether a caller may make a call, by its path.
func (need reach) permit(ctx huma.Context, c *caller) *problem {
	if !c.Limited() || need == anywhere {
		return nil
	}
	of := named(ctx)
	switch {
	case of == "":
		return newProblem(http.StatusForbidden, "this call is about everything, and the token is limited to a part")
	case c.Sees(of), need == partly && c.SeesIn(of):
		return nil
	}
	return errOutside
}

// named is the stream, or the beginning of streams, that the path of a call names; empty if it names none.
func named(ctx huma.Context) logbridge.Stream {
	product, device := ctx.Param("product"), ctx.Param("device")
	project, logstore := ctx.Param("project"), ctx.Param("logstore")
	switch topic := ctx.Param("topic"); {
	case device != "":
		return logbridge.DeviceID{Product: product, Device: device}.Stream()
	case product != "":
		return productStreams(product)
	case logstore != "":
		return logbridge.SLSStream(project, logstore)
	case project != "":
		return projectStreams(project)
	case topic != "":
		return logbridge.CLSStream(topic)
	}
	return ""
}

// productStreams is what the streams of a product's devices begin with.
func productStreams(product string) logbridge.Stream { return logbridge.Stream("device/" + product) }

// projectStreams is what the streams of a project's logstores begin with.
func projectStreams(project string) logbridge.Stream { return logbridge.Stream("sls/" + project) }

// within keeps what a caller may see something of.
func within[T any](ctx context.Context, all []T, of func(T) logbridge.Stream) []T {
	c := callerOf(ctx)
	if c == nil {
		return nil
	}
	if !c.Limited() {
		return all
	}
	var out []T
	for _, t := range all {
		if c.SeesIn(of(t)) {
			out = append(out, t)
		}
	}
	return out
}

// sees reports whether the caller's scope has all of a stream or of its beginning.
func sees(ctx context.Context, s logbridge.Stream) bool {
	c := callerOf(ctx)
	return c != nil && c.Sees(s)
}

// scopedLog is the log as the caller of each request may read it: of what is not in scope there are no records, no counts, no
// labels, and nothing that was lost.
type scopedLog struct{ Log }

// errNobody is for a read whose context has no caller: a fault of this server.
var errNobody = fmt.Errorf("%w: the log is asked for nobody", logbridge.ErrForbidden)

func (l scopedLog) Query(ctx context.Context, q logbridge.Query) iter.Seq2[logbridge.Record, error] {
	q, err := restrict(ctx, q)
	if err != nil {
		return func(yield func(logbridge.Record, error) bool) { yield(logbridge.Record{}, err) }
	}
	return l.Log.Query(ctx, q)
}

func (l scopedLog) Tail(ctx context.Context, from logbridge.Position, q logbridge.Query) iter.Seq2[logbridge.Record, error] {
	q, err := restrict(ctx, q)
	if err != nil {
		return func(yield func(logbridge.Record, error) bool) { yield(logbridge.Record{}, err) }
	}
	return l.Log.Tail(ctx, from, q)
}

func (l scopedLog) Count(ctx context.Context, q logbridge.Query, by logbridge.CountBy) ([]logbridge.Count, error) {
	q, err := restrict(ctx, q)
	if err != nil {
		return nil, err
	}
	return l.Log.Count(ctx, q, by)
}

// restrict narrows a query to the scope of the caller. One that names what is in scope as a whole stays as it is: the log
// finds a stream by its name faster than by looking at each.
func restrict(ctx context.Context, q logbridge.Query) (logbridge.Query, error) {
	c := callerOf(ctx)
	if c == nil {
		return q, errNobody
	}
	if !c.Limited() || q.Stream != "" && c.Sees(q.Stream) || q.Product != "" && c.Sees(productStreams(q.Product)) ||
		q.Project != "" && (c.Sees(projectStreams(q.Project)) || q.Logstore != "" && c.Sees(logbridge.SLSStream(q.Project, q.Logstore))) ||
		q.Topic != "" && c.Sees(logbridge.CLSStream(q.Topic)) {
		return q, nil
	}
	wanted := q.Streams
	q.Streams = func(s logbridge.Stream) bool { return c.Sees(s) && (wanted == nil || wanted(s)) }
	return q, nil
}

// ledger gives what became of every line; to a limited token of the streams in scope, whose sum is then the total. By source
// it is not known of a part.
func (a *api) ledger() {
	callFor(a, anywhere, logbridge.RoleViewer, http.MethodGet, "/ledger", "get-ledger", "What became of every line",
		func(ctx context.Context, _ *none) (*answer[logbridge.Ledger], error) {
			return &answer[logbridge.Ledger]{ledgerOf(callerOf(ctx), a.deps.Counter.Ledger())}, nil
		})
}

func ledgerOf(c *caller, all logbridge.Ledger) logbridge.Ledger {
	if !c.Limited() {
		return all
	}
	part := logbridge.Ledger{
		Total:   logbridge.Counts{Refused: map[string]uint64{}, Dropped: map[string]uint64{}},
		Sources: map[logbridge.Source]logbridge.Counts{}, Streams: []logbridge.StreamCounts{},
	}
	for _, s := range all.Streams {
		if !c.Sees(s.Stream) {
			continue
		}
		part.Streams = append(part.Streams, s)
		part.Total.Received += s.Received
		part.Total.Stored += s.Stored
		part.Total.Duplicate += s.Duplicate
		for reason, n := range s.Refused {
			part.Total.Refused[reason] += n
		}
		for reason, n := range s.Dropped {
			part.Total.Dropped[reason] += n
		}
	}
	return part
}
