package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/logbridge/logbridge"
)

// The bars of GET /logs/histogram.
const (
	// usualBars is about how many there are without a step: what a chart of a page shows.
	usualBars = 60
	// maxBars bounds them: a minute each for a week.
	maxBars = 7 * 24 * 60
	// minStep: event times of devices are of whole milliseconds at best.
	minStep = time.Millisecond
)

// barSteps are the steps that are chosen from, those beyond are whole days: bars begin where people expect them to.
var barSteps = [...]time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// histogramView is the answer of GET /logs/histogram.
type histogramView struct {
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Step    string    `json:"step"`
	By      string    `json:"by"`
	Total   uint64    `json:"total"`
	Buckets []bucket  `json:"buckets"`
}

// bucket is one bar of one value. Bars without records are left out.
type bucket struct {
	Time    time.Time `json:"time"`
	Value   string    `json:"value"`
	Records uint64    `json:"records"`
}

// histogram serves GET /logs/histogram.
func (a *api) histogram(e *echo.Echo) {
	e.GET(apiPath+"/logs/histogram", a.queryHistogram)
	op := logsOperation()
	op.OperationID, op.Path, op.Summary = "query-histogram", "/logs/histogram", "Count records over time, by a field"
	op.Description = `{"since","until","step","by","total","buckets":[{"time","value","records"}]}: how many records there are in each ` +
		"interval of event time, by the value of a field. Buckets are in the order of time and value, those without records are left " +
		"out; value is empty for records without the field. 422 (too_large) for more than 100000 buckets, or as in GET /logs."
	filters := op.Parameters[:0]
	for _, p := range op.Parameters {
		if !ofStreams(p.Name) {
			filters = append(filters, p)
		}
	}
	for _, p := range [][2]string{
		{"by", "level, source, product, stream or field.KEY; without it all records are one value"},
		{"step", "the length of the intervals, a duration such as 5m; default what makes about 60 of them; 0 for one alone"},
	} {
		filters = append(filters, &huma.Param{Name: p[0], In: "query", Description: p[1], Schema: &huma.Schema{Type: huma.TypeString}})
	}
	op.Parameters = filters
	op.Responses["200"] = &huma.Response{Description: "counts", Content: map[string]*huma.MediaType{"application/json": {
		Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[histogramView](), true, ""),
	}}}
	a.huma.OpenAPI().AddOperation(op)
}

// ofStreams reports whether a parameter of GET /logs says how records are listed, not which.
func ofStreams(parameter string) bool {
	switch parameter {
	case "after", "limit", "direction", "follow":
		return true
	}
	return false
}

// histogramQuery is a request for counts.
type histogramQuery struct {
	logbridge.Query
	logbridge.CountBy
	until time.Time // the end of what is shown
}

// parseHistogram reads the parameters. Errors are ErrInvalid and name the parameter.
func parseHistogram(rawQuery string, now time.Time) (histogramQuery, error) {
	var h histogramQuery
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return h, fmt.Errorf("%w: the query is not well escaped", logbridge.ErrInvalid)
	}
	for name := range values {
		if ofStreams(name) {
			return h, fmt.Errorf("%w: there is no parameter %q", logbridge.ErrInvalid, name)
		}
	}
	step := values.Get("step")
	for _, name := range []string{"by", "step"} {
		if len(values[name]) > 1 {
			return h, fmt.Errorf("%w: parameter %s is given more than once", logbridge.ErrInvalid, name)
		}
	}
	h.Field = values.Get("by")
	if len(h.Field) > maxQueryText {
		return h, fmt.Errorf("%w: parameter by is longer than %d bytes", logbridge.ErrInvalid, maxQueryText)
	}
	values.Del("by")
	values.Del("step")
	q, err := parseLogsQuery(values.Encode(), now)
	if err != nil {
		return h, err
	}
	h.Query, h.until = q.Query, q.Until
	if h.until.IsZero() {
		h.until = now
	}
	if h.Step, err = parseStep(step, h.until.Sub(h.Since)); err != nil {
		return h, err
	}
	if err := h.CountBy.Validate(); err != nil {
		return h, fmt.Errorf("%w: parameter by: %s", logbridge.ErrInvalid, strings.TrimPrefix(err.Error(), logbridge.ErrInvalid.Error()+": "))
	}
	return h, nil
}

// parseStep reads a step, or chooses one, for bars over all.
func parseStep(step string, all time.Duration) (time.Duration, error) {
	if step == "" {
		return usualStep(all), nil
	}
	d, err := time.ParseDuration(step)
	switch {
	case err != nil || d < 0 || d > 0 && d < minStep:
		return 0, fmt.Errorf("%w: parameter step: %q is neither 0 nor a duration from %s on, such as 5m", logbridge.ErrInvalid, clip(step), minStep)
	case d > 0 && all/d > maxBars:
		return 0, fmt.Errorf("%w: parameter step: %s makes more than %d bars of %s", logbridge.ErrInvalid, d, maxBars, all.Round(time.Second))
	}
	return d, nil
}

// usualStep is the first of barSteps that makes no more than usualBars.
func usualStep(all time.Duration) time.Duration {
	for _, step := range barSteps {
		if all <= step*usualBars {
			return step
		}
	}
	const day = 24 * time.Hour
	return (all/usualBars + day - 1).Truncate(day)
}

func (a *api) queryHistogram(c echo.Context) error {
	r := c.Request()
	who, p := a.authorizeAPI(r, logbridge.RoleViewer)
	if p != nil {
		writeProblem(c, p)
		return nil
	}
	h, err := parseHistogram(r.URL.RawQuery, time.Now())
	if err != nil {
		writeProblem(c, a.problem(err))
		return nil
	}
	ctx, cancel := context.WithCancel(withCaller(r.Context(), who))
	defer cancel()
	defer context.AfterFunc(a.draining, cancel)()
	counts, err := a.deps.Log.Count(ctx, h.Query, h.CountBy)
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(readerTimeout)) // a count may take longer than an answer
	if err != nil {
		if ctx.Err() == nil {
			writeProblem(c, a.queryProblem(err))
		} else if a.draining.Err() != nil {
			writeProblem(c, newProblem(http.StatusServiceUnavailable, "the server stops"))
		}
		return nil
	}
	return c.JSON(http.StatusOK, h.view(counts))
}

func (h *histogramQuery) view(counts []logbridge.Count) histogramView {
	v := histogramView{Since: h.Since.UTC(), Until: h.until.UTC(), Step: h.Step.String(), By: h.Field, Buckets: make([]bucket, 0, len(counts))}
	for _, n := range counts {
		at := n.Time
		if h.Step == 0 {
			at = h.Since
		}
		v.Buckets = append(v.Buckets, bucket{Time: at.UTC(), Value: n.Value, Records: n.Records})
		v.Total += n.Records
	}
	return v
}
