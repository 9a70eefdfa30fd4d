package httpapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

const (
	// maxTailDelay is the most that delay_for may ask for, in seconds (query-and-export.md 1).
	maxTailDelay = 5
	// pingPeriod keeps proxies from cutting a tail, and finds readers that are gone. It is Loki's.
	pingPeriod = time.Second
	// maxTailKinds bounds whose labels a tail remembers: many tails are open, and for long.
	maxTailKinds = 256
	// maxCloseReason is what a close frame has room for (RFC 6455, 5.5).
	maxCloseReason = 123
)

// lokiTail follows a log query over a WebSocket: first the newest lines from start on, as many as limit says, then what
// arrives. A query that is not good is answered before the upgrade. What ends a tail that the client may take up again, such
// as a server that goes down, ends the connection without a close frame: logcli and Grafana call that 1006 and come back. Only an
// error that would come again has a frame, with code 1011 and the reason.
//
// A page of another site cannot open it: a browser might add the password that its user once gave, so an Origin must be this
// host. Grafana takes the header away, and logcli sends none.
func (s *Server) lokiTail(c echo.Context) error {
	ctx, cancel := c.Request().Context(), context.CancelFunc(nil)
	ctx, cancel = s.whileGood(ctx, callerOf(ctx))
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)()
	t, err := s.newLokiTail(c)
	if err == nil {
		err = t.readHistory(ctx)
	}
	if err != nil {
		return writeLokiProblem(c, s.lokiProblem(err))
	}
	s.sockets.Add(1)
	defer s.sockets.Done()
	conn, err := websocket.Accept(c.Response(), c.Request(), nil)
	if err != nil {
		return nil // it has answered
	}
	defer func() { _ = conn.CloseNow() }() // waits for what reads
	ctx = conn.CloseRead(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	parts.Go(func() { t.collect(ctx) })
	parts.Go(func() { ping(ctx, conn, cancel) })
	if err := t.send(ctx, conn); err != nil {
		reason := s.lokiProblem(err).Detail
		_ = conn.Close(websocket.StatusInternalError, reason[:min(len(reason), maxCloseReason)])
	}
	return nil
}

// ping asks the client for a sign of life until it gives none.
func ping(ctx context.Context, conn *websocket.Conn, gone context.CancelFunc) {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		wait, cancel := context.WithTimeout(ctx, readerTimeout)
		err := conn.Ping(wait)
		cancel()
		if err != nil {
			gone()
			return
		}
	}
}

// lokiTail is one tail: a goroutine collects lines and another sends them, so that what is ready goes out while the next is
// waited for.
type lokiTail struct {
	*Server
	r       *lokiRequest
	sel     *selection
	delay   time.Duration
	from    logbridge.Position // behind it is what arrives
	history []logbridge.Record // oldest first

	// The collector's own.
	known    kindLabels
	pipeline *loki.Pipeline
	work     Share
	metadata []loki.Label

	ready, room chan struct{} // told when there is something to send, and when there is room for more

	mu      sync.Mutex // guards all below
	lines   lineSet
	dropped []loki.Dropped
	since   time.Time // when the first of them came
	err     error     // behind them
	ended   bool
}

// newLokiTail reads the parameters.
func (s *Server) newLokiTail(c echo.Context) (*lokiTail, error) {
	r, err := readLokiRequest(c)
	if err != nil {
		return nil, err
	}
	expr, err := loki.Parse(r.params.Query)
	if err != nil {
		return nil, err
	}
	logs, ok := expr.(*loki.LogExpr)
	delay, derr := strconv.Atoi(r.form.Get("delay_for"))
	switch {
	case !ok:
		return nil, newProblem(http.StatusBadRequest, "only a log query can be followed, a selector with or without filters, not a metric query")
	case r.params.Limit > maxLines:
		return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("limit: %d lines of history, at most %d", r.params.Limit, maxLines))
	case r.form.Get("delay_for") != "" && (derr != nil || delay < 0 || delay > maxTailDelay):
		return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("delay_for: give a number of seconds from 0 to %d", maxTailDelay))
	case !c.IsWebSocket():
		return nil, newProblem(http.StatusUpgradeRequired, "a tail needs a WebSocket: a proxy in between must pass the header Upgrade on")
	}
	return s.makeLokiTail(r, logs, time.Duration(delay)*time.Second), nil
}

func (s *Server) makeLokiTail(r *lokiRequest, e *loki.LogExpr, delay time.Duration) *lokiTail {
	t := &lokiTail{
		Server: s, r: r, sel: selectLogs(e), delay: delay,
		known: kindLabels{}, pipeline: e.Pipeline(), ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	t.lines = t.noLines()
	return t
}

func (t *lokiTail) noLines() lineSet {
	return lineSet{categorized: t.r.categorized, streams: map[string]int{}}
}

// share takes a new part of the processors for work on lines, until ctx is done.
func (t *lokiTail) share(ctx context.Context) {
	t.work = t.deps.Share(ctx)
	t.pipeline.Pause = t.work.Pause
}

// readHistory finds the newest lines from start on. What comes while it does is not among them, but behind from.
func (t *lokiTail) readHistory(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lokiTime)
	defer cancel()
	t.share(ctx)
	t.from = t.deps.Log.Newest()
	if t.sel.none {
		return nil
	}
	if err := t.lokiTurn(ctx); err != nil {
		return err
	}
	defer func() { <-t.lokiReads }()
	q := t.sel.during(t.r.params.Start, time.Time{})
	if t.sel.exact {
		q.Limit = t.r.params.Limit
	}
	size := 0
	for record, err := range t.deps.Log.Query(ctx, q) {
		if err != nil {
			return err
		}
		if _, keep := t.entry(&record); !keep || record.Position.Compare(t.from) > 0 {
			continue
		}
		if size += entryBytes + len(record.Body) + attrsBytes(record.Attributes); size > maxAnswer {
			return newProblem(http.StatusBadRequest, fmt.Sprintf("the history is larger than %d MiB; ask for fewer lines by a lower limit", maxAnswer>>20))
		}
		if t.history = append(t.history, record); len(t.history) == t.r.params.Limit {
			break
		}
	}
	slices.Reverse(t.history)
	return ctx.Err() // it may have ended in the middle of the last line
}

