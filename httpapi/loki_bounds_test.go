package httpapi

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logbridge/logbridge"
)

// crowded is a log of many devices, each with one record.
type crowded struct {
	Log
	devices int
}

func (l crowded) Count(_ context.Context, _ logbridge.Query, by logbridge.CountBy) (counts []logbridge.Count, err error) {
	if by.Field != byStream {
		return []logbridge.Count{{Value: "mqtt", Records: 1}}, nil
	}
	for i := range l.devices {
		counts = append(counts, logbridge.Count{Time: by.Origin.Add(time.Hour), Value: fmt.Sprintf("device/ABCDE12345/d%d", i), Records: 1})
	}
	return counts, nil
}

func TestMetricAndSeriesAnswersAreBounded(t *testing.T) {
	for _, c := range []struct {
		devices int
		path    string
		query   string
		status  int
		says    string
	}{
		{maxSeries, "/query_range", `sum by (device) (count_over_time({source="mqtt"}[1m]))`, 200, ""},
		{maxSeries + 1, "/query_range", `sum by (device) (count_over_time({source="mqtt"}[1m]))`, 400, "maximum number of series (2000) reached for a single query; consider"},
		{maxSeries + 1, "/query_range", `topk(3, sum by (device) (count_over_time({source="mqtt"}[1m])))`, 200, ""},
		{maxCells/3 + 1, "/query_range", `topk(3, sum by (device) (count_over_time({source="mqtt"}[1m])))`, 422, "more than 500000 values to add up"},
		{maxSets, "/index/volume", `{}`, 200, ""},
		{maxSets + 1, "/index/volume", `{}`, 400, "more than 50000 series"},
		{maxSets + 1, "/series", ``, 400, "more than 50000 series"},
	} {
		w := start(t, func(_ *Config, d *Deps) { d.Log = crowded{d.Log, c.devices} })
		params := during(c.query, "step", "60s", "targetLabels", "device", "limit", "10")
		if a := w.loki(c.path, params); a.StatusCode != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s %s of %d devices: %d %.300s", c.path, c.query, c.devices, a.StatusCode, a.body)
		}
	}
}

func TestOverlappingWindowsAreBounded(t *testing.T) {
	w := start(t, func(_ *Config, d *Deps) { d.Log = crowded{d.Log, 200} })
	// 200 devices with a value at each of 10 000 points.
	params := during(`topk(3, sum by (device) (count_over_time({source="mqtt"}[1h])))`, "step", "360ms")
	if a := w.loki("/query_range", params); a.StatusCode != 422 || !strings.Contains(a.body, "more than 500000 values to add up") {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
}

func TestAnswersOfLinesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	endless := func(yield func(logbridge.Record, error) bool) {
		for n := uint64(1); yield(logbridge.Record{Time: lokiEpoch, Stream: device01.Stream(), Body: long, Position: logbridge.Position{Seq: n}}, nil); n++ {
		}
	}
	w := start(t, func(_ *Config, d *Deps) { d.Log = scripted{d.Log, endless} })
	for limit, want := range map[string]int{"15": 200, "16": 400} {
		a := w.loki("/query_range", during(`{device="dev_01"}`, "limit", limit))
		if a.StatusCode != want || want == 400 && !strings.Contains(a.body, "the answer is larger than 16 MiB; ask for fewer lines by a lower limit") {
			t.Errorf("limit %s: %d %.300s", limit, a.StatusCode, a.body)
		}
	}
}

