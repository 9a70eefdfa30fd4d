package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loose"
)

const (
	// maxPending is how much of an answer waits for a slow reader; then reading the log waits too, so a reader costs no
	// more memory than this, twice.
	maxPending = 256 << 10
	// readerTimeout: a reader that takes nothing for so long is gone.
	readerTimeout = 30 * time.Second
	// longestSilence is how long a stream that is followed stays without a byte: proxies cut what is idle for longer, many
	// after 60 s and some after 20. The sign of life is an empty line.
	longestSilence = 15 * time.Second
	// idleRoom is what an idle stream keeps of each of its two buffers: many are idle, and a burst is soon over.
	idleRoom = 4 << 10
)

// logs serves GET /logs: NDJSON, one record a line.
func (a *api) logs(e *echo.Echo) {
	e.GET(apiPath+"/logs", a.queryLogs, gzipped())
	a.huma.OpenAPI().AddOperation(logsOperation())
}

func logsOperation() *huma.Operation {
	op := &huma.Operation{
		OperationID: "query-logs", Method: http.MethodGet, Path: "/logs", Summary: "Query or follow records",
		Description: "application/x-ndjson, one record a line, newest first unless direction=forward. With follow=true: what " +
			"matches since then in the order in which it came in, and then what arrives, until the client ends; an empty line every 15 s " +
			"while nothing does. A reader who has kept up and then takes too slowly gets a line {\"dropped\":N,\"seq\":\"…\"} in place of the N records " +
			"that answer the query up to that position. With after: from that position on, in the order of positions. 503 (unavailable) when too many queries are being answered, 422 (too_large) when " +
			"one works for too long or reads too much. An error in mid-stream ends the answer with a line {\"error\":\"…\"}. " +
			"A key that occurs twice among the attributes is called key#2 the second time.",
		Security: signedIn(),
		Responses: map[string]*huma.Response{
			"200":     {Description: "records", Content: map[string]*huma.MediaType{ndjson: {}}},
			"default": {Description: "Error", Content: map[string]*huma.MediaType{"application/problem+json": {}}},
		},
	}
	for _, p := range [][2]string{
		{"source", "mqtt, reportlog, sls, cls, otlp, loki or audit"},
		{"stream", "a whole stream name, such as audit"},
		{"product", "id of a product"}, {"device", "a name or a glob"},
		{"project", "name of an SLS project"}, {"logstore", "name of a logstore"}, {"topic", "id of a CLS topic"},
		{"level", "at least so severe"},
		{"q", "substring of the body or of an attribute's value"},
		{"field.KEY", "attribute KEY has exactly this value; may be repeated"},
		{"since", "a duration such as 10m, a time in RFC 3339, or unix seconds, of the event time; default 1h"},
		{"until", "likewise; no default"},
		{"after", "the seq of the last record that was read, or 0.0 to page from the beginning in the order of positions"},
		{"limit", "1 to 1000000; default 100, none with follow"},
		{"direction", "backward or forward"},
		{"follow", "true or 1"},
	} {
		op.Parameters = append(op.Parameters, &huma.Param{Name: p[0], In: "query", Description: p[1], Schema: &huma.Schema{Type: huma.TypeString}})
	}
	return op
}

func (a *api) queryLogs(c echo.Context) error {
	r := c.Request()
	who, p := a.authorizeAPI(r, logbridge.RoleViewer)
	if p != nil {
		writeProblem(c, p)
		return nil
	}
	q, err := parseLogsQuery(r.URL.RawQuery, time.Now())
	if err != nil {
		writeProblem(c, a.problem(err))
		return nil
	}
	ctx, cancel := a.whileGood(withCaller(r.Context(), who), who)
	defer cancel()
	defer context.AfterFunc(a.draining, cancel)()
	if q.follow {
		a.stream(ctx, c, a.deps.Log.Tail(ctx, q.After, q.Query), q, cancel)
	} else {
		a.stream(ctx, c, a.deps.Log.Query(ctx, q.Query), q, cancel)
	}
	return nil
}

// stream writes records as they come. A second goroutine reads the log, so that what is ready is flushed while the next
// record is waited for; it has ended when stream returns.
func (a *api) stream(ctx context.Context, c echo.Context, records iter.Seq2[logbridge.Record, error], q logsQuery, cancel context.CancelFunc) {
	feed := newFeed(maxPending)
	if q.follow {
		feed.breakSilence(longestSilence)
	}
	var reading sync.WaitGroup
	reading.Go(func() { a.fill(feed, records, q.Limit) })
	defer reading.Wait()
	defer feed.stop()
	defer cancel()

	if q.follow {
		startStream(c.Response())
		_ = http.NewResponseController(c.Response()).Flush()
	}
	a.pump(ctx, c, feed)
}

