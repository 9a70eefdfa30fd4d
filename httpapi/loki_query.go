package httpapi

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/loki"
)

// The bounds of an answer of lines.
const (
	// maxLines of an answer. Loki's own default is 5 000; logcli asks for more in batches.
	maxLines = 50_000
	// maxAnswer bounds the text of an answer: its lines with what they cost beside their text.
	maxAnswer = 16 << 20
	// entryBytes is what a line costs beside its text, and labelBytes a label.
	entryBytes, labelBytes = 96, 32
)

// lokiRange answers query_range: lines, or the values of a metric query from start to end.
func (s *Server) lokiRange(ctx context.Context, r *lokiRequest) ([]byte, error) {
	expr, err := loki.Parse(r.params.Query)
	if err != nil {
		return nil, err
	}
	if logs, ok := expr.(*loki.LogExpr); ok {
		return s.lokiLogs(ctx, r, logs)
	}
	g, err := gridOf(r.params.Start, r.params.End, r.params.Step)
	if err != nil {
		return nil, err
	}
	m := &metricQuery{Server: s, ctx: ctx, grid: g}
	return m.matrix(expr)
}

// lokiInstant answers query: the values of a metric query at one time.
func (s *Server) lokiInstant(ctx context.Context, r *lokiRequest) ([]byte, error) {
	expr, err := loki.Parse(r.params.Query)
	if err != nil {
		return nil, err
	}
	if _, ok := expr.(*loki.LogExpr); ok {
		return nil, newProblem(http.StatusBadRequest,
			"log queries are not supported as an instant query type, please change your query to a range query type")
	}
	g, err := gridOf(r.params.Time, r.params.Time, 0)
	if err != nil {
		return nil, err
	}
	m := &metricQuery{Server: s, ctx: ctx, grid: g}
	return m.vector(expr)
}

// lokiLogs answers a log query.
func (s *Server) lokiLogs(ctx context.Context, r *lokiRequest, e *loki.LogExpr) ([]byte, error) {
	if r.params.Limit > maxLines {
		return nil, newProblem(http.StatusBadRequest,
			fmt.Sprintf("max entries limit per query exceeded, limit > max_entries_limit_per_query (%d > %d)", r.params.Limit, maxLines))
	}
	if r.params.End.Before(r.params.Start) {
		return nil, newProblem(http.StatusBadRequest, "end timestamp must not be before or equal to start time")
	}
	lines := lineSet{categorized: r.categorized, streams: map[string]int{}}
	sel := selectLogs(e)
	for l, err := range s.lokiLines(ctx, sel, r.params.Start, r.params.End, r.params.Order, r.params.Limit) {
		if err != nil {
			return nil, err
		}
		if err := lines.add(l); err != nil {
			return nil, err
		}
	}
	answer := loki.Answer{Type: loki.Streams, Categorized: r.categorized}
	b := answer.Open(nil)
	for _, stream := range lines.list {
		b = answer.Stream(b, stream)
	}
	return answer.Close(b), nil
}

// lokiEntry is a line that a log query gives. Its labels are valid until the next one.
type lokiEntry struct {
	at     time.Time
	line   string
	labels loki.Labels
	holds  int // bytes of the line as it is stored, which line and labels may be parts of
}

// lokiLines runs a log query over the records of a time range, until exclusive, and ends after limit lines; 0 is no limit. Where the log can
// decide all, it is told the limit too; else it is read until enough lines have come through.
func (s *Server) lokiLines(ctx context.Context, sel *selection, since, until time.Time, order logbridge.Order, limit int) iter.Seq2[lokiEntry, error] {
	return func(yield func(lokiEntry, error) bool) {
		if sel.none || !since.Before(until) {
			return
		}
		q := sel.during(since, until)
		q.Order = order
		if sel.exact {
			q.Limit = limit
		}
		known, pipeline, n := kindLabels{}, sel.log.Pipeline(), 0
		work := s.deps.Share(ctx)
		defer work.End()
		pipeline.Pause = work.Pause
		var metadata []loki.Label
		var buffer []byte
		for record, err := range s.deps.Log.Query(ctx, q) {
			if err != nil {
				yield(lokiEntry{}, err)
				return
			}
			metadata = appendMetadata(metadata[:0], &record)
			line := record.Body
			if line == "" {
				buffer = appendAttributes(buffer[:0], record.Attributes)
				line = string(buffer)
			}
			e, keep := lokiEntry{at: record.Time, holds: len(line)}, false
			if work.Begin() {
				e.line, e.labels, keep = pipeline.Categorize(line, known.of(&record), metadata)
				work.End()
			}
			if err := ctx.Err(); err != nil { // it may have ended in the middle of the line
				yield(lokiEntry{}, err)
				return
			}
			if !keep {
				continue
			}
			if n++; !yield(e, nil) || n == limit {
				return
			}
		}
	}
}

// lineSet collects lines by stream, the streams in the order in which they were met.
type lineSet struct {
	categorized bool
	streams     map[string]int // number in list
	list        []loki.Stream
	bytes       int
}

// add adds a line. Without categories all labels are the stream's, as Loki has it, but for the position of the record, which
// would make each line a stream of its own.
func (s *lineSet) add(e lokiEntry) error {
	entry, labels := loki.Entry{Time: e.at, Line: e.line}, e.labels.Stream
	if len(e.line) < e.holds { // what is left of a long line shall not hold all of it
		entry.Line = strings.Clone(e.line)
		ownValues(e.labels.Parsed)
	}
	if s.categorized {
		entry.Metadata, entry.Parsed = slices.Clone(e.labels.Metadata), slices.Clone(e.labels.Parsed)
	} else if len(e.labels.Metadata)+len(e.labels.Parsed) > 0 {
		labels = slices.Concat(labels, e.labels.Metadata, e.labels.Parsed)
		labels = slices.DeleteFunc(labels, func(l loki.Label) bool { return l.Name == metaSeq })
		sortLabels(labels)
	}
	key := seriesKey(labels)
	n, known := s.streams[key]
	if !known {
		n = len(s.list)
		s.streams[key] = n
		s.list = append(s.list, loki.Stream{Labels: slices.Clone(labels)})
		s.bytes += labelsBytes(labels)
	}
	s.list[n].Entries = append(s.list[n].Entries, entry)
	s.bytes += entryBytes + len(entry.Line) + labelsBytes(entry.Metadata) + labelsBytes(entry.Parsed)
	if s.bytes > maxAnswer {
		return newProblem(http.StatusBadRequest, fmt.Sprintf("the answer is larger than %d MiB; ask for fewer lines by a lower limit", maxAnswer>>20))
	}
	return nil
}

// ownValues makes the values of labels no parts of longer texts.
func ownValues(labels []loki.Label) {
	for i := range labels {
		labels[i].Value = strings.Clone(labels[i].Value)
	}
}

func labelsBytes(labels []loki.Label) (n int) {
	for _, l := range labels {
		n += labelBytes + len(l.Name) + len(l.Value)
	}
	return n
}