// TestWhatIsKeptOfLongLinesIsBounded has a log of lines with a long field that is another in each.
func TestWhatIsKeptOfLongLinesIsBounded(t *testing.T) {
	const lines = 400 // of 200 KB
	given := 0
	long := func(yield func(logbridge.Record, error) bool) {
		for given = 0; given < lines; given++ {
			body := fmt.Sprintf(`{"k":"%d%s"}`, given, strings.Repeat("x", 200_000))
			if !yield(logbridge.Record{Time: lokiEpoch, Stream: device01.Stream(), Body: body, Position: logbridge.Position{Seq: 1}}, nil) {
				return
			}
		}
	}
	w := start(t, func(_ *Config, d *Deps) { d.Log = scripted{d.Log, long} })
	if a := w.loki("/detected_fields", during(`{device="dev_01"}`, "line_limit", "5000")); a.StatusCode != 200 || given > maxAnswer/200_000+1 {
		t.Errorf("detected_fields: %d after %d lines, %.300s", a.StatusCode, given, a.body)
	}
	a := w.loki("/query_range", during(`sum by (k) (count_over_time({device="dev_01"} | json [1h]))`, "step", "1h"))
	if a.StatusCode != 422 || !strings.Contains(a.body, "labels by which the query adds up are larger than 64 MiB") || given > maxGroups/200_000+1 {
		t.Errorf("sum by a long field: %d after %d lines, %.300s", a.StatusCode, given, a.body)
	}
}

// TestALongLineEndsWithItsReader asks for a regular expression that would work for minutes on one line, and goes away.
func TestALongLineEndsWithItsReader(t *testing.T) {
	asked := make(chan struct{}, 1)
	body := strings.Repeat("abc ", 200_000)
	one := func(yield func(logbridge.Record, error) bool) {
		select {
		case asked <- struct{}{}:
		default:
		}
		yield(logbridge.Record{Time: lokiEpoch, Stream: device01.Stream(), Body: body, Position: logbridge.Position{Seq: 1}}, nil)
	}
	w := start(t, func(_ *Config, d *Deps) { d.Log = scripted{d.Log, one} })
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	params := during("{device=`dev_01`} |~ `(a.*b.*c.*){900}z`")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+lokiPath+"/query_range?"+params.Encode(), nil)
	check(t, err)
	r.SetBasicAuth("grafana", adminToken)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
			t.Error(res.Status)
		}
	}()
	<-asked
	leave()
	<-gone
	for range maxLokiReads { // all places are free again, and soon: not when the line is done with
		check(t, w.lokiTurn(t.Context()))
	}
}

// crossing is a log whose queries wait until so many of them are there.
type crossing struct {
	Log
	need      int
	mu        sync.Mutex
	here      int
	open      chan struct{}
	now, most atomic.Int64
}

func (l *crossing) Query(ctx context.Context, _ logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) {
		l.most.Store(max(l.most.Load(), l.now.Add(1)))
		defer l.now.Add(-1)
		l.mu.Lock()
		if l.here++; l.here == l.need {
			close(l.open)
		}
		l.mu.Unlock()
		select {
		case <-l.open:
		case <-ctx.Done():
			yield(logbridge.Record{}, ctx.Err())
		}
	}
}

func TestSoManyLokiQueriesAreAnsweredAtATime(t *testing.T) {
	log := &crossing{need: maxLokiReads, open: make(chan struct{})}
	w := start(t, func(_ *Config, d *Deps) { log.Log, d.Log = d.Log, log })
	var asking sync.WaitGroup
	for range 3 * maxLokiReads {
		asking.Go(func() {
			if a := w.loki("/query_range", during(`{device="dev_01"}`)); a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		})
	}
	asking.Wait()
	if most := log.most.Load(); most != maxLokiReads {
		t.Errorf("%d at a time, not %d", most, maxLokiReads)
	}
}

func TestAQueryMayTakeLongerThanItsForm(t *testing.T) {
	const bodyTimeout = 200 * time.Millisecond
	working := func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * bodyTimeout): // the work of the log
			return nil
		}
	}
	w := start(t, func(c *Config, d *Deps) { c.BodyTimeout, d.Log = bodyTimeout, busy{d.Log, working} })
	a := w.send(http.MethodPost, lokiPath+"/query_range", during(`{device="dev_01"}`).Encode(), "Authorization", "Bearer "+adminToken, "Content-Type", "application/x-www-form-urlencoded")
	if a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// busy is a log whose queries find nothing after some work.