func attrsBytes(attrs []logbridge.Attr) (n int) {
	for _, a := range attrs {
		n += labelBytes + len(a.Key) + len(a.Value)
	}
	return n
}

// entry is the line of a record, if the query lets it through, valid until the next.
func (t *lokiTail) entry(r *logbridge.Record) (e lokiEntry, keep bool) {
	if len(t.known) > maxTailKinds {
		clear(t.known)
	}
	if !t.work.Begin() {
		return e, false
	}
	defer t.work.End()
	t.metadata = appendMetadata(t.metadata[:0], r)
	e.at = r.Time
	e.line, e.labels, keep = t.pipeline.Categorize(lokiLine(r), t.known.of(r), t.metadata)
	return e, keep
}

// records are the history, and then what arrives.
func (t *lokiTail) records(ctx context.Context) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) {
		for _, r := range t.history {
			if !yield(r, nil) {
				return
			}
		}
		t.history = nil
		if t.sel.none {
			<-ctx.Done()
			return
		}
		t.deps.Log.Tail(ctx, t.from, t.sel.query)(yield)
	}
}

// collect puts lines there for the sender, until the records end or ctx does.
func (t *lokiTail) collect(ctx context.Context) {
	var end error
	defer func() {
		if p := recover(); p != nil { // not in the goroutine of the handler, so recovered does not see it
			t.log.Error("reading the log panicked", "panic", p, "stack", string(debug.Stack()))
			end = errPanic
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.err, t.ended = end, true
		tell(t.ready)
	}()
	t.share(ctx)
	for record, err := range t.records(ctx) {
		var lost *logbridge.Lost
		switch {
		case errors.As(err, &lost):
			t.drop(lost)
		case err != nil:
			end = err
			return
		default:
			if e, keep := t.entry(&record); keep {
				end = t.put(ctx, e)
			} else {
				end = ctx.Err()
			}
			if end != nil {
				return
			}
		}
	}
}

// put adds a line; it waits while too much is pending.
func (t *lokiTail) put(ctx context.Context, e lokiEntry) error {
	for {
		t.mu.Lock()
		if t.lines.bytes < maxPending {
			break
		}
		t.mu.Unlock()
		select {
		case <-t.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer t.mu.Unlock()
	t.begin()
	return t.lines.add(e)
}

// begin notes that something is there to send.
func (t *lokiTail) begin() {
	if t.since.IsZero() {
		t.since = time.Now()
	}
	tell(t.ready)
}

// drop notes a loss. Loki's form of it is one entry with a time and labels for each line, which has no room for a number of
// them. So it is one entry with the labels that the query asks for, and the number as a label: dropped, or dropped_at_most
// when some of the records would not have come through the query's filters.
func (t *lokiTail) drop(lost *logbridge.Lost) {
	d := loki.Dropped{Time: time.Now()}
	for _, m := range t.sel.log.Matchers {
		if m.Op == loki.Equal && slices.Contains(viewLabels, m.Name) && m.Value != "" {
			d.Labels = append(d.Labels, loki.Label{Name: m.Name, Value: m.Value})
		}
	}
	number := "dropped"
	if !t.sel.exact {
		number = "dropped_at_most"
	}
	d.Labels = append(d.Labels, loki.Label{Name: number, Value: strconv.FormatUint(lost.Records, 10)}, loki.Label{Name: metaSeq, Value: lost.To.String()})
	sortLabels(d.Labels)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = append(t.dropped, d) // a tail loses seldom, and does not outlive readerTimeout without being read
	t.begin()
}

// send writes frames until the lines end, which may be with an error, or ctx does.
func (t *lokiTail) send(ctx context.Context, conn *websocket.Conn) error {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.ready:
		case <-due.C:
		}
		lines, dropped, wait := t.take()
		if wait > 0 {
			due.Reset(wait)
			continue
		}
		if len(lines) > 0 || len(dropped) > 0 {
			until, cancel := context.WithTimeout(ctx, readerTimeout)
			err := conn.Write(until, websocket.MessageText, loki.AppendFrame(nil, lines, dropped, t.r.categorized))
			cancel()
			if err != nil {
				return nil // the reader is gone
			}
		}
		t.mu.Lock()
		ended, err := t.ended && len(t.lines.list)+len(t.dropped) == 0, t.err
		t.mu.Unlock()
		if ended {
			return err
		}
	}
}

// take gives what is to be sent, the lines of each stream oldest first, or how long that has to wait for lines that may be
// late. It does not wait when there is no room for more.
func (t *lokiTail) take() (lines []loki.Stream, dropped []loki.Dropped, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return nil, nil, 0
	}
	if wait = t.delay - time.Since(t.since); wait > 0 && t.lines.bytes < maxPending && !t.ended {
		return nil, nil, wait
	}
	lines, dropped = t.lines.list, t.dropped
	for _, stream := range lines {
		slices.SortStableFunc(stream.Entries, func(a, b loki.Entry) int { return a.Time.Compare(b.Time) })
	}
	t.lines, t.dropped, t.since = t.noLines(), nil, time.Time{}
	tell(t.room)
	return lines, dropped, 0
}

// tell wakes who waits for c, which has room for one.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