// pump writes what comes into a feed until it ends or the client is gone.
func (a *api) pump(ctx context.Context, c echo.Context, feed *feed) {
	w := c.Response()
	control := http.NewResponseController(w)
	for spare := []byte(nil); ; {
		lines, err := feed.take(spare)
		if err != nil && errors.Is(context.Cause(ctx), errTokenEnded) {
			err = errTokenEnded
		}
		if err != nil && !errors.Is(err, errEnd) {
			if errors.Is(err, context.Canceled) {
				return // the reader is gone, or this server stops
			}
			p := a.queryProblem(err)
			if !w.Committed && len(lines) == 0 {
				writeProblem(c, p)
				return
			}
			lines = append(loose.AppendString(append(lines, `{"error":`...), p.Detail), '}', '\n')
		}
		if !w.Committed {
			startStream(w)
		}
		_ = control.SetWriteDeadline(time.Now().Add(readerTimeout))
		if _, werr := w.Write(lines); werr != nil || err != nil {
			return
		}
		if control.Flush() != nil {
			return
		}
		spare = lines[:0]
	}
}

// queryProblem is problem, but that a query over its bounds is no request with too large a body.
func (s *Server) queryProblem(err error) *problem {
	p := s.problem(err)
	if p.Status == http.StatusRequestEntityTooLarge {
		code := p.Code
		p = newProblem(http.StatusUnprocessableEntity, p.Detail)
		p.Code = code
	}
	return p
}

func startStream(w *echo.Response) {
	h := w.Header()
	h.Set("Content-Type", ndjson)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
}

// errEnd is the end of the records.
var errEnd = errors.New("end")

// feed holds lines between the goroutine that reads the log and the one that writes to the client.
type feed struct {
	most    int        // bytes that may be pending
	mu      sync.Mutex // guards all below
	changed sync.Cond
	lines   []byte
	err     error // after lines: errEnd or why the records ended early
	stopped bool  // nobody will take anything any more

	signs *time.Timer // nil without
	busy  bool        // something came since the last of signs
}

func newFeed(most int) *feed {
	f := &feed{most: most}
	f.changed.L = &f.mu
	return f
}

// fill reads records until they end, the limit is reached or the feed is stopped.
func (a *api) fill(f *feed, records iter.Seq2[logbridge.Record, error], limit int) {
	end := errEnd
	defer func() {
		if p := recover(); p != nil { // not in the goroutine of the handler, so recovered does not see it
			a.log.Error("reading the log panicked", "panic", p, "stack", string(debug.Stack()))
			end = errPanic
		}
		f.end(end)
	}()
	n := 0
	for r, err := range records {
		var lost *logbridge.Lost
		if err != nil && !errors.As(err, &lost) {
			end = err
			return
		}
		if !f.put(&r, lost) {
			return
		}
		if lost != nil {
			continue
		}
		if n++; n == limit {
			return
		}
	}
}

// end says that no more lines come, and why.
func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.changed.Broadcast()
}

// put adds a line, of a record, or of what was lost if that is not nil. It waits while too much is pending, and reports false
// when the feed is stopped.
func (f *feed) put(r *logbridge.Record, lost *logbridge.Lost) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.room() {
		return false
	}
	if lost != nil {
		f.lines = appendLost(f.lines, lost)
	} else {
		f.lines = appendRecord(f.lines, r)
	}
	f.busy = true
	f.changed.Broadcast()
	return true
}

// room waits for room, and reports false when the feed is stopped. It needs the lock.
func (f *feed) room() bool {
	for len(f.lines) > f.most && !f.stopped {
		f.changed.Wait()
	}
	return !f.stopped
}

// write adds v as a line of JSON, like put.
func (f *feed) write(v any) bool {
	line, err := json.Marshal(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || !f.room() {
		return false
	}
	f.lines = append(append(f.lines, line...), '\n')
	f.changed.Broadcast()
	return true
}

// breakSilence adds an empty line before nothing has come for so long.
func (f *feed) breakSilence(longest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signs = time.AfterFunc(longest/2, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.stopped {
			return
		}
		if !f.busy && len(f.lines) == 0 {
			f.lines = append(f.lines, '\n')
			f.changed.Broadcast()
		}
		f.busy = false
		f.signs.Reset(longest / 2)
	})
}

// take waits for lines and hands them over, giving spare in exchange. An error comes with the last lines.
func (f *feed) take(spare []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.lines) == 0 && f.err == nil {
		if cap(spare) > idleRoom {
			spare = nil
		}
		if cap(f.lines) > idleRoom {
			f.lines = nil
		}
		f.changed.Wait()
	}
	lines := f.lines
	f.lines = spare
	f.changed.Broadcast()
	return lines, f.err
}

// stop lets go of a waiting fill.
func (f *feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	if f.signs != nil {
		f.signs.Stop()
	}
	f.changed.Broadcast()
}