type busy struct {
	Log
	work func(context.Context) error
}

func (l busy) Query(ctx context.Context, _ logbridge.Query) iter.Seq2[logbridge.Record, error] {
	return func(yield func(logbridge.Record, error) bool) {
		if err := l.work(ctx); err != nil {
			yield(logbridge.Record{}, err)
		}
	}
}

func TestAShutdownEndsLokiQueries(t *testing.T) {
	begun := make(chan struct{})
	w := start(t, func(_ *Config, d *Deps) {
		d.Log = busy{d.Log, func(ctx context.Context) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		}}
	})
	go func() {
		<-begun
		w.stop()
	}()
	if a := w.loki("/query_range", during(`{device="dev_01"}`)); a.StatusCode != 503 || !strings.Contains(a.body, "the server is shutting down") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestTypesOfFields(t *testing.T) {
	for value, want := range map[string]string{
		"1": typeInt, "-5": typeInt, "1.5": typeFloat, "1e9": typeFloat, "true": typeBool, "false": typeBool, "5ms": typeDuration, "1h2m": typeDuration,
		"5MB": typeBytes, "1.5 KiB": typeBytes, "7B": typeBytes, "": typeString, "MB": typeString, "5 apples": typeString, "0x1F": typeString, "10.0.0.1": typeString,
	} {
		if got := typeOf(value); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
	w := start(t)
	w.storeLines("a=1 b=1 c=1ms", "a=2.5 b=yes c=5s")
	var f struct{ Fields []detectedField }
	w.lokiOK(&f, "/detected_fields", during(`{device="dev_01"}`, "limit", "3"))
	types := map[string]string{}
	for _, d := range f.Fields {
		types[d.Label] = d.Type
	}
	if len(f.Fields) != 3 {
		t.Errorf("%d fields, not 3: %v", len(f.Fields), types)
	}
	w.lokiOK(&f, "/detected_fields", url.Values(during(`{device="dev_01"}`)))
	for _, d := range f.Fields {
		types[d.Label] = d.Type
	}
	if types["a"] != typeFloat || types["b"] != typeString || types["c"] != typeDuration {
		t.Errorf("types %v", types)
	}
}

func TestLabelNames(t *testing.T) {
	for key, want := range map[string]string{"plain": "plain", "a.b-c": "a_b_c", "5xx": "_5xx", "": "_", "größe": "gr__e", "x#2": "x_2"} {
		if got := labelName(key); got != want {
			t.Errorf("%q is %q, want %q", key, got, want)
		}
	}
	r := logbridge.Record{Body: "line", Attributes: []logbridge.Attr{{Key: "a b", Value: "1"}, {Key: "a_b", Value: "2"}, {Key: "level", Value: "3"}, {Key: "seq", Value: "4"}}}
	if got := fmt.Sprint(appendMetadata(nil, &r)); got != "[{a_b 1} {a_b_extracted 2} {level_extracted 3} {seq_extracted 4} {time_quality device} {seq 0.0}]" {
		t.Errorf("metadata %s", got)
	}
}

// TestCompressedLinesAreFlushed reads the first line before there is a second.
func TestCompressedLinesAreFlushed(t *testing.T) {
	read := make(chan struct{})
	records := func(yield func(logbridge.Record, error) bool) {
		if yield(logbridge.Record{Body: "first"}, nil) {
			<-read
			yield(logbridge.Record{Body: "second"}, nil)
		}
	}
	w := start(t, func(_ *Config, d *Deps) { d.Log = scripted{d.Log, records} })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+apiPath+"/logs", nil)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultTransport.RoundTrip(r)
	check(t, err)
	defer resp.Body.Close()
	plain, err := gzip.NewReader(resp.Body)
	check(t, err)
	lines := bufio.NewReader(plain)
	for _, want := range []string{"first", "second"} {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, want) {
			t.Fatalf("%q: %v", line, err)
		}
		if want == "first" {
			close(read)
		}
	}
}
